#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
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

static uint32_t chance(void)
{
    static atomic_uint calls;
    uint32_t v;
    if (getrandom(&v, sizeof v, GRND_NONBLOCK) == (ssize_t)sizeof v) return v;
    uint64_t mixed = (uint64_t)om_now_ns() ^ (uint64_t)getpid() << 32 ^ atomic_fetch_add(&calls, 1);
    return (uint32_t)(mixed * 0x9e3779b97f4a7c15u >> 32);
}

#define TRIES 100
#define TAIL 13 /* ".1f2e3d4c.tmp" */

/* Makes a file of a name that nobody has, "path.1f2e3d4c.tmp": several that write one path at a time do not
 * share it. What would be too long a name with that loses its end. -1: errno says why. *name: om_free(). */
static int create_beside(const char *path, char **name)
{
    const char *slash = strrchr(path, '/');
    size_t dir = slash ? (size_t)(slash - path) + 1 : 0, base = strlen(path) - dir;
    size_t most = NAME_MAX - TAIL;
    while (base > most && base <= NAME_MAX && ((unsigned char)path[dir + most] & 0xc0) == 0x80) most--;
    if (base > most && base <= NAME_MAX) base = most;
    *name = om_alloc(dir + base + TAIL + 1);
    errno = ENOMEM;
    int fd = -1;
    for (int i = 0; i < TRIES && *name && fd < 0; i++) {
        snprintf(*name, dir + base + TAIL + 1, "%.*s.%08x.tmp", (int)(dir + base), path, chance());
        fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
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
        f->fd = create_beside(f->path, &f->tmp);
        if (!f->tmp) {
            outfile_release(f);
            return OM_ERR_NOMEM;
        }
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
    char *name;
    int fd = create_beside(exists && realpath(path, real) ? real : path, &name);
    int rc = !name ? OM_ERR_NOMEM : fd >= 0 ? OM_OK : fail_errno(path, "cannot write");
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
    if (f->tmp && !f->lazy && fsync(f->fd) < 0) rc = fail_errno(f->path, "cannot write");
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

int om_temp_file(const char *what, const char *suffix, char **path)
{
    const char *dir = getenv("TMPDIR");
    *path = om_sprintf("%s/omma-%s-XXXXXX%s", dir && *dir ? dir : "/tmp", what, suffix);
    if (!*path) return OM_ERR_NOMEM;
    int fd = mkstemps(*path, (int)strlen(suffix));
    if (fd >= 0) {
        close(fd);
        return OM_OK;
    }
    int rc = fail_errno(*path, "cannot make this file");
    om_free(*path);
    *path = NULL;
    return rc;
}
