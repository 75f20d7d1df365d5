#include "cli/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

/* A file is written beside its name, as long as this, and renamed. Another process may be writing its own. */
#define BESIDE "%s.try"

static int fail(const om_output *o, int number)
{
    return om_fail(OM_ERR_IO, "--%s %s: cannot be written: %s", o->flag, o->path, strerror(number));
}

static int check(const om_output *o)
{
    struct stat st;
    char real[PATH_MAX];
    bool exists = stat(o->path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return fail(o, EISDIR);
    /* Opening one waits for a reader, each time: the run would stand still. */
    if (exists && S_ISFIFO(st.st_mode) && o->again)
        return om_fail(OM_ERR_ARG,
                       "--%s %s: is a pipe; expected a file, which is written anew again and again", o->flag,
                       o->path);
    if (exists && !S_ISREG(st.st_mode)) return OM_OK; /* a pipe, /dev/stdout */
    char *name = om_sprintf(BESIDE, exists && realpath(o->path, real) ? real : o->path);
    if (!name) return OM_ERR_NOMEM;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), number = errno;
    if (fd >= 0) {
        close(fd);
        unlink(name);
    }
    om_free(name);
    return fd >= 0 || number == EEXIST ? OM_OK : fail(o, number);
}

static bool is_one_file(const char *a, const char *b)
{
    struct stat x, y;
    if (!strcmp(a, b)) return stat(a, &x) || S_ISREG(x.st_mode);
    return !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int om_outputs_check(const om_output *list, size_t n)
{
    int err = OM_OK;
    for (size_t i = 0; i < n && !err; i++) {
        if (!list[i].path || !strcmp(list[i].path, "-")) continue;
        for (size_t k = 0; k < i && !err; k++)
            if (list[k].path && is_one_file(list[k].path, list[i].path))
                err = om_fail(OM_ERR_ARG, "--%s and --%s would both write %s", list[k].flag, list[i].flag,
                              list[i].path);
        if (!err) err = check(&list[i]);
    }
    return err;
}
