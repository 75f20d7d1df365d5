/* The file: all numbers little-endian.
 *
 *   0  "ommagal\n"        8 u32 version, 1     12 u32 numbers of a vector
 *  16  u32 entries       20 u32 bytes of names 24 u64 fingerprint of the model
 *  32  names, each with a NUL, padded with NULs to a multiple of 4
 *      vectors, f32, one behind the other
 *      u64 checksum (FNV-1a) of all before it
 */
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "gallery/gallery_priv.h"

#define MAGIC "ommagal\n"
#define VERSION 1
#define HEADER 32
#define FILE_MAX ((size_t)4 << 30)
#define FNV_START 0xcbf29ce484222325ull

static uint64_t fnv(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3ull;
    return h;
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return v;
}

static size_t names_size(const om_gallery *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) n += strlen(g->names[i]) + 1;
    return n;
}

/* A writer that sums up what goes through it. */
typedef struct writer {
    om_outfile file;
    uint64_t sum;
} writer;

static int write_some(writer *w, const void *data, size_t n)
{
    w->sum = fnv(w->sum, data, n);
    return om_outfile_write(&w->file, data, n);
}

static int write_names(writer *w, const om_gallery *g, size_t bytes)
{
    int err = OM_OK;
    for (size_t i = 0; i < g->n && !err; i++) err = write_some(w, g->names[i], strlen(g->names[i]) + 1);
    return err ? err : write_some(w, "\0\0\0", -bytes & 3);
}

static int write_vectors(writer *w, const om_gallery *g)
{
    uint8_t *row = om_alloc(g->dim * 4);
    if (!row) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (size_t i = 0; i < g->n && !err; i++) {
        for (size_t k = 0; k < g->dim; k++) {
            uint32_t bits;
            memcpy(&bits, &g->vectors[i * g->stride + k], 4);
            put(row + 4 * k, bits, 4);
        }
        err = write_some(w, row, g->dim * 4);
    }
    om_free(row);
    return err;
}

int om_gallery_save(const om_gallery *g, const char *path)
{
    uint8_t head[HEADER] = MAGIC, tail[8];
    writer w = {.sum = FNV_START};
    size_t bytes = names_size(g);
    if (g->n > UINT32_MAX || bytes > UINT32_MAX)
        return om_fail(OM_ERR_ARG, "%s: %zu entries are more than a gallery holds", path, g->n);
    put(head + 8, VERSION, 4);
    put(head + 12, g->dim, 4);
    put(head + 16, g->n, 4);
    put(head + 20, bytes, 4);
    put(head + 24, g->model, 8);
    int err = om_outfile_open(&w.file, path);
    if (err) return err;
    err = write_some(&w, head, sizeof head);
    if (!err) err = write_names(&w, g, bytes);
    if (!err) err = write_vectors(&w, g);
    put(tail, w.sum, 8);
    if (!err) err = om_outfile_write(&w.file, tail, sizeof tail);
    if (!err) return om_outfile_commit(&w.file);
    om_outfile_abort(&w.file);
    return err;
}

/* What the header says. */
typedef struct layout {
    uint64_t dim, count, names, model, vectors, size; /* vectors: where they begin */
} layout;

static int read_header(const char *path, const char *data, size_t len, layout *l)
{
    if (len < 8 || memcmp(data, MAGIC, 8) != 0)
        return om_fail(OM_ERR_FORMAT, "%s: not a gallery; 'omma faces enrol' makes one", path);
    if (len < HEADER) return om_fail(OM_ERR_FORMAT, "%s: cut off within its first %d bytes", path, HEADER);
    uint64_t version = get(data + 8, 4);
    if (version != VERSION)
        return om_fail(OM_ERR_FORMAT, "%s: a gallery of version %llu; this omma reads version %d", path,
                       (unsigned long long)version, VERSION);
    l->dim = get(data + 12, 4);
    l->count = get(data + 16, 4);
    l->names = get(data + 20, 4);
    l->model = get(data + 24, 8);
    if (l->dim < 1 || l->dim > OM_GALLERY_DIM_MAX)
        return om_fail(OM_ERR_FORMAT, "%s: vectors of %llu numbers; 1 to %d are possible", path,
                       (unsigned long long)l->dim, OM_GALLERY_DIM_MAX);
    l->vectors = HEADER + ((l->names + 3) & ~3ull);
    l->size = l->vectors + l->count * l->dim * 4 + 8; /* 32 + 16 + 3 bits at most */
    if (l->size != len)
        return om_fail(OM_ERR_FORMAT, "%s: %zu bytes, but %llu entries of %llu numbers take %llu: %s", path,
                       len, (unsigned long long)l->count, (unsigned long long)l->dim,
                       (unsigned long long)l->size, l->size > len ? "cut off" : "damaged");
    if (get(data + len - 8, 8) != fnv(FNV_START, data, len - 8))
        return om_fail(OM_ERR_FORMAT, "%s: damaged: its checksum does not fit", path);
    return OM_OK;
}

static int read_entries(const char *path, const char *data, const layout *l, om_gallery *g)
{
    const char *name = data + HEADER, *end = name + l->names, *bits = data + l->vectors;
    float *v = om_alloc(l->dim * sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    int err = om_gallery_room(g, l->count);
    for (uint64_t i = 0; i < l->count && !err; i++) {
        size_t len = strnlen(name, (size_t)(end - name));
        if (name + len == end) {
            err = om_fail(OM_ERR_FORMAT, "%s: damaged: entry %llu has no name", path,
                          (unsigned long long)i + 1);
            break;
        }
        for (uint64_t k = 0; k < l->dim; k++, bits += 4) {
            uint32_t u = (uint32_t)get(bits, 4);
            memcpy(&v[k], &u, 4);
        }
        err = om_gallery_add(g, name, v, l->dim);
        if (err == OM_ERR_ARG)
            err = om_fail_prefix(OM_ERR_FORMAT, "%s: entry %llu", path, (unsigned long long)i + 1);
        name += len + 1;
    }
    om_free(v);
    return err;
}

int om_gallery_open(const char *path, om_gallery **out)
{
    char *data;
    size_t len;
    layout l = {0};
    om_gallery *g = NULL;
    *out = NULL;
    int err = om_read_file(path, FILE_MAX, &data, &len);
    if (err) return err;
    err = read_header(path, data, len, &l);
    if (!err) err = om_gallery_create(l.dim, l.model, &g);
    if (!err) err = read_entries(path, data, &l, g);
    om_free(data);
    if (err) {
        om_gallery_destroy(g);
        return err;
    }
    *out = g;
    return OM_OK;
}

int om_gallery_fingerprint(const char *model_path, uint64_t *out)
{
    char *data;
    size_t len;
    *out = 0;
    int err = om_read_file(model_path, FILE_MAX, &data, &len);
    if (err) return err;
    *out = fnv(FNV_START, data, len);
    if (!*out) *out = 1; /* 0 stands for not known */
    om_free(data);
    return OM_OK;
}
