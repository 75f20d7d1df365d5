/* SCRFD: for each stride scores [N, A, 1], distances of the box's sides from an anchor's point [N, A, 4],
 * and, in models with landmarks, five points' distances from it [N, A, 10], all in strides. Three strides
 * from 8 on, or five. Outputs are told by their columns and ordered by their rows. */
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

#define MAX_STRIDES 5
#define POINTS 5

enum { SCORES, BOXES, MARKS, PARTS };

typedef struct scrfd {
    int strides, parts;
    int output[PARTS][MAX_STRIDES]; /* in the order of the outputs */
} scrfd;

static int part_of(const om_shape *s)
{
    int64_t columns = s->rank == 2 || s->rank == 3 ? s->dim[s->rank - 1] : 0;
    return columns == 1 ? SCORES : columns == 4 ? BOXES : columns == 2 * POINTS ? MARKS : -1;
}

static int init(om_head *h, const om_model_desc *desc)
{
    scrfd *p = h->priv;
    int n[PARTS] = {0};
    bool fits = true;
    for (int i = 0; i < desc->n_outputs && fits; i++) {
        int part = part_of(&desc->outputs[i].shape);
        fits = part >= 0 && n[part] < MAX_STRIDES;
        if (fits) p->output[part][n[part]++] = i;
    }
    p->strides = n[SCORES];
    p->parts = n[MARKS] ? PARTS : MARKS;
    fits = fits && (p->strides == 3 || p->strides == 5) && n[BOXES] == p->strides &&
           (!n[MARKS] || n[MARKS] == p->strides);
    if (!fits)
        return om_head_misfit(
            desc, h->ops->name,
            "for each of 3 or 5 strides scores [N, A, 1], distances [N, A, 4], and landmarks "
            "[N, A, 10] or none");
    h->n_classes = 1;
    return OM_OK;
}

/* By falling rows: the first stride has the most. */
static void order_by_rows(om_tensor *t, int *index, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && om_tensor_rows(&t[j]) > om_tensor_rows(&t[j - 1]); j--) {
            om_tensor swap = t[j];
            int k = index[j];
            t[j] = t[j - 1];
            index[j] = index[j - 1];
            t[j - 1] = swap;
            index[j - 1] = k;
        }
}

static int gather(const om_head *h, const om_tensor *outputs, int item, const om_geometry *g,
                  om_tensor parts[PARTS][MAX_STRIDES], size_t *rows, size_t *floats)
{
    const scrfd *p = h->priv;
    *rows = *floats = 0;
    for (int part = 0; part < p->parts; part++) {
        int index[MAX_STRIDES];
        memcpy(index, p->output[part], sizeof index);
        for (int k = 0; k < p->strides; k++) {
            parts[part][k] = outputs[index[k]];
            om_tensor_add_batch(&parts[part][k], 3);
            int rc = om_head_expect(h, &parts[part][k], index[k], 3, item);
            if (rc < 0) return rc;
            if (part_of(&parts[part][k].shape) != part)
                return om_head_misfit(h->desc, h->ops->name, "as many columns as the model declares");
            *floats += om_floats_size(&parts[part][k]);
        }
        order_by_rows(parts[part], index, p->strides);
        for (int k = 0; k < p->strides; k++) {
            size_t n = om_tensor_rows(&parts[part][k]), across = (size_t)(g->dst_w / (8 << k));
            size_t cells = across * (size_t)(g->dst_h / (8 << k));
            if (part == SCORES) *rows += n;
            if (cells ? n && n % cells == 0 && n == om_tensor_rows(&parts[SCORES][k]) : n == 0) continue;
            return om_fail(
                OM_ERR_ARG,
                "%s head: output %s has %zu rows; stride %d of an input of %dx%d has %zu cells, and "
                "all outputs of a stride have as many rows",
                h->ops->name, h->desc->outputs[index[k]].name, n, 8 << k, g->dst_w, g->dst_h, cells);
        }
    }
    return OM_OK;
}

/* The point of row i among a stride's. */
static void point_at(const om_geometry *g, int k, size_t rows, size_t i, float *x, float *y)
{
    size_t across = (size_t)(g->dst_w / (8 << k)), cells = across * (size_t)(g->dst_h / (8 << k));
    size_t cell = i / (rows / cells);
    *x = (float)(cell % across) * (float)(8 << k);
    *y = (float)(cell / across) * (float)(8 << k);
}

static void set_points(const float *t, float x, float y, float stride, const om_geometry *g, om_detection *d)
{
    float xy[POINTS][2];
    for (int k = 0; k < POINTS; k++) {
        xy[k][0] = x + t[2 * k] * stride;
        xy[k][1] = y + t[2 * k + 1] * stride;
    }
    om_points_set(d, g, (const float(*)[2])xy, POINTS);
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const scrfd *p = h->priv;
    om_tensor parts[PARTS][MAX_STRIDES];
    size_t n, floats, first[MAX_STRIDES + 1] = {0};
    int rc = gather(h, outputs, item, g, parts, &n, &floats);
    if (rc < 0) return rc;
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + floats);
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *v[PARTS][MAX_STRIDES] = {{0}};
    for (int part = 0; part < p->parts; part++)
        for (int k = 0; k < p->strides; k++) v[part][k] = om_floats(&parts[part][k], item, &mem);

    for (int k = 0; k < p->strides; k++) {
        size_t rows = om_tensor_rows(&parts[SCORES][k]);
        float stride = (float)(8 << k), x, y;
        first[k + 1] = first[k] + rows;
        for (size_t i = 0; i < rows; i++) {
            if (!(v[SCORES][k][i] > h->params.conf)) continue;
            const float *t = v[BOXES][k] + 4 * i;
            point_at(g, k, rows, i, &x, &y);
            om_cands_add(
                h, &c, (float[]){x - t[0] * stride, y - t[1] * stride, x + t[2] * stride, y + t[3] * stride},
                v[SCORES][k][i], 0, (uint32_t)(first[k] + i));
        }
    }
    size_t kept = om_cands_suppress(h, &c);
    for (size_t j = 0; j < kept; j++) {
        om_detection *d;
        rc = om_cands_emit(&c, c.keep[j], g, out, &d);
        if (rc < 0) return rc;
        if (!d || p->parts < PARTS) continue;
        size_t i = c.source[c.keep[j]];
        int k = 0;
        while (i >= first[k + 1]) k++;
        float x, y;
        i -= first[k];
        point_at(g, k, om_tensor_rows(&parts[SCORES][k]), i, &x, &y);
        set_points(v[MARKS][k] + 2 * POINTS * i, x, y, (float)(8 << k), g, d);
    }
    return OM_OK;
}

const om_head_ops om_head_scrfd = {
    .name = "scrfd",
    .title = "SCRFD faces, with five landmarks or without",
    .family = OM_FAMILY_SCRFD,
    .conf = 0.5f,
    .iou = 0.4f,
    .priv_size = sizeof(scrfd),
    .init = init,
    .decode = decode,
};
