#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static om_log_fn receiver;
static void *receiver_user;
static om_log_level highest;

void om_log_set(om_log_fn fn, void *user, om_log_level max_level)
{
    receiver = fn;
    receiver_user = user;
    highest = max_level;
}

void om_log(om_log_level level, const char *fmt, ...)
{
    if (!receiver || level > highest) return;
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n >= 0) receiver(receiver_user, level, line);
}

int om_log_level_parse(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int i = 0; name && i < 4; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}
