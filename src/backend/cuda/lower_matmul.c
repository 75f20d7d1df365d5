/* Matrix products: with constants, of two tensors, and attention. */
#include <string.h>

#include "backend/cuda/product.h"
#include "base/error.h"
#include "base/mem.h"

/* x [.., K] times constant weights: a convolution of 1x1 over a row of pixels. `w` is [k][c]. The rows are
 * read in the order they lie in, and written in it. */
static int lower_product(omcu_lower_state *l, int node, const omcu_view *in, omcu_kernel *k, int value)
{
    omcu_view v = *in, x2;
    int64_t rows = omcu_view_count(in) / k->c, flat[2] = {rows, k->c};
    omcu_step s = {.kind = OMCU_STEP_CONV, .tactic = OMCU_TACTIC_PLAIN};
    omcu_tail tail;
    int order[OM_MAX_RANK], perm[OM_MAX_RANK], n_perm = 0, last = in->rank - 1, err = OM_OK;
    if (rows > INT32_MAX) return omcu_refuse(l, node, "more than 2^31 rows");
    omcu_step_name(l, node, &s);
    omcu_tail_of(l, value, true, &tail);
    omcu_view_order(in, order);
    for (int i = 0; i <= last; i++)
        if (order[i] != last) perm[n_perm++] = order[i];
    perm[n_perm] = last;
    omcu_view turned = omcu_view_permute(&v, perm);
    if (!omcu_view_reshape(&turned, 2, flat, &x2) || (x2.stride[1] != 1 && k->c > 1)) {
        om_shape shape = {.rank = in->rank};
        memcpy(shape.dim, in->dim, sizeof shape.dim);
        err = omcu_new_view(l, l->work, &shape, NULL, 1, &v);
        if (!err) err = omcu_emit_copy(l, in, &v, s.name);
        for (int i = 0; i <= last; i++) perm[i] = i;
        if (!err && !omcu_view_reshape(&v, 2, flat, &x2)) err = OM_ERR_INTERNAL;
    }
    if (err) return err;
    if (rows == 1) x2.stride[0] = k->c;
    omcu_view x = {.buffer = x2.buffer,
                   .type = x2.type,
                   .rank = 4,
                   .offset = x2.offset,
                   .dim = {1, k->c, 1, rows},
                   .stride = {rows * x2.stride[0], 1, rows * x2.stride[0], x2.stride[0]}};
    omcu_conv *c = &s.u.conv;
    *c = (omcu_conv){.n = 1,
                     .h = 1,
                     .wd = (int)rows,
                     .c = k->c,
                     .ho = 1,
                     .wo = (int)rows,
                     .k = k->k,
                     .r = 1,
                     .s = 1,
                     .stride_y = 1,
                     .stride_x = 1,
                     .dil_y = 1,
                     .dil_x = 1,
                     .groups = 1};
    err = omcu_even_channels(l, c, &x, s.name);
    c->kdim = c->c;
    s.tactic = omcu_guess_form(c, omcu_numbers_of(l));
    if (!err) err = omcu_pack_rows(l, k, c->c, k->k + OMCU_ROW_ROOM, &s.in[1]);
    omcu_set_strides(&x, false, &c->x_n, &c->x_h, &c->x_w);
    s.in[0] = x;
    int64_t out_dim[4] = {rows, k->k, 1, 1};
    if (!err) err = omcu_finish_product(l, &s, k, &tail, out_dim, perm);
    return err;
}

static int kernel_of_matrix(omcu_lower_state *l, int value, bool rows_are_outputs, float alpha,
                            omcu_kernel *out)
{
    const om_shape *s = omcu_shape(l, value);
    int64_t n;
    float *raw = omcu_const_floats(l, value, &n);
    *out = (omcu_kernel){.r = 1, .s = 1};
    out->k = (int)s->dim[rows_are_outputs ? 0 : 1];
    out->c = (int)s->dim[rows_are_outputs ? 1 : 0];
    out->w = om_alloc((size_t)(n + 1) * sizeof *out->w);
    out->bias = om_calloc((size_t)(out->k + OMCU_ROW_ROOM), sizeof *out->bias);
    bool ok = raw && out->w && out->bias;
    for (int k = 0; k < out->k && ok; k++)
        for (int c = 0; c < out->c; c++)
            out->w[(int64_t)k * out->c + c] =
                alpha * raw[rows_are_outputs ? (int64_t)k * out->c + c : (int64_t)c * out->k + k];
    om_free(raw);
    if (!ok) omcu_kernel_free(out);
    return ok ? OM_OK : OM_ERR_NOMEM;
}

/* A constant that is one number for each output, or one for all. */
static bool bias_of(omcu_lower_state *l, int value, int k, float factor, float *bias)
{
    if (!omcu_is_const(l, value)) return false;
    const om_shape *s = omcu_shape(l, value);
    int64_t n;
    for (int i = 0; i + 1 < s->rank; i++)
        if (s->dim[i] != 1) return false;
    float *v = omcu_const_floats(l, value, &n);
    if (!v) l->error = OM_ERR_NOMEM;
    bool ok = v && (n == k || n == 1);
    for (int i = 0; i < k && ok; i++) bias[i] += factor * v[n == 1 ? 0 : i];
    om_free(v);
    return ok;
}

static int emit_matmul(omcu_lower_state *l, int node, const omcu_view *a, const omcu_view *b, float alpha,
                       int value)
{
    omcu_step s = {.kind = OMCU_STEP_MATMUL, .n_in = 2, .n_out = 1};
    omcu_matmul *m = &s.u.matmul;
    const om_shape *out = omcu_shape(l, value);
    int rank = out->rank, batch = rank - 2;
    omcu_view y, a_full, b_full;
    om_shape sa = *out, sb = *out;
    if (rank < 2 || batch > 4) return omcu_refuse(l, node, "%d dimensions; expected 2 to 6", rank);
    omcu_step_name(l, node, &s);
    sa.dim[rank - 1] = sb.dim[rank - 2] = a->dim[a->rank - 1];
    if (!omcu_view_expand(a, rank, sa.dim, &a_full) || !omcu_view_expand(b, rank, sb.dim, &b_full))
        return omcu_refuse(l, node, "its inputs do not fit each other");
    int err = omcu_out_view(l, value, true, 1, &y);
    if (err) return err;
    *m = (omcu_matmul){.m = (int)out->dim[rank - 2],
                       .n = (int)out->dim[rank - 1],
                       .k = (int)sa.dim[rank - 1],
                       .alpha = alpha,
                       .a_type = a->type,
                       .b_type = b->type,
                       .c_type = y.type,
                       .a_m = a_full.stride[rank - 2],
                       .a_k = a_full.stride[rank - 1],
                       .b_k = b_full.stride[rank - 2],
                       .b_n = b_full.stride[rank - 1],
                       .c_m = y.stride[rank - 2],
                       .c_n = y.stride[rank - 1]};
    for (int i = 0; i < 4; i++) {
        int d = i - (4 - batch);
        m->dim[i] = d < 0 ? 1 : (int)out->dim[d];
        m->a_batch[i] = d < 0 ? 0 : a_full.stride[d];
        m->b_batch[i] = d < 0 ? 0 : b_full.stride[d];
        m->c_batch[i] = d < 0 ? 0 : y.stride[d];
    }
    s.in[0] = *a;
    s.in[1] = *b;
    s.out[0] = y;
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, value, &y);
}

static bool attends(const omcu_view *v)
{
    return v->stride[v->rank - 1] == 1 && omcu_view_even(v, v->rank - 1, OMCU_CHANNEL_ALIGN);
}

static int emit_attention(omcu_lower_state *l, int node, const omcu_attention_match *a)
{
    const om_shape *q = omcu_shape(l, a->q);
    int r = q->rank, turn[OM_MAX_RANK] = {0, 1, 2, 3}, err;
    omcu_step s = {.kind = OMCU_STEP_ATTENTION, .n_in = 3, .n_out = 1};
    omcu_view y;
    turn[r - 1] = r - 2;
    turn[r - 2] = r - 1;
    omcu_step_name(l, node, &s);
    strncpy(s.type, "Attention", sizeof s.type - 1);
    err = omcu_work_view(l, a->q, &s.in[0]);
    if (!err) err = omcu_work_view(l, a->k, &s.in[1]);
    if (!err) err = omcu_work_view(l, a->v, &s.in[2]);
    if (!err) s.in[1] = omcu_view_permute(&s.in[1], turn);
    for (int i = 0; i < 3 && !err; i++) {
        if (attends(&s.in[i])) continue;
        om_shape shape = {.rank = r};
        memcpy(shape.dim, s.in[i].dim, sizeof shape.dim);
        omcu_view from = s.in[i];
        err = omcu_new_view(l, l->work, &shape, NULL, 1, &s.in[i]);
        if (!err) err = omcu_emit_copy(l, &from, &s.in[i], s.name);
    }
    /* A query's heads side by side: what follows joins them. */
    static const int by_query[OM_MAX_RANK] = {0, 2, 1, 3};
    if (!err) err = omcu_out_view(l, a->value, false, 1, &y);
    if (!err && (r == 4 || !attends(&y)) && !l->values[a->value].is_placed)
        err = omcu_new_view(l, l->work, omcu_shape(l, a->value), r == 4 ? by_query : NULL, 1, &y);
    if (!err && !attends(&y)) err = omcu_new_view(l, l->work, omcu_shape(l, a->value), NULL, 1, &y);
    if (err) return err;
    s.u.attention = (omcu_attention){.batch = r == 4 ? (int)q->dim[0] : 1,
                                     .heads = (int)q->dim[r - 3],
                                     .queries = (int)q->dim[r - 2],
                                     .keys = (int)s.in[1].dim[r - 2],
                                     .width = (int)q->dim[r - 1],
                                     .scale = a->scale};
    omcu_attention *m = &s.u.attention;
    int64_t *to[4][3] = {{&m->q_b, &m->q_h, &m->q_s},
                         {&m->k_b, &m->k_h, &m->k_s},
                         {&m->v_b, &m->v_h, &m->v_s},
                         {&m->y_b, &m->y_h, &m->y_s}};
    for (int i = 0; i < 4; i++) {
        const omcu_view *v = i < 3 ? &s.in[i] : &y;
        *to[i][0] = r == 4 ? v->stride[0] : 0;
        *to[i][1] = v->stride[r - 3];
        *to[i][2] = v->stride[r - 2];
    }
    s.out[0] = y;
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, a->value, &y);
}

int omcu_lower_matmul(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int a = n->inputs[0], b = n->inputs[1], value = n->outputs[0];
    const om_shape *sa = omcu_shape(l, a), *sb = omcu_shape(l, b);
    if (omcu_is_const(l, b) && sb->rank == 2 && sa->rank >= 2 && !omcu_is_const(l, a)) {
        omcu_kernel k;
        int err = kernel_of_matrix(l, b, false, 1, &k);
        if (err) return err;
        const omcu_value *v = &l->values[value];
        const om_node *add =
            v->n_users == 1 && !l->g->values[value].is_output ? &l->g->nodes[v->users[0]] : NULL;
        if (add && strcmp(add->op, "Add") == 0 && !l->how->no_fusion &&
            om_shape_equal(omcu_shape(l, add->outputs[0]), omcu_shape(l, value)) &&
            bias_of(l, add->inputs[add->inputs[0] == value], k.k, 1, k.bias)) {
            l->done[v->users[0]] = true;
            value = add->outputs[0];
        }
        omcu_view x;
        err = omcu_work_view(l, a, &x);
        if (!err) err = lower_product(l, node, &x, &k, value);
        omcu_kernel_free(&k);
        return err;
    }
    omcu_attention_match attention;
    if (omcu_attention_of(l, node, &attention)) return emit_attention(l, node, &attention);
    if (sa->rank < 2 || sb->rank < 2) return omcu_refuse(l, node, "a vector times a matrix is not done");
    omcu_view va, vb;
    int err = omcu_view_of(l, a, &va);
    if (!err) err = omcu_view_of(l, b, &vb);
    return err ? err : emit_matmul(l, node, &va, &vb, 1, value);
}

/* Weights and bias of a Gemm whose second input is constant and whose first is not turned; false: it is
 * another. */
static int kernel_of_gemm(omcu_lower_state *l, const om_node *n, omcu_kernel *out, bool *is_product)
{
    int b = n->inputs[1], c = omcu_input(n, 2);
    *is_product = false;
    if (!omcu_is_const(l, b) || om_node_attr_int(n, "transA", 0) || omcu_is_const(l, n->inputs[0]))
        return OM_OK;
    int err =
        kernel_of_matrix(l, b, om_node_attr_int(n, "transB", 0), om_node_attr_float(n, "alpha", 1), out);
    if (err) return err;
    *is_product = c < 0 || bias_of(l, c, out->k, om_node_attr_float(n, "beta", 1), out->bias);
    if (!*is_product) omcu_kernel_free(out);
    return OM_OK;
}

int omcu_product_of_rows(omcu_lower_state *l, int reshape)
{
    const om_node *r = &l->g->nodes[reshape];
    int gemm = omcu_only_user(l, r->outputs[0], "Gemm");
    int back =
        gemm < 0 || l->how->no_fusion ? -1 : omcu_only_user(l, l->g->nodes[gemm].outputs[0], "Reshape");
    if (back < 0 || l->g->nodes[gemm].inputs[0] != r->outputs[0]) return 0;
    int value = l->g->nodes[back].outputs[0];
    om_shape shape = *omcu_shape(l, value);
    const om_shape *flat = omcu_shape(l, r->outputs[0]);
    omcu_view x;
    omcu_kernel k;
    bool is_product;
    if (shape.rank < 2 || shape.dim[shape.rank - 1] != omcu_shape(l, l->g->nodes[gemm].outputs[0])->dim[1])
        return 0;
    shape.dim[shape.rank - 1] = flat->dim[1];
    if (l->values[r->inputs[0]].view.type != l->work ||
        !omcu_view_reshape(&l->values[r->inputs[0]].view, shape.rank, shape.dim, &x))
        return 0;
    int err = kernel_of_gemm(l, &l->g->nodes[gemm], &k, &is_product);
    if (err || !is_product) return err;
    l->done[gemm] = l->done[back] = true;
    /* A transpose of the rows is one more order of them. */
    int turn = omcu_only_user(l, value, "Transpose"), p[OM_MAX_RANK];
    int64_t perm[OM_MAX_RANK];
    if (turn >= 0 && om_node_attr_ints(&l->g->nodes[turn], "perm", perm, OM_MAX_RANK) == shape.rank &&
        perm[shape.rank - 1] == shape.rank - 1) {
        for (int i = 0; i < shape.rank; i++) p[i] = (int)perm[i];
        x = omcu_view_permute(&x, p);
        l->done[turn] = true;
        value = l->g->nodes[turn].outputs[0];
    }
    err = lower_product(l, gemm, &x, &k, value);
    omcu_kernel_free(&k);
    return err ? err : 1;
}

int omcu_lower_gemm(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int a = n->inputs[0], b = n->inputs[1], c = omcu_input(n, 2), value = n->outputs[0];
    bool turn_a = om_node_attr_int(n, "transA", 0), turn_b = om_node_attr_int(n, "transB", 0);
    float alpha = om_node_attr_float(n, "alpha", 1), beta = om_node_attr_float(n, "beta", 1);
    static const int turn[OM_MAX_RANK] = {1, 0};
    omcu_kernel k;
    bool is_product;
    int err = kernel_of_gemm(l, n, &k, &is_product);
    if (err) return err;
    if (is_product) {
        omcu_view x;
        err = omcu_work_view(l, a, &x);
        if (!err) err = lower_product(l, node, &x, &k, value);
        omcu_kernel_free(&k);
        return err;
    }
    omcu_view va, vb;
    err = omcu_view_of(l, a, &va);
    if (!err) err = omcu_view_of(l, b, &vb);
    if (err) return err;
    if (turn_a) va = omcu_view_permute(&va, turn);
    if (turn_b) vb = omcu_view_permute(&vb, turn);
    if (c < 0) return emit_matmul(l, node, &va, &vb, alpha, value);
    /* The product first, then what is added, as an expression. */
    bool placed = l->values[value].is_placed;
    l->values[value].is_placed = false;
    err = emit_matmul(l, node, &va, &vb, alpha, value);
    l->values[value].is_placed = placed;
    l->values[value].written = false;
    if (err) return err;
    const omcu_expr *more = omcu_expr_of(l, c);
    omcu_expr *sum = omcu_expr_leaf(l, &l->values[value].view), *scaled;
    if (!more || !sum) return omcu_expr_error(l);
    scaled = omcu_expr_new(l, OMCU_MUL, more, omcu_expr_number(l, beta));
    sum = scaled ? omcu_expr_new(l, OMCU_ADD, sum, scaled) : NULL;
    return sum ? omcu_set_expr(l, value, omcu_expr_expand(l, sum, omcu_shape(l, value))) : omcu_expr_error(l);
}
