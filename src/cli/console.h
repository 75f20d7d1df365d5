/* What the command says: errors and log lines on stderr, one status line below them on a terminal.
 * Thread-safety: log, error and status calls from any thread; init from one, before there are others. */
#ifndef OM_CLI_CONSOLE_H
#define OM_CLI_CONSOLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/log.h"

/* `command` stands before errors: "omma run". */
void om_console_init(const char *command, om_log_level level);
/* "omma run: MESSAGE" */
void om_console_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* True when a line with this text has been shown as an error. */
bool om_console_said(const char *message);
/* A plain line on stderr. */
void om_console_line(const char *text);
/* Replaces the status line; NULL erases it. Only where stderr is a terminal. */
void om_console_status(const char *text);
bool om_console_has_status(void);
/* om_console_line() and om_console_status() as callbacks of work that lasts; `user` is not looked at. */
void om_console_on_line(void *user, const char *text);
void om_console_on_progress(void *user, const char *text);
/* Columns of the terminal that `f` is; `otherwise` where it is none. */
int om_console_columns(FILE *f, int otherwise);

#endif
