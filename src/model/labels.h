/* Class names: how metadata and files write them, and the ones everybody means when nothing is said. */
#ifndef OM_MODEL_LABELS_H
#define OM_MODEL_LABELS_H

#include "base/str.h"

#define OM_COCO_CLASSES 80

extern const char *const om_coco_names[OM_COCO_CLASSES];

/* A Python or JSON literal: {0: 'person', 1: "it's"}, {"0": "a"}, ['a', 'b']. Appends to `out` in the order
 * of the keys; keys nobody gave are filled with their number. OM_ERR_FORMAT names the byte where the literal
 * breaks. */
int om_labels_parse(const char *literal, om_strlist *out);
/* The same literal as Python writes it, for metadata. */
void om_labels_write(const char *const *names, int n, om_str *out);
/* A file with a name a line; blank lines at the end do not count. */
int om_labels_read(const char *path, om_strlist *out);

#endif
