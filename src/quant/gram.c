#include "quant/gram.h"

#include <string.h>

#include "base/mem.h"
#include "omma/error.h"

#define MOST_MOMENTS (1 << 19) /* of one layer: 4 MB */
#define FEW_MOMENTS (1 << 23)  /* of one with few outputs: 64 MB */
#define FEW_PRODUCTS                                                                                         \
    (1 << 29)           /* moments times outputs: as many rounding takes for each scale that is tried */
#define MOST_PLACES 512 /* of one tensor */
#define LEAST_PLACES 64
#define PRODUCTS (1 << 23) /* of one tensor, unless that leaves too few places */
#define ENOUGH(k) ((k) > 724 ? 4 * (uint64_t)(k) : 4096 + 16 * (uint64_t)(k))
#define LATER 8 /* then one tensor in so many tells the rest */

void om_gram_destroy(om_gram *m)
{
    if (!m) return;
    void *owned[] = {m->sum, m->xx, m->x, m->q, m->scale};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    om_free(m);
}

static bool plain_pads(const om_node *n)
{
    const char *pads = om_node_attr_string(n, "auto_pad", "NOTSET");
    return !strcmp(pads, "NOTSET") || !strcmp(pads, "VALID");
}

int om_gram_create(const om_graph *g, const om_node *n, const om_weight_form *f, om_gram **out)
{
    bool conv = !strcmp(n->op, "Conv"), deconv = !strcmp(n->op, "ConvTranspose");
    int64_t groups = conv ? om_node_attr_int(n, "group", 1) : 1, k = f->outer * f->inner;
    *out = NULL;
    if (deconv || (conv && (g->values[n->inputs[1]].constant->shape.rank != 4 || !plain_pads(n))))
        return OM_OK;
    if (groups < 1 || f->n % groups || k < 1 || k > MOST_MOMENTS) return OM_OK;
    if (groups * k > MOST_MOMENTS / k && (groups > 1 || k * k > FEW_MOMENTS || k * k > FEW_PRODUCTS / f->n))
        return OM_OK;
    om_gram *m = om_calloc(1, sizeof *m);
    if (!m) return OM_ERR_NOMEM;
    m->groups = groups;
    m->k = k;
    m->sum = om_calloc((size_t)(groups * k), sizeof *m->sum);
    m->xx = om_calloc((size_t)(groups * k * k), sizeof *m->xx);
    m->x = om_alloc((size_t)(MOST_PLACES * k) * sizeof *m->x);
    m->q = om_alloc((size_t)(f->n * k));
    m->scale = om_alloc((size_t)f->n * sizeof *m->scale);
    if (!m->sum || !m->xx || !m->x || !m->q || !m->scale) {
        om_gram_destroy(m);
        return OM_ERR_NOMEM;
    }
    *out = m;
    return OM_OK;
}

/* How a convolution walks over its input. */
typedef struct walk {
    int64_t channels, height, width, out_height, out_width;
    int64_t kernel[2], stride[2], dilation[2], pad[4];
} walk;

static bool walk_of(const om_node *n, const om_shape *weights, const om_shape *in, int64_t groups, walk *w)
{
    *w = (walk){.channels = in->dim[1],
                .height = in->dim[2],
                .width = in->dim[3],
                .kernel = {weights->dim[2], weights->dim[3]},
                .stride = {1, 1},
                .dilation = {1, 1}};
    om_node_attr_ints(n, "strides", w->stride, 2);
    om_node_attr_ints(n, "dilations", w->dilation, 2);
    om_node_attr_ints(n, "pads", w->pad, 4);
    int64_t out[2];
    for (int i = 0; i < 2; i++) {
        int64_t size = in->dim[2 + i] + w->pad[i] + w->pad[2 + i] - w->dilation[i] * (w->kernel[i] - 1) - 1;
        if (w->stride[i] < 1 || size < 0) return false;
        out[i] = size / w->stride[i] + 1;
    }
    w->out_height = out[0];
    w->out_width = out[1];
    return w->channels == weights->dim[1] * groups;
}

/* Channels `first`.. of the window at `place`, zeros beyond the edges. */
static void copy_window(const walk *w, const float *in, int64_t first, int64_t channels, int64_t place,
                        float *to)
{
    int64_t x = place % w->out_width, y = place / w->out_width % w->out_height,
            item = place / w->out_width / w->out_height;
    for (int64_t c = first; c < first + channels; c++)
        for (int64_t i = 0; i < w->kernel[0]; i++)
            for (int64_t j = 0; j < w->kernel[1]; j++) {
                int64_t row = y * w->stride[0] - w->pad[0] + i * w->dilation[0],
                        column = x * w->stride[1] - w->pad[1] + j * w->dilation[1];
                bool inside = row >= 0 && row < w->height && column >= 0 && column < w->width;
                *to++ = inside ? in[((item * w->channels + c) * w->height + row) * w->width + column] : 0;
            }
}

static void add_places(om_gram *m, int64_t group, int64_t places)
{
    double *sum = m->sum + group * m->k, *xx = m->xx + group * m->k * m->k;
    for (int64_t i = 0; i < m->k; i++) {
        float row[MOST_PLACES];
        double mean = 0;
        for (int64_t p = 0; p < places; p++) mean += (double)(row[p] = m->x[p * m->k + i]);
        sum[i] += mean;
        for (int64_t from = 0; from <= i; from += MOST_PLACES) {
            float dot[MOST_PLACES] = {0};
            int64_t n = i + 1 - from < MOST_PLACES ? i + 1 - from : MOST_PLACES;
            for (int64_t p = 0; p < places; p++) {
                const float *x = m->x + p * m->k + from;
                for (int64_t j = 0; j < n && row[p] != 0; j++) dot[j] += row[p] * x[j];
            }
            for (int64_t j = 0; j < n; j++) xx[i * m->k + from + j] += (double)dot[j];
        }
    }
}

void om_gram_add(om_gram *m, const om_node *n, const om_shape *weights, const om_tensor *t)
{
    bool conv = !strcmp(n->op, "Conv");
    walk w = {0};
    int64_t rows = om_shape_count(&t->shape) / m->k;
    if (m->n >= ENOUGH(m->k) && m->shown++ % LATER) return;
    if (conv && (t->shape.rank != 4 || !walk_of(n, weights, &t->shape, m->groups, &w))) return;
    if (!conv && (t->shape.rank < 1 || t->shape.dim[t->shape.rank - 1] != m->k)) return;
    if (conv) rows = t->shape.dim[0] * w.out_height * w.out_width;
    int64_t places = PRODUCTS / (m->groups * m->k * m->k);
    places = places < LEAST_PLACES ? LEAST_PLACES : places > MOST_PLACES ? MOST_PLACES : places;
    int64_t step = rows / places + 1;
    if (step > 1) step |= 1; /* rows have even lengths: an odd step does not fall into their columns */
    int64_t taken = 0;
    for (int64_t g = 0; g < m->groups; g++) {
        taken = 0;
        for (int64_t p = (int64_t)(m->n % (uint64_t)step); p < rows && taken < MOST_PLACES;
             p += step, taken++) {
            float *to = m->x + taken * m->k;
            if (conv) copy_window(&w, t->data, g * weights->dim[1], weights->dim[1], p, to);
            else memcpy(to, (const float *)t->data + p * m->k, (size_t)m->k * sizeof *to);
        }
        add_places(m, g, taken);
    }
    m->n += (uint64_t)taken;
}
