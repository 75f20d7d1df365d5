/* Option tables: one table feeds the command's flags, the YAML's keys, the library's om_pipeline_set(),
 * --help and the docs. A table describes fields of a plain struct by offset. */
#ifndef OM_BASE_OPTION_H
#define OM_BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

typedef enum om_option_type {
    OM_OPT_BOOL,   /* bool: yes/no, true/false, on/off, 1/0 */
    OM_OPT_INT,    /* int */
    OM_OPT_INT64,  /* int64_t */
    OM_OPT_DOUBLE, /* double */
    OM_OPT_STRING, /* char *, owned, NULL when unset */
    OM_OPT_CHOICE, /* int: a value from choices */
    OM_OPT_SIZE,   /* om_size: "640x384", "640" (square) */
    OM_OPT_TIME,   /* double seconds: "10", "500ms", "2m", "1h" */
    OM_OPT_LIST    /* om_strlist: every setting appends; in YAML a sequence */
} om_option_type;

typedef struct om_size {
    int width, height; /* 0x0: unset */
} om_size;

typedef struct om_choice {
    const char *name; /* NULL ends the array */
    int value;
    const char *help;
} om_choice;

typedef struct om_option {
    const char *name; /* NULL ends the table; words joined by '-'; '_' is accepted for it */
    char short_name;  /* 0: none */
    om_option_type type;
    size_t offset;
    const char *def; /* the default's text; NULL: zero / unset */
    double min, max; /* INT, INT64, DOUBLE, TIME; both 0: unbounded */
    const om_choice *choices;
    const char *metavar; /* for --help: "MODEL", "N"; NULL: from the type */
    const char *group;   /* heading in --help; NULL: same as the one before */
    const char *help;    /* one sentence */
} om_option;

/* Fills every field with its default. The struct must be zeroed or uninitialised: nothing is freed. */
int om_options_init(const om_option *table, void *obj);
/* Frees strings and lists. */
void om_options_fini(const om_option *table, void *obj);

const om_option *om_option_find(const om_option *table, const char *name);
const om_option *om_option_find_short(const om_option *table, char c);
/* Parses and stores. OM_ERR_ARG: "unknown option 'X'; did you mean 'Y'?", or the option, the text and what
 * fits. */
int om_option_set(const om_option *table, void *obj, const char *name, const char *value);
/* Appends the value's text (what om_option_set would accept). Lists: joined by ','. */
int om_option_get(const om_option *table, const void *obj, const char *name, om_str *out);
/* True when the field differs from its default. */
bool om_option_changed(const om_option *table, const void *obj, const om_option *opt);
/* Appends a formatted --help section for the table: flags, metavars, sentences wrapped at `width`. */
void om_options_help(const om_option *table, int width, om_str *out);

int om_parse_size(const char *text, om_size *out);
int om_parse_time(const char *text, double *seconds);
int om_parse_bool(const char *text, bool *out);

#endif
