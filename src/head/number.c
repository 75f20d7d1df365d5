#include "head/number.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "head/candidate.h"

int om_group_read(const char **text, double *out, int max)
{
    for (int n = 0;;) {
        const char *from = *text + strspn(*text, " ");
        size_t len = strcspn(from, ",;");
        char token[32], stop = from[len];
        *text = from + len + (stop != 0);
        while (len && from[len - 1] == ' ') len--;
        if (n == max || len >= sizeof token) return -1;
        memcpy(token, from, len);
        token[len] = 0;
        if (om_parse_double(token, &out[n++]) < 0) return -1;
        if (stop != ',') return n;
    }
}

size_t om_row_best(const float *v, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best] || v[best] != v[best]) best = i;
    return best;
}

bool om_row_is_distribution(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(v[i] >= 0)) return false;
        sum += v[i];
    }
    return fabs(sum - 1) < 1e-2;
}

float om_row_softmax(const float *v, size_t n, size_t k)
{
    float top = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i]) && v[i] > top) top = v[i];
    if (!isfinite(v[k])) return 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) sum += expf(v[i] - top);
    return (float)(expf(v[k] - top) / sum);
}

bool om_scores_are_probabilities(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i]) && !(v[i] >= -1e-3f && v[i] <= 1.001f)) return false;
    return true;
}

size_t om_tensor_rows(const om_tensor *t)
{
    return t->shape.rank >= 2 ? (size_t)t->shape.dim[t->shape.rank - 2] : 1;
}

size_t om_tensor_columns(const om_tensor *t)
{
    return t->shape.rank >= 1 ? (size_t)t->shape.dim[t->shape.rank - 1] : 1;
}

void om_tensor_add_batch(om_tensor *t, int rank)
{
    if (t->shape.rank != rank - 1) return;
    memmove(t->shape.dim + 1, t->shape.dim, (size_t)t->shape.rank * sizeof t->shape.dim[0]);
    t->shape.dim[0] = 1;
    t->shape.rank = rank;
}

void om_points_set(om_detection *d, const om_geometry *g, const float (*xy)[2], int n)
{
    float to[OM_MAX_LANDMARKS][2];
    for (int k = 0; k < n; k++) {
        om_geometry_unmap(g, xy[k][0], xy[k][1], &to[k][0], &to[k][1]);
        if (!isfinite(to[k][0]) || !isfinite(to[k][1])) return;
    }
    memcpy(d->landmarks, to, (size_t)n * sizeof to[0]);
    d->n_landmarks = n;
}

int om_text_emit(const om_head *h, const om_geometry *g, const char *text, float score, om_dets *out)
{
    if (!*text || !(score > h->params.conf) || !om_head_wants(h, 0)) return OM_OK;
    om_detection *d = om_dets_add(out);
    if (!d) return om_fail_nomem("detections");
    d->x = (float)g->src_x;
    d->y = (float)g->src_y;
    d->w = (float)g->src_w;
    d->h = (float)g->src_h;
    d->score = score;
    return om_dets_set_text(out, d, text, score);
}
