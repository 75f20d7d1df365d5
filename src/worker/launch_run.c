/* Starts, watches, restarts and stops what a launch consists of. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "worker/child.h"
#include "worker/launch.h"
#include "worker/launch_stats.h"
#include "worker/picture_writer.h"

#define TICK_NS (20 * OM_NS_PER_MS)
#define MOST_BACKOFF_S 60.0
#define USAGE 2 /* exit code of omma where its command line is wrong: again would be no better */

typedef enum state { WAITING, RUNNING, OVER } state;

/* One copy of a job at work. */
typedef struct process {
    size_t item; /* of the result */
    state state;
    pid_t pid;
    int64_t due_ns, begun_ns, asked_ns; /* asked: to stop; 0: not */
    bool timed_out;
    double backoff_s;
    int left; /* runs to come */
} process;

typedef struct launch {
    const om_launch_params *p;
    om_launch_result *r;
    om_watchdog watchdog;
    process *all;
    size_t n;
    char self[4096];
    int64_t next_progress_ns;
} launch;

static void say(launch *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(launch *l, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (l->p->line) l->p->line(l->p->user, text);
}

static om_launched *item_of(const launch *l, const process *p) { return &l->r->items[p->item]; }

/* "resnet", "resnet.2" of several copies, "alone resnet" */
static const char *name_of(const om_launched *i, char out[160])
{
    char copy[16] = "";
    if (i->job->copies > 1 && !i->alone) snprintf(copy, sizeof copy, ".%d", i->copy + 1);
    snprintf(out, 160, "%s%s%s", i->job->name, copy, i->alone ? " alone" : "");
    return out;
}

static bool given(const om_job *job, const char *flag)
{
    size_t n = strlen(flag);
    for (size_t i = 0; i < job->args.n; i++)
        if (!strncmp(job->args.items[i], flag, n) && (!job->args.items[i][n] || job->args.items[i][n] == '='))
            return true;
    return false;
}

/* The words of a prefix, {dir} replaced. */
static int add_prefix(const char *prefix, const char *dir, om_strlist *out)
{
    int err = OM_OK;
    for (const char *p = prefix; p && !err;) {
        p += strspn(p, " \t");
        size_t n = strcspn(p, " \t");
        if (!n) break;
        om_str word = {0};
        for (size_t i = 0; i < n; i++) {
            bool folder = n - i >= 5 && !strncmp(p + i, "{dir}", 5);
            if (folder) om_str_add(&word, dir);
            else om_str_addc(&word, p[i]);
            i += folder ? 4 : 0;
        }
        err = word.failed ? OM_ERR_NOMEM : om_strlist_add(out, om_str_get(&word));
        om_str_fini(&word);
        p += n;
    }
    return err;
}

static int add_pair(om_strlist *out, const char *flag, const char *value)
{
    int err = om_strlist_add(out, flag);
    return err ? err : om_strlist_add(out, value);
}

/* The whole command line of a copy, ended by a NULL. */
static int make_words(launch *l, const om_launched *i, om_strlist *out)
{
    const om_job *job = i->job;
    char report[4096];
    int err = add_prefix(job->prefix, i->dir, out);
    if (!err) err = om_strlist_add(out, l->self);
    for (const char *p = job->command; *p && !err;) { /* "model inspect" is two words */
        size_t n = strcspn(p, " ");
        if (n) err = om_strlist_addn(out, p, n);
        p += n + (p[n] == ' ');
    }
    if (!err && job->device) err = add_pair(out, "--device", job->device);
    if (!err && !strcmp(job->command, "worker") && !given(job, "--output") && !given(job, "-o"))
        err = add_pair(out, "--output", i->dir);
    snprintf(report, sizeof report, "%s/report.json", i->dir);
    if (!err && !strcmp(job->command, "run") && !given(job, "--report"))
        err = add_pair(out, "--report", report);
    for (size_t k = 0; k < job->args.n && !err; k++) err = om_strlist_add(out, job->args.items[k]);
    if (!err) err = om_grow((void **)&out->items, &out->cap, out->n + 1, sizeof *out->items);
    if (!err) out->items[out->n] = NULL;
    return err;
}

static int start(launch *l, process *p)
{
    om_launched *i = item_of(l, p);
    om_strlist words = {0};
    char **env = NULL, name[160], log[4200];
    snprintf(log, sizeof log, "%s/output.log", i->dir);
    int err = om_folder_make(i->dir);
    if (!err) err = make_words(l, i, &words);
    if (!err) err = om_child_env(&i->job->env, &env);
    om_child_params cp = {
        .argv = words.items, .envp = env, .cores = i->job->bound ? &i->job->set : NULL, .log = log};
    if (!err) err = om_child_start(&l->watchdog, &cp, &p->pid);
    om_child_env_free(env);
    om_strlist_fini(&words);
    if (err) return om_fail_prefix(err, "job %s", i->job->name);
    p->state = RUNNING;
    p->begun_ns = om_now_ns();
    p->asked_ns = 0;
    p->timed_out = false;
    i->runs++;
    say(l, "%s: started, process %ld", name_of(i, name), (long)p->pid);
    return OM_OK;
}

static void write_status(om_launched *i, int status, bool timed_out)
{
    const char *late = timed_out ? " after its timeout" : "";
    const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
    if (name) snprintf(i->status, sizeof i->status, "killed by SIG%s%s", name, late);
    else if (WIFSIGNALED(status)) /* those for real time have no names */
        snprintf(i->status, sizeof i->status, "killed by signal %d%s", WTERMSIG(status), late);
    else snprintf(i->status, sizeof i->status, "exit %d%s", WEXITSTATUS(status), late);
}

/* Whether it is to run again after a run that ended so. */
static bool goes_on(const process *p, const om_launched *i, bool failed, bool usage)
{
    if (p->asked_ns && !p->timed_out) return false;
    if (usage || i->restarts >= i->job->restarts) return false;
    if (i->job->restart == OM_RESTART_ALWAYS) return p->left <= 1; /* repeats come anyway */
    return failed && i->job->restart == OM_RESTART_ON_FAILURE;
}

static void end_run(launch *l, process *p, int status)
{
    om_launched *i = item_of(l, p);
    char name[160];
    double seconds = (double)(om_now_ns() - p->begun_ns) / 1e9;
    bool usage = WIFEXITED(status) && WEXITSTATUS(status) == USAGE;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) || p->timed_out;
    bool stopped = p->asked_ns && !p->timed_out;
    i->seconds += seconds;
    i->failures += failed && !stopped;
    i->stopped = stopped;
    write_status(i, status, p->timed_out);
    p->state = OVER;
    if (goes_on(p, i, failed, usage)) {
        p->state = WAITING;
        p->due_ns = om_now_ns() + (int64_t)(p->backoff_s * 1e9);
        say(l, "%s: %s after %.1f s; again in %.1f s", name_of(i, name), i->status, seconds, p->backoff_s);
        p->backoff_s = p->backoff_s * 2 < MOST_BACKOFF_S ? p->backoff_s * 2 : MOST_BACKOFF_S;
        i->restarts++;
        return;
    }
    i->gave_up = failed && !stopped;
    if (!failed && !stopped && --p->left > 0) {
        p->state = WAITING;
        p->due_ns = om_now_ns();
        p->backoff_s = i->job->backoff_s;
    }
    say(l, "%s: %s after %.1f s%s%s", name_of(i, name), i->status, seconds, i->gave_up ? "; see " : "",
        i->gave_up ? i->dir : "");
}

static void ask_to_stop(process *p)
{
    om_child_signal(p->pid, SIGINT);
    p->asked_ns = om_now_ns();
}

static int tick(launch *l, process *p, bool stopping)
{
    int status, err = OM_OK;
    int64_t now = om_now_ns();
    if (p->state == WAITING && stopping) {
        item_of(l, p)->stopped = true;
        p->state = OVER;
    } else if (p->state == WAITING && now >= p->due_ns) {
        err = start(l, p);
        if (err) p->state = OVER;
    } else if (p->state == RUNNING && om_child_ended(&l->watchdog, p->pid, &status)) {
        end_run(l, p, status);
    } else if (p->state == RUNNING) {
        double limit = item_of(l, p)->job->timeout_s, ran = (double)(now - p->begun_ns) / 1e9;
        if (!p->asked_ns && limit > 0 && ran > limit) p->timed_out = true;
        if (!p->asked_ns && (stopping || p->timed_out)) ask_to_stop(p);
        else if (p->asked_ns && (double)(now - p->asked_ns) / 1e9 > l->p->grace_s)
            om_child_signal(p->pid, SIGKILL);
    }
    return err;
}

static void show(launch *l, int64_t begun_ns)
{
    size_t running = 0, over = 0;
    int64_t now = om_now_ns();
    char text[120];
    if (now < l->next_progress_ns || !l->p->progress) return;
    l->next_progress_ns = now + OM_NS_PER_SEC / 4;
    for (size_t i = 0; i < l->n; i++) {
        running += l->all[i].state == RUNNING;
        over += l->all[i].state == OVER;
    }
    snprintf(text, sizeof text, "%zu running, %zu of %zu done  %.0f s", running, over, l->n,
             (double)(now - begun_ns) / 1e9);
    l->p->progress(l->p->user, text);
}

/* Until all are over. A job that cannot be started ends the launch. */
static int run_processes(launch *l)
{
    int64_t begun = om_now_ns();
    int err = OM_OK;
    for (bool busy = true; busy;) {
        busy = false;
        bool stopping = err || om_cancelled(l->p->cancel);
        for (size_t i = 0; i < l->n; i++) {
            int failed = tick(l, &l->all[i], stopping);
            if (!err) err = failed;
            busy = busy || l->all[i].state != OVER;
        }
        show(l, begun);
        if (busy) om_cancel_sleep_until(NULL, om_now_ns() + TICK_NS);
    }
    if (l->p->progress) l->p->progress(l->p->user, NULL);
    return err;
}

static int add_process(launch *l, const om_job *job, int copy, bool alone, bool both)
{
    om_launch_result *r = l->r;
    char name[200];
    int err = om_grow((void **)&r->items, &r->cap, r->n + 1, sizeof *r->items);
    if (err) return err;
    if (job->copies > 1 && !alone) snprintf(name, sizeof name, "%s.%d", job->name, copy + 1);
    else snprintf(name, sizeof name, "%s", job->name);
    om_launched *i = &r->items[r->n];
    *i = (om_launched){.job = job, .alone = alone, .copy = copy};
    i->dir = both ? om_sprintf("%s/%s/%s", r->dir, alone ? "alone" : "together", name)
                  : om_sprintf("%s/%s", r->dir, name);
    if (!i->dir) {
        r->n++;
        return OM_ERR_NOMEM;
    }
    err = om_launch_files_note(i->dir, &i->before);
    l->all[l->n++] = (process){.item = r->n++,
                               .state = WAITING,
                               .due_ns = om_now_ns() + (alone ? 0 : (int64_t)(job->start_s * 1e9)),
                               .backoff_s = job->backoff_s,
                               .left = alone ? 1 : job->repeat};
    return err;
}

static int run_alone(launch *l, const om_launch_config *c)
{
    int err = OM_OK;
    for (size_t i = 0; i < c->n && !err && !om_cancelled(l->p->cancel); i++) {
        l->n = 0;
        err = add_process(l, &c->jobs[i], 0, true, true);
        if (!err) err = run_processes(l);
    }
    return err;
}

static int run_together(launch *l, const om_launch_config *c)
{
    int err = OM_OK;
    l->n = 0;
    for (size_t i = 0; i < c->n && !err; i++)
        for (int k = 0; k < c->jobs[i].copies && !err; k++)
            err = add_process(l, &c->jobs[i], k, false, l->p->alone);
    return err ? err : run_processes(l);
}

static int find_self(launch *l)
{
    ssize_t n = readlink("/proc/self/exe", l->self, sizeof l->self - 1);
    if (n < 0) return om_fail(om_err_from_errno(errno), "/proc/self/exe: %s", strerror(errno));
    l->self[n] = '\0';
    return OM_OK;
}

void om_launch_result_fini(om_launch_result *r)
{
    for (size_t i = 0; i < r->n; i++) {
        om_free(r->items[i].dir);
        om_strlist_fini(&r->items[i].before);
    }
    om_free(r->items);
    om_free(r->dir);
    if (r->lock > 0) close(r->lock);
    memset(r, 0, sizeof *r);
}

/* Two at work in one folder would count each other's rows. Where locks are not known there is none. */
static int lock_folder(om_launch_result *r)
{
    r->lock = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0 || flock(r->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return OM_OK;
    return om_fail(OM_ERR_IO,
                   "%s: another launch is at work in this folder; expected one of its own (-o DIR)", r->dir);
}

int om_launch_run(const om_launch_config *c, const om_launch_params *p, om_launch_result *r)
{
    launch l = {.p = p, .r = r, .watchdog = {.fd = -1}};
    size_t most = 1;
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < c->n; i++) most += (size_t)c->jobs[i].copies;
    l.all = om_calloc(most, sizeof *l.all);
    r->dir = om_strdup(p->output ? p->output : c->output ? c->output : "launched");
    int err = l.all && r->dir ? find_self(&l) : OM_ERR_NOMEM;
    if (!err) err = om_folder_make(r->dir);
    if (!err) err = lock_folder(r);
    if (!err) err = om_watchdog_start(&l.watchdog);
    if (!err && p->alone) err = run_alone(&l, c);
    if (!err && !om_cancelled(p->cancel)) err = run_together(&l, c);
    om_watchdog_stop(&l.watchdog);
    for (size_t i = 0; i < r->n; i++) r->failed += r->items[i].gave_up;
    r->stopped = om_cancelled(p->cancel);
    om_free(l.all);
    return err;
}
