/* Convolutions, plain and transposed. */
#include <math.h>
#include <string.h>

#include "backend/cuda/product.h"
#include "base/error.h"
#include "base/mem.h"

static int pack_first(omcu_lower_state *l, const omcu_kernel *k, int depth, int total_k, omcu_view *out)
{
    int run = (k->s * 3 + 1) / 2 * 2;
    float *v = om_calloc((size_t)depth * (size_t)total_k, sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    for (int o = 0; o < k->k; o++)
        for (int c = 0; c < k->c; c++)
            for (int r = 0; r < k->r; r++)
                for (int s = 0; s < k->s; s++)
                    v[o * depth + r * run + s * 3 + c] =
                        k->w[(((int64_t)o * k->c + c) * k->r + r) * k->s + s];
    int err = omcu_upload(l, v, (int64_t)depth * total_k, (int64_t)depth * total_k, l->work, out);
    om_free(v);
    return err;
}

static int pack_depthwise(omcu_lower_state *l, const omcu_kernel *k, omcu_view *out)
{
    int taps = k->r * k->s;
    float *v = om_calloc((size_t)taps * (size_t)k->k, sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    for (int o = 0; o < k->k; o++)
        for (int t = 0; t < taps; t++) v[t * k->k + o] = k->w[o * taps + t];
    int err = omcu_upload(l, v, (int64_t)taps * k->k, (int64_t)taps * k->k, l->work, out);
    om_free(v);
    return err;
}

/* Weights and bias of a node, with a batch norm behind it folded in; *value moves past that. */
static int read_kernel(omcu_lower_state *l, int node, int *value, omcu_kernel *out)
{
    const om_node *n = &l->g->nodes[node];
    int w = omcu_input(n, 1), b = omcu_input(n, 2);
    *out = (omcu_kernel){.w = NULL};
    if (!omcu_is_const(l, w) || (b >= 0 && !omcu_is_const(l, b)))
        return omcu_refuse(l, node, "the weights are computed; expected constants");
    const om_shape *s = omcu_shape(l, w);
    int64_t n_w, n_b = 0;
    out->k = (int)s->dim[0];
    out->c = (int)s->dim[1];
    out->r = s->rank == 4 ? (int)s->dim[2] : 1;
    out->s = s->rank == 4 ? (int)s->dim[3] : (int)s->dim[2];
    out->w = omcu_const_floats(l, w, &n_w);
    float *bias = b >= 0 ? omcu_const_floats(l, b, &n_b) : NULL;
    out->bias = om_calloc((size_t)(out->k + OMCU_ROW_ROOM), sizeof(float));
    if (!out->w || !out->bias || (b >= 0 && !bias)) {
        om_free(bias);
        omcu_kernel_free(out);
        return OM_ERR_NOMEM;
    }
    if (bias) memcpy(out->bias, bias, (size_t)n_b * sizeof *bias);
    om_free(bias);
    const float *scales = l->how->qdq && w < l->how->qdq->n_values ? l->how->qdq->scales[w] : NULL;
    out->scale = scales ? om_alloc((size_t)out->k * sizeof(float)) : NULL;
    if (scales && !out->scale) {
        omcu_kernel_free(out);
        return OM_ERR_NOMEM;
    }
    if (out->scale) memcpy(out->scale, scales, (size_t)out->k * sizeof(float));

    const omcu_value *v = &l->values[*value];
    const om_node *bn = v->n_users == 1 && !l->g->values[*value].is_output ? &l->g->nodes[v->users[0]] : NULL;
    if (!bn || strcmp(bn->op, "BatchNormalization") != 0 || l->how->no_fusion) return OM_OK;
    float *p[4] = {NULL};
    int64_t count;
    bool whole = true;
    for (int i = 0; i < 4; i++) {
        if (omcu_is_const(l, omcu_input(bn, i + 1))) p[i] = omcu_const_floats(l, bn->inputs[i + 1], &count);
        whole = whole && p[i] && count == out->k;
    }
    float epsilon = om_node_attr_float(bn, "epsilon", 1e-5f);
    for (int o = 0; o < out->k && whole; o++) {
        float scale = p[0][o] / sqrtf(p[3][o] + epsilon);
        for (int64_t i = 0; i < n_w / out->k; i++) out->w[o * (n_w / out->k) + i] *= scale;
        out->bias[o] = (out->bias[o] - p[2][o]) * scale + p[1][o];
        if (out->scale) out->scale[o] *= scale;
    }
    for (int i = 0; i < 4; i++) om_free(p[i]);
    if (!whole) return OM_OK;
    l->done[v->users[0]] = true;
    *value = bn->outputs[0];
    return OM_OK;
}

typedef struct window {
    int64_t stride[2], dilation[2], pad[4]; /* pad: top, left, bottom, right */
} window;

static void read_window(const om_node *n, int rank, const int64_t *in, const int64_t *out, int r, int s,
                        window *w)
{
    int64_t v[4];
    *w = (window){{1, 1}, {1, 1}, {0}};
    int d = rank - 2, at = 2 - d, count;
    if ((count = om_node_attr_ints(n, "strides", v, 2)) == d)
        memcpy(w->stride + at, v, (size_t)d * sizeof *v);
    if ((count = om_node_attr_ints(n, "dilations", v, 2)) == d)
        memcpy(w->dilation + at, v, (size_t)d * sizeof *v);
    if ((count = om_node_attr_ints(n, "pads", v, 4)) == 2 * d)
        for (int i = 0; i < d; i++) {
            w->pad[at + i] = v[i];
            w->pad[2 + at + i] = v[d + i];
        }
    const char *mode = om_node_attr_string(n, "auto_pad", "NOTSET");
    if (strncmp(mode, "SAME", 4) != 0) return;
    int64_t size[2] = {r, s};
    for (int i = 0; i < 2; i++) {
        int64_t all = (out[i] - 1) * w->stride[i] + (size[i] - 1) * w->dilation[i] + 1 - in[i];
        if (all < 0) all = 0;
        w->pad[i] = strcmp(mode, "SAME_LOWER") == 0 ? (all + 1) / 2 : all / 2;
        w->pad[2 + i] = all - w->pad[i];
    }
}

static void four_dims(const om_shape *s, int64_t out[4])
{
    out[0] = s->dim[0];
    out[1] = s->rank > 1 ? s->dim[1] : 1;
    out[2] = s->rank == 4 ? s->dim[2] : 1;
    out[3] = s->rank == 4 ? s->dim[3] : s->rank == 3 ? s->dim[2] : 1;
}

/* Patches that touch but do not overlap are rows of a matrix, one copy away. */
static bool is_patches(const omcu_conv *c, const omcu_view *x)
{
    return c->groups == 1 && c->r == c->stride_y && c->s == c->stride_x && c->r * c->s > 1 && !c->pad_y &&
           !c->pad_x && c->dil_y == 1 && c->dil_x == 1 && c->h == c->ho * c->r && c->wd == c->wo * c->s &&
           c->c % OMCU_CHANNEL_ALIGN != 0 && (c->r * c->s * c->c) % OMCU_CHANNEL_ALIGN == 0 && x->rank == 4;
}

/* [n, c, h, w] as [n, ho, wo, r, s, c], written dense. */
static int cut_patches(omcu_lower_state *l, omcu_conv *c, omcu_view *x, const char *name)
{
    om_shape shape = {6, {c->n, c->ho, c->wo, c->r, c->s, c->c}};
    omcu_view from = {.buffer = x->buffer, .type = x->type, .rank = 6, .offset = x->offset};
    memcpy(from.dim, shape.dim, sizeof from.dim);
    const int64_t stride[6] = {x->stride[0], x->stride[2] * c->r, x->stride[3] * c->s,
                               x->stride[2], x->stride[3],        x->stride[1]};
    memcpy(from.stride, stride, sizeof stride);
    omcu_view to;
    int err = omcu_new_view(l, l->work, &shape, NULL, 1, &to);
    if (!err) err = omcu_emit_copy(l, &from, &to, name);
    int64_t depth = (int64_t)c->r * c->s * c->c, area = (int64_t)c->ho * c->wo;
    *x = (omcu_view){.buffer = to.buffer,
                     .type = to.type,
                     .rank = 4,
                     .dim = {c->n, depth, c->ho, c->wo},
                     .stride = {area * depth, 1, c->wo * depth, depth}};
    c->h = c->ho;
    c->wd = c->wo;
    c->c = (int)depth;
    c->r = c->s = c->stride_y = c->stride_x = 1;
    return err;
}

/* Which kernel, and its weights. */
static int choose_conv(omcu_lower_state *l, omcu_step *s, omcu_kernel *k, omcu_view *x, bool may_be_first)
{
    omcu_conv *c = &s->u.conv;
    bool half = l->work == OMCU_F16;
    int total = k->k + OMCU_ROW_ROOM, err;
    s->tactic = OMCU_TACTIC_PLAIN;
    if (x->grid.scale > 0) {
        c->kdim = c->r * c->s * c->c;
        s->tactic = omcu_guess_form(c, OMCU_NUMBERS_INT8);
        return omcu_pack_int8(l, k, total, &s->in[1]);
    }
    if (c->groups > 1 && c->c == 1 && k->k == c->groups && !l->how->no_depthwise) {
        s->kind = OMCU_STEP_DEPTHWISE;
        s->tactic = OMCU_TACTIC_DEPTHWISE + (l->how->no_blocks ? -1 : omcu_depthwise_guess(half, c));
        return pack_depthwise(l, k, &s->in[1]);
    }
    if (half && may_be_first) {
        s->tactic = OMCU_TACTIC_FIRST;
        c->kdim = omcu_conv_first_kdim(c);
        return pack_first(l, k, c->kdim, total, &s->in[1]);
    }
    if (half && c->groups == 1 && is_patches(c, x)) {
        int r = c->r, w = c->s;
        err = cut_patches(l, c, x, s->name);
        c->kdim = r * w * k->c;
        s->tactic = omcu_guess_form(c, OMCU_NUMBERS_F16);
        return err ? err : omcu_pack_rows(l, k, k->c, total, &s->in[1]);
    }
    if (c->groups == 1) {
        err = omcu_even_channels(l, c, x, s->name);
        c->kdim = c->r * c->s * c->c;
        s->tactic = omcu_guess_form(c, omcu_numbers_of(l));
        return err ? err : omcu_pack_rows(l, k, c->c, total, &s->in[1]);
    }
    c->kdim = c->r * c->s * c->c;
    return omcu_pack_rows(l, k, c->c, k->k, &s->in[1]);
}

/* 1: the input lies as 8-bit integers, in pieces that one access reads. */
static int reads_integers(omcu_lower_state *l, int value, const int64_t dim[4], omcu_view *x)
{
    const omcu_value *v = &l->values[value];
    omcu_view any;
    /* What is not in memory yet is written as its grid says. */
    if (!v->written && (omcu_grid_of(l, value).scale <= 0 || !v->set)) return 0;
    int err = omcu_view_any(l, value, &any);
    if (err) return err;
    return any.grid.scale > 0 && omcu_view_reshape(&any, 4, dim, x) && omcu_channels_dense(x) &&
           dim[1] % 16 == 0 && omcu_view_even(x, 1, 16);
}

int omcu_lower_conv(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]), *w = omcu_shape(l, n->inputs[1]);
    int value = n->outputs[0], err;
    int64_t in_dim[4], out_dim[4];
    omcu_kernel k;
    omcu_tail tail;
    omcu_step s = {.kind = OMCU_STEP_CONV};
    if (in->rank < 3 || in->rank > 4 || w->rank != in->rank)
        return omcu_refuse(l, node, "its input has %d dimensions; expected 3 or 4", in->rank);
    if ((err = read_kernel(l, node, &value, &k))) return err;
    omcu_step_name(l, node, &s);
    omcu_tail_of(l, value, true, &tail);
    four_dims(in, in_dim);
    four_dims(omcu_shape(l, value), out_dim);
    window win;
    read_window(n, in->rank, in_dim + 2, out_dim + 2, k.r, k.s, &win);
    omcu_conv *c = &s.u.conv;
    int groups = (int)om_node_attr_int(n, "group", 1);
    *c = (omcu_conv){.n = (int)in_dim[0],
                     .h = (int)in_dim[2],
                     .wd = (int)in_dim[3],
                     .c = k.c,
                     .ho = (int)out_dim[2],
                     .wo = (int)out_dim[3],
                     .k = k.k / groups,
                     .r = k.r,
                     .s = k.s,
                     .stride_y = (int)win.stride[0],
                     .stride_x = (int)win.stride[1],
                     .pad_y = (int)win.pad[0],
                     .pad_x = (int)win.pad[1],
                     .dil_y = (int)win.dilation[0],
                     .dil_x = (int)win.dilation[1],
                     .groups = groups};
    omcu_view x;
    int eight = k.scale && groups == 1 ? reads_integers(l, n->inputs[0], in_dim, &x) : 0;
    err = eight > 0 ? OM_OK : eight;
    if (!eight) err = omcu_picture_view(l, n->inputs[0], in_dim, &x);
    if (!err) {
        omcu_set_strides(&x, false, &c->x_n, &c->x_h, &c->x_w);
        /* The output is new memory with room, or a place that takes whole pieces. */
        omcu_conv probe = *c;
        const omcu_value *v = &l->values[tail.value];
        probe.vector = !v->is_placed ||
                       ((v->placed.type == l->work || v->placed.grid.scale > 0) && v->placed.rank == 4 &&
                        v->placed.stride[1] == 1 && omcu_view_even(&v->placed, 1, OMCU_CHANNEL_ALIGN));
        bool first = x.type == OMCU_F16 && probe.vector && tail.residual < 0 && tail.act2.op == OMCU_NONE &&
                     omcu_conv_first_takes(&probe) && c->x_h == (int64_t)c->wd * 3;
        err = choose_conv(l, &s, &k, &x, first);
    }
    if (!err) {
        omcu_set_strides(&x, false, &c->x_n, &c->x_h, &c->x_w);
        s.in[0] = x;
        err = omcu_finish_product(l, &s, &k, &tail, out_dim, NULL);
    }
    omcu_kernel_free(&k);
    return err;
}

int omcu_lower_conv_transpose(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]);
    int value = n->outputs[0], groups = (int)om_node_attr_int(n, "group", 1), err;
    int64_t in_dim[4], out_dim[4];
    if (in->rank != 4) return omcu_refuse(l, node, "its input has %d dimensions; expected 4", in->rank);
    if (!omcu_is_const(l, omcu_input(n, 1)) || (omcu_input(n, 2) >= 0 && !omcu_is_const(l, n->inputs[2])))
        return omcu_refuse(l, node, "the weights are computed; expected constants");
    const om_shape *w = omcu_shape(l, n->inputs[1]);
    omcu_kernel k = {
        .k = (int)w->dim[1] * groups, .c = (int)w->dim[0] / groups, .r = (int)w->dim[2], .s = (int)w->dim[3]};
    int64_t count, n_bias = 0, taps = (int64_t)k.r * k.s;
    float *raw = omcu_const_floats(l, n->inputs[1], &count);
    float *bias = omcu_input(n, 2) >= 0 ? omcu_const_floats(l, n->inputs[2], &n_bias) : NULL;
    k.w = om_calloc((size_t)count + 1, sizeof *k.w);
    k.bias = om_calloc((size_t)(k.k + OMCU_ROW_ROOM), sizeof *k.bias);
    err = raw && k.w && k.bias ? OM_OK : OM_ERR_NOMEM;
    /* [group c][k][r][s] to [group k][c][r][s] */
    int kg = k.k / groups;
    for (int g = 0; g < groups && !err; g++)
        for (int c = 0; c < k.c; c++)
            for (int o = 0; o < kg; o++)
                memcpy(k.w + ((int64_t)(g * kg + o) * k.c + c) * taps,
                       raw + ((int64_t)(g * k.c + c) * kg + o) * taps, (size_t)taps * sizeof *raw);
    if (bias && !err) memcpy(k.bias, bias, (size_t)n_bias * sizeof *bias);
    om_free(raw);
    om_free(bias);

    omcu_tail tail;
    omcu_step s = {.kind = OMCU_STEP_DECONV, .tactic = OMCU_TACTIC_PLAIN};
    omcu_step_name(l, node, &s);
    omcu_tail_of(l, value, false, &tail);
    four_dims(in, in_dim);
    four_dims(omcu_shape(l, value), out_dim);
    window win;
    read_window(n, 4, in_dim + 2, out_dim + 2, k.r, k.s, &win);
    const char *mode = om_node_attr_string(n, "auto_pad", "NOTSET");
    int64_t extra[2] = {0, 0};
    (void)om_node_attr_ints(n, "output_padding", extra, 2);
    int64_t shape[2];
    if (om_node_attr_ints(n, "output_shape", shape, 2) == 2 || strncmp(mode, "SAME", 4) == 0)
        for (int i = 0; i < 2; i++) {
            int64_t size = i ? k.s : k.r;
            int64_t all = (in_dim[2 + i] - 1) * win.stride[i] + extra[i] + (size - 1) * win.dilation[i] + 1 -
                          out_dim[2 + i];
            if (all < 0) all = 0;
            win.pad[i] = strcmp(mode, "SAME_UPPER") == 0 ? all / 2 : all - all / 2;
        }
    omcu_view x;
    if (!err) err = omcu_picture_view(l, n->inputs[0], in_dim, &x);
    if (!err) {
        s.in[0] = x;
        s.u.conv = (omcu_conv){.n = (int)in_dim[0],
                               .h = (int)in_dim[2],
                               .wd = (int)in_dim[3],
                               .c = k.c,
                               .ho = (int)out_dim[2],
                               .wo = (int)out_dim[3],
                               .k = kg,
                               .r = k.r,
                               .s = k.s,
                               .stride_y = (int)win.stride[0],
                               .stride_x = (int)win.stride[1],
                               .pad_y = (int)win.pad[0],
                               .pad_x = (int)win.pad[1],
                               .dil_y = (int)win.dilation[0],
                               .dil_x = (int)win.dilation[1],
                               .groups = groups,
                               .kdim = k.r * k.s * k.c};
        omcu_set_strides(&x, false, &s.u.conv.x_n, &s.u.conv.x_h, &s.u.conv.x_w);
        err = omcu_pack_rows(l, &k, k.c, k.k, &s.in[1]);
    }
    if (!err) err = omcu_finish_product(l, &s, &k, &tail, out_dim, NULL);
    omcu_kernel_free(&k);
    return err;
}
