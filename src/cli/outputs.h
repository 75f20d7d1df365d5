/* Files that a command writes at its end: what is wrong with them is said before it begins. */
#ifndef OM_CLI_OUTPUTS_H
#define OM_CLI_OUTPUTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct om_output {
    const char *flag; /* without its dashes */
    const char *path; /* NULL: not asked for; "-": standard output */
    bool again;       /* written more than once, while the run goes on */
} om_output;

/* OM_ERR_IO names the flag and the path that cannot be written, OM_ERR_ARG two flags that mean one file, or a
 * pipe that would be written again and again. Leaves no file behind; what can be told only by writing (a full
 * disk, a pipe without a reader) is not found. */
int om_outputs_check(const om_output *list, size_t n);

#endif
