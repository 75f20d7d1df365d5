/* CenterFace: four maps over a grid of 4x4 pixels: the face's likeness [N,1,h,w], the logarithm of height and
 * width in cells [N,2,h,w], the centre's place in its cell [N,2,h,w], and five landmarks [N,10,h,w] as
 * fractions of the box, y before x. The box is cut to the input picture before the landmarks are placed, as
 * in the original. */
#include <math.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define CELL 4
#define LANDMARKS 5

enum { HEAT, SIZE, OFFSET, LANDMARK, MAPS };

static const int channels[MAPS] = {1, 2, 2, 2 * LANDMARKS};

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "four outputs of one grid, [N,1,h,w] [N,2,h,w] [N,2,h,w] [N,10,h,w]";
    if (desc->n_outputs != MAPS) return om_head_misfit(desc, h->ops->name, what);
    for (int i = 0; i < MAPS; i++) {
        const om_shape *s = &desc->outputs[i].shape;
        if (s->rank != 4 || (s->dim[1] >= 0 && s->dim[1] != channels[i]))
            return om_head_misfit(desc, h->ops->name, what);
    }
    h->n_classes = 1;
    return OM_OK;
}

static int check(const om_head *h, const om_tensor *outputs, int item)
{
    const om_shape *grid = &outputs[HEAT].shape;
    for (int i = 0; i < MAPS; i++) {
        int rc = om_head_expect(h, &outputs[i], i, 4, item);
        if (rc < 0) return rc;
        const om_shape *s = &outputs[i].shape;
        if (s->dim[1] == channels[i] && s->dim[2] == grid->dim[2] && s->dim[3] == grid->dim[3]) continue;
        char have[OM_SHAPE_TEXT], first[OM_SHAPE_TEXT];
        om_shape_text(s, have);
        om_shape_text(grid, first);
        return om_fail(OM_ERR_ARG, "%s head: output %s is %s; %d channels on the grid of %s were expected",
                       h->ops->name, h->desc->outputs[i].name, have, channels[i], first);
    }
    return OM_OK;
}

static float between(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

static void add_cell(const om_head *h, const float *const map[MAPS], size_t area, size_t columns, size_t i,
                     const om_geometry *g, om_cands *c)
{
    float height = expf(map[SIZE][i]) * CELL, width = expf(map[SIZE][area + i]) * CELL;
    float x = ((float)(i % columns) + map[OFFSET][area + i] + 0.5f) * CELL - width / 2;
    float y = ((float)(i / columns) + map[OFFSET][i] + 0.5f) * CELL - height / 2;
    if (!isfinite(x) || !isfinite(y)) return; /* before the cut makes a number of it */
    x = between(x, 0, (float)g->dst_w);
    y = between(y, 0, (float)g->dst_h);
    float right = between(x + width, x, (float)g->dst_w), low = between(y + height, y, (float)g->dst_h);
    om_cands_add(h, c, (float[]){x, y, right, low}, map[HEAT][i], 0, (uint32_t)i);
}

/* All five or none: a landmark that is no number spoils the set. */
static void set_landmarks(const float *const map[MAPS], size_t area, const om_cands *c, size_t i,
                          const om_geometry *g, om_detection *d)
{
    size_t cell = c->source[i];
    float height = expf(map[SIZE][cell]) * CELL, width = expf(map[SIZE][area + cell]) * CELL;
    for (int k = 0; k < LANDMARKS; k++) {
        float x = map[LANDMARK][(size_t)(2 * k + 1) * area + cell] * width + c->boxes[4 * i];
        float y = map[LANDMARK][(size_t)(2 * k) * area + cell] * height + c->boxes[4 * i + 1];
        float *to = d->landmarks[k];
        om_geometry_unmap(g, x, y, &to[0], &to[1]);
        if (!isfinite(to[0]) || !isfinite(to[1])) {
            for (int j = 0; j <= k; j++) d->landmarks[j][0] = d->landmarks[j][1] = 0;
            return;
        }
    }
    d->n_landmarks = LANDMARKS;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    int rc = check(h, outputs, item);
    if (rc < 0) return rc;
    size_t columns = (size_t)outputs[HEAT].shape.dim[3], area = columns * (size_t)outputs[HEAT].shape.dim[2];
    size_t floats = 0;
    for (int i = 0; i < MAPS; i++) floats += om_floats_size(&outputs[i]);
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(area) + floats);
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, area);
    const float *map[MAPS];
    for (int i = 0; i < MAPS; i++) map[i] = om_floats(&outputs[i], item, &mem);

    for (size_t i = 0; i < area; i++)
        if (map[HEAT][i] > h->params.conf) add_cell(h, map, area, columns, i, g, &c);
    size_t kept = om_cands_suppress(h, &c);
    for (size_t k = 0; k < kept; k++) {
        om_detection *d;
        rc = om_cands_emit(&c, c.keep[k], g, out, &d);
        if (rc < 0) return rc;
        if (d) set_landmarks(map, area, &c, c.keep[k], g, d);
    }
    return OM_OK;
}

static bool grids(const om_head *h, om_head_grids *out)
{
    *out = (om_head_grids){.output = {HEAT, SIZE, OFFSET, LANDMARK}, .n_outputs = MAPS, .points = LANDMARKS};
    return true;
}

const om_head_ops om_head_centerface = {
    .name = "centerface",
    .title = "CenterFace faces with five landmarks",
    .family = OM_FAMILY_CENTERFACE,
    .conf = 0.25f,
    .iou = 0.3f,
    .init = init,
    .decode = decode,
    .grids = grids,
};
