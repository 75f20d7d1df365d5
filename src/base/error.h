/* The thread's error slot: what every failing call fills. */
#ifndef OM_BASE_ERROR_H
#define OM_BASE_ERROR_H

#include <stdarg.h>

#include "omma/error.h"

/* Stores the formatted sentence in this thread's slot and returns `code`, so that a function can
 * `return om_fail(OM_ERR_IO, "%s: %s", path, strerror(errno));`. Never allocates. */
int om_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int om_failv(int code, const char *fmt, va_list ap);

/* Puts "prefix: " before the message that is already in the slot; returns `code` unchanged. */
int om_fail_prefix(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* OM_ERR_NOMEM with the standard sentence naming what was to be allocated. */
int om_fail_nomem(const char *what);

/* The code that fits an errno: ENOENT -> NOT_FOUND, ENOSPC/EDQUOT -> FULL, ENOMEM -> NOMEM, else IO. */
int om_err_from_errno(int err);

void om_error_clear(void);

#endif
