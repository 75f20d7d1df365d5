#ifndef OM_BASE_CLOCK_H
#define OM_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define OM_NS_PER_SEC 1000000000LL
#define OM_NS_PER_MS 1000000LL
#define OM_NEVER INT64_MAX

int64_t om_now_ns(void);        /* monotonic */
int64_t om_wall_us(void);       /* since 1970 UTC */
int64_t om_thread_cpu_ns(void); /* CPU time of the calling thread */
int64_t om_process_cpu_ns(void);

#define OM_ISO_TIME_SIZE 32
/* "2026-01-31T12:00:00.480Z" into out. */
void om_iso_time(int64_t wall_us, char out[OM_ISO_TIME_SIZE]);

#endif
