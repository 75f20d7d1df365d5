#include "pipeline/census.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

static bool read_text(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    if (f) fclose(f);
    out[n] = '\0';
    return n > 0;
}

/* All processor packages together; negative where they do not tell, or not us. */
static double read_energy(void)
{
    double joules = 0;
    bool any = false;
    for (int i = 0; i < 8; i++) {
        char path[80], text[32];
        snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%d/energy_uj", i);
        if (!read_text(path, text, sizeof text)) break;
        joules += strtod(text, NULL) / 1e6;
        any = true;
    }
    return any ? joules : -1;
}

/* How long a quota has held the group of this process back. */
static int64_t read_throttled(void)
{
    char text[1024];
    if (!read_text("/sys/fs/cgroup/cpu.stat", text, sizeof text)) return -1;
    const char *at = strstr(text, "throttled_usec ");
    return at ? strtoll(at + 15, NULL, 10) : -1;
}

static int64_t read_hot(void)
{
    char text[32];
    const char *path = "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count";
    return read_text(path, text, sizeof text) ? strtoll(text, NULL, 10) : -1;
}

static bool read_thread(long tid, int64_t *cpu_ns, int64_t *wait_ns, char *name, size_t size)
{
    char path[64], text[96];
    snprintf(path, sizeof path, "/proc/self/task/%ld/comm", tid);
    if (!read_text(path, name, size)) return false;
    name[strcspn(name, "\n")] = '\0';
    snprintf(path, sizeof path, "/proc/self/task/%ld/schedstat", tid);
    if (!read_text(path, text, sizeof text)) return false;
    char *end;
    *cpu_ns = strtoll(text, &end, 10);
    *wait_ns = strtoll(end, NULL, 10);
    return true;
}

static om_census_thread *find(om_census *c, long tid)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->threads[i].tid == tid) return &c->threads[i];
    void *items = c->threads;
    if (om_grow(&items, &c->cap, c->n + 1, sizeof *c->threads)) return NULL;
    c->threads = items;
    c->threads[c->n] = (om_census_thread){.tid = tid, .threads = 1};
    return &c->threads[c->n++];
}

/* `first`: what a thread has used before does not count. */
static void ask_threads(om_census *c, bool first)
{
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d));) {
        int64_t cpu, wait;
        char name[16];
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0 || !read_thread(tid, &cpu, &wait, name, sizeof name)) continue;
        om_census_thread *t = find(c, tid);
        if (!t) break;
        memcpy(t->name, name, sizeof name);
        if (first) t->cpu_base = cpu, t->wait_base = wait;
        t->cpu_ns = cpu - t->cpu_base;
        t->wait_ns = wait - t->wait_base;
    }
    if (d) closedir(d);
}

static void restart(om_census *c)
{
    c->start_ns = c->last_ns = om_now_ns();
    c->cpu_base_ns = om_process_cpu_ns();
    c->energy_base_j = c->energy_j = read_energy();
    c->throttled_base_us = c->throttled_us = read_throttled();
    c->hot_base = c->hot = read_hot();
    for (size_t i = 0; i < c->n; i++)
        if (!c->threads[i].tid) c->threads[i].cpu_ns = c->threads[i].wait_ns = c->threads[i].threads = 0;
    ask_threads(c, true);
}

int om_census_create(om_census **out)
{
    om_census *c = *out = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    pthread_mutex_init(&c->lock, NULL);
    restart(c);
    return OM_OK;
}

void om_census_restart(om_census *c)
{
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    restart(c);
    pthread_mutex_unlock(&c->lock);
}

void om_census_destroy(om_census *c)
{
    if (!c) return;
    pthread_mutex_destroy(&c->lock);
    om_free(c->threads);
    om_free(c);
}

void om_census_take(om_census *c)
{
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    ask_threads(c, false);
    double energy = read_energy();
    if (energy >= c->energy_j) c->energy_j = energy; /* the counter starts again now and then */
    c->throttled_us = read_throttled();
    c->hot = read_hot();
    c->last_ns = om_now_ns();
    pthread_mutex_unlock(&c->lock);
}

/* "om-s12" and "om-s3" are one. */
static void group_name(const char *name, char out[16])
{
    size_t n = 0;
    for (; *name && n < 15; name++)
        if (!isdigit((unsigned char)*name)) out[n++] = *name;
    out[n] = '\0';
}

/* The sum of those of this kind that have ended. */
static om_census_thread *find_sum(om_census *c, const char *kind)
{
    for (size_t i = 0; i < c->n; i++)
        if (!c->threads[i].tid && !strcmp(c->threads[i].name, kind)) return &c->threads[i];
    return NULL;
}

void om_census_leave(om_census *c)
{
    if (!c) return;
    int64_t cpu, wait;
    char name[16], kind[16];
    pthread_mutex_lock(&c->lock);
    om_census_thread *t = find(c, gettid());
    if (t && read_thread(t->tid, &cpu, &wait, name, sizeof name)) {
        memcpy(t->name, name, sizeof name);
        t->cpu_ns = cpu - t->cpu_base;
        t->wait_ns = wait - t->wait_base;
    }
    if (t) {
        group_name(t->name, kind);
        om_census_thread *sum = find_sum(c, kind);
        if (sum) {
            sum->cpu_ns += t->cpu_ns;
            sum->wait_ns += t->wait_ns;
            sum->threads++;
            *t = c->threads[--c->n];
        } else {
            t->tid = 0;
            memcpy(t->name, kind, sizeof kind);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

int om_census_open_thread(void) { return open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC); }

int64_t om_census_waited_ns(int fd)
{
    char text[96], *end;
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = '\0';
    strtoll(text, &end, 10);
    return strtoll(end, NULL, 10);
}

typedef struct group {
    char name[16];
    int threads;
    int64_t cpu_ns, wait_ns;
} group;

static int by_cpu(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return (x->cpu_ns < y->cpu_ns) - (x->cpu_ns > y->cpu_ns);
}

static size_t groups_of(const om_census *c, group *out)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        char name[16];
        size_t k = 0;
        group_name(c->threads[i].name, name);
        while (k < n && strcmp(out[k].name, name)) k++;
        if (k == OM_CENSUS_GROUPS) continue;
        if (k == n) {
            out[n] = (group){0};
            memcpy(out[n++].name, name, sizeof name);
        }
        out[k].threads += c->threads[i].threads;
        out[k].cpu_ns += c->threads[i].cpu_ns;
        out[k].wait_ns += c->threads[i].wait_ns;
    }
    qsort(out, n, sizeof *out, by_cpu);
    return n;
}

void om_census_json(om_census *c, uint64_t frames, om_json *j)
{
    group groups[OM_CENSUS_GROUPS];
    om_census_take(c);
    pthread_mutex_lock(&c->lock);
    size_t n = groups_of(c, groups);
    double seconds = (double)(c->last_ns - c->start_ns) / 1e9, wait = 0;
    double cpu = (double)(om_process_cpu_ns() - c->cpu_base_ns) / 1e9;
    om_json_key(j, "threads");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key(j, "name");
        om_json_string(j, groups[i].name);
        om_json_key(j, "threads");
        om_json_int(j, groups[i].threads);
        om_json_key_num(j, "cpu_s", (double)groups[i].cpu_ns / 1e9, 4);
        om_json_key_num(j, "wait_s", (double)groups[i].wait_ns / 1e9, 4);
        om_json_end_object(j);
        wait += (double)groups[i].wait_ns / 1e9;
    }
    om_json_end_array(j);
    om_json_key_num(j, "cores", om_cpu_count(), 4);
    om_json_key_num(j, "cores_of_machine", (double)sysconf(_SC_NPROCESSORS_ONLN), 4);
    om_json_key_num(j, "cpu_seconds", cpu, 4);
    om_json_key_num(j, "cores_busy", seconds > 0 ? cpu / seconds : 0, 4);
    om_json_key_num(j, "core_wait_seconds", wait, 4);
    if (c->throttled_us >= 0)
        om_json_key_num(j, "throttled_seconds", (double)(c->throttled_us - c->throttled_base_us) / 1e6, 4);
    if (c->hot >= 0) om_json_key_num(j, "power_throttles", (double)(c->hot - c->hot_base), 4);
    om_json_key(j, "power");
    if (c->energy_base_j < 0 || seconds <= 0) {
        om_json_null(j);
    } else {
        double joules = c->energy_j - c->energy_base_j;
        om_json_begin_object(j);
        om_json_key_num(j, "joules", joules, 4);
        om_json_key_num(j, "watts", joules / seconds, 4);
        om_json_key_num(j, "joules_a_frame", frames ? joules / (double)frames : 0, 4);
        om_json_end_object(j);
    }
    pthread_mutex_unlock(&c->lock);
}
