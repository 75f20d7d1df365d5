/* A profile in the terminal, and as files. */
#ifndef OM_CLI_PROFILE_PRINT_H
#define OM_CLI_PROFILE_PRINT_H

#include "profile/compare.h"
#include "profile/diagnose.h"

/* Appends tables of layers (the `top` longest in order of time; 0: all, in their order), types, fusions.
 * `width` 0: as wide as it gets. */
int om_profile_print(const om_profile *p, size_t top, int width, om_str *out);
/* A run's stages and threads. */
int om_profile_print_run(const om_profile *p, int width, om_str *out);
void om_findings_print(const om_findings *f, int width, om_str *out);
/* The machine and the libraries, a line each. */
void om_profile_print_system(const om_profile *p, int width, om_str *out);
int om_comparison_print(const om_profile *before, const om_profile *after, const om_comparison *c, size_t top,
                        int width, om_str *out);

/* Where a profile goes besides the terminal; NULL: nowhere, "-": standard output. */
typedef struct om_profile_files {
    const char *json, *csv, *html;
    const om_what_if *what_if; /* told in the JSON; not owned */
    size_t n_what_if;
} om_profile_files;
int om_profile_write(const om_profile *p, const om_findings *f, const om_profile_files *files);
/* To a file, whole or not at all, or to standard output. */
int om_put_text(const char *path, const om_str *text);

#endif
