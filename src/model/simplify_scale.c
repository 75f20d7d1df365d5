/* What follows a convolution and is one scale and one shift a channel goes into its weights and bias. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/simplify.h"

/* y = x * scale[c] + shift[c] */
typedef struct affine {
    double *scale, *shift;
    int64_t n;
} affine;

static int affine_init(affine *a, int64_t n)
{
    *a = (affine){om_alloc((size_t)n * sizeof(double)), om_alloc((size_t)n * sizeof(double)), n};
    if (a->scale && a->shift) return OM_OK;
    om_free(a->scale);
    om_free(a->shift);
    return OM_ERR_NOMEM;
}

static void affine_fini(affine *a)
{
    om_free(a->scale);
    om_free(a->shift);
}

static bool is_real(const om_const *c)
{
    return c && c->data &&
           (c->dtype == OM_DTYPE_F32 || c->dtype == OM_DTYPE_F16 || c->dtype == OM_DTYPE_BF16 ||
            c->dtype == OM_DTYPE_F64);
}

static void put(om_const *c, int64_t i, double v)
{
    uint32_t bits;
    float f = (float)v;
    switch (c->dtype) {
    case OM_DTYPE_F32: ((float *)c->data)[i] = f; return;
    case OM_DTYPE_F64: ((double *)c->data)[i] = v; return;
    case OM_DTYPE_F16: ((uint16_t *)c->data)[i] = om_f32_to_f16(f); return;
    default: memcpy(&bits, &f, sizeof bits); ((uint16_t *)c->data)[i] = om_f32_to_bf16_bits(bits);
    }
}

/* The layer before, whose weights can take a scale: its node, or -1. *n: its output channels. */
static int find_layer(const om_simplifier *s, int value, int64_t *n)
{
    static const char *const ops[] = {"Conv", "ConvTranspose", "Gemm"};
    for (int i = 0; i < 3; i++) {
        int layer = om_simplify_maker(s, value, ops[i]);
        if (layer < 0 || !om_simplify_sole(s, value)) continue;
        const om_node *node = &s->g->nodes[layer];
        const om_const *w = om_simplify_const(s, layer, 1), *b = om_simplify_const(s, layer, 2);
        bool gemm = i == 2;
        if (!is_real(w) || w->shape.rank < (gemm ? 2 : 3)) return -1;
        *n = i == 0 ? w->shape.dim[0]
             : gemm ? w->shape.dim[om_node_attr_int(node, "transB", 0) ? 0 : 1]
                    : w->shape.dim[1] * om_node_attr_int(node, "group", 1);
        if (om_simplify_in(s, layer, 2) >= 0 &&
            (!is_real(b) || b->dtype != w->dtype || om_shape_count(&b->shape) != *n || b->shape.rank < 1 ||
             b->shape.dim[b->shape.rank - 1] != *n))
            return -1;
        if (gemm && om_node_attr_float(node, "beta", 1) == 0) return -1;
        return *n > 0 ? layer : -1;
    }
    return -1;
}

/* The channel that weight number `i` adds to. */
static int64_t channel_of(const om_node *layer, const om_const *w, int64_t i)
{
    int64_t window = 1;
    if (!strcmp(layer->op, "Gemm")) {
        int64_t columns = w->shape.dim[1];
        return om_node_attr_int(layer, "transB", 0) ? i / columns : i % columns;
    }
    for (int k = 2; k < w->shape.rank; k++) window *= w->shape.dim[k];
    if (!strcmp(layer->op, "Conv")) return i / (window * w->shape.dim[1]);
    /* [in, out / group, ...]: the input channel tells the group. */
    int64_t groups = om_node_attr_int(layer, "group", 1), out = w->shape.dim[1];
    int64_t in = i / (window * out), each = w->shape.dim[0] / groups;
    return in / each * out + i / window % out;
}

/* y = alpha * A * B + beta * C, so that a shift counts for 1 / beta in C. */
static int shift_bias(om_simplifier *s, int layer, const affine *a, om_dtype dtype)
{
    om_const *b;
    double beta = 1;
    if (!strcmp(s->g->nodes[layer].op, "Gemm")) beta = om_node_attr_float(&s->g->nodes[layer], "beta", 1);
    if (om_simplify_in(s, layer, 2) >= 0) {
        int err = om_simplify_own(s, layer, 2, &b);
        for (int64_t i = 0; i < a->n && err >= 0; i++)
            put(b, i, om_simplify_number(b, i) * a->scale[i] + a->shift[i] / beta);
        return err;
    }
    om_shape shape = om_shape_make(1, a->n);
    void *zeros = om_calloc((size_t)a->n, om_dtype_size(dtype));
    int v = zeros ? om_graph_add_const(s->g, NULL, dtype, &shape, zeros) : OM_ERR_NOMEM;
    om_free(zeros);
    if (v < 0) return v;
    b = s->g->values[v].constant;
    for (int64_t i = 0; i < a->n; i++) put(b, i, a->shift[i] / beta);
    return om_simplify_set_input(s, layer, 2, v);
}

/* `node`, which reads the layer as `value`, goes. */
static int absorb(om_simplifier *s, int node, int value, int layer, const affine *a)
{
    om_const *w;
    bool scales = false;
    for (int64_t i = 0; i < a->n; i++) {
        if (!isfinite(a->scale[i]) || !isfinite(a->shift[i])) return 0;
        scales = scales || a->scale[i] != 1;
    }
    om_dtype dtype = om_simplify_const(s, layer, 1)->dtype;
    if (scales) {
        int err = om_simplify_own(s, layer, 1, &w);
        if (err < 0) return err;
        const om_node *n = &s->g->nodes[layer];
        int64_t count = om_shape_count(&w->shape);
        for (int64_t i = 0; i < count; i++)
            put(w, i, om_simplify_number(w, i) * a->scale[channel_of(n, w, i)]);
    }
    int err = shift_bias(s, layer, a, dtype);
    return err < 0 ? err : om_simplify_bypass(s, node, value);
}

static bool one_output(const om_simplifier *s, const om_node *n)
{
    for (int i = 1; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && (s->uses[n->outputs[i]] || s->g->values[n->outputs[i]].is_output))
            return false;
    return true;
}

int om_simplify_batchnorm(om_simplifier *s, int node)
{
    const om_node *n = &s->g->nodes[node];
    const om_const *c[4];
    affine a;
    int64_t channels;
    if (strcmp(n->op, "BatchNormalization") || om_node_attr_int(n, "training_mode", 0) || !one_output(s, n))
        return 0;
    int value = om_simplify_in(s, node, 0), layer = find_layer(s, value, &channels);
    if (layer < 0) return 0;
    for (int i = 0; i < 4; i++) {
        c[i] = om_simplify_const(s, node, i + 1);
        if (!is_real(c[i]) || om_shape_count(&c[i]->shape) != channels) return 0;
    }
    int err = affine_init(&a, channels);
    if (err < 0) return err;
    double epsilon = om_node_attr_float(n, "epsilon", 1e-5f);
    for (int64_t i = 0; i < channels; i++) {
        a.scale[i] = om_simplify_number(c[0], i) / sqrt(om_simplify_number(c[3], i) + epsilon);
        a.shift[i] = om_simplify_number(c[1], i) - om_simplify_number(c[2], i) * a.scale[i];
    }
    err = absorb(s, node, value, layer, &a);
    affine_fini(&a);
    return err;
}

/* The constant has one number, or one a channel (dim 1) of a tensor of `rank`. */
static bool is_per_channel(const om_const *c, int rank, int64_t channels)
{
    if (!is_real(c) || c->shape.rank > rank) return false;
    for (int i = 0; i < c->shape.rank; i++) {
        int64_t d = c->shape.dim[i];
        if (d != 1 && (i + rank - c->shape.rank != 1 || d != channels)) return false;
    }
    return true;
}

static void affine_of(const char *op, bool constant_first, double c, double *scale, double *shift)
{
    *scale = 1;
    *shift = 0;
    if (!strcmp(op, "Mul")) *scale = c;
    else if (!strcmp(op, "Div")) *scale = 1 / c;
    else if (!strcmp(op, "Add")) *shift = c;
    else {
        *shift = constant_first ? c : -c;
        *scale = constant_first ? -1 : 1;
    }
}

int om_simplify_scale(om_simplifier *s, int node)
{
    const om_node *n = &s->g->nodes[node];
    static const char *const ops[] = {"Mul", "Add", "Sub", "Div"};
    bool known = false;
    affine a;
    for (int i = 0; i < 4; i++) known = known || !strcmp(n->op, ops[i]);
    for (int k = 0; known && k < 2; k++) {
        int value = om_simplify_in(s, node, 1 - k);
        const om_const *c = om_simplify_const(s, node, k);
        int64_t channels;
        int layer = c && (k == 1 || strcmp(n->op, "Div")) ? find_layer(s, value, &channels) : -1;
        if (layer < 0 || !is_per_channel(c, s->g->values[value].shape.rank, channels)) continue;
        if (c->dtype != om_simplify_const(s, layer, 1)->dtype) continue;
        int err = affine_init(&a, channels);
        if (err < 0) return err;
        bool one = om_shape_count(&c->shape) == 1;
        for (int64_t i = 0; i < channels; i++)
            affine_of(n->op, k == 0, om_simplify_number(c, one ? 0 : i), &a.scale[i], &a.shift[i]);
        err = absorb(s, node, value, layer, &a);
        affine_fini(&a);
        return err;
    }
    return 0;
}
