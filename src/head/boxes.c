/* Models that choose their boxes themselves, as torchvision's detectors do: boxes [n,4] as corners in input
 * pixels, labels [n] and scores [n], each with or without a leading batch. Which output is which is told by
 * name, else by shape and type. Labels stay the model's own numbers (torchvision counts COCO's from 1). */
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

enum { BOXES, LABELS, SCORES, PARTS };

static const char *const part_names[PARTS] = {"boxes", "labels", "scores"};

typedef struct boxes {
    int output[PARTS];
} boxes;

static int part_by_name(const char *name)
{
    static const struct {
        const char *word;
        int part;
    } words[] = {{"score", SCORES}, {"conf", SCORES},  {"prob", SCORES},
                 {"label", LABELS}, {"class", LABELS}, {"box", BOXES}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasestr(name, words[i].word)) return words[i].part;
    return -1;
}

static bool is_whole(om_dtype t) { return t == OM_DTYPE_I64 || t == OM_DTYPE_I32; }
static bool is_float(om_dtype t) { return t == OM_DTYPE_F32 || t == OM_DTYPE_F16; }

/* Whether an output can be this part; unknown ranks and dims can be anything. */
static bool fits(const om_tensor_spec *o, int part)
{
    const om_shape *s = &o->shape;
    if (part == LABELS ? !is_whole(o->dtype) && !is_float(o->dtype) : !is_float(o->dtype)) return false;
    if (s->rank < 0) return true;
    if (part != BOXES) return s->rank == 1 || s->rank == 2;
    return (s->rank == 2 || s->rank == 3) && (s->dim[s->rank - 1] == 4 || s->dim[s->rank - 1] < 0);
}

static void assign_by_name(boxes *p, const om_model_desc *desc)
{
    for (int i = 0; i < desc->n_outputs; i++) {
        int part = part_by_name(desc->outputs[i].name);
        if (part >= 0 && p->output[part] < 0 && fits(&desc->outputs[i], part)) p->output[part] = i;
    }
}

static bool taken(const boxes *p, int output)
{
    for (int i = 0; i < PARTS; i++)
        if (p->output[i] == output) return true;
    return false;
}

/* Boxes have the last dim of 4, labels are whole numbers, scores are what is left. */
static void assign_by_shape(boxes *p, const om_model_desc *desc)
{
    for (int part = 0; part < PARTS; part++)
        for (int i = 0; i < desc->n_outputs && p->output[part] < 0; i++) {
            const om_tensor_spec *o = &desc->outputs[i];
            if (taken(p, i) || o->shape.rank < 0 || !fits(o, part)) continue;
            if (part == LABELS && !is_whole(o->dtype)) continue;
            p->output[part] = i;
        }
}

static int init(om_head *h, const om_model_desc *desc)
{
    boxes *p = h->priv;
    for (int i = 0; i < PARTS; i++) p->output[i] = -1;
    assign_by_name(p, desc);
    assign_by_shape(p, desc);
    for (int i = 0; i < PARTS; i++)
        if (p->output[i] < 0)
            return om_head_misfit(desc, h->ops->name, "boxes [n,4], labels [n] of whole numbers, scores [n]");
    h->n_classes = 0;
    return OM_OK;
}

/* One part's item: rank `rank` with the batch in front, or one less where the model knows no batch. */
typedef struct view {
    om_tensor item; /* of one batch of one */
    size_t n;
} view;

static int view_part(const om_head *h, const om_tensor *outputs, int part, int item, view *out)
{
    const boxes *p = h->priv;
    int index = p->output[part], full = part == BOXES ? 3 : 2;
    om_tensor t = outputs[index];
    if (t.shape.rank == full - 1) {
        memmove(t.shape.dim + 1, t.shape.dim, (size_t)t.shape.rank * sizeof t.shape.dim[0]);
        t.shape.dim[0] = 1;
        t.shape.rank = full;
    }
    if (part != LABELS || !is_whole(t.dtype)) {
        int rc = om_head_expect(h, &t, index, full, item);
        if (rc < 0) return rc;
    }
    if (t.shape.rank != full || item < 0 || item >= t.shape.dim[0] ||
        (part == BOXES && t.shape.dim[2] != 4)) {
        char text[OM_SHAPE_TEXT];
        om_shape_text(&outputs[index].shape, text);
        return om_fail(OM_ERR_ARG, "%s head: output %s (%s) has shape %s, and item %d was asked for",
                       h->ops->name, h->desc->outputs[index].name, part_names[part], text, item);
    }
    *out = (view){.item = t, .n = (size_t)t.shape.dim[1]};
    return OM_OK;
}

/* Label i of the item; -1 where it is no class number. */
static int32_t label_at(const view *labels, int item, const float *floats, size_t i)
{
    size_t at = (size_t)item * labels->n + i;
    double v;
    if (labels->item.dtype == OM_DTYPE_I64) v = (double)((const int64_t *)labels->item.data)[at];
    else if (labels->item.dtype == OM_DTYPE_I32) v = (double)((const int32_t *)labels->item.data)[at];
    else v = floats[i];
    return v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

/* Corners of a model with a batch that are all below 2 are shares of the input, as in the ONNX zoo's SSD. */
static bool are_shares(const view *corners, const om_shape *declared, const float *v)
{
    if (declared->rank != 3) return false;
    for (size_t i = 0; i < 4 * corners->n; i++)
        if (v[i] >= 2 || v[i] <= -2) return false;
    return true;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    view part[PARTS];
    size_t floats = 0;
    for (int i = 0; i < PARTS; i++) {
        int rc = view_part(h, outputs, i, item, &part[i]);
        if (rc < 0) return rc;
        if (!is_whole(part[i].item.dtype)) floats += om_floats_size(&part[i].item);
    }
    size_t n = part[BOXES].n;
    if (part[LABELS].n != n || part[SCORES].n != n)
        return om_fail(OM_ERR_ARG,
                       "%s head: %zu boxes, %zu labels and %zu scores; as many of each were expected",
                       h->ops->name, n, part[LABELS].n, part[SCORES].n);

    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + floats);
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *box = om_floats(&part[BOXES].item, item, &mem),
                *score = om_floats(&part[SCORES].item, item, &mem);
    const float *labels =
        is_whole(part[LABELS].item.dtype) ? NULL : om_floats(&part[LABELS].item, item, &mem);
    const boxes *p = h->priv;
    bool shares = are_shares(&part[BOXES], &h->desc->outputs[p->output[BOXES]].shape, box);
    float width = shares ? (float)g->dst_w : 1, height = shares ? (float)g->dst_h : 1;
    for (size_t i = 0; i < n; i++) {
        if (!(score[i] > h->params.conf)) continue;
        int32_t label = label_at(&part[LABELS], item, labels, i);
        const float *b = box + 4 * i;
        const float at[4] = {b[0] * width, b[1] * height, b[2] * width, b[3] * height};
        if (label >= 0) om_cands_add(h, &c, at, score[i], label, (uint32_t)i);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_boxes = {
    .name = "boxes",
    .title = "boxes, labels and scores chosen by the model (torchvision)",
    .family = OM_FAMILY_BOXES,
    .conf = 0.25f,
    .iou = 1,
    .priv_size = sizeof(boxes),
    .init = init,
    .decode = decode,
};
