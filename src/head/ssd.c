/* SSD in the forms its exports have:
 *   rows      boxes [N, A, 4] (or [N, 4*A]) and scores [N, A, classes]; corners, as shares of the input or in
 *             pixels, or offsets from priors, which a third output gives or which are computed
 *   chosen    TensorFlow's detection_boxes [N, n, 4], detection_classes, detection_scores [N, n] and
 *             num_detections [N]; boxes as top, left, bottom, right, shares of the input
 *   listed    Caffe's DetectionOutput, [1, 1, n, 7]: picture, class, score, corners as shares of the input
 * Rows of scores that are distributions have the background first; classes that were judged apart have none.
 */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"
#include "head/prior.h"

#define LISTED_COLUMNS 7
#define CENTER_VARIANCE 0.1f
#define SIZE_VARIANCE 0.2f
/* Corners that are all below this are shares of the input, not pixels. */
#define SHARES_BELOW 2.0f

enum { BOXES, SCORES, CLASSES, COUNT, PRIORS, PARTS };

typedef struct ssd {
    enum { ROWS, CHOSEN, LISTED } form;
    int output[PARTS]; /* -1: not there */
    bool offsets;      /* ROWS: boxes are offsets from priors */
    om_priors priors;  /* computed ones; n 0 until their number is known */
} ssd;

static int part_by_name(const char *name)
{
    static const struct {
        const char *word;
        int part;
    } words[] = {{"raw_", -1},      {"multiclass", -1}, {"indices", -1},    {"num", COUNT},
                 {"prior", PRIORS}, {"anchor", PRIORS}, {"score", SCORES},  {"conf", SCORES},
                 {"prob", SCORES},  {"class", CLASSES}, {"label", CLASSES}, {"loc", BOXES},
                 {"box", BOXES},    {"delta", BOXES},   {"offset", BOXES},  {"regress", BOXES}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasestr(name, words[i].word)) return words[i].part;
    return -1;
}

static bool names_offsets(const char *name)
{
    return strcasestr(name, "loc") || strcasestr(name, "delta") || strcasestr(name, "offset") ||
           strcasestr(name, "regress");
}

static int64_t last_dim(const om_shape *s) { return s->rank > 0 ? s->dim[s->rank - 1] : 0; }

/* By name, then boxes by their four columns and scores by what is left. */
static void assign(ssd *p, const om_model_desc *desc)
{
    for (int i = 0; i < desc->n_outputs; i++) {
        int part = part_by_name(desc->outputs[i].name);
        if (part >= 0 && p->output[part] < 0) p->output[part] = i;
    }
    for (int i = 0; i < desc->n_outputs; i++) {
        const om_shape *s = &desc->outputs[i].shape;
        bool taken = false;
        for (int k = 0; k < PARTS; k++) taken = taken || p->output[k] == i;
        if (taken || part_by_name(desc->outputs[i].name) >= 0 || s->rank != 3) continue;
        int part = last_dim(s) == 4 && p->output[BOXES] < 0 ? BOXES : SCORES;
        if (p->output[part] < 0) p->output[part] = i;
    }
    /* TensorFlow's classes of a row model are its scores. */
    if (p->output[SCORES] < 0 && p->output[CLASSES] >= 0 &&
        desc->outputs[p->output[CLASSES]].shape.rank == 3) {
        p->output[SCORES] = p->output[CLASSES];
        p->output[CLASSES] = -1;
    }
}

/* Classes that the scores have, where their shapes tell; labels must name all of them, or all but the
 * background. */
static int check_labels(om_head *h, const om_model_desc *desc)
{
    const ssd *p = h->priv;
    const om_shape *s = &desc->outputs[p->output[SCORES]].shape;
    if (s->rank != 3 || s->dim[2] <= 0) return OM_OK;
    h->n_classes = (int)s->dim[2];
    if (!desc->n_labels || desc->n_labels == s->dim[2] || desc->n_labels == s->dim[2] - 1) return OM_OK;
    return om_fail(OM_ERR_ARG,
                   "%s head: output %s has %lld scores a box for %d labels; as many or one more "
                   "(the background) were expected",
                   h->ops->name, desc->outputs[p->output[SCORES]].name, (long long)s->dim[2], desc->n_labels);
}

static int init_rows(om_head *h, const om_model_desc *desc)
{
    ssd *p = h->priv;
    const char *text = h->params.anchors ? h->params.anchors : om_model_desc_meta(desc, "omma.anchors");
    p->form = ROWS;
    p->offsets = text || p->output[PRIORS] >= 0 || names_offsets(desc->outputs[p->output[BOXES]].name);
    int rc = check_labels(h, desc);
    if (rc == OM_OK && text && p->output[PRIORS] < 0) rc = om_priors_parse(&p->priors, h->ops->name, text);
    return rc;
}

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "boxes [N, A, 4] and scores [N, A, classes], TensorFlow's detection_boxes, "
                               "_classes and _scores, or one output [1, 1, n, 7]";
    ssd *p = h->priv;
    for (int i = 0; i < PARTS; i++) p->output[i] = -1;
    h->n_classes = 0;
    if (desc->n_outputs == 1 && desc->outputs[0].shape.rank == 4 &&
        last_dim(&desc->outputs[0].shape) == LISTED_COLUMNS) {
        p->form = LISTED;
        h->own_iou = 1;
        return OM_OK;
    }
    assign(p, desc);
    if (p->output[BOXES] < 0 || p->output[SCORES] < 0) return om_head_misfit(desc, h->ops->name, what);
    if (p->output[CLASSES] < 0) return init_rows(h, desc);
    p->form = CHOSEN;
    h->own_iou = 1;
    return OM_OK;
}

static size_t item_count(const om_tensor *t)
{
    size_t n = 1;
    for (int i = 1; i < t->shape.rank; i++) n *= (size_t)t->shape.dim[i];
    return n;
}

static void add_shares(const om_head *h, om_cands *c, const float box[4], float score, float label,
                       const om_geometry *g, size_t i)
{
    float w = (float)g->dst_w, height = (float)g->dst_h;
    if (!(score > h->params.conf) || !(label >= 0 && label <= 1e6f)) return;
    om_cands_add(h, c, (float[]){box[0] * w, box[1] * height, box[2] * w, box[3] * height}, score,
                 (int32_t)label, (uint32_t)i);
}

static int decode_listed(const om_head *h, om_head_scratch *s, const om_tensor *t, int item,
                         const om_geometry *g, om_cands *c)
{
    int rc = om_head_expect(h, t, 0, 4, 0);
    if (rc < 0) return rc;
    if (t->shape.dim[0] != 1 || t->shape.dim[3] != LISTED_COLUMNS)
        return om_head_misfit(h->desc, h->ops->name, "one list [1, 1, n, 7] for all pictures");
    size_t n = (size_t)(t->shape.dim[1] * t->shape.dim[2]);
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    om_cands_init(c, &mem, n);
    const float *row = om_floats(t, 0, &mem);
    for (size_t i = 0; i < n; i++, row += LISTED_COLUMNS)
        if (row[0] == (float)item) add_shares(h, c, row + 3, row[2], row[1], g, i);
    return OM_OK;
}

/* Rows that count: as many as the model says, where it does. */
static size_t chosen_count(const ssd *p, const om_tensor *outputs, int item, size_t n)
{
    if (p->output[COUNT] < 0) return n;
    const om_tensor *t = &outputs[p->output[COUNT]];
    if (om_shape_count(&t->shape) <= item) return n;
    double v = (double)n;
    if (t->dtype == OM_DTYPE_F32) v = ((const float *)t->data)[item];
    else if (t->dtype == OM_DTYPE_I32) v = ((const int32_t *)t->data)[item];
    else if (t->dtype == OM_DTYPE_I64) v = (double)((const int64_t *)t->data)[item];
    return v >= 0 && v < (double)n ? (size_t)v : n;
}

static int decode_chosen(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int item,
                         const om_geometry *g, om_cands *c)
{
    const ssd *p = h->priv;
    const om_tensor *box = &outputs[p->output[BOXES]], *score = &outputs[p->output[SCORES]],
                    *label = &outputs[p->output[CLASSES]];
    bool whole = label->dtype == OM_DTYPE_I64 || label->dtype == OM_DTYPE_I32;
    int rc = om_head_expect(h, box, p->output[BOXES], 3, item);
    if (rc == OM_OK) rc = om_head_expect(h, score, p->output[SCORES], 2, item);
    if (rc == OM_OK && !whole) rc = om_head_expect(h, label, p->output[CLASSES], 2, item);
    if (rc < 0) return rc;
    size_t n = (size_t)box->shape.dim[1];
    if (box->shape.dim[2] != 4 || item_count(score) != n || item_count(label) != n ||
        item >= label->shape.dim[0])
        return om_fail(OM_ERR_ARG,
                       "%s head: %zu boxes, %zu classes and %zu scores; as many of each were expected",
                       h->ops->name, n, item_count(label), item_count(score));
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + om_floats_size(box) + om_floats_size(score) +
                                              (whole ? 0 : om_floats_size(label)));
    if (!mem) return OM_ERR_NOMEM;
    om_cands_init(c, &mem, n);
    const float *b = om_floats(box, item, &mem), *v = om_floats(score, item, &mem);
    const float *k = whole ? NULL : om_floats(label, item, &mem);
    size_t used = chosen_count(p, outputs, item, n), first = (size_t)item * n;
    for (size_t i = 0; i < used; i++, b += 4) {
        float id = k                              ? rintf(k[i])
                   : label->dtype == OM_DTYPE_I64 ? (float)((const int64_t *)label->data)[first + i]
                                                  : (float)((const int32_t *)label->data)[first + i];
        add_shares(h, c, (float[]){b[1], b[0], b[3], b[2]}, v[i], id, g, i);
    }
    return OM_OK;
}

/* Priors that the model gives: centre and size [A, 4], or Caffe's two rows of corners and variances. */
typedef struct given {
    const float *v;
    bool corners;
} given;

static int take_priors(const om_head *h, const om_tensor *outputs, size_t boxes, om_tensor *t)
{
    const ssd *p = h->priv;
    *t = outputs[p->output[PRIORS]];
    if (t->shape.rank > 0 && t->shape.dim[0] != 1) om_tensor_add_batch(t, t->shape.rank + 1);
    int rc = om_head_expect(h, t, p->output[PRIORS], t->shape.rank, 0);
    if (rc < 0 || item_count(t) == 4 * boxes || item_count(t) == 8 * boxes) return rc;
    return om_fail(OM_ERR_ARG,
                   "%s head: output %s has %zu numbers for the priors of %zu boxes; expected 4 a box, "
                   "or 8 with variances",
                   h->ops->name, h->desc->outputs[p->output[PRIORS]].name, item_count(t), boxes);
}

/* The computed priors: the user's or the model's list, else the known one for so many boxes. */
static int compute_priors(const om_head *h, size_t boxes, const om_geometry *g, om_priors *out)
{
    const ssd *p = h->priv;
    const char *known = om_priors_known(boxes);
    *out = p->priors;
    if (!out->n && known) {
        int rc = om_priors_parse(out, h->ops->name, known);
        if (rc < 0) return rc;
    }
    size_t n = om_priors_count(out, g);
    if (out->n && n == boxes) return OM_OK;
    if (!out->n)
        return om_fail(
            OM_ERR_ARG,
            "%s head: offsets of %zu boxes, but the model gives no priors; --anchors lists them, or "
            "metadata omma.anchors",
            h->ops->name, boxes);
    return om_fail(OM_ERR_ARG, "%s head: offsets of %zu boxes, but an input of %dx%d has %zu priors",
                   h->ops->name, boxes, g->dst_w, g->dst_h, n);
}

/* Centre and size in pixels of the given prior i. */
static void given_at(const given *p, const om_geometry *g, size_t i, float box[4])
{
    const float *v = p->v + 4 * i;
    float w = (float)g->dst_w, h = (float)g->dst_h;
    box[0] = (p->corners ? (v[0] + v[2]) / 2 : v[0]) * w;
    box[1] = (p->corners ? (v[1] + v[3]) / 2 : v[1]) * h;
    box[2] = (p->corners ? v[2] - v[0] : v[2]) * w;
    box[3] = (p->corners ? v[3] - v[1] : v[3]) * h;
}

static void from_offsets(const float prior[4], const float t[4], float box[4])
{
    float x = prior[0] + t[0] * CENTER_VARIANCE * prior[2], y = prior[1] + t[1] * CENTER_VARIANCE * prior[3];
    float dx = prior[2] * expf(t[2] * SIZE_VARIANCE) / 2, dy = prior[3] * expf(t[3] * SIZE_VARIANCE) / 2;
    box[0] = x - dx;
    box[1] = y - dy;
    box[2] = x + dx;
    box[3] = y + dy;
}

static bool are_shares(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i]) && !(fabsf(v[i]) < SHARES_BELOW)) return false;
    return true;
}

/* How a row of scores is read. */
typedef struct reading {
    size_t classes;
    bool probabilities;
    size_t first; /* 1: the background is class 0 */
    int shift;    /* of the class's number: labels may leave out the background */
} reading;

static reading read_scores(const om_head *h, const float *v, size_t boxes, size_t classes)
{
    reading r = {.classes = classes};
    r.probabilities = om_scores_are_probabilities(v, boxes * classes);
    r.first = classes > 1 && (!r.probabilities || om_row_is_distribution(v, classes));
    r.shift = r.first && h->desc->n_labels && (size_t)h->desc->n_labels == classes - 1;
    return r;
}

static int decode_rows(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int item,
                       const om_geometry *g, om_cands *c)
{
    const ssd *p = h->priv;
    const om_tensor *box = &outputs[p->output[BOXES]], *score = &outputs[p->output[SCORES]];
    om_tensor prior = {0};
    om_priors computed;
    int rc = om_head_expect(h, box, p->output[BOXES], h->desc->outputs[p->output[BOXES]].shape.rank, item);
    if (rc == OM_OK)
        rc =
            om_head_expect(h, score, p->output[SCORES], h->desc->outputs[p->output[SCORES]].shape.rank, item);
    if (rc < 0) return rc;
    size_t n = item_count(box) / 4, classes = n ? item_count(score) / n : 0;
    if (item_count(box) != 4 * n || (n && (!classes || item_count(score) != n * classes)))
        return om_fail(OM_ERR_ARG,
                       "%s head: %zu numbers of boxes and %zu of scores; 4 a box and as many scores for "
                       "each were expected",
                       h->ops->name, item_count(box), item_count(score));
    bool output_priors = p->offsets && p->output[PRIORS] >= 0;
    if (output_priors) rc = take_priors(h, outputs, n, &prior);
    else if (p->offsets && n) rc = compute_priors(h, n, g, &computed);
    if (rc < 0) return rc;
    size_t floats =
        om_floats_size(box) + om_floats_size(score) + (output_priors ? om_floats_size(&prior) : 0);
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + floats);
    if (!mem) return OM_ERR_NOMEM;
    om_cands_init(c, &mem, n);
    if (!n) return OM_OK;
    const float *b = om_floats(box, item, &mem), *v = om_floats(score, item, &mem);
    given gave = {output_priors ? om_floats(&prior, 0, &mem) : NULL,
                  output_priors && item_count(&prior) == 8 * n};
    reading r = read_scores(h, v, n, classes);
    bool shares = !p->offsets && are_shares(b, 4 * n);
    for (size_t i = 0; i < n; i++, b += 4, v += classes) {
        size_t k = r.first + om_row_best(v + r.first, classes - r.first);
        float value = r.probabilities ? v[k] : om_row_softmax(v, classes, k), at[4], decoded[4];
        if (!(value > h->params.conf)) continue;
        int32_t label = (int32_t)k - r.shift;
        if (shares) {
            add_shares(h, c, b, value, (float)label, g, i);
        } else if (!p->offsets) {
            om_cands_add(h, c, b, value, label, (uint32_t)i);
        } else {
            if (gave.v) given_at(&gave, g, i, at);
            else om_priors_at(&computed, g, i, at);
            from_offsets(at, b, decoded);
            om_cands_add(h, c, decoded, value, label, (uint32_t)i);
        }
    }
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const ssd *p = h->priv;
    om_cands c;
    int rc = p->form == LISTED   ? decode_listed(h, s, &outputs[0], item, g, &c)
             : p->form == CHOSEN ? decode_chosen(h, s, outputs, item, g, &c)
                                 : decode_rows(h, s, outputs, item, g, &c);
    return rc < 0 ? rc : om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_ssd = {
    .name = "ssd",
    .title = "SSD: rows over priors, TensorFlow's or Caffe's chosen boxes",
    .family = OM_FAMILY_SSD,
    .conf = 0.25f,
    .iou = 0.45f,
    .priv_size = sizeof(ssd),
    .init = init,
    .decode = decode,
};
