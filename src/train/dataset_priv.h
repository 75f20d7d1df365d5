/* Inside the room: what a data set's readers gather. */
#ifndef OM_TRAIN_DATASET_PRIV_H
#define OM_TRAIN_DATASET_PRIV_H

#include <stddef.h>

enum { OM_PART_OPEN, OM_PART_TRAIN, OM_PART_HELD_OUT };

typedef struct om_loading_item {
    char *path, *class; /* owned */
    int part;
} om_loading_item;

typedef struct om_loading {
    om_loading_item *items;
    size_t n, cap;
} om_loading;

int om_loading_add(om_loading *l, const char *path, const char *class, int part);
/* OM_ERR_FORMAT names the file and the line. */
int om_loading_csv(om_loading *l, const char *path);

#endif
