/* Lowering: the walk over a settled graph, and the values it leaves behind. */
#include "backend/cuda/lower.h"
#include "backend/cuda/user_op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/recurrent.h"
#include "base/error.h"
#include "base/mem.h"

#define GRID_ALIGN 16 /* channels of 8-bit integers that one access reads */

static const struct row {
    const char *op;
    omcu_lower_fn *fn;
} rows[] = {
    {"Add", omcu_lower_binary},
    {"AveragePool", omcu_lower_pool},
    {"BatchNormalization", omcu_lower_batch_norm},
    {"Cast", omcu_lower_cast},
    {"Concat", omcu_lower_concat},
    {"Conv", omcu_lower_conv},
    {"ConvTranspose", omcu_lower_conv_transpose},
    {"DepthToSpace", omcu_lower_depth},
    {"DequantizeLinear", omcu_lower_dequantize},
    {"Div", omcu_lower_binary},
    {"Dropout", omcu_lower_same},
    {"Expand", omcu_lower_expand},
    {"Flatten", omcu_lower_reshape},
    {"Gather", omcu_lower_gather},
    {"Gemm", omcu_lower_gemm},
    {"GlobalAveragePool", omcu_lower_global_pool},
    {"GlobalMaxPool", omcu_lower_global_pool},
    {"Identity", omcu_lower_same},
    {"LayerNormalization", omcu_lower_layer_norm},
    {"LogSoftmax", omcu_lower_softmax},
    {OMCU_LSTM_STEPS, omcu_lower_lstm_steps},
    {"MatMul", omcu_lower_matmul},
    {"Max", omcu_lower_variadic},
    {"MaxPool", omcu_lower_pool},
    {"Mean", omcu_lower_variadic},
    {"Min", omcu_lower_variadic},
    {"Mul", omcu_lower_binary},
    {"PRelu", omcu_lower_binary},
    {"Pad", omcu_lower_pad},
    {"Pow", omcu_lower_binary},
    {"QuantizeLinear", omcu_lower_quantize},
    {"ReduceL1", omcu_lower_reduce},
    {"ReduceL2", omcu_lower_reduce},
    {"ReduceLogSum", omcu_lower_reduce},
    {"ReduceLogSumExp", omcu_lower_reduce},
    {"ReduceMax", omcu_lower_reduce},
    {"ReduceMean", omcu_lower_reduce},
    {"ReduceMin", omcu_lower_reduce},
    {"ReduceProd", omcu_lower_reduce},
    {"ReduceSum", omcu_lower_reduce},
    {"ReduceSumSquare", omcu_lower_reduce},
    {"Reshape", omcu_lower_reshape},
    {"Resize", omcu_lower_resize},
    {"Slice", omcu_lower_slice},
    {"Softmax", omcu_lower_softmax},
    {"SpaceToDepth", omcu_lower_depth},
    {"Split", omcu_lower_split},
    {"Squeeze", omcu_lower_reshape},
    {"Sub", omcu_lower_binary},
    {"Sum", omcu_lower_variadic},
    {"Transpose", omcu_lower_transpose},
    {"Unsqueeze", omcu_lower_reshape},
    {"Upsample", omcu_lower_resize},
};

omcu_lower_fn *omcu_lower_find(const char *op)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, op) == 0) return rows[i].fn;
    return NULL;
}

/* Outputs may be absent: the name of the first that is not; NULL: there is none. */
static const char *first_output(const om_graph *g, const om_node *n)
{
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0) return g->values[n->outputs[i]].name;
    return NULL;
}

int omcu_refuse(const omcu_lower_state *l, int node, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    const om_node *n = &l->g->nodes[node];
    const char *output = first_output(l->g, n);
    if (l->how && l->how->refused && output) snprintf(l->how->refused, OMCU_REFUSED, "%s", output);
    return om_fail(OM_ERR_UNSUPPORTED, "node '%s' (%s): %s", n->name ? n->name : "", n->op, why);
}

bool omcu_is_const(const omcu_lower_state *l, int value)
{
    return value >= 0 && l->g->values[value].constant;
}
const om_shape *omcu_shape(const omcu_lower_state *l, int value) { return &l->g->values[value].shape; }
int omcu_input(const om_node *n, int i) { return i < n->n_inputs ? n->inputs[i] : OM_NO_VALUE; }

static double number_at(const om_const *c, int64_t i)
{
    switch (c->dtype) {
    case OM_DTYPE_F32: return ((const float *)c->data)[i];
    case OM_DTYPE_F64: return ((const double *)c->data)[i];
    case OM_DTYPE_F16: return om_f16_to_f32(((const uint16_t *)c->data)[i]);
    case OM_DTYPE_U8:
    case OM_DTYPE_BOOL: return ((const uint8_t *)c->data)[i];
    case OM_DTYPE_I8: return ((const int8_t *)c->data)[i];
    case OM_DTYPE_I16: return ((const int16_t *)c->data)[i];
    case OM_DTYPE_U16: return ((const uint16_t *)c->data)[i];
    case OM_DTYPE_I32: return ((const int32_t *)c->data)[i];
    case OM_DTYPE_U32: return ((const uint32_t *)c->data)[i];
    case OM_DTYPE_I64: return (double)((const int64_t *)c->data)[i];
    case OM_DTYPE_U64: return (double)((const uint64_t *)c->data)[i];
    default: return 0;
    }
}

float *omcu_const_floats(const omcu_lower_state *l, int value, int64_t *n)
{
    const om_const *c = l->g->values[value].constant;
    *n = om_shape_count(&c->shape);
    float *out = om_alloc((size_t)(*n ? *n : 1) * sizeof *out);
    for (int64_t i = 0; i < *n && out; i++) out[i] = (float)number_at(c, i);
    return out;
}

int omcu_const_ints(const omcu_lower_state *l, const om_node *n, int i, int64_t *out, int max)
{
    int value = omcu_input(n, i);
    if (!omcu_is_const(l, value)) return -1;
    const om_const *c = l->g->values[value].constant;
    int64_t count = om_shape_count(&c->shape);
    if (count > max) return -1;
    for (int64_t k = 0; k < count; k++)
        out[k] = c->dtype == OM_DTYPE_I64 ? ((const int64_t *)c->data)[k] : (int64_t)number_at(c, k);
    return (int)count;
}

bool omcu_const_scalar(const omcu_lower_state *l, int value, float *out)
{
    if (!omcu_is_const(l, value)) return false;
    const om_const *c = l->g->values[value].constant;
    if (om_shape_count(&c->shape) != 1) return false;
    *out = (float)number_at(c, 0);
    return true;
}

const char *omcu_node_name(const omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const char *output = first_output(l->g, n);
    return n->name && n->name[0] ? n->name : output ? output : n->op;
}

void omcu_step_name(const omcu_lower_state *l, int node, omcu_step *s)
{
    const om_node *n = &l->g->nodes[node];
    snprintf(s->name, sizeof s->name, "%s", omcu_node_name(l, node));
    snprintf(s->type, sizeof s->type, "%s", n->op);
    s->half = l->work == OMCU_F16;
}

int omcu_new_view(omcu_lower_state *l, int type, const om_shape *shape, const int *order, int pad,
                  omcu_view *out)
{
    size_t bytes;
    *out = omcu_view_dense(type, shape, order, pad, &bytes);
    out->buffer = omcu_add_buffer(l->p, OMCU_IN_ARENA, bytes ? bytes : 1);
    return out->buffer < 0 ? out->buffer : OM_OK;
}

/* A constant on the device, dense, in f32 or f16. */
static int const_view(omcu_lower_state *l, int value, int type, omcu_view *out)
{
    omcu_value *v = &l->values[value];
    size_t bytes;
    *out = omcu_view_dense(type, omcu_shape(l, value), NULL, 1, &bytes);
    int *kept = &v->constant[type == OMCU_F16];
    if (!*kept) {
        int64_t n;
        float *f = omcu_const_floats(l, value, &n);
        if (!f) return OM_ERR_NOMEM;
        for (int64_t i = 0; i < n && type == OMCU_F16; i++) ((uint16_t *)f)[i] = om_f32_to_f16(f[i]);
        int b = omcu_add_const(l->p, f, bytes ? bytes : 1);
        om_free(f);
        if (b < 0) return b;
        *kept = b + 1;
    }
    out->buffer = *kept - 1;
    return OM_OK;
}

int omcu_out_view(omcu_lower_state *l, int value, bool any, int pad, omcu_view *out)
{
    omcu_value *v = &l->values[value];
    if (v->is_placed && v->placed.grid.scale <= 0 && (any || v->placed.type == l->work)) {
        *out = v->placed;
        return OM_OK;
    }
    return omcu_new_view(l, l->work, omcu_shape(l, value), v->order, pad, out);
}

omcu_grid omcu_grid_of(const omcu_lower_state *l, int value)
{
    const omcu_qdq *q = l->how->qdq;
    bool narrow = q && l->work == OMCU_F16 && value < q->n_values && q->groups[value] >= 0 &&
                  l->how->narrow[q->groups[value]];
    return narrow ? q->grids[value] : (omcu_grid){.scale = 0};
}

int omcu_new_grid_view(omcu_lower_state *l, const omcu_grid *grid, const om_shape *shape, const int *order,
                       omcu_view *out)
{
    int err = omcu_new_view(l, OMCU_I8, shape, order, GRID_ALIGN, out);
    out->grid = *grid;
    return err;
}

int omcu_out_any(omcu_lower_state *l, int value, int pad, omcu_view *out)
{
    omcu_value *v = &l->values[value];
    omcu_grid grid = omcu_grid_of(l, value);
    if (v->is_placed) {
        *out = v->placed;
        return OM_OK;
    }
    if (grid.scale > 0) return omcu_new_grid_view(l, &grid, omcu_shape(l, value), v->order, out);
    return omcu_new_view(l, l->work, omcu_shape(l, value), v->order, pad, out);
}

int omcu_written(omcu_lower_state *l, int value, const omcu_view *view)
{
    omcu_value *v = &l->values[value];
    v->set = v->written = true;
    v->view = *view;
    if (!v->is_placed || omcu_view_same(view, &v->placed)) return OM_OK;
    return omcu_emit_copy(l, view, &v->placed, l->g->values[value].name);
}

int omcu_set_expr(omcu_lower_state *l, int value, const omcu_expr *e)
{
    if (!e) return omcu_expr_error(l);
    l->values[value].set = true;
    l->values[value].expr = e;
    return OM_OK;
}

int omcu_view_any(omcu_lower_state *l, int value, omcu_view *out)
{
    omcu_value *v = &l->values[value];
    if (omcu_is_const(l, value)) return const_view(l, value, OMCU_F32, out);
    if (!v->set)
        return om_fail(OM_ERR_INTERNAL, "value '%s' is used before it is made", l->g->values[value].name);
    if (!v->written) {
        omcu_view view;
        int err = omcu_out_any(l, value, 1, &view);
        if (!err) err = omcu_emit_point(l, v->expr, &view, l->g->values[value].name, "Pointwise");
        if (!err) err = omcu_written(l, value, &view);
        if (err) return err;
    }
    *out = v->view;
    return OM_OK;
}

int omcu_view_of(omcu_lower_state *l, int value, omcu_view *out)
{
    int err = omcu_view_any(l, value, out);
    if (err || out->grid.scale <= 0) return err;
    omcu_value *v = &l->values[value];
    if (!v->has_floats) {
        err = omcu_new_view(l, l->work, omcu_shape(l, value), v->order, 1, &v->floats);
        if (!err) err = omcu_emit_copy(l, out, &v->floats, l->g->values[value].name);
        v->has_floats = !err;
    }
    *out = v->floats;
    return err;
}

int omcu_work_view(omcu_lower_state *l, int value, omcu_view *out)
{
    if (omcu_is_const(l, value)) return const_view(l, value, l->work, out);
    omcu_value *v = &l->values[value];
    int err = omcu_view_of(l, value, out);
    if (err || out->type == l->work) return err;
    omcu_view from = *out;
    err = omcu_new_view(l, l->work, omcu_shape(l, value), v->order, 1, out);
    if (!err) err = omcu_emit_copy(l, &from, out, l->g->values[value].name);
    if (!err) v->view = *out;
    return err;
}

int omcu_dense_view(omcu_lower_state *l, int value, omcu_view *out)
{
    size_t bytes;
    int err = omcu_work_view(l, value, out);
    if (err) return err;
    omcu_view dense = omcu_view_dense(l->work, omcu_shape(l, value), NULL, 1, &bytes), from = *out;
    dense.buffer = from.buffer;
    dense.offset = from.offset;
    if (omcu_view_same(&dense, &from)) return OM_OK;
    err = omcu_new_view(l, l->work, omcu_shape(l, value), NULL, 1, out);
    return err ? err : omcu_emit_copy(l, &from, out, l->g->values[value].name);
}

/* Used more than once, other than cut into parts: written once rather than computed again. */
static bool is_shared(const omcu_lower_state *l, const omcu_value *v)
{
    int n = 0;
    for (int i = 0; i < v->n_users; i++) {
        const char *op = l->g->nodes[v->users[i]].op;
        n += strcmp(op, "Split") != 0 && strcmp(op, "Slice") != 0 && !l->done[v->users[i]];
    }
    return n > 1;
}

const omcu_expr *omcu_expr_of(omcu_lower_state *l, int value)
{
    omcu_value *v = &l->values[value];
    float number;
    if (omcu_const_scalar(l, value, &number) && omcu_shape(l, value)->rank <= 1)
        return omcu_expr_number(l, number);
    bool write = v->expr && !v->written && omcu_expr_size(v->expr) > 1 && is_shared(l, v);
    if (v->expr && !v->written && !write) return v->expr;
    omcu_view view;
    int err = omcu_view_any(l, value, &view);
    if (err) l->error = err;
    return err ? NULL : omcu_expr_leaf(l, &view);
}

int omcu_expr_error(const omcu_lower_state *l)
{
    return l->error ? l->error : om_fail(OM_ERR_INTERNAL, "an expression could not be made");
}

/* ---- the walk ---- */

static int list_users(omcu_lower_state *l)
{
    const om_graph *g = l->g;
    size_t total = 0, at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < g->n_nodes; i++) {
            const om_node *n = &g->nodes[i];
            for (int k = 0; k < n->n_inputs && !n->dead; k++) {
                if (n->inputs[k] < 0) continue;
                omcu_value *v = &l->values[n->inputs[k]];
                if (pass) v->users[v->n_users] = i;
                v->n_users++;
                total++;
            }
        }
        if (pass) break;
        l->users = om_calloc(total + 1, sizeof *l->users);
        if (!l->users) return OM_ERR_NOMEM;
        for (int i = 0; i < g->n_values; i++) {
            l->values[i].users = l->users + at;
            at += (size_t)l->values[i].n_users;
            l->values[i].n_users = 0;
        }
    }
    return OM_OK;
}

static int check_types(const omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i] < 0) continue;
        const om_value *v = &l->g->values[n->outputs[i]];
        char text[OM_SHAPE_TEXT];
        om_shape_text(&v->shape, text);
        if (v->shape.rank < 0 || !om_shape_static(&v->shape))
            return omcu_refuse(l, node, "the shape of '%s' (%s) does not follow from the input's", v->name,
                               v->shape.rank < 0 ? "unknown" : text);
        /* Computed as the floats that they are. */
        bool integers =
            strcmp(n->op, "QuantizeLinear") == 0 && (v->dtype == OM_DTYPE_I8 || v->dtype == OM_DTYPE_U8);
        if (v->dtype != OM_DTYPE_F32 && v->dtype != OM_DTYPE_F16 && v->dtype != OM_DTYPE_F64 && !integers)
            return omcu_refuse(l, node, "'%s' is of type %s, which the CUDA engine does not compute", v->name,
                               om_dtype_name(v->dtype));
    }
    return OM_OK;
}

static int lower_node(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    omcu_act act;
    bool foreign = n->domain && n->domain[0] && strcmp(n->domain, "ai.onnx") != 0, taken = false;
    const om_operator *own = omcu_user_find(n);
    const char *why = NULL;
    int own_err = own ? check_types(l, node) : OM_OK;
    if (own && !own_err) own_err = omcu_lower_user(l, node, own, &taken, &why);
    if (own_err || taken) return own_err;
    if (own && foreign) return omcu_refuse(l, node, "operator '%s' does not take it: %s", own->name, why);
    omcu_lower_fn *fn = foreign ? NULL : omcu_lower_find(n->op);
    if (!fn && !foreign && omcu_unary_of(l, n, &act)) fn = omcu_lower_unary;
    if (!fn && strcmp(n->op, "LSTM") == 0 && !omcu_lstm_takes(l->g, n, &why))
        return omcu_refuse(l, node, "%s", why);
    if (!fn)
        return omcu_refuse(l, node, "the CUDA engine has no such operator%s",
                           foreign ? " of this domain" : "");
    int err = check_types(l, node);
    return err ? err : fn(l, node);
}

static int add_inputs(omcu_lower_state *l)
{
    omcu_program *p = l->p;
    p->inputs = om_calloc((size_t)l->g->n_inputs + 1, sizeof *p->inputs);
    if (!p->inputs) return OM_ERR_NOMEM;
    for (int i = 0; i < l->g->n_inputs; i++) {
        int value = l->g->inputs[i];
        const om_value *v = &l->g->values[value];
        static const int last[OM_MAX_RANK] = {0, 2, 3, 1};
        bool picture = l->how->picture_nhwc && i == 0 && v->shape.rank == 4;
        int type = picture ? l->work : omcu_type_of(v->dtype == OM_DTYPE_F64 ? OM_DTYPE_F32 : v->dtype);
        if (type < 0)
            return om_fail(OM_ERR_UNSUPPORTED,
                           "input '%s' is of type %s, which the CUDA engine does not read", v->name,
                           om_dtype_name(v->dtype));
        size_t bytes;
        omcu_view view = omcu_view_dense(type, &v->shape, picture ? last : NULL, 1, &bytes);
        view.buffer = omcu_add_buffer(p, OMCU_IN_INPUT, bytes);
        if (view.buffer < 0) return view.buffer;
        p->buffers[view.buffer].index = i;
        p->inputs[p->n_inputs++] = view.buffer;
        l->values[value].set = l->values[value].written = true;
        l->values[value].view = view;
    }
    return OM_OK;
}

static int add_outputs(omcu_lower_state *l)
{
    omcu_program *p = l->p;
    p->outputs = om_calloc((size_t)l->g->n_outputs + 1, sizeof *p->outputs);
    p->out = om_calloc((size_t)l->g->n_outputs + 1, sizeof *p->out);
    if (!p->outputs || !p->out) return OM_ERR_NOMEM;
    for (int i = 0; i < l->g->n_outputs; i++) {
        omcu_value *v = &l->values[l->g->outputs[i]];
        size_t bytes;
        omcu_view view = omcu_view_dense(OMCU_F32, omcu_shape(l, l->g->outputs[i]), NULL, 1, &bytes);
        view.buffer = omcu_add_buffer(p, OMCU_IN_OUTPUT, bytes);
        if (view.buffer < 0) return view.buffer;
        p->buffers[view.buffer].index = i;
        p->outputs[p->n_outputs++] = view.buffer;
        p->out[i] = (om_tensor){.dtype = OM_DTYPE_F32, .shape = *omcu_shape(l, l->g->outputs[i])};
        if (v->is_placed) continue;
        v->is_placed = true;
        v->placed = view;
    }
    return OM_OK;
}

/* Whatever still is not where the caller reads it: expressions, views, inputs and constants that are outputs.
 */
static int finish_outputs(omcu_lower_state *l)
{
    for (int i = 0; i < l->g->n_outputs; i++) {
        omcu_view from, to = {.buffer = l->p->outputs[i]};
        size_t bytes;
        int buffer = to.buffer, err = omcu_view_any(l, l->g->outputs[i], &from);
        if (err) return err;
        to = omcu_view_dense(OMCU_F32, omcu_shape(l, l->g->outputs[i]), NULL, 1, &bytes);
        to.buffer = buffer;
        bool there = l->values[l->g->outputs[i]].is_placed &&
                     l->values[l->g->outputs[i]].placed.buffer == buffer && l->p->buffers[buffer].first >= 0;
        if (!there && !omcu_view_same(&from, &to))
            err = omcu_emit_copy(l, &from, &to, l->g->values[l->g->outputs[i]].name);
        if (err) return err;
    }
    return OM_OK;
}

static void fini(omcu_lower_state *l)
{
    for (omcu_expr *e = l->exprs, *next; e; e = next) {
        next = e->next;
        om_free(e);
    }
    om_free(l->values);
    om_free(l->done);
    om_free(l->users);
}

static int lower(om_device *device, const om_graph *g, const omcu_build *how, omcu_program **out)
{
    omcu_lower_state l = {.g = g, .how = how, .work = how->half ? OMCU_F16 : OMCU_F32};
    l.p = om_calloc(1, sizeof *l.p);
    l.values = om_calloc((size_t)g->n_values + 1, sizeof *l.values);
    l.done = om_calloc((size_t)g->n_nodes + 1, sizeof *l.done);
    int err = l.p && l.values && l.done ? OM_OK : OM_ERR_NOMEM;
    if (err) goto fail;
    l.p->device = device;
    l.p->half = how->half;
    l.p->tf32 = how->tf32 && !how->half;
    l.p->store = omcu_store_ref(how->store);
    if (!l.p->store) err = omcu_store_create(device, &l.p->store);
    if (!err) err = list_users(&l);
    if (!err) err = add_inputs(&l);
    if (!err) err = add_outputs(&l);
    if (!err) err = omcu_plan_layout(&l);
    for (int i = 0; i < g->n_nodes && !err; i++)
        if (!g->nodes[i].dead && !l.done[i]) err = lower_node(&l, i);
    if (!err) err = finish_outputs(&l);
    if (!err) err = l.error;
    if (!err) err = omcu_place_buffers(l.p);
    if (err) goto fail;
    fini(&l);
    *out = l.p;
    return OM_OK;
fail:
    fini(&l);
    omcu_program_destroy(l.p);
    return err;
}

int omcu_lower(om_device *device, const om_graph *g, const omcu_build *how, omcu_program **out)
{
    om_graph *split;
    *out = NULL;
    int err = omcu_split_recurrent(g, &split);
    if (!err) err = lower(device, split ? split : g, how, out);
    om_graph_destroy(split);
    return err;
}

int omcu_supports(const om_graph *g, const om_node *n, const char **why)
{
    omcu_lower_state l = {.g = g};
    omcu_act act;
    bool foreign = n->domain && n->domain[0] && strcmp(n->domain, "ai.onnx") != 0;
    if (omcu_user_find(n)) {
        *why = "an operator that was loaded has it; its shapes are judged with the whole model";
        return 1;
    }
    if (!foreign && (omcu_lower_find(n->op) || omcu_unary_of(&l, n, &act))) {
        *why = "the CUDA engine has it; its shapes are judged with the whole model";
        return 1;
    }
    if (!foreign && (strcmp(n->op, "Constant") == 0 || strcmp(n->op, "Shape") == 0)) {
        *why = "folded before the engine sees it";
        return 1;
    }
    static _Thread_local char text[160];
    if (!foreign && strcmp(n->op, "LSTM") == 0) {
        bool takes = omcu_lstm_takes(g, n, why);
        if (!takes) snprintf(text, sizeof text, "the CUDA engine does not do this LSTM: %.100s", *why);
        *why = takes ? "the CUDA engine has it" : text;
        return takes;
    }
    snprintf(text, sizeof text, "the CUDA engine has no operator %.64s%s", n->op,
             foreign ? " of this domain" : "");
    *why = text;
    return 0;
}
