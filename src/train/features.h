/* Feature vectors of pictures, by an engine, kept in a file for the next time. */
#ifndef OM_TRAIN_FEATURES_H
#define OM_TRAIN_FEATURES_H

#include "backend/backend.h"
#include "base/thread.h"
#include "train/dataset.h"

typedef struct om_features_params {
    const char *device; /* as --device */
    int batch, threads; /* threads of the engine; 0: one a core */
    const char *cache;  /* a file; NULL: none */
    om_cancel *cancel;
    void (*progress)(void *user, size_t done, size_t of);
    void *user;
} om_features_params;

/* Thread-safety: one thread. Zeroed is valid and empty. */
typedef struct om_features {
    float *rows; /* [n][width]; owned */
    size_t n;
    int width;
    bool cached;      /* nothing had to be computed */
    size_t damaged;   /* pictures that could not be read: their rows are 0 and `bad` is set */
    bool *bad;        /* of each row; owned */
    char engine[160]; /* what computed them */
    double seconds;
} om_features;

/* `graph` as om_graft_cut() leaves it, `desc` as om_graft_describe(). OM_ERR_CANCELLED: the token fired. The
 * cache is used where the model, the engine's precision and every file's path, size and time are the same,
 * and written anew where they are not. */
int om_features_extract(om_features *f, const om_graph *graph, const om_model_desc *desc,
                        const om_dataset *data, const om_features_params *p);
void om_features_fini(om_features *f);

#endif
