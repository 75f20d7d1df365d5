/* The working memory of suppression. Private to the room. */
#ifndef OM_KERNEL_NMS_WORK_H
#define OM_KERNEL_NMS_WORK_H

#include <stddef.h>
#include <stdint.h>

#define OM_NMS_SLACK 16 /* floats a load may reach behind a column's last */

/* A candidate in the order of scores. */
typedef struct om_nms_entry {
    uint32_t key; /* ascending where the score descends */
    uint32_t index;
} om_nms_entry;

/* A class's place in the hash table; bucket -1: free. */
typedef struct om_nms_class {
    int32_t cls, bucket;
} om_nms_class;

/* Places in the table of classes: a power of two, at most half of them used. */
static inline size_t om_nms_table_size(size_t n)
{
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

#endif
