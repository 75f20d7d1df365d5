/* Log lines. The library writes through a callback only; the command installs one that prints. */
#ifndef OM_BASE_LOG_H
#define OM_BASE_LOG_H

typedef enum om_log_level { OM_LOG_ERROR, OM_LOG_WARN, OM_LOG_INFO, OM_LOG_DEBUG } om_log_level;

typedef void (*om_log_fn)(void *user, om_log_level level, const char *line);

/* Installs the receiver (NULL: silence, the default) and the highest level it gets. Call before threads
 * start. */
void om_log_set(om_log_fn fn, void *user, om_log_level max_level);

void om_log(om_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "error" | "warn" | "info" | "debug"; -1 if it is none of them. */
int om_log_level_parse(const char *name);

#endif
