/* Pictures with a class each, and which of them are held out.
 *
 *   DATA/CLASS/...      a folder a class, with pictures anywhere below it; or DATA/train/CLASS and
 *                       DATA/val/CLASS, which settles what is held out
 *   FILE.csv            a line a picture: path (from the file's own folder), class, and perhaps train or val
 *   DATA/               pictures without classes: only with `dummy_classes` */
#ifndef OM_TRAIN_DATASET_H
#define OM_TRAIN_DATASET_H

#include <stdint.h>

#include "base/option.h"

typedef enum om_holdout {
    OM_HOLDOUT_RANDOM, /* of each class a share, drawn by the seed */
    OM_HOLDOUT_LAST    /* of each run of pictures with one name, numbers at its end aside, the last share */
} om_holdout;
extern const om_choice om_holdout_choices[];

typedef struct om_dataset_params {
    int dummy_classes; /* 0: classes come from the data; else drawn by the seed */
    double share;      /* held out, 0 to 0.9 */
    om_holdout holdout;
    uint64_t seed;
} om_dataset_params;

/* Thread-safety: constant once loaded. Zeroed is valid and empty. */
typedef struct om_dataset {
    om_strlist files;   /* in the order of their paths */
    om_strlist classes; /* sorted; numbers by their value */
    int *labels;        /* a class of each file; owned */
    bool *held_out;     /* owned */
    size_t n_held_out;
} om_dataset;

/* OM_ERR_NOT_FOUND, OM_ERR_FORMAT, OM_ERR_ARG (one class only, no pictures left to learn from). */
int om_dataset_load(om_dataset *d, const char *path, const om_dataset_params *p);
void om_dataset_fini(om_dataset *d);

#endif
