/* Inside the room: Darknet's cfg text, cut into sections and options that remember their lines. */
#ifndef OM_MODEL_DARKNET_H
#define OM_MODEL_DARKNET_H

#include "model/model.h"

typedef struct om_dn_option {
    const char *key, *value; /* inside the text */
    int line;
} om_dn_option;

typedef struct om_dn_section {
    const char *type; /* "convolutional"; inside the text */
    int line;
    om_dn_option *options;
    size_t n, cap;
} om_dn_section;

/* Zeroed is valid and empty. */
typedef struct om_dn_cfg {
    const char *name; /* stands in messages; the caller's */
    char *text;       /* owned */
    om_dn_section *sections;
    size_t n, cap;
} om_dn_cfg;

/* Cuts `text` (copied) up. OM_ERR_FORMAT names the line. */
int om_dn_cfg_parse(const char *name, const char *text, om_dn_cfg *out);
void om_dn_cfg_fini(om_dn_cfg *cfg);

/* OM_ERR_FORMAT "yolo.cfg:12: [convolutional] ..." */
int om_dn_fail(const om_dn_cfg *cfg, const om_dn_section *s, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The last option of that name, NULL if there is none. */
const om_dn_option *om_dn_find(const om_dn_section *s, const char *key);
/* A number within [min, max], `def` where the option is absent. OM_ERR_FORMAT names section, line and key. */
int om_dn_int(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, int def, int min, int max,
              int *out);
int om_dn_float(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, float def, float *out);
const char *om_dn_text(const om_dn_section *s, const char *key, const char *def);
/* Numbers joined by commas: at most `max` of them, *n how many; an absent option has none. */
int om_dn_list(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, double *out, int max, int *n);

/* The import from memory, for tests: the names stand in messages; `labels` may be NULL. */
int om_dn_import(const char *cfg_name, const char *cfg_text, const char *weights_name, const void *weights,
                 size_t len, const om_strlist *labels, om_graph **out);

#endif
