/* A YAML file as a tree of nodes with line numbers: what every reader of settings shares. */
#ifndef OM_BASE_YAML_H
#define OM_BASE_YAML_H

#include <yaml.h>

/* Thread-safety: one thread. */
typedef struct om_yaml {
    const char *path; /* as it stands in messages; not owned */
    yaml_document_t doc;
} om_yaml;

/* Reads a file of at most `max` bytes; `path` must outlive `y`. OM_ERR_ARG: it cannot be read, or is no YAML
 * ("FILE:LINE: what"). On failure there is nothing to free; else om_yaml_fini(). */
int om_yaml_load(om_yaml *y, const char *path, size_t max);
void om_yaml_fini(om_yaml *y);

/* NULL for an empty file. */
const yaml_node_t *om_yaml_root(om_yaml *y);
const yaml_node_t *om_yaml_node(om_yaml *y, int id);
/* Of a scalar. */
const char *om_yaml_text(const yaml_node_t *n);
/* From 1. */
int om_yaml_line(const yaml_node_t *n);

/* OM_ERR_ARG with "FILE:LINE: " and the text. */
int om_yaml_fail(const om_yaml *y, const yaml_node_t *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "FILE:LINE: " before the message that is already in the slot; returns `code` unchanged. */
int om_yaml_fail_prefix(const om_yaml *y, const yaml_node_t *n, int code);
/* OM_ERR_ARG where the node is a list or a map: "WHAT must be a single value". */
int om_yaml_expect_scalar(const om_yaml *y, const yaml_node_t *n, const char *what);

#endif
