/* What this process holds, and what the machine does besides, as the kernel tells it. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/trial.h"

static double resident_mb(void)
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    int n = f ? fscanf(f, "%ld %ld", &size, &resident) : 0;
    if (f) fclose(f);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20) : -1;
}

static int count_entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    if (!d) return -1;
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

int64_t om_machine_busy_ns(void)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, TIMES };
    unsigned long long t[TIMES] = {0};
    FILE *f = fopen("/proc/stat", "re");
    int n = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[USER], &t[NICE], &t[SYSTEM],
                       &t[IDLE], &t[IOWAIT], &t[IRQ], &t[SOFTIRQ], &t[STEAL])
              : 0;
    if (f) fclose(f);
    long ticks = sysconf(_SC_CLK_TCK);
    if (n < IDLE + 1 || ticks <= 0) return -1;
    unsigned long long busy = t[USER] + t[NICE] + t[SYSTEM] + t[IRQ] + t[SOFTIRQ] + t[STEAL];
    return (int64_t)(busy * (1000000000ULL / (unsigned long long)ticks));
}

om_process om_process_look(void)
{
    int handles = count_entries("/proc/self/fd");
    return (om_process){
        .memory_mb = resident_mb(),
        .handles = handles > 0 ? handles - 1 : handles, /* less the folder itself */
        .threads = count_entries("/proc/self/task"),
    };
}
