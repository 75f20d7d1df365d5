/* Tensors whose numbers lie in files beside the model: read only from below the model's own folder. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/onnx_io.h"

typedef struct place {
    const char *location;
    long long offset, length; /* length -1: not said */
} place;

static const char *label(const Onnx__TensorProto *t) { return t->name && *t->name ? t->name : "(nameless)"; }

static int read_place(const Onnx__TensorProto *t, place *out)
{
    *out = (place){.length = -1};
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value) continue;
        long long *number = !strcmp(key, "offset")   ? &out->offset
                            : !strcmp(key, "length") ? &out->length
                                                     : NULL;
        if (!strcmp(key, "location")) out->location = value;
        if (number && (om_parse_int(value, number) < 0 || *number < 0))
            return om_fail(OM_ERR_FORMAT, "tensor '%s': external %s '%s' is no size", label(t), key, value);
    }
    if (!out->location || !*out->location)
        return om_fail(OM_ERR_FORMAT, "tensor '%s': external data without a location", label(t));
    return OM_OK;
}

static bool climbs(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2])) return true;
    }
    return false;
}

/* The file's real path, which must lie below the folder's real path; links inside the folder may be followed.
 */
static int resolve(const Onnx__TensorProto *t, const char *dir, const char *location, char out[PATH_MAX])
{
    char base[PATH_MAX];
    if (!dir)
        return om_fail(OM_ERR_FORMAT, "tensor '%s': external data '%s', but the model has no folder",
                       label(t), location);
    if (*location == '/' || climbs(location))
        return om_fail(OM_ERR_FORMAT, "tensor '%s': external data '%s' is outside the model's folder",
                       label(t), location);
    char *joined = om_sprintf("%s/%s", dir, location);
    if (!joined) return OM_ERR_NOMEM;
    bool found = realpath(dir, base) && realpath(joined, out);
    om_free(joined);
    if (!found)
        return om_fail(om_err_from_errno(errno), "tensor '%s': external data '%s': %s", label(t), location,
                       strerror(errno));
    size_t n = strlen(base);
    if (strncmp(base, out, n) || (out[n] != '/' && strcmp(base, "/")))
        return om_fail(OM_ERR_FORMAT, "tensor '%s': external data '%s' is a link out of the model's folder",
                       label(t), location);
    return OM_OK;
}

static int read_exactly(int fd, void *data, size_t need, off_t offset)
{
    for (size_t done = 0; done < need;) {
        ssize_t n = pread(fd, (char *)data + done, need - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return om_fail(OM_ERR_IO, "%s", strerror(errno));
        if (!n) return om_fail(OM_ERR_FORMAT, "the file became shorter");
        done += (size_t)n;
    }
    return OM_OK;
}

static int read_from(int fd, const Onnx__TensorProto *t, const place *p, size_t need, void **data)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return om_fail(OM_ERR_IO, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode)) return om_fail(OM_ERR_FORMAT, "not a regular file");
    if (p->length >= 0 && (unsigned long long)p->length != need)
        return om_fail(OM_ERR_FORMAT, "its length is said to be %lld, the shape needs %zu bytes", p->length,
                       need);
    if (p->offset > st.st_size || need > (unsigned long long)(st.st_size - p->offset))
        return om_fail(OM_ERR_FORMAT, "%zu bytes from %lld on, but the file has %lld", need, p->offset,
                       (long long)st.st_size);
    *data = om_alloc(need);
    if (!*data) return OM_ERR_NOMEM;
    int err = read_exactly(fd, *data, need, (off_t)p->offset);
    if (err >= 0) return OM_OK;
    om_free(*data);
    *data = NULL;
    return err;
}

int om_onnx_read_external(const Onnx__TensorProto *t, const char *dir, size_t need, void **data)
{
    place p;
    char path[PATH_MAX];
    *data = NULL;
    int err = read_place(t, &p);
    if (err >= 0) err = resolve(t, dir, p.location, path);
    if (err < 0) return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* a pipe must not hold us up */
    if (fd < 0) err = om_fail(om_err_from_errno(errno), "%s", strerror(errno));
    else err = read_from(fd, t, &p, need, data);
    if (fd >= 0) close(fd);
    return err < 0 ? om_fail_prefix(err, "tensor '%s': external data '%s'", label(t), p.location) : OM_OK;
}
