#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SLOT_SIZE 1024

static _Thread_local char slot[SLOT_SIZE];

static const char *const err_names[] = {
    "ok",          "out of memory",  "bad argument", "input/output error", "bad format",
    "unsupported", "not found",      "end of data",  "not ready",          "timed out",
    "cancelled",   "device refused", "device lost",  "no space left",      "internal error",
};

const char *om_error_message(void) { return slot; }

const char *om_err_name(int code)
{
    size_t i = code <= 0 ? (size_t)(-(long)code) : sizeof err_names;
    return i < sizeof err_names / sizeof err_names[0] ? err_names[i] : "unknown error";
}

void om_error_clear(void) { slot[0] = 0; }

int om_failv(int code, const char *fmt, va_list ap)
{
    /* An argument may be the slot's own text, so it is replaced only once the new one is complete. */
    char text[SLOT_SIZE];
    if (vsnprintf(text, sizeof text, fmt, ap) < 0) text[0] = 0;
    memcpy(slot, text, strlen(text) + 1);
    return code;
}

int om_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    om_failv(code, fmt, ap);
    va_end(ap);
    return code;
}

int om_fail_prefix(int code, const char *fmt, ...)
{
    char text[SLOT_SIZE];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    const char *const parts[] = {": ", slot};
    for (int i = 0; i < 2; i++) {
        size_t room = sizeof text - 1 - len, add = strnlen(parts[i], room);
        memcpy(text + len, parts[i], add);
        len += add;
    }
    text[len] = 0;
    memcpy(slot, text, len + 1);
    return code;
}

int om_fail_nomem(const char *what) { return om_fail(OM_ERR_NOMEM, "out of memory for %s", what); }

int om_err_from_errno(int err)
{
    switch (err) {
    case ENOENT: return OM_ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT: return OM_ERR_FULL;
    case ENOMEM: return OM_ERR_NOMEM;
    default: return OM_ERR_IO;
    }
}
