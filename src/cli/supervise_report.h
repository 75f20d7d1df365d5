/* The report of a run that went through several processes. */
#ifndef OM_CLI_SUPERVISE_REPORT_H
#define OM_CLI_SUPERVISE_REPORT_H

#include "base/json.h"

/* Zeroed is valid and empty. */
typedef struct om_supervised {
    char device[32], cause[256]; /* of the last loss */
    int losses, returns, probes;
    double gap_s;         /* in which no process ran the streams, all together */
    om_json_value **ends; /* what each process said at its end, owned */
    size_t n, cap;
} om_supervised;

/* Takes over `end`, whose "report" is one; OM_ERR_NOMEM: it stays the caller's. */
int om_supervised_add(om_supervised *s, om_json_value *end);
int om_supervised_write(const om_supervised *s, const char *path);
void om_supervised_fini(om_supervised *s);

/* Writes the value into an object or array that is open. */
void om_json_copy(om_json *j, const om_json_value *v);

#endif
