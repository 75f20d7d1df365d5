/* A profile of the same model under one of NVIDIA's tools: found, started, waited for, read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "profile/counters.h"

#define MAX_ARGS 64
#define MAX_TABLE (256u << 20)
#define TAIL 400

extern char **environ;

static const struct {
    const char *program, *flag, *product, *package;
} tools[] = {[OM_TOOL_NCU] = {"ncu", "--ncu", "Nsight Compute", "nsight-compute"},
             [OM_TOOL_NSYS] = {"nsys", "--nsys", "Nsight Systems", "nsight-systems"}};

static bool is_program(const char *file)
{
    struct stat st;
    return stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0;
}

/* The program in $PATH, or where CUDA's toolkit puts it. om_free(); NULL: not there. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        char *file = om_sprintf("%.*s/%s", (int)n, at, name);
        if (!file || is_program(file)) return file;
        om_free(file);
        at += n + (at[n] == ':');
    }
    char *file = om_sprintf("/usr/local/cuda/bin/%s", name);
    if (file && is_program(file)) return file;
    om_free(file);
    return NULL;
}

/* A command and the texts that were made for it. */
typedef struct command {
    const char *argv[MAX_ARGS + 1];
    int n;
    om_strlist made;
    bool failed;
} command;

static void put(command *c, const char *text)
{
    if (c->n == MAX_ARGS) c->failed = true;
    else c->argv[c->n++] = text;
}

/* Takes the text over. */
static void put_made(command *c, char *text)
{
    c->failed = c->failed || !text || om_strlist_add(&c->made, text);
    om_free(text);
    if (!c->failed) put(c, c->made.items[c->made.n - 1]);
}

static const char *precision_name(om_precision v)
{
    for (const om_choice *c = om_precision_choices; c->name; c++)
        if (c->value == (int)v) return c->name;
    return "auto";
}

/* This process's own program, by name: under a tool /proc/self is the tool's. */
static void put_self(command *c)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n > 0 && n < (ssize_t)sizeof path) put_made(c, om_sprintf("%.*s", (int)n, path));
    else put(c, "omma");
}

/* The profile again, as short as it can be. */
static void put_profile(command *c, const om_profile *p, const om_tool_params *q)
{
    if (q->command) put(c, q->command);
    else put_self(c);
    put(c, "profile");
    put(c, p->model);
    put(c, "--device");
    put(c, p->device);
    put(c, "--batch");
    put_made(c, om_sprintf("%d", p->batch));
    put(c, "--precision");
    put(c, precision_name(q->precision));
    if (q->size.width) {
        put(c, "--input-size");
        put_made(c, om_sprintf("%dx%d", q->size.width, q->size.height));
    }
    put(c, "--iterations");
    put(c, "3");
    put(c, "--quiet");
}

#define TICK_NS (20 * OM_NS_PER_MS)
#define GRACE_NS (5 * OM_NS_PER_SEC)

/* Until it has ended; asked to where the user wants no more of it. */
static int wait_for(pid_t pid, om_cancel *cancel, int *status)
{
    int64_t asked = 0;
    pid_t ended;
    while ((ended = waitpid(pid, status, WNOHANG)) != pid) {
        int64_t now = om_now_ns();
        if (ended < 0 && errno != EINTR) return om_fail(OM_ERR_DEVICE, "a tool's end was missed");
        if (om_cancelled(cancel) && !asked) {
            kill(pid, SIGTERM);
            asked = now;
        } else if (asked && now - asked > GRACE_NS) {
            kill(pid, SIGKILL);
        }
        om_cancel_sleep_until(NULL, now + TICK_NS);
    }
    return asked ? om_fail(OM_ERR_CANCELLED, "stopped") : OM_OK;
}

/* In the caller's group, so that a terminal's Ctrl-C reaches it; with no signal blocked, whatever this one
 * blocks. */
static int spawn(const command *c, const posix_spawn_file_actions_t *files, pid_t *pid)
{
    posix_spawnattr_t how;
    sigset_t none;
    if (posix_spawnattr_init(&how)) return -1;
    sigemptyset(&none);
    int err = posix_spawnattr_setsigmask(&how, &none) ||
              posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK) ||
              posix_spawn(pid, c->argv[0], files, &how, (char *const *)(const void *)c->argv, environ);
    posix_spawnattr_destroy(&how);
    return err;
}

/* Runs it with standard output going to `to` and standard error to `log`. */
static int run(const command *c, const char *to, const char *log, om_cancel *cancel)
{
    pid_t pid;
    int status = 0;
    posix_spawn_file_actions_t files;
    if (c->failed) return om_fail_nomem("a command");
    if (posix_spawn_file_actions_init(&files)) return om_fail_nomem("a command");
    int flags = O_WRONLY | O_CREAT | O_TRUNC;
    int err = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
              posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, to, flags, 0600) ||
              posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, flags, 0600) ||
              spawn(c, &files, &pid);
    posix_spawn_file_actions_destroy(&files);
    if (err) return om_fail(OM_ERR_DEVICE, "%s: cannot be started", c->argv[0]);
    err = wait_for(pid, cancel, &status);
    if (err) return err;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OM_OK;
    return om_fail(OM_ERR_DEVICE, "%s: ended with %s %d", c->argv[0],
                   WIFEXITED(status) ? "exit code" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void add_tail(om_str *out, const char *path)
{
    char *text = NULL;
    size_t len;
    if (om_read_file(path, MAX_TABLE, &text, &len)) return;
    while (len && text[len - 1] == '\n') text[--len] = '\0';
    const char *from = len > TAIL ? text + len - TAIL : text;
    for (; *from; from++) om_str_addc(out, *from == '\n' ? ' ' : *from);
    om_str_addc(out, ' ');
    om_free(text);
}

/* Says why it failed in the tool's own words, which are in one of these files. */
static int explain(int err, om_tool tool, const char *a, const char *b)
{
    om_str said = {0};
    char ended[300]; /* reading the files writes the slot anew */
    if (!err || err == OM_ERR_CANCELLED) return err;
    snprintf(ended, sizeof ended, "%s", om_error_message());
    add_tail(&said, a);
    add_tail(&said, b);
    const char *text = om_str_get(&said);
    if (strstr(text, "ERR_NVGPUCTRPERM"))
        err = om_fail(
            OM_ERR_DEVICE,
            "%s: this user may not read the GPU's counters (ERR_NVGPUCTRPERM): run as root, or load the "
            "driver with NVreg_RestrictProfilingToAdminUsers=0",
            tools[tool].flag);
    else err = om_fail(err, "%s: %s: %s", tools[tool].flag, ended, text);
    om_str_fini(&said);
    return err;
}

/* The files of one run, in a folder of their own. */
typedef struct work {
    char *folder; /* NULL: not made */
    char *table, *out, *log, *report;
} work;

static int work_init(work *w)
{
    const char *dir = getenv("TMPDIR");
    w->folder = om_sprintf("%s/omma-tool-XXXXXX", dir && *dir ? dir : "/tmp");
    if (!w->folder) return OM_ERR_NOMEM;
    if (!mkdtemp(w->folder)) {
        int err = om_fail(OM_ERR_IO, "%s: cannot make this folder: %s", w->folder, strerror(errno));
        om_free(w->folder);
        w->folder = NULL;
        return err;
    }
    w->table = om_sprintf("%s/table.csv", w->folder);
    w->out = om_sprintf("%s/out", w->folder);
    w->log = om_sprintf("%s/log", w->folder);
    w->report = om_sprintf("%s/report.nsys-rep", w->folder);
    return w->table && w->out && w->log && w->report ? OM_OK : om_fail_nomem("names of files");
}

/* With whatever the tool has left there. */
static void work_fini(work *w)
{
    DIR *d = w->folder ? opendir(w->folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char *file = om_sprintf("%s/%s", w->folder, e->d_name);
        if (file && strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) (void)unlink(file);
        om_free(file);
    }
    if (d) closedir(d);
    if (w->folder) (void)rmdir(w->folder);
    char *names[] = {w->folder, w->table, w->out, w->log, w->report};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) om_free(names[i]);
}

static int read_table(om_profile *p, om_tool tool, const char *path)
{
    char *text = NULL;
    size_t len;
    int err = om_read_file(path, MAX_TABLE, &text, &len);
    if (!err)
        err = tool == OM_TOOL_NCU ? om_counters_read_ncu(p, text, tools[tool].program)
                                  : om_counters_read_nsys(p, text, tools[tool].program);
    om_free(text);
    return err;
}

static int run_ncu(om_profile *p, const om_tool_params *q, const char *program, work *w)
{
    command c = {.n = 0};
    om_str metrics = {0};
    int err = om_counters_ncu_metrics(&metrics);
    put(&c, program);
    put(&c, "--csv");
    put(&c, "--page");
    put(&c, "raw");
    put(&c, "--nvtx");
    put(&c, "--nvtx-include");
    put(&c, "omma@" OM_PROFILE_SPAN "/");
    put(&c, "--metrics");
    put(&c, om_str_get(&metrics));
    /* As they are in a run, not after a flush and at a lowered clock. */
    put(&c, "--cache-control");
    put(&c, "none");
    put(&c, "--clock-control");
    put(&c, "none");
    put(&c, "--log-file");
    put(&c, w->table);
    put_profile(&c, p, q);
    if (!err) err = run(&c, w->out, w->log, q->cancel);
    if (!err) err = read_table(p, q->tool, w->table);
    err = explain(err, q->tool, w->table, w->log);
    om_strlist_fini(&c.made);
    om_str_fini(&metrics);
    return err;
}

static int run_nsys(om_profile *p, const om_tool_params *q, const char *program, work *w)
{
    command c = {.n = 0}, stats = {.n = 0};
    put(&c, program);
    put(&c, "profile");
    put(&c, "--trace=cuda,nvtx");
    put(&c, "--sample=none");
    put(&c, "--cpuctxsw=none");
    put(&c, "--force-overwrite=true");
    put(&c, "--output");
    put(&c, w->report);
    put_profile(&c, p, q);
    put(&stats, program);
    put(&stats, "stats");
    put(&stats, "--report");
    put(&stats, "nvtx_gpu_proj_trace");
    put(&stats, "--format");
    put(&stats, "csv");
    put(&stats, w->report);
    int err = run(&c, w->out, w->log, q->cancel);
    err = explain(err, q->tool, w->out, w->log);
    if (!err) {
        err = run(&stats, w->table, w->log, q->cancel);
        if (!err) err = read_table(p, q->tool, w->table);
        err = explain(err, q->tool, w->table, w->log);
    }
    om_strlist_fini(&c.made);
    om_strlist_fini(&stats.made);
    return err;
}

int om_profile_count(om_profile *p, const om_tool_params *params)
{
    om_tool tool = params->tool;
    work w = {.folder = NULL};
    char *program = find_program(tools[tool].program);
    if (!program)
        return om_fail(
            OM_ERR_NOT_FOUND,
            "%s: %s (the command '%s') is not installed here: it comes with NVIDIA's CUDA toolkit, and as "
            "package %s; put its folder into PATH",
            tools[tool].flag, tools[tool].product, tools[tool].program, tools[tool].package);
    int err = work_init(&w);
    if (!err) err = tool == OM_TOOL_NCU ? run_ncu(p, params, program, &w) : run_nsys(p, params, program, &w);
    if (!err) snprintf(p->counted_by, sizeof p->counted_by, "%s", tools[tool].program);
    work_fini(&w);
    om_free(program);
    return err;
}
