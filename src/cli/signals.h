/* SIGINT and SIGTERM ask for a graceful stop; the second one ends the process at once with 130. */
#ifndef OM_CLI_SIGNALS_H
#define OM_CLI_SIGNALS_H

#include <stdbool.h>

#include "base/thread.h"

/* Blocks the signals in the caller and in all threads it starts later, and watches for them from a thread of
 * its own. Call before other threads start. */
int om_signals_init(void);
/* `stop(user)` is called by the first signal, at once if it has come already; NULL: nobody wants it any more.
 * No call is under way when this returns. One thread. */
void om_signals_attach(void (*stop)(void *user), void *user);
/* Initialises `c` and has it fired by the first signal, until om_signals_release() detaches and finishes it.
 * On failure nothing is attached and there is nothing to release. */
int om_signals_guard(om_cancel *c);
void om_signals_release(om_cancel *c);
/* Whether a stop was asked for. */
bool om_signals_seen(void);

/* SIGHUP is watched for too, and does nothing but to be told of by om_signals_take_hup(). Before the init. */
void om_signals_catch_hup(void);
/* Whether one came since the last call. Any thread. */
bool om_signals_take_hup(void);

#endif
