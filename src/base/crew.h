/* A few threads that share a loop with whoever has it: for work of a millisecond or so, too long for one
 * thread and too short to start threads for. */
#ifndef OM_BASE_CREW_H
#define OM_BASE_CREW_H

#include <stddef.h>

/* Thread-safety: om_crew_run() from any thread; two at a time do not share the helpers. */
typedef struct om_crew om_crew;

/* `helpers` threads beside the caller's, named `name` (at most 15 characters). */
int om_crew_create(const char *name, int helpers, om_crew **out);
void om_crew_destroy(om_crew *c); /* nobody runs any more */
/* fn(arg, i) for each i below n, in any order and on any thread; returns when all have. While somebody else
 * has the helpers, or with NULL for a crew, the caller does all of it. */
void om_crew_run(om_crew *c, void (*fn)(void *arg, size_t i), void *arg, size_t n);

#endif
