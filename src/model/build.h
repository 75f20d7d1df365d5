/* Inside the room: nodes and constants added in a row. Errors stick: after the first failure every call
 * returns a harmless OM_NO_VALUE, and the caller looks at `err` once at its end. Thread-safety: one thread.
 */
#ifndef OM_MODEL_BUILD_H
#define OM_MODEL_BUILD_H

#include "model/model.h"

typedef struct om_build {
    om_graph *g;
    int err;
    int node; /* the last one added */
} om_build;

#define OM_BUILD_NAME 128
/* Formats a name of a node, value or module; returns `out`. */
const char *om_build_name(char out[OM_BUILD_NAME], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A node with `n_in` inputs (ints behind it); returns its first output. A Split has as many as its sizes say.
 */
int om_build_op(om_build *b, const char *op, const char *name, int n_in, ...);
/* The same of any number of inputs and outputs. */
int om_build_many(om_build *b, const char *op, const char *name, int n_out, int n_in, const int *in);
/* The n-th output of the last node. */
int om_build_out(const om_build *b, int n);
/* Attributes of the last node. */
void om_build_int(om_build *b, const char *key, int64_t v);
void om_build_ints(om_build *b, const char *key, int n, ...);
void om_build_float(om_build *b, const char *key, float v);
void om_build_string(om_build *b, const char *key, const char *v);
void om_build_tensor(om_build *b, const char *key, float v); /* of one float */
/* A constant that is a node. */
int om_build_held(om_build *b, om_dtype dtype, const om_shape *shape, const void *data);

/* A graph inside the node added last, its attribute `key`: begun, filled through `branch`, and ended with its
 * only output, a list of whole numbers. Between the two calls `b` gets no node. The values in it are called
 * `prefix` and a number, for names inside may not be names outside. */
void om_build_branch_begin(const om_build *b, om_build *branch, const char *name);
int om_build_capture(om_build *branch, const om_build *b, int v); /* a value of `b` as one of the branch */
void om_build_branch_end(om_build *b, const char *key, om_build *branch, int out, const char *prefix);

/* Constants; the same numbers under the same name are taken again. */
int om_build_const(om_build *b, const char *name, om_dtype dtype, const om_shape *shape, const void *data);
int om_build_i64(om_build *b, const char *name, int n, ...); /* rank 1; n 0: a scalar */
int om_build_f32(om_build *b, const char *name, const om_shape *shape, const float *data);
int om_build_f32_scalar(om_build *b, const char *name, float v);
int om_build_scalar(om_build *b, int v);
int om_build_one(om_build *b, int v); /* a list of one */

int om_build_gather(om_build *b, const char *name, int shape, int axis); /* a dim of a shape, as a scalar */
int om_build_join(om_build *b, const char *name, int axis, int n, const int *in); /* Concat */

#endif
