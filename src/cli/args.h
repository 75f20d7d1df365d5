/* The command line, read by option tables. Parsing only finds what is meant; values are set by
 * om_args_apply(), so that a config file can be read in between and flags win over it wherever they stand. */
#ifndef OM_CLI_ARGS_H
#define OM_CLI_ARGS_H

#include "base/option.h"

typedef struct om_arg {
    const om_option *table, *option;
    bool negated;      /* --no-x */
    const char *value; /* NULL: a flag without one; points into argv or a neighbour */
} om_arg;

/* Zeroed is valid and empty. Texts belong to argv. Thread-safety: one thread. */
typedef struct om_args {
    om_arg *items;
    size_t n, cap;
    const char **positional;
    size_t n_positional, cap_positional;
    bool help;
} om_args;

/* Reads argv[0..argc) against `tables` (NULL-terminated): --name VALUE, --name=VALUE, -x VALUE, --flag,
 * --no-flag,
 * '--' ends the flags, '_' stands for '-', -h and --help set `help`. OM_ERR_ARG: an unknown flag (with the
 * nearest one), a missing value. On failure *out is empty. */
int om_args_parse(const om_option *const *tables, int argc, char *const *argv, om_args *out);
/* Sets what was given for `table`. A list that was given replaces what `obj` holds so far. OM_ERR_ARG as
 * om_option_set(). */
int om_args_apply(const om_args *a, const om_option *table, void *obj);
void om_args_fini(om_args *a);

#endif
