#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

static int fail_errno(const char *path, const char *doing)
{
    int err = errno;
    return om_fail(om_err_from_errno(err), "%s: %s: %s", path, doing, strerror(err));
}

static ssize_t read_some(int fd, void *data, size_t len)
{
    ssize_t n;
    do n = read(fd, data, len);
    while (n < 0 && errno == EINTR);
    return n;
}

static int read_all(int fd, const char *path, size_t guess, size_t max, char **data, size_t *len)
{
    char *buf = NULL;
    size_t cap = 0, got = 0;
    int rc = om_grow((void **)&buf, &cap, guess, 1);
    while (rc == OM_OK) {
        ssize_t n = read_some(fd, buf + got, cap - got - 1);
        if (n < 0) rc = fail_errno(path, "cannot read");
        if (n <= 0) break;
        got += (size_t)n;
        if (got > max) rc = om_fail(OM_ERR_FORMAT, "%s: larger than the %zu bytes allowed", path, max);
        else if (got + 1 == cap) rc = om_grow((void **)&buf, &cap, cap + 1, 1);
    }
    if (rc < 0) {
        om_free(buf);
        return rc;
    }
    buf[got] = 0;
    *data = buf;
    *len = got;
    return OM_OK;
}

/* /dev/null holds nothing and nobody types that much; what gives more, /dev/zero, has no end. */
#define DEVICE_MAX ((size_t)65536)

int om_read_file(const char *path, size_t max, char **data, size_t *len)
{
    *data = NULL;
    *len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(path, "cannot open");
    struct stat st;
    int rc;
    if (fstat(fd, &st) < 0) rc = fail_errno(path, "cannot read");
    else if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size > max)
        rc = om_fail(OM_ERR_FORMAT, "%s: %jd bytes, larger than the %zu allowed", path, (intmax_t)st.st_size,
                     max);
    else /* room for one byte beyond the end and the NUL, so that the last read tells the end */
        rc = read_all(fd, path, S_ISREG(st.st_mode) ? (size_t)st.st_size + 2 : 4096,
                      S_ISCHR(st.st_mode) && max > DEVICE_MAX ? DEVICE_MAX : max, data, len);
    if (rc == OM_ERR_FORMAT && S_ISCHR(st.st_mode))
        rc = om_fail(OM_ERR_FORMAT, "%s: is a device without an end; expected a file", path);
    close(fd);
    return rc;
}

static void outfile_release(om_outfile *f)
{
    om_free(f->path);
    om_free(f->tmp);
    memset(f, 0, sizeof *f);
}

int om_outfile_open(om_outfile *f, const char *path)
{
    memset(f, 0, sizeof *f);
    /* A link stays a link: what it points to is replaced. */
    char real[PATH_MAX];
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return om_fail(OM_ERR_IO, "%s: cannot write: is a directory", path);
    f->path = om_strdup(exists && realpath(path, real) ? real : path);
    if (!f->path) return OM_ERR_NOMEM;
    if (exists && !S_ISREG(st.st_mode)) {
        f->fd = open(f->path, O_WRONLY | O_CLOEXEC);
    } else {
        f->tmp = om_sprintf("%s.tmp", f->path);
        if (!f->tmp) {
            outfile_release(f);
            return OM_ERR_NOMEM;
        }
        f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (f->fd >= 0 && exists) (void)!fchmod(f->fd, st.st_mode & 0777);
    }
    if (f->fd >= 0) return OM_OK;
    int rc = fail_errno(path, "cannot write");
    outfile_release(f);
    return rc;
}

int om_outfile_check(const char *path)
{
    char real[PATH_MAX];
    struct stat st;
    if (!path || !strcmp(path, "-")) return OM_OK;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return om_fail(OM_ERR_IO, "%s: cannot write: is a directory", path);
    if (exists && !S_ISREG(st.st_mode)) return OM_OK;
    /* As long as the name that is written first, and another, for that may be in another process's hands. */
    char *name = om_sprintf("%s.try", exists && realpath(path, real) ? real : path);
    if (!name) return OM_ERR_NOMEM;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int rc = fd >= 0 || errno == EEXIST ? OM_OK : fail_errno(path, "cannot write");
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    om_free(name);
    return rc;
}

int om_outfile_write(om_outfile *f, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(f->fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(f->path, "cannot write");
        p += n;
        len -= (size_t)n;
    }
    return OM_OK;
}

int om_outfile_commit(om_outfile *f)
{
    int rc = OM_OK;
    if (f->tmp && fsync(f->fd) < 0) rc = fail_errno(f->path, "cannot write");
    if (rc < 0) {
        om_outfile_abort(f);
        return rc;
    }
    /* Some file systems report a lack of room only here. */
    if (close(f->fd) < 0) rc = fail_errno(f->path, "cannot write");
    if (f->tmp && rc == OM_OK && rename(f->tmp, f->path) < 0) rc = fail_errno(f->path, "cannot write");
    if (f->tmp && rc < 0) unlink(f->tmp);
    outfile_release(f);
    return rc;
}

void om_outfile_abort(om_outfile *f)
{
    if (!f || !f->path) return;
    close(f->fd);
    if (f->tmp) unlink(f->tmp);
    outfile_release(f);
}

int om_write_file_atomic(const char *path, const void *data, size_t len)
{
    om_outfile f;
    int rc = om_outfile_open(&f, path);
    if (rc < 0) return rc;
    rc = om_outfile_write(&f, data, len);
    if (rc == OM_OK) return om_outfile_commit(&f);
    om_outfile_abort(&f);
    return rc;
}
