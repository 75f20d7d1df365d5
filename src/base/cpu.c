#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static uint32_t allowed = UINT32_MAX;

#if defined(__x86_64__)
#include <cpuid.h>

static bool has(uint32_t word, unsigned bit) { return (word >> bit) & 1u; }

/* The register sets the kernel saves at a task switch: without that an instruction's flag means nothing. */
static uint64_t saved_state(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static uint32_t detect(void)
{
    uint32_t a, b, c, d, b7, c7, d7, flags = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, 27)) return 0;
    bool fma = has(c, 12), f16c = has(c, 29);
    uint64_t saved = saved_state();
    const uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return 0;
    uint32_t subleaves = a, a71 = 0;
    if (subleaves >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);

    if ((saved & ymm) == ymm && has(b7, 5) && fma && f16c) flags |= OM_CPU_AVX2;
    bool avx512 = (saved & zmm) == zmm && has(b7, 16) && has(b7, 17) && has(b7, 30) && has(b7, 31);
    if (avx512 && flags) flags |= OM_CPU_AVX512;
    if (flags & OM_CPU_AVX512) {
        if (has(c7, 11)) flags |= OM_CPU_VNNI;
        if (has(a71, 5)) flags |= OM_CPU_BF16;
        if ((saved & tiles) == tiles && has(d7, 22) && has(d7, 24) && has(d7, 25)) flags |= OM_CPU_AMX;
    }
    return flags;
}
#else
static uint32_t detect(void) { return 0; }
#endif

uint32_t om_cpu_flags(void) { return detect() & allowed; }

void om_cpu_mask(uint32_t mask) { allowed = mask; }

int om_cpu_mask_parse(const char *text, uint32_t *mask)
{
    static const struct {
        const char *name;
        uint32_t mask;
    } names[] = {{"none", 0}, {"avx2", OM_CPU_AVX2}, {"avx512", OM_CPU_AVX2 | OM_CPU_AVX512}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i].name) != 0) continue;
        *mask = names[i].mask;
        return OM_OK;
    }
    char *end;
    unsigned long value = strtoul(text, &end, 0);
    if (*text < '0' || *text > '9' || *end || value > UINT32_MAX)
        return om_fail(OM_ERR_ARG, "'%s' is not a CPU mask: expected none, avx2, avx512 or a number", text);
    *mask = (uint32_t)value;
    return OM_OK;
}

static int affinity_count(void)
{
    for (int max = 1024; max <= 1 << 20; max *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)max);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE((size_t)max);
        int n = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (n > 0) return n;
    }
    return 1;
}

/* The first line of a small file, without its end. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool ok = fgets(line, (int)size, f) != NULL;
    fclose(f);
    if (ok) line[strcspn(line, "\n")] = 0;
    return ok;
}

static int lower_limit(int limit, long long quota, long long period)
{
    if (quota <= 0 || period <= 0) return limit;
    long long cores = (quota + period - 1) / period;
    return limit == 0 || cores < limit ? (int)cores : limit;
}

/* cgroup v2: our group and each one above it may hold a quota. */
static int quota_v2(const char *group, int limit)
{
    char dir[4096], path[4200], line[128];
    snprintf(dir, sizeof dir, "/sys/fs/cgroup%s", group);
    size_t root = strlen("/sys/fs/cgroup");
    for (;;) {
        long long quota, period;
        snprintf(path, sizeof path, "%s/cpu.max", dir);
        if (read_line(path, line, sizeof line) && sscanf(line, "%lld %lld", &quota, &period) == 2)
            limit = lower_limit(limit, quota, period);
        char *slash = strrchr(dir, '/');
        if (!slash || slash < dir + root) return limit;
        *slash = 0;
    }
}

static int quota_v1(const char *group, int limit)
{
    char path[4200], line[128];
    const char *const groups[] = {group, ""};
    for (size_t i = 0; i < 2; i++) {
        long long quota, period;
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", groups[i]);
        if (!read_line(path, line, sizeof line) || sscanf(line, "%lld", &quota) != 1) continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", groups[i]);
        if (!read_line(path, line, sizeof line) || sscanf(line, "%lld", &period) != 1) continue;
        limit = lower_limit(limit, quota, period);
    }
    return limit;
}

/* A line is "ID:CONTROLLERS:/GROUP"; no controllers: version 2. 0: no quota. */
static int quota_count(void)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return 0;
    char line[4096];
    int limit = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        if (!controllers[1]) limit = quota_v2(group, limit);
        else if (!strncmp(controllers + 1, "cpu,", 4) || !strcmp(controllers + 1, "cpu"))
            limit = quota_v1(group, limit);
    }
    fclose(f);
    return limit;
}

int om_cpu_count(void)
{
    int n = affinity_count(), quota = quota_count();
    return quota > 0 && quota < n ? quota : n;
}

static char model[128] = "unknown";

static void read_model(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f) return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) != 0) continue;
        char *value = strchr(line, ':');
        if (!value) break;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        if (*value) snprintf(model, sizeof model, "%.127s", value);
        break;
    }
    fclose(f);
}

const char *om_cpu_model(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_model);
    return model;
}

const char *om_cpu_flags_text(void)
{
    static const char *const names[] = {"avx2", "avx512", "vnni", "bf16",
                                        "amx"}; /* in the order of their bits */
    static _Thread_local char text[64];
    size_t len = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (om_cpu_flags() & 1u << i)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "", names[i]);
    return text;
}
