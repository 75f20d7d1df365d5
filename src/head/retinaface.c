/* RetinaFace and its kin: offsets [N, priors, 4], scores [N, priors, classes] with the background first, and
 * points [N, priors, 8 or 10], over priors that follow from the input's size: for each stride of 8, 16 and 32
 * squares of given sides around each cell's centre. Five points are a face's landmarks, four a plate's
 * corners. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

#define MAX_STRIDES 6
#define MAX_SIZES 8
#define CENTER_VARIANCE 0.1f
#define SIZE_VARIANCE 0.2f

enum { OFFSETS, SCORES, POINTS, PARTS };

static const char faces[] = "16,32;64,128;256,512", plates[] = "24,48;96,192;384,768";

typedef struct retinaface {
    int output[PARTS];
    int points;
    int n; /* strides: 8, 16, ... */
    int n_sizes[MAX_STRIDES];
    float size[MAX_STRIDES][MAX_SIZES];
    char text[96]; /* the sizes, for messages */
} retinaface;

static int64_t columns(const om_tensor_spec *o)
{
    return o->shape.rank == 3 || o->shape.rank == 2 ? o->shape.dim[o->shape.rank - 1] : 0;
}

static int read_sizes(retinaface *p, const om_head *h)
{
    const char *from = h->params.anchors ? h->params.anchors : om_model_desc_meta(h->desc, "omma.anchors");
    if (!from) from = p->points == 4 ? plates : faces;
    snprintf(p->text, sizeof p->text, "%s", from);
    for (const char *text = from; *text; p->n++) {
        double size[MAX_SIZES];
        int n = p->n < MAX_STRIDES ? om_group_read(&text, size, MAX_SIZES) : -1;
        if (n < 0)
            return om_fail(OM_ERR_ARG,
                           "%s head: anchors '%.80s'; expected sides of squares, a group for each "
                           "stride, as in '%s'",
                           h->ops->name, from, faces);
        p->n_sizes[p->n] = n;
        for (int i = 0; i < n; i++) p->size[p->n][i] = (float)size[i];
    }
    return OM_OK;
}

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "offsets [N, A, 4], scores [N, A, classes] and points [N, A, 8 or 10]";
    retinaface *p = h->priv;
    for (int i = 0; i < PARTS; i++) p->output[i] = -1;
    for (int i = 0; i < desc->n_outputs; i++) {
        int64_t n = columns(&desc->outputs[i]);
        int part = n == 4 ? OFFSETS : n == 8 || n == 10 ? POINTS : n == 2 || n == 3 ? SCORES : -1;
        if (part < 0 || p->output[part] >= 0) return om_head_misfit(desc, h->ops->name, what);
        p->output[part] = i;
        if (part == POINTS) p->points = (int)n / 2;
        if (part == SCORES) h->n_classes = (int)n - 1;
    }
    for (int i = 0; i < PARTS; i++)
        if (p->output[i] < 0) return om_head_misfit(desc, h->ops->name, what);
    return read_sizes(p, h);
}

static int cells(int size, int k) { return (size + (8 << k) - 1) / (8 << k); }

static size_t count_priors(const retinaface *p, const om_geometry *g)
{
    size_t n = 0;
    for (int k = 0; k < p->n; k++)
        n += (size_t)cells(g->dst_w, k) * (size_t)cells(g->dst_h, k) * (size_t)p->n_sizes[k];
    return n;
}

/* The outputs with a batch, and all of them as long as there are priors. */
static int check(const om_head *h, const om_tensor *outputs, int item, size_t priors, const om_geometry *g,
                 om_tensor part[PARTS])
{
    const retinaface *p = h->priv;
    for (int i = 0; i < PARTS; i++) {
        part[i] = outputs[p->output[i]];
        om_tensor_add_batch(&part[i], 3);
        int rc = om_head_expect(h, &part[i], p->output[i], 3, item);
        if (rc < 0) return rc;
        if (om_tensor_rows(&part[i]) == priors) continue;
        return om_fail(OM_ERR_ARG,
                       "%s head: output %s has %zu rows, but an input of %dx%d has %zu priors of sizes %s; "
                       "--anchors gives others",
                       h->ops->name, h->desc->outputs[p->output[i]].name, om_tensor_rows(&part[i]), g->dst_w,
                       g->dst_h, priors, p->text);
    }
    if (om_tensor_columns(&part[OFFSETS]) != 4 || om_tensor_columns(&part[POINTS]) != 2 * (size_t)p->points ||
        om_tensor_columns(&part[SCORES]) < 2)
        return om_head_misfit(h->desc, h->ops->name, "as many columns as the model declares");
    return OM_OK;
}

typedef struct prior {
    float x, y, size;
} prior;

/* Where prior i stands: strides, rows, columns, sizes. */
static prior prior_at(const retinaface *p, const om_geometry *g, size_t i)
{
    int k = 0;
    for (; k < p->n - 1; k++) {
        size_t n = (size_t)cells(g->dst_w, k) * (size_t)cells(g->dst_h, k) * (size_t)p->n_sizes[k];
        if (i < n) break;
        i -= n;
    }
    size_t across = (size_t)cells(g->dst_w, k), cell = i / (size_t)p->n_sizes[k];
    float stride = (float)(8 << k);
    return (prior){((float)(cell % across) + 0.5f) * stride, ((float)(cell / across) + 0.5f) * stride,
                   p->size[k][i % (size_t)p->n_sizes[k]]};
}

static void add(const om_head *h, om_cands *c, const prior *a, const float *t, float score, int class_id,
                size_t i)
{
    float x = a->x + t[0] * CENTER_VARIANCE * a->size, y = a->y + t[1] * CENTER_VARIANCE * a->size;
    float dx = a->size * expf(t[2] * SIZE_VARIANCE) / 2, dy = a->size * expf(t[3] * SIZE_VARIANCE) / 2;
    om_cands_add(h, c, (float[]){x - dx, y - dy, x + dx, y + dy}, score, class_id, (uint32_t)i);
}

static void set_points(const retinaface *p, const prior *a, const float *t, const om_geometry *g,
                       om_detection *d)
{
    float xy[OM_MAX_LANDMARKS][2];
    for (int k = 0; k < p->points; k++) {
        xy[k][0] = a->x + t[2 * k] * CENTER_VARIANCE * a->size;
        xy[k][1] = a->y + t[2 * k + 1] * CENTER_VARIANCE * a->size;
    }
    om_points_set(d, g, (const float(*)[2])xy, p->points);
    if (p->points != 4 || d->n_landmarks != 4) return;
    memcpy(d->quad, d->landmarks, sizeof d->quad);
    d->has_quad = 1;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const retinaface *p = h->priv;
    om_tensor part[PARTS];
    size_t n = count_priors(p, g), floats = 0;
    int rc = check(h, outputs, item, n, g, part);
    if (rc < 0) return rc;
    for (int i = 0; i < PARTS; i++) floats += om_floats_size(&part[i]);
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + floats);
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *v[PARTS];
    for (int i = 0; i < PARTS; i++) v[i] = om_floats(&part[i], item, &mem);

    size_t classes = om_tensor_columns(&part[SCORES]);
    bool soft = om_scores_are_probabilities(v[SCORES], n * classes);
    for (size_t i = 0; i < n; i++) {
        const float *row = v[SCORES] + i * classes;
        size_t k = 1 + om_row_best(row + 1, classes - 1);
        float score = soft ? row[k] : om_row_softmax(row, classes, k);
        if (!(score > h->params.conf)) continue;
        prior a = prior_at(p, g, i);
        add(h, &c, &a, v[OFFSETS] + 4 * i, score, (int)k - 1, i);
    }
    size_t kept = om_cands_suppress(h, &c);
    for (size_t k = 0; k < kept; k++) {
        om_detection *d;
        rc = om_cands_emit(&c, c.keep[k], g, out, &d);
        if (rc < 0) return rc;
        size_t i = c.source[c.keep[k]];
        prior a = prior_at(p, g, i);
        if (d) set_points(p, &a, v[POINTS] + 2 * (size_t)p->points * i, g, d);
    }
    return OM_OK;
}

static bool grids(const om_head *h, om_head_grids *out)
{
    const retinaface *p = h->priv;
    *out = (om_head_grids){.n = p->n, .n_outputs = PARTS, .points = p->points};
    for (int i = 0; i < PARTS; i++) out->output[i] = p->output[i];
    for (int k = 0; k < p->n; k++) {
        out->anchors[k] = p->n_sizes[k];
        for (int i = 0; i < p->n_sizes[k]; i++) out->anchor[k][i][0] = out->anchor[k][i][1] = p->size[k][i];
    }
    return true;
}

const om_head_ops om_head_retinaface = {
    .name = "retinaface",
    .title = "RetinaFace: faces with five landmarks, plates with four corners",
    .family = OM_FAMILY_RETINAFACE,
    .conf = 0.5f,
    .iou = 0.4f,
    .priv_size = sizeof(retinaface),
    .init = init,
    .decode = decode,
    .grids = grids,
};
