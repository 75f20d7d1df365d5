#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * OM_NS_PER_SEC + t.tv_nsec;
}

int64_t om_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
int64_t om_wall_us(void) { return read_clock(CLOCK_REALTIME) / 1000; }
int64_t om_thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
int64_t om_process_cpu_ns(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

void om_iso_time(int64_t wall_us, char out[OM_ISO_TIME_SIZE])
{
    int64_t us = wall_us % 1000000;
    if (us < 0) us += 1000000;
    time_t sec = (time_t)(wall_us / 1000000 - (wall_us % 1000000 < 0));
    struct tm tm;
    gmtime_r(&sec, &tm);
    size_t n = strftime(out, OM_ISO_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, OM_ISO_TIME_SIZE - n, ".%03dZ", (int)(us / 1000));
}
