/* Inside the room: freeing a model from the size it was exported at. */
#ifndef OM_MODEL_DYNAMIC_H
#define OM_MODEL_DYNAMIC_H

#include "model/build.h"

typedef struct om_freeing {
    om_build to;
    om_shape *was; /* of each value when all was still fixed; values added since have none */
    int n_was;
    int input;     /* the picture's value */
    int row;       /* its dim of rows; columns are the next */
    bool pictures; /* the batch alone is opened, and it was one: an open dim of k held k things of each
                      picture */
} om_freeing;

/* The shape a value had; rank -1 if it is new. */
const om_shape *om_freeing_was(const om_freeing *f, int value);
/* Whether the dim is open now. */
bool om_freeing_open(const om_freeing *f, int value, int dim);
int om_freeing_refuse(const om_freeing *f, int node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Each looks at one node and rewrites what is frozen in it: 1 if it did, 0 if nothing was to do, or an error.
 */
int om_free_reshape(om_freeing *f, int node);
int om_free_resize(om_freeing *f, int node);
int om_free_slice(om_freeing *f, int node);
int om_free_expand(om_freeing *f, int node);
int om_free_constant(om_freeing *f, int node);
int om_free_concat(om_freeing *f, int node);

/* A value with a constant's numbers computed for the present size: `open[i]` are the dims of the constant
 * that follow the dims `from[i]` of value `like`. OM_NO_VALUE without an error where the numbers follow no
 * known rule. */
int om_free_numbers(om_freeing *f, const om_const *c, const bool *open, int like, const int *from);

#endif
