/* The control socket: one thread, few clients, nothing a client does makes it wait or grow. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "serve/serve.h"

#define CLIENTS_MAX 32
#define BACKLOG 128
#define DEAF_NS (100 * OM_NS_PER_MS)
#define HALF_LINE_NS (10 * OM_NS_PER_SEC) /* to send the rest of a line, or to take an answer */

typedef struct client {
    int fd;
    om_str in;       /* what has come of the line under way */
    om_str out;      /* of answers; read on once it is empty */
    size_t sent;     /* of `out` */
    int64_t used_ns; /* when it last said or took something */
    bool closing;    /* once `out` is sent */
} client;

struct om_control {
    om_pipeline *pipeline;
    char *path;
    int fd;
    int64_t deaf_until_ns; /* there was no descriptor for the next client: it has to wait */
    int wake[2];           /* a byte ends the thread */
    dev_t device;
    ino_t inode; /* of the socket's file: another run's is not removed */
    om_thread thread;
    client clients[CLIENTS_MAX];
    int n;
    om_str answer;
};

static int address_of(const char *path, struct sockaddr_un *out)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    if (!*path) return om_fail(OM_ERR_ARG, "--control needs a path");
    if (strlen(path) >= sizeof(out->sun_path))
        return om_fail(OM_ERR_ARG, "--control %s: longer than the %zu bytes that a socket's path may have",
                       path, sizeof(out->sun_path) - 1);
    memcpy(out->sun_path, path, strlen(path));
    return OM_OK;
}

/* What stands at the path may be what a run left that is gone. */
static int make_way(const char *path, const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(path, &st)) return OM_OK;
    if (!S_ISSOCK(st.st_mode))
        return om_fail(OM_ERR_ARG, "--control %s: there is a file that is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return om_fail(om_err_from_errno(errno), "--control %s: %s", path, strerror(errno));
    int rc = connect(fd, (const struct sockaddr *)address, sizeof(*address)), why = errno;
    close(fd);
    if (!rc || why == EAGAIN || why == EINPROGRESS)
        return om_fail(OM_ERR_ARG, "--control %s: another run listens there", path);
    if (why != ECONNREFUSED) return om_fail(om_err_from_errno(why), "--control %s: %s", path, strerror(why));
    return unlink(path) && errno != ENOENT
               ? om_fail(om_err_from_errno(errno), "--control %s: %s", path, strerror(errno))
               : OM_OK;
}

/* Only this user may connect, from the moment that it is there: bind() makes it with the mask's rights. */
static int bind_socket(om_control *c, const struct sockaddr_un *address)
{
    struct stat st;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) return om_fail(om_err_from_errno(errno), "--control %s: %s", c->path, strerror(errno));
    mode_t mask = umask(0177);
    int rc = bind(c->fd, (const struct sockaddr *)address, sizeof(*address)), why = errno;
    umask(mask);
    if (rc) return om_fail(om_err_from_errno(why), "--control %s: %s", c->path, strerror(why));
    if (!lstat(c->path, &st)) {
        c->device = st.st_dev;
        c->inode = st.st_ino;
    }
    if (listen(c->fd, BACKLOG))
        return om_fail(om_err_from_errno(errno), "--control %s: %s", c->path, strerror(errno));
    return OM_OK;
}

int om_control_open(const char *path, om_pipeline *p, om_control **out)
{
    struct sockaddr_un address;
    *out = NULL;
    om_control *c = om_calloc(1, sizeof(*c));
    if (!c) return OM_ERR_NOMEM;
    c->pipeline = p;
    c->fd = c->wake[0] = c->wake[1] = -1;
    c->path = om_strdup(path);
    int err = c->path ? address_of(path, &address) : OM_ERR_NOMEM;
    if (!err) err = make_way(path, &address);
    if (!err && pipe2(c->wake, O_CLOEXEC | O_NONBLOCK))
        err = om_fail(om_err_from_errno(errno), "--control %s: %s", path, strerror(errno));
    if (!err) err = bind_socket(c, &address);
    if (err) om_control_close(c);
    else *out = c;
    return err;
}

static void drop(om_control *c, int i)
{
    client *k = &c->clients[i];
    close(k->fd);
    om_str_fini(&k->in);
    om_str_fini(&k->out);
    memmove(k, k + 1, (size_t)(--c->n - i) * sizeof(*k));
}

/* The one that has been silent for longest makes room. */
static void make_room(om_control *c)
{
    int oldest = 0;
    if (c->n < CLIENTS_MAX) return;
    for (int i = 1; i < c->n; i++)
        if (c->clients[i].used_ns < c->clients[oldest].used_ns) oldest = i;
    drop(c, oldest);
}

static void welcome(om_control *c)
{
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        bool comes_again = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (comes_again) c->deaf_until_ns = om_now_ns() + DEAF_NS;
        return;
    }
    make_room(c);
    c->clients[c->n++] = (client){.fd = fd, .used_ns = om_now_ns()};
}

static void answer(om_control *c, client *k, const char *line, size_t len)
{
    while (len && (line[len - 1] == '\r' || line[len - 1] == ' ')) len--;
    if (!len) return;
    om_control_answer(c->pipeline, line, len, &c->answer);
    om_str_add(&k->out,
               c->answer.failed ? "{\"ok\":false,\"error\":\"out of memory\"}" : om_str_get(&c->answer));
    om_str_addc(&k->out, '\n');
}

/* Answers the lines that are there, until an answer has to be taken first. */
static void answer_lines(om_control *c, client *k)
{
    size_t at = 0;
    while (k->in.len > at && !k->out.len) {
        const char *line = k->in.data + at, *end = memchr(line, '\n', k->in.len - at);
        if (!end) break;
        answer(c, k, line, (size_t)(end - line));
        at += (size_t)(end - line) + 1;
    }
    if (at) {
        memmove(k->in.data, k->in.data + at, k->in.len - at);
        k->in.len -= at;
        k->in.data[k->in.len] = '\0';
    }
    if (k->out.len || k->in.len <= OM_CONTROL_LINE_MAX) return;
    om_str_clear(&k->in);
    om_str_addf(&k->out, "{\"ok\":false,\"error\":\"a request is at most %d bytes long\"}\n",
                OM_CONTROL_LINE_MAX);
    k->closing = true;
}

/* False: it has gone, or has to. */
static bool send_some(client *k)
{
    while (k->sent < k->out.len) {
        ssize_t n = send(k->fd, k->out.data + k->sent, k->out.len - k->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
        k->sent += (size_t)n;
        k->used_ns = om_now_ns();
    }
    k->sent = 0;
    om_str_fini(&k->out); /* a long list is not kept */
    return !k->closing;
}

static bool receive(client *k)
{
    char bytes[16384];
    ssize_t n = recv(k->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (n == 0) return false;
    k->used_ns = om_now_ns();
    om_str_addn(&k->in, bytes, (size_t)n);
    return !k->in.failed;
}

/* False: it is to be dropped. */
static bool serve(om_control *c, client *k, short events)
{
    bool open = !(events & (POLLERR | POLLNVAL));
    if (open && events & (POLLIN | POLLHUP) && !k->out.len) open = receive(k);
    if (!open) return false;
    do { /* several requests may have come at once */
        answer_lines(c, k);
        if (k->out.failed) return false;
        if (!k->out.len) return true;
        if (!send_some(k)) return false;
    } while (!k->out.len);
    return true;
}

static bool is_late(const client *k, int64_t now)
{
    return (k->out.len || k->in.len) && now - k->used_ns > HALF_LINE_NS;
}

static int watch_list(om_control *c, struct pollfd *fds)
{
    int n = 0;
    if (c->deaf_until_ns && c->deaf_until_ns <= om_now_ns()) c->deaf_until_ns = 0;
    fds[n++] = (struct pollfd){.fd = c->wake[0], .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = c->deaf_until_ns ? -1 : c->fd, .events = POLLIN};
    for (int i = 0; i < c->n; i++)
        fds[n++] =
            (struct pollfd){.fd = c->clients[i].fd, .events = c->clients[i].out.len ? POLLOUT : POLLIN};
    return n;
}

/* Milliseconds until some client may be late or another one be let in; -1: there is nothing to wait for. */
static int patience(const om_control *c)
{
    if (c->deaf_until_ns) return (int)(DEAF_NS / OM_NS_PER_MS);
    for (int i = 0; i < c->n; i++)
        if (c->clients[i].out.len || c->clients[i].in.len) return 1000;
    return -1;
}

static void *control_main(void *arg)
{
    om_control *c = arg;
    struct pollfd fds[CLIENTS_MAX + 2];
    for (;;) {
        int n = watch_list(c, fds), rc = poll(fds, (nfds_t)n, patience(c));
        if (rc < 0 && errno != EINTR) break;
        if (rc > 0 && fds[0].revents) break;
        int64_t now = om_now_ns();
        /* Backwards: a client that goes moves those behind it, which have been served. */
        for (int i = n - 3; i >= 0; i--) {
            client *k = &c->clients[i];
            bool stays = rc > 0 && fds[i + 2].revents ? serve(c, k, fds[i + 2].revents) : true;
            if (!stays || is_late(k, now)) drop(c, i);
        }
        if (rc > 0 && fds[1].revents & POLLIN) welcome(c);
    }
    return NULL;
}

int om_control_start(om_control *c) { return om_thread_start(&c->thread, "om-control", control_main, c); }

static bool is_own(const om_control *c)
{
    struct stat st;
    return !lstat(c->path, &st) && st.st_dev == c->device && st.st_ino == c->inode;
}

void om_control_close(om_control *c)
{
    if (!c) return;
    if (c->thread.started && write(c->wake[1], "", 1) != 1)
        om_log(OM_LOG_WARN, "control: %s", strerror(errno)); /* a pipe of one byte is never full */
    om_thread_join(&c->thread);
    while (c->n) drop(c, c->n - 1);
    if (c->fd >= 0) close(c->fd);
    if (c->inode && is_own(c)) unlink(c->path);
    for (int i = 0; i < 2; i++)
        if (c->wake[i] >= 0) close(c->wake[i]);
    om_str_fini(&c->answer);
    om_free(c->path);
    om_free(c);
}
