#include "gallery/gallery.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "gallery/gallery_priv.h"

/* Sixteen sums side by side: the compiler keeps them in vector registers, and the order of the additions does
 * not depend on which it has. `n` is a multiple of 16. */
static float dot(const float *restrict a, const float *restrict b, size_t n)
{
    float sum[LANES] = {0}, all = 0;
    for (size_t i = 0; i < n; i += LANES)
        for (int k = 0; k < LANES; k++) sum[k] += a[i + (size_t)k] * b[i + (size_t)k];
    for (int k = 0; k < LANES; k++) all += sum[k];
    return all;
}

int om_gallery_create(size_t dim, uint64_t model, om_gallery **out)
{
    *out = NULL;
    if (dim < 1 || dim > OM_GALLERY_DIM_MAX)
        return om_fail(OM_ERR_ARG, "gallery: vectors of %zu numbers; 1 to %d are possible", dim,
                       OM_GALLERY_DIM_MAX);
    om_gallery *g = om_calloc(1, sizeof *g);
    if (!g) return om_fail_nomem("a gallery");
    g->dim = dim;
    g->stride = (dim + LANES - 1) / LANES * LANES;
    g->model = model;
    *out = g;
    return OM_OK;
}

void om_gallery_destroy(om_gallery *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->n; i++) om_free(g->names[i]);
    om_free(g->names);
    om_free(g->vectors);
    om_free(g);
}

size_t om_gallery_count(const om_gallery *g) { return g->n; }
size_t om_gallery_dim(const om_gallery *g) { return g->dim; }
uint64_t om_gallery_model(const om_gallery *g) { return g->model; }
const char *om_gallery_name(const om_gallery *g, size_t entry) { return g->names[entry]; }
const float *om_gallery_vector(const om_gallery *g, size_t entry) { return g->vectors + entry * g->stride; }

static int check_name(const char *name)
{
    size_t n = strlen(name);
    if (!n) return om_fail(OM_ERR_ARG, "gallery: an entry needs a name");
    if (n > OM_GALLERY_NAME_MAX)
        return om_fail(OM_ERR_ARG, "gallery: the name '%.20s...' has %zu bytes, more than %d", name, n,
                       OM_GALLERY_NAME_MAX);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127)
            return om_fail(OM_ERR_ARG, "gallery: a name must not hold control characters");
    return OM_OK;
}

/* `v` of length 1 into `out`, zeros behind it up to the stride. */
static int unit(const om_gallery *g, const float *v, size_t n, float *out)
{
    double sum = 0;
    if (n != g->dim)
        return om_fail(OM_ERR_ARG, "gallery: a vector of %zu numbers, but this gallery's have %zu", n,
                       g->dim);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) return om_fail(OM_ERR_ARG, "gallery: number %zu of the vector is none", i + 1);
        sum += (double)v[i] * v[i];
    }
    if (!(sum > 0)) return om_fail(OM_ERR_ARG, "gallery: a vector of zeros resembles nothing");
    /* One that is as long as f32 can say stays as it is, however often it is written and read. */
    double scale = fabs(sum - 1) < 1e-6 ? 1 : 1 / sqrt(sum);
    for (size_t i = 0; i < n; i++) out[i] = (float)(v[i] * scale);
    memset(out + n, 0, (g->stride - n) * sizeof *out);
    return OM_OK;
}

int om_gallery_room(om_gallery *g, size_t n)
{
    size_t bytes;
    if (n > SIZE_MAX / sizeof(float) / g->stride) return om_fail_nomem("a gallery");
    int err = om_grow((void **)&g->names, &g->cap_names, n, sizeof *g->names);
    bytes = n * g->stride;
    return err ? err : om_grow((void **)&g->vectors, &g->cap_vectors, bytes, sizeof *g->vectors);
}

int om_gallery_add(om_gallery *g, const char *name, const float *vector, size_t n)
{
    int err = check_name(name);
    if (!err) err = om_gallery_room(g, g->n + 1);
    if (!err) err = unit(g, vector, n, g->vectors + g->n * g->stride);
    if (err) return err;
    g->names[g->n] = om_strdup(name);
    if (!g->names[g->n]) return OM_ERR_NOMEM;
    g->n++;
    return OM_OK;
}

size_t om_gallery_remove(om_gallery *g, const char *name)
{
    size_t kept = 0, all = g->n;
    for (size_t i = 0; i < all; i++) {
        if (!strcmp(g->names[i], name)) {
            om_free(g->names[i]);
            continue;
        }
        g->names[kept] = g->names[i];
        memmove(g->vectors + kept * g->stride, g->vectors + i * g->stride, g->stride * sizeof *g->vectors);
        kept++;
    }
    g->n = kept;
    return all - kept;
}

/* Puts a hit where it belongs among the *n best so far, each name once. */
static void place(om_gallery_hit *hits, int *n, int most, om_gallery_hit hit)
{
    int at = *n, from = -1;
    while (at > 0 && hits[at - 1].score < hit.score) at--;
    for (int i = 0; i < *n && from < 0; i++)
        if (!strcmp(hits[i].name, hit.name)) from = i;
    if (from >= 0 && from < at) return; /* the name is there with a better or equal score */
    if (from < 0) {
        if (at == most) return;
        from = *n < most ? (*n)++ : most - 1;
    }
    memmove(&hits[at + 1], &hits[at], (size_t)(from - at) * sizeof *hits);
    hits[at] = hit;
}

int om_gallery_search(const om_gallery *g, const float *vector, size_t n, float least, om_gallery_hit *hits,
                      int most)
{
    int found = 0;
    float *v = om_aligned_alloc(64, g->stride * sizeof *v);
    if (!v) return om_fail_nomem("a search");
    int err = unit(g, vector, n, v);
    for (size_t i = 0; i < g->n && !err && most > 0; i++) {
        float score = dot(v, g->vectors + i * g->stride, g->stride);
        if (!(score >= least) || (found == most && score <= hits[found - 1].score)) continue;
        place(hits, &found, most, (om_gallery_hit){g->names[i], score, i});
    }
    om_free(v);
    return err ? err : found;
}
