#include "sink/file_out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

#define OM_FILE_OUT_BUFFER (64 << 10)

static int fail(const om_file_out *f, int err)
{
    return om_fail(om_err_from_errno(err), "%s: cannot write: %s", f->path, strerror(err));
}

static int open_now(om_file_out *f)
{
    bool standard = !strcmp(f->path, "-");
    do
        f->fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                         : open(f->path,
                                O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (f->append ? 0 : O_TRUNC), 0666);
    while (f->fd < 0 && errno == EINTR);
    if (f->fd < 0) return fail(f, errno);
    struct stat st;
    f->regular = !standard && !fstat(f->fd, &st) && S_ISREG(st.st_mode);
    return OM_OK;
}

/* The head of what has nothing in it yet; what goes on through a pipe has had it. */
static int begin(om_file_out *f)
{
    struct stat st;
    bool empty = f->regular ? !fstat(f->fd, &st) && !st.st_size : !f->append;
    if (f->head && empty) om_str_add(&f->buffer, f->head);
    return f->buffer.failed ? om_fail_nomem("a line of output") : OM_OK;
}

/* A FIFO cannot be opened before somebody reads it: the first write waits for that, not whoever starts the
 * run. */
int om_file_out_open(om_file_out *f, const char *path, bool append, const char *head)
{
    *f = (om_file_out){.fd = -1, .path = path, .append = append, .head = head};
    if (!*path) return om_fail(OM_ERR_ARG, "a file name is missing behind the ':' ('-' is standard output)");
    struct stat st;
    bool fifo = strcmp(path, "-") && !stat(path, &st) && S_ISFIFO(st.st_mode);
    int err = fifo ? OM_OK : open_now(f);
    f->open = !err;
    if (!err) err = begin(f);
    if (err) om_file_out_discard(f);
    return err;
}

static void put_head_first(om_file_out *f)
{
    if (!f->head) return;
    om_str lines = f->buffer;
    f->buffer = (om_str){0};
    om_str_add(&f->buffer, f->head);
    om_str_addn(&f->buffer, om_str_get(&lines), lines.len);
    om_str_fini(&lines);
}

static void tell_gone(om_file_out *f, bool removed, const char *why)
{
    if (!f->told)
        om_log(OM_LOG_WARN, "%s: was %s, and cannot be made anew: %s; until it can, what comes %s", f->path,
               removed ? "removed" : "moved", why, removed ? "is lost" : "goes into the old one");
    f->told = true;
}

/* Where the name leads elsewhere, the file there is written from now on. */
static void follow_name(om_file_out *f)
{
    struct stat held, st;
    if (!f->regular || fstat(f->fd, &held)) return;
    bool cut = !held.st_size && f->whole; /* as by logrotate's copytruncate */
    f->whole = held.st_size;
    if (!stat(f->path, &st) && st.st_ino == held.st_ino && st.st_dev == held.st_dev) {
        if (cut) put_head_first(f);
        return;
    }
    int fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | O_NONBLOCK, 0666);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        tell_gone(f, !held.st_nlink, fd < 0 ? strerror(errno) : "its name is no file's");
        if (fd >= 0) close(fd);
        return;
    }
    om_log(OM_LOG_WARN, "%s: was moved or removed while it was written; goes on in a new one", f->path);
    close(f->fd);
    f->fd = fd;
    f->told = false;
    f->whole = st.st_size;
    if (!st.st_size) put_head_first(f);
}

/* Whole lines among the first n bytes of the buffer. */
static size_t whole_lines(const om_file_out *f, size_t n)
{
    const char *nl = n ? memrchr(f->buffer.data, '\n', n) : NULL;
    return nl ? (size_t)(nl - f->buffer.data) + 1 : 0;
}

/* Standard output may have been made non-blocking by whoever shares it. */
static void wait_for_room(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, 1000);
}

int om_file_out_flush(om_file_out *f)
{
    size_t done = 0;
    int err = f->fd < 0 && f->buffer.len ? open_now(f) : OM_OK;
    if (err) return err;
    if (f->buffer.len) follow_name(f);
    if (f->buffer.failed) return om_fail_nomem("a line of output");
    while (done < f->buffer.len && !err) {
        ssize_t n = write(f->fd, f->buffer.data + done, f->buffer.len - done);
        if (n >= 0) done += (size_t)n;
        else if (errno == EAGAIN) wait_for_room(f->fd);
        else if (errno != EINTR) err = errno;
    }
    f->whole += (int64_t)whole_lines(f, done);
    om_str_clear(&f->buffer);
    if (!err) return OM_OK;
    if (f->regular && ftruncate(f->fd, f->whole)) return fail(f, errno);
    return fail(f, err);
}

int om_file_out_line(om_file_out *f, const char *line, size_t len)
{
    om_str_addn(&f->buffer, line, len);
    if (f->buffer.failed) return om_fail_nomem("a line of output");
    return f->buffer.len >= OM_FILE_OUT_BUFFER ? om_file_out_flush(f) : OM_OK;
}

int om_file_out_close(om_file_out *f)
{
    if (!f->open) return OM_OK;
    int err = om_file_out_flush(f);
    if (f->fd >= 0 && close(f->fd) && !err) err = fail(f, errno);
    f->fd = -1;
    om_file_out_discard(f);
    return err;
}

void om_file_out_discard(om_file_out *f)
{
    if (!f->open) return;
    if (f->fd >= 0) close(f->fd);
    om_str_fini(&f->buffer);
    f->open = false;
}
