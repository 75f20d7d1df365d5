#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/supervise_report.h"
#include "cli/ward.h"

#define SELF "/proc/self/exe"
#define LEAST_PAUSE_NS OM_NS_PER_SEC
#define MOST_PAUSE_NS (60 * OM_NS_PER_SEC)
#define PROBE_NS (20 * OM_NS_PER_SEC) /* a driver that does not answer in this time does not answer */
#define MOST_WORDS ((size_t)4 << 20)  /* bytes of a command line */
#define ATTEMPTS 3                    /* to start who takes over when nobody runs any more */

/* One process of the run. Zeroed, with fd -1: there is none. */
typedef struct side {
    pid_t pid;
    int fd;
    bool ready; /* it waits, and may take over */
    om_str in;
} side;

typedef struct supervisor {
    char **argv; /* of this command line; texts in `line` */
    om_str line;
    int signals; /* a descriptor */
    sigset_t mask;
    side now, next;
    om_json_value *handover; /* of a run that was stopped for the next one; also in `report` */
    om_supervised report;
    bool lost, handing, stopping;
    pid_t probe;
    int64_t probe_ns, ask_ns, pause_ns, lost_ns, handed_ns;
    int attempts, status;
} supervisor;

static int read_command_line(supervisor *s)
{
    char *text;
    size_t len, n = 0, at = 0;
    int err = om_read_file("/proc/self/cmdline", MOST_WORDS, &text, &len);
    if (err) return err;
    om_str_addn(&s->line, text, len);
    om_free(text);
    for (size_t i = 0; i < s->line.len; i++) n += !s->line.data[i];
    s->argv = om_calloc(n + 1, sizeof *s->argv);
    if (!s->argv || s->line.failed) return OM_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        s->argv[i] = s->line.data + at;
        at += strlen(s->argv[i]) + 1;
    }
    return OM_OK;
}

static int watch_signals(supervisor *s)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2, SIGCHLD};
    sigemptyset(&s->mask);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) sigaddset(&s->mask, all[i]);
    sigprocmask(SIG_BLOCK, &s->mask, NULL);
    s->signals = signalfd(-1, &s->mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? om_fail(om_err_from_errno(errno), "signals: %s", strerror(errno)) : OM_OK;
}

/* The child's side of a fork: a process group of its own, so that a terminal's Ctrl-C comes once, from here.
 */
static void become(const supervisor *s, char *const *argv, pid_t parent, bool silent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    sigprocmask(SIG_UNBLOCK, &s->mask, NULL);
    int null = silent ? open("/dev/null", O_RDWR) : -1;
    for (int i = 0; silent && i < 3; i++) dup2(null, i);
    execv(SELF, argv);
    _exit(127);
}

static int start(supervisor *s, side *to, bool follows)
{
    int ends[2];
    char name[32];
    pid_t parent = getpid();
    *to = (side){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return om_fail(om_err_from_errno(errno), "a socket: %s", strerror(errno));
    snprintf(name, sizeof name, "%d%s", ends[1], follows ? ":next" : "");
    pid_t pid = fork();
    if (!pid) {
        fcntl(ends[1], F_SETFD, 0);
        setenv(OM_WARD_ENV, name, 1);
        become(s, s->argv, parent, false);
    }
    int failed = errno;
    close(ends[1]);
    if (pid > 0) {
        to->pid = pid;
        to->fd = ends[0];
        return OM_OK;
    }
    close(ends[0]);
    return om_fail(om_err_from_errno(failed), "cannot start a process: %s", strerror(failed));
}

static void forget(side *of)
{
    if (of->fd >= 0) close(of->fd);
    om_str_fini(&of->in);
    *of = (side){.fd = -1};
}

static void put_down(side *of)
{
    if (of->pid > 0) {
        kill(of->pid, SIGKILL);
        while (waitpid(of->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    forget(of);
}

static void command(const side *to, const char *cmd, const char *key, const om_json_value *v)
{
    om_json j;
    om_str text = {0};
    om_json_init(&j, &text, 0);
    om_json_begin_object(&j);
    om_json_key_string(&j, "cmd", cmd);
    if (key) {
        om_json_key(&j, key);
        om_json_copy(&j, v);
    }
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    if (om_ward_write(to->fd, &text)) om_log(OM_LOG_DEBUG, "supervisor: %s", om_error_message());
    om_str_fini(&text);
}

/* ---- asking the GPU ---- */

static void ask_later(supervisor *s)
{
    s->pause_ns = s->pause_ns ? s->pause_ns * 2 : LEAST_PAUSE_NS;
    if (s->pause_ns > MOST_PAUSE_NS) s->pause_ns = MOST_PAUSE_NS;
    s->ask_ns = om_now_ns() + s->pause_ns;
}

static void begin_probe(supervisor *s)
{
    char *argv[] = {s->argv[0], "info", "--probe", s->report.device, NULL};
    pid_t parent = getpid();
    s->report.probes++;
    s->probe_ns = om_now_ns();
    s->probe = fork();
    if (!s->probe) become(s, argv, parent, true);
    if (s->probe > 0) return;
    s->probe = 0;
    ask_later(s);
}

static void end_probe(supervisor *s, int status)
{
    double seconds = (double)(om_now_ns() - s->lost_ns) / 1e9;
    s->probe = 0;
    if (!s->lost || s->stopping) return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !start(s, &s->next, true)) {
        om_log(OM_LOG_WARN, "supervisor: %s answers again, %.1f s after its loss; another process gets ready",
               s->report.device, seconds);
        command(&s->now, "sizes", NULL, NULL);
        return;
    }
    ask_later(s);
    om_log(OM_LOG_INFO, "supervisor: %s does not answer; asked again in %.0f s", s->report.device,
           (double)s->pause_ns / 1e9);
}

/* ---- what the processes say ---- */

static void note_loss(supervisor *s, const om_json_value *v)
{
    om_supervised *r = &s->report;
    snprintf(r->device, sizeof r->device, "%s", om_json_get_string(v, "device"));
    snprintf(r->cause, sizeof r->cause, "%s", om_json_get_string(v, "cause"));
    r->losses++;
    s->lost = true;
    s->lost_ns = om_now_ns();
    s->pause_ns = 0;
    ask_later(s);
    om_log(OM_LOG_WARN, "supervisor: %s is lost to this process; another one will ask for it in %.0f s",
           r->device, (double)s->pause_ns / 1e9);
}

static void take_over(supervisor *s)
{
    if (s->now.pid || !s->handover || !s->next.ready) return;
    command(&s->next, "go", "streams", om_json_get_list(s->handover, "streams"));
    s->now = s->next;
    s->next = (side){.fd = -1};
    s->handover = NULL;
    s->handing = s->lost = false;
    s->attempts = 0;
}

static void heard_now(supervisor *s, om_json_value *v)
{
    const char *event = om_json_get_string(v, "event");
    if (!strcmp(event, "lost")) note_loss(s, v);
    if (!strcmp(event, "sizes") && s->next.pid)
        command(&s->next, "warm", "sizes", om_json_get_list(v, "sizes"));
    if (!strcmp(event, "started") && s->handed_ns) {
        double gap = (double)(om_now_ns() - s->handed_ns) / 1e9;
        s->report.gap_s += gap;
        s->report.returns++;
        s->handed_ns = 0;
        om_log(OM_LOG_WARN, "supervisor: taken over, back on %s; between the two %.1f s", s->report.device,
               gap);
    }
    if (!strcmp(event, "end") && !om_supervised_add(&s->report, v)) s->handover = v;
    else om_json_free(v);
}

static void heard_next(supervisor *s, om_json_value *v)
{
    if (!strcmp(om_json_get_string(v, "event"), "ready") && !s->next.ready) {
        s->next.ready = true;
        s->handing = true;
        if (!s->handed_ns) s->handed_ns = om_now_ns();
        if (s->now.pid) command(&s->now, "hand_over", NULL, NULL);
    }
    om_json_free(v);
}

/* Until there is nothing more for the moment; with `all`, until its end is closed. */
static void hear(supervisor *s, side *from, void (*take)(supervisor *s, om_json_value *v), bool all)
{
    om_json_value *v;
    for (;;) {
        int err = om_ward_read(from->fd, &from->in, &v);
        struct pollfd f = {.fd = from->fd, .events = POLLIN};
        if (!err) take(s, v);
        else if (err == OM_ERR_AGAIN && all) poll(&f, 1, -1);
        else break;
        if (from->fd < 0) break;
    }
}

/* ---- ends ---- */

static int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

static bool is_left(const om_json_value *handover)
{
    const om_json_value *streams = om_json_get_list(handover, "streams");
    return streams && streams->n > 0;
}

static void now_ended(supervisor *s, int status)
{
    hear(s, &s->now, heard_now, true);
    forget(&s->now);
    if (code_of(status) > s->status) s->status = code_of(status);
    bool goes_on = s->handing && !s->stopping && code_of(status) <= OM_EXIT_FAILED && is_left(s->handover);
    if (!goes_on) s->handover = NULL;
    else take_over(s);
}

/* Who was to take over has failed: the run goes on where it is, or, where it has been stopped already,
 * another one is tried. */
static void next_ended(supervisor *s, int status)
{
    forget(&s->next);
    if (s->stopping) return;
    om_log(OM_LOG_WARN, "supervisor: who was to take over ended with status %d", code_of(status));
    if (!s->handing) {
        ask_later(s);
        return;
    }
    if (++s->attempts < ATTEMPTS && !start(s, &s->next, true)) {
        command(&s->next, "warm", NULL, NULL);
        return;
    }
    s->handing = false;
    s->handover = NULL;
    s->status = OM_EXIT_FAILED;
}

static void bury(supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == s->now.pid) now_ended(s, status);
        else if (pid == s->next.pid) next_ended(s, status);
        else if (pid == s->probe) end_probe(s, status);
    }
}

static void take_signals(supervisor *s)
{
    struct signalfd_siginfo i;
    while (read(s->signals, &i, sizeof i) == (ssize_t)sizeof i) {
        if (i.ssi_signo == SIGCHLD) continue;
        if (i.ssi_signo != SIGHUP && i.ssi_signo != SIGUSR2) {
            s->stopping = true;
            put_down(&s->next);
            if (!s->now.pid) s->handover = NULL;
        }
        if (s->now.pid) kill(s->now.pid, (int)i.ssi_signo);
    }
    bury(s);
}

/* ---- the loop ---- */

static int next_wait_ms(const supervisor *s)
{
    int64_t at = OM_NEVER, now = om_now_ns();
    if (s->probe) at = s->probe_ns + PROBE_NS;
    else if (s->lost && !s->next.pid && !s->stopping) at = s->ask_ns;
    if (at == OM_NEVER) return -1;
    return at <= now ? 0 : (int)((at - now) / OM_NS_PER_MS) + 1;
}

static void look(supervisor *s)
{
    int64_t now = om_now_ns();
    if (s->probe && now >= s->probe_ns + PROBE_NS) {
        kill(s->probe, SIGKILL); /* its end is heard of, if the driver lets it go */
        s->probe_ns = now;
    } else if (s->lost && s->now.pid && !s->probe && !s->next.pid && !s->stopping && now >= s->ask_ns) {
        begin_probe(s);
    }
}

static void go_on(supervisor *s)
{
    while (s->now.pid || s->handover) {
        struct pollfd all[] = {{.fd = s->signals, .events = POLLIN},
                               {.fd = s->now.fd, .events = POLLIN},
                               {.fd = s->next.fd, .events = POLLIN}};
        poll(all, 3, next_wait_ms(s));
        if (all[1].revents && s->now.pid) hear(s, &s->now, heard_now, false);
        if (all[2].revents && s->next.pid) hear(s, &s->next, heard_next, false);
        take_signals(s);
        take_over(s);
        look(s);
        /* An end that is closed would be told again and again, until the process has ended as well. */
        if ((all[1].revents | all[2].revents) & POLLHUP) poll(all, 1, 20);
    }
}

int om_supervise(const char *report, int *status)
{
    supervisor s = {.signals = -1, .now = {.fd = -1}, .next = {.fd = -1}};
    int err = read_command_line(&s);
    if (!err) err = watch_signals(&s);
    if (!err) err = start(&s, &s.now, false);
    if (!err) go_on(&s);
    put_down(&s.next);
    if (s.probe) kill(s.probe, SIGKILL);
    if (!err && report) err = om_supervised_write(&s.report, report);
    *status = s.status;
    om_supervised_fini(&s.report);
    if (s.signals >= 0) close(s.signals);
    om_str_fini(&s.line);
    om_free(s.argv);
    return err;
}
