/* Inside the room: features in a file. */
#ifndef OM_TRAIN_FEATURE_CACHE_H
#define OM_TRAIN_FEATURE_CACHE_H

#include "train/features.h"

/* What the features follow from, as a number. */
typedef struct om_feature_key {
    uint64_t hash[2];
} om_feature_key;

int om_feature_key_make(om_feature_key *key, const om_graph *graph, const om_model_desc *desc,
                        const om_dataset *data, const char *device);
/* false: there is none, or it is another's, or it is damaged. f->n, width, rows and bad are there. */
bool om_feature_cache_read(const char *path, const om_feature_key *key, om_features *f);
int om_feature_cache_write(const char *path, const om_feature_key *key, const om_features *f); /* atomic */

#endif
