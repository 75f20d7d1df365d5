#include "head/candidate.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

#define ALIGN 64
/* Beyond this a coordinate is no place in any picture, and squares of it still fit a float. */
#define FAR 1e9f

size_t om_piece(size_t size) { return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

void *om_take(uint8_t **at, size_t size)
{
    void *p = *at;
    *at += om_piece(size);
    return p;
}

size_t om_cands_size(size_t cap)
{
    return om_piece(cap * 4 * sizeof(float)) + 4 * om_piece(cap * sizeof(float)) +
           om_piece(om_nms_work_size(cap));
}

void om_cands_init(om_cands *c, uint8_t **at, size_t cap)
{
    c->boxes = om_take(at, cap * 4 * sizeof *c->boxes);
    c->scores = om_take(at, cap * sizeof *c->scores);
    c->classes = om_take(at, cap * sizeof *c->classes);
    c->source = om_take(at, cap * sizeof *c->source);
    c->keep = om_take(at, cap * sizeof *c->keep);
    c->work = om_take(at, om_nms_work_size(cap));
    c->n = 0;
    c->cap = cap;
}

bool om_head_wants(const om_head *h, int32_t class_id)
{
    for (int i = 0; i < h->params.n_classes; i++)
        if (h->params.classes[i] == class_id) return true;
    return h->params.n_classes == 0;
}

void om_cands_add(const om_head *h, om_cands *c, const float box[4], float score, int32_t class_id,
                  uint32_t source)
{
    if (c->n >= c->cap || !isfinite(score) || !om_head_wants(h, class_id)) return;
    for (int i = 0; i < 4; i++)
        if (!(fabsf(box[i]) < FAR)) return; /* NaN fails every comparison */
    memcpy(c->boxes + 4 * c->n, box, 4 * sizeof(float));
    c->scores[c->n] = score;
    c->classes[c->n] = class_id;
    c->source[c->n] = source;
    c->n++;
}

/* The k-th largest (k >= 1) of v[0..n), which is reordered. */
static uint32_t select_largest(uint32_t *v, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1, want = k - 1;
    while (lo < hi) {
        uint32_t pivot = v[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;
        for (;;) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i >= j) break;
            uint32_t t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (want <= j) /* v[lo..j] >= pivot >= v[j+1..hi] */
            hi = j;
        else lo = j + 1;
    }
    return v[want];
}

static void move(om_cands *c, size_t to, size_t from)
{
    memmove(c->boxes + 4 * to, c->boxes + 4 * from, 4 * sizeof(float));
    c->scores[to] = c->scores[from];
    c->classes[to] = c->classes[from];
    c->source[to] = c->source[from];
}

/* Leaves the `max` best, of equal ones the first, in their old order. */
static void bound(om_cands *c, size_t max)
{
    if (c->n <= max) return;
    /* Scores are positive, so that their bits order as they do. */
    memcpy(c->keep, c->scores, c->n * sizeof(float));
    uint32_t bits = select_largest(c->keep, c->n, max);
    float least;
    memcpy(&least, &bits, sizeof least);
    size_t above = 0, n = 0;
    for (size_t i = 0; i < c->n; i++) above += c->scores[i] > least;
    for (size_t i = 0; i < c->n; i++) {
        if (c->scores[i] < least || (c->scores[i] == least && above == max)) continue;
        above += c->scores[i] == least;
        move(c, n++, i);
    }
    c->n = n;
}

size_t om_cands_suppress(const om_head *h, om_cands *c)
{
    if (!c->n) return 0;
    bound(c, OM_MAX_CANDIDATES);
    return h->kernels->nms(c->boxes, c->scores, c->classes, c->n, h->params.iou, h->params.agnostic,
                           (size_t)h->params.max_boxes, c->keep, c->work);
}

int om_cands_emit(const om_cands *c, size_t i, const om_geometry *g, om_dets *dets, om_detection **out)
{
    return om_geometry_add_box(g, c->boxes + 4 * i, c->scores[i], c->classes[i], dets, out);
}

int om_cands_finish(const om_head *h, om_cands *c, const om_geometry *g, om_dets *dets)
{
    size_t kept = om_cands_suppress(h, c);
    for (size_t i = 0; i < kept; i++) {
        om_detection *d;
        int rc = om_cands_emit(c, c->keep[i], g, dets, &d);
        if (rc < 0) return rc;
    }
    return OM_OK;
}

/* Elements of one item: everything behind the batch. */
static size_t item_count(const om_tensor *t)
{
    size_t n = 1;
    for (int i = 1; i < t->shape.rank; i++) n *= (size_t)t->shape.dim[i];
    return n;
}

size_t om_floats_size(const om_tensor *t)
{
    return t->dtype == OM_DTYPE_F32 ? 0 : om_piece(item_count(t) * sizeof(float));
}

const void *om_item_data(const om_tensor *t, int item)
{
    return (const uint8_t *)t->data + (size_t)item * item_count(t) * om_dtype_size(t->dtype);
}

const float *om_floats(const om_tensor *t, int item, uint8_t **at)
{
    size_t n = item_count(t);
    const void *from = om_item_data(t, item);
    if (t->dtype == OM_DTYPE_F32) return from;
    float *to = om_take(at, n * sizeof *to);
    om_kernels_get()->widen(from, n, to);
    return to;
}

int om_picks_take(om_head_scratch *s, size_t cands, om_cands *c, size_t picks, om_picks *k)
{
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(cands) + 3 * om_piece(picks * sizeof(float)));
    if (!mem) return OM_ERR_NOMEM;
    om_cands_init(c, &mem, cands);
    k->index = om_take(&mem, picks * sizeof *k->index);
    k->best = om_take(&mem, picks * sizeof *k->best);
    k->which = om_take(&mem, picks * sizeof *k->which);
    k->n = 0;
    return OM_OK;
}

void om_box_matrix_init(om_box_matrix *m, const om_tensor *t, int item, bool columns)
{
    *m = (om_box_matrix){.data = om_item_data(t, item),
                         .dtype = t->dtype,
                         .n = (size_t)t->shape.dim[columns ? 2 : 1],
                         .numbers = (size_t)t->shape.dim[columns ? 1 : 2]};
    m->box_step = columns ? 1 : m->numbers;
    m->number_step = columns ? m->n : 1;
}

om_scores om_box_matrix_scores(const om_box_matrix *m, size_t skip, size_t count)
{
    const uint8_t *data = m->data;
    return (om_scores){.data = data + skip * m->number_step * om_dtype_size(m->dtype),
                       .dtype = m->dtype,
                       .places = m->n,
                       .classes = count,
                       .place_step = m->box_step,
                       .class_step = m->number_step};
}

int32_t om_box_best(const om_head *h, const om_box_matrix *m, size_t box, size_t first, float *best)
{
    int32_t which = 0;
    if (m->number_step == 1) {
        const uint8_t *data = m->data;
        return h->kernels->largest(data + (box * m->box_step + first) * om_dtype_size(m->dtype), m->dtype,
                                   m->numbers - first, best);
    }
    *best = -INFINITY;
    for (size_t k = first; k < m->numbers; k++) {
        float v = om_box_number(m, box, k);
        if (!(v > *best)) continue;
        *best = v;
        which = (int32_t)(k - first);
    }
    return which;
}

void om_cands_add_centred(const om_head *h, om_cands *c, const om_box_matrix *m, size_t box, float score,
                          int32_t class_id)
{
    float x = om_box_number(m, box, 0), y = om_box_number(m, box, 1), dx = om_box_number(m, box, 2) / 2,
          dy = om_box_number(m, box, 3) / 2;
    om_cands_add(h, c, (float[]){x - dx, y - dy, x + dx, y + dy}, score, class_id, (uint32_t)box);
}

int om_head_expect(const om_head *h, const om_tensor *t, int index, int rank, int item)
{
    const char *head = h->ops->name, *name = h->desc->outputs[index].name;
    char text[OM_SHAPE_TEXT];
    om_shape_text(&t->shape, text);
    if (t->dtype != OM_DTYPE_F32 && t->dtype != OM_DTYPE_F16)
        return om_fail(OM_ERR_ARG, "%s head: output %s is %s; f32 or f16 was expected", head, name,
                       om_dtype_name(t->dtype));
    if (t->shape.rank != rank)
        return om_fail(OM_ERR_ARG, "%s head: output %s has shape %s; %d dimensions were expected", head, name,
                       text, rank);
    if (item < 0 || item >= t->shape.dim[0])
        return om_fail(OM_ERR_ARG, "%s head: no item %d in output %s of shape %s", head, item, name, text);
    return OM_OK;
}

int om_head_misfit(const om_model_desc *desc, const char *head, const char *what)
{
    om_str list = {0};
    for (int i = 0; i < desc->n_outputs; i++) {
        char text[OM_SHAPE_TEXT];
        om_shape_text(&desc->outputs[i].shape, text);
        om_str_addf(&list, "%s%s %s %s", i ? ", " : "", desc->outputs[i].name, text,
                    om_dtype_name(desc->outputs[i].dtype));
    }
    int rc = om_fail(OM_ERR_ARG, "%s head: expected %s; the model has %s", head, what, om_str_get(&list));
    om_str_fini(&list);
    return rc;
}
