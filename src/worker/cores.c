#include "worker/cores.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

void om_cores_text(const cpu_set_t *set, om_str *out)
{
    bool first = true;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        int last = i;
        if (!CPU_ISSET(i, set)) continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set)) last++;
        om_str_addf(out, last > i ? "%s%d-%d" : "%s%d", first ? "" : ",", i, last);
        first = false;
        i = last;
    }
}

static int fail_list(const char *text)
{
    return om_fail(OM_ERR_ARG, "'%s' is not a list of cores: expected all, or numbers as in 0-3 or 0,2,4-5",
                   text);
}

/* "N" or "N-M" at *p; false: something else. */
static bool range(const char **p, long *low, long *high)
{
    char *end;
    if (!isdigit((unsigned char)**p)) return false;
    *low = *high = strtol(*p, &end, 10);
    if (*end == '-') {
        if (!isdigit((unsigned char)end[1])) return false;
        *high = strtol(end + 1, &end, 10);
    }
    *p = end;
    return *low <= *high && *high < CPU_SETSIZE * 1000L;
}

static bool parse_list(const char *text, cpu_set_t *set, long *highest)
{
    long low, high;
    CPU_ZERO(set);
    *highest = 0;
    for (const char *p = text;; p++) {
        if (!range(&p, &low, &high)) return false;
        for (long i = low; i <= high && i < CPU_SETSIZE; i++) CPU_SET((int)i, set);
        if (high > *highest) *highest = high;
        if (!*p) return true;
        if (*p != ',') return false;
    }
}

int om_cores_parse(const char *text, cpu_set_t *out)
{
    cpu_set_t own, missing;
    long highest;
    if (sched_getaffinity(0, sizeof own, &own))
        return om_fail(om_err_from_errno(errno), "this process's cores are not known: %s", strerror(errno));
    *out = own;
    if (!text || !strcmp(text, "all")) return OM_OK;
    if (!parse_list(text, out, &highest)) return fail_list(text);
    CPU_ZERO(&missing);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, out) && !CPU_ISSET(i, &own)) CPU_SET(i, &missing);
    if (!CPU_COUNT(&missing) && highest < CPU_SETSIZE) return OM_OK;
    om_str all = {0}, no = {0};
    om_cores_text(&own, &all);
    if (CPU_COUNT(&missing)) om_cores_text(&missing, &no);
    else om_str_addf(&no, "%ld", highest);
    int err = om_fail(OM_ERR_ARG, "core list '%s': there is no core %s for this process; it has %s", text,
                      om_str_get(&no), om_str_get(&all));
    om_str_fini(&all);
    om_str_fini(&no);
    return err;
}

int om_cores_bind(const cpu_set_t *set)
{
    if (!sched_setaffinity(0, sizeof *set, set)) return OM_OK;
    return om_fail(om_err_from_errno(errno), "cannot bind to cores: %s", strerror(errno));
}

/* Calls fn for each thread of this process. */
static void each_thread(void (*fn)(void *user, int id), void *user)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *e;
    while (tasks && (e = readdir(tasks)))
        if (isdigit((unsigned char)e->d_name[0])) fn(user, atoi(e->d_name));
    if (tasks) closedir(tasks);
}

static void remember(void *user, int id)
{
    om_threads_before *t = user;
    if (t->n < OM_THREADS_MAX) t->ids[t->n++] = id;
}

void om_threads_look(om_threads_before *t)
{
    t->n = 0;
    each_thread(remember, t);
}

typedef struct binding {
    const om_threads_before *before;
    const cpu_set_t *set;
} binding;

static void bind_new(void *user, int id)
{
    const binding *b = user;
    for (int i = 0; i < b->before->n; i++)
        if (b->before->ids[i] == id) return;
    sched_setaffinity(id, sizeof *b->set, b->set); /* one that has ended needs none */
}

void om_threads_bind_new(const om_threads_before *t, const cpu_set_t *set)
{
    each_thread(bind_new, &(binding){t, set});
}

bool om_cores_halve(const cpu_set_t *set, cpu_set_t *first, cpu_set_t *second)
{
    int n = CPU_COUNT(set), taken = 0;
    CPU_ZERO(first);
    CPU_ZERO(second);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, set)) CPU_SET(i, taken++ < (n + 1) / 2 ? first : second);
    if (n < 2) *second = *first;
    return n >= 2;
}

/* The command of a process, its arguments ended by NULs each; 0: not to be read. */
static size_t read_command(long pid, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    if (f) fclose(f);
    out[n] = '\0';
    return n;
}

static bool is_worker(long pid)
{
    char text[4096];
    size_t n = read_command(pid, text, sizeof text), first = strlen(text) + 1;
    const char *slash = strrchr(text, '/');
    return n > first && !strcmp(slash ? slash + 1 : text, "omma") && !strcmp(text + first, "worker");
}

void om_cores_overlaps(const cpu_set_t *set, om_strlist *out)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;
    while (proc && (e = readdir(proc))) {
        long pid = strtol(e->d_name, NULL, 10);
        cpu_set_t theirs, shared;
        if (pid <= 0 || pid == (long)getpid() || !is_worker(pid)) continue;
        if (sched_getaffinity((pid_t)pid, sizeof theirs, &theirs)) continue;
        CPU_AND(&shared, set, &theirs);
        if (!CPU_COUNT(&shared)) continue;
        om_str line = {0};
        om_str_addf(&line, "worker %ld may run on the same core%s ", pid, CPU_COUNT(&shared) == 1 ? "" : "s");
        om_cores_text(&shared, &line);
        if (!line.failed) om_strlist_add(out, om_str_get(&line));
        om_str_fini(&line);
    }
    if (proc) closedir(proc);
}
