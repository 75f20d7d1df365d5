#include "cli/outputs.h"

#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"

static int check(const om_output *o)
{
    struct stat st;
    /* Opening one waits for a reader, each time: the run would stand still. */
    if (o->again && !stat(o->path, &st) && S_ISFIFO(st.st_mode))
        return om_fail(OM_ERR_ARG,
                       "--%s %s: is a pipe; expected a file, which is written anew again and again", o->flag,
                       o->path);
    int err = om_outfile_check(o->path);
    return err ? om_fail_prefix(err, "--%s", o->flag) : OM_OK;
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
