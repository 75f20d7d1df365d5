#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

extern char **environ;

#define MOST_WATCHED 4096

/* What the watchdog is told: a group began, or (negative) is over. */
typedef struct word {
    pid_t group;
} word;

static bool read_word(int fd, word *w)
{
    ssize_t n;
    do n = read(fd, w, sizeof *w);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *w;
}

/* Only what is safe between fork and exec. */
static void watch(int fd)
{
    static pid_t groups[MOST_WATCHED];
    int n = 0, null = open("/dev/null", O_RDWR);
    word w;
    setsid();
    prctl(PR_SET_NAME, "omma-watch");
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (int i = 0; i < 3; i++) dup2(null, i); /* nobody waits for what is read from here */
    while (read_word(fd, &w)) {
        if (w.group > 0 && n < MOST_WATCHED) groups[n++] = w.group;
        for (int i = 0; i < n && w.group < 0; i++)
            if (groups[i] == -w.group) groups[i--] = groups[--n];
    }
    for (int i = 0; i < n; i++) kill(-groups[i], SIGKILL);
    _exit(0);
}

int om_watchdog_start(om_watchdog *w)
{
    int ends[2];
    w->fd = -1;
    w->pid = 0;
    if (pipe2(ends, O_CLOEXEC)) return om_fail(om_err_from_errno(errno), "a pipe: %s", strerror(errno));
    w->pid = fork();
    if (!w->pid) {
        close(ends[1]);
        watch(ends[0]);
    }
    close(ends[0]);
    if (w->pid > 0) {
        w->fd = ends[1];
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        return OM_OK;
    }
    close(ends[1]);
    w->pid = 0;
    return om_fail(om_err_from_errno(errno), "cannot start a process: %s", strerror(errno));
}

void om_watchdog_stop(om_watchdog *w)
{
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    while (w->pid > 0 && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR) continue;
    w->pid = 0;
}

static void tell(om_watchdog *w, pid_t group)
{
    word v = {group};
    ssize_t n;
    do n = write(w->fd, &v, sizeof v);
    while (n < 0 && errno == EINTR);
}

/* The child's side; the parent reads an errno if there is no program to run. */
static void become(const om_child_params *p, pid_t parent, int log, int report)
{
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127); /* it ended in between */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    if (p->cores) sched_setaffinity(0, sizeof *p->cores, p->cores);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    execvpe(p->argv[0], p->argv, p->envp);
    int why = errno;
    if (write(report, &why, sizeof why)) _exit(127);
    _exit(127);
}

int om_child_start(om_watchdog *w, const om_child_params *p, pid_t *out)
{
    int report[2], why = 0;
    pid_t parent = getpid();
    *out = 0;
    int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) return om_fail(om_err_from_errno(errno), "%s: cannot write: %s", p->log, strerror(errno));
    if (pipe2(report, O_CLOEXEC)) {
        int err = om_fail(om_err_from_errno(errno), "a pipe: %s", strerror(errno));
        close(log);
        return err;
    }
    pid_t pid = fork();
    if (!pid) become(p, parent, log, report[1]);
    int failed = errno;
    close(report[1]);
    close(log);
    if (pid > 0) {
        setpgid(pid, pid); /* whichever of the two comes first */
        tell(w, pid);
        ssize_t n;
        do n = read(report[0], &why, sizeof why);
        while (n < 0 && errno == EINTR);
    }
    close(report[0]);
    if (pid < 0) return om_fail(om_err_from_errno(failed), "cannot start a process: %s", strerror(failed));
    if (why) {
        waitpid(pid, NULL, 0);
        tell(w, -pid);
        return om_fail(OM_ERR_NOT_FOUND, "%s: %s", p->argv[0], strerror(why));
    }
    *out = pid;
    return OM_OK;
}

void om_child_signal(pid_t pid, int number) { kill(-pid, number); }

bool om_child_ended(om_watchdog *w, pid_t pid, int *status)
{
    if (waitpid(pid, status, WNOHANG) != pid) return false;
    kill(-pid, SIGKILL);
    while (waitpid(-pid, NULL, 0) > 0) continue; /* those that became ours */
    tell(w, -pid);
    return true;
}

static bool overridden(const char *entry, const om_strlist *pairs)
{
    size_t n = strcspn(entry, "=");
    for (size_t i = 0; i < pairs->n; i++)
        if (!strncmp(entry, pairs->items[i], n + 1)) return true;
    return false;
}

int om_child_env(const om_strlist *pairs, char ***out)
{
    size_t n = 0, all = pairs->n;
    for (char **e = environ; *e; e++) all++;
    char **env = om_calloc(all + 1, sizeof *env);
    *out = NULL;
    if (!env) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (char **e = environ; *e && !err; e++)
        if (!overridden(*e, pairs) && !(env[n++] = om_strdup(*e))) err = OM_ERR_NOMEM;
    for (size_t i = 0; i < pairs->n && !err; i++)
        if (!(env[n++] = om_strdup(pairs->items[i]))) err = OM_ERR_NOMEM;
    if (err) om_child_env_free(env);
    else *out = env;
    return err;
}

void om_child_env_free(char **env)
{
    for (char **e = env; e && *e; e++) om_free(*e);
    om_free(env);
}
