/* Programs: their buffers and steps, where they lie, and how a step is launched. */
#include <cuda_runtime_api.h>
#include <string.h>

#include "backend/cuda/engine.h"
#include "backend/cuda/tune.h"
#include "backend/cuda/user_op.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cuda.h"

static int grow(void **items, int *cap, int need, size_t size)
{
    size_t c = (size_t)*cap;
    int err = om_grow(items, &c, (size_t)need, size);
    *cap = (int)c;
    return err;
}

int omcu_add_buffer(omcu_program *p, omcu_place place, size_t bytes)
{
    int err = grow((void **)&p->buffers, &p->cap_buffers, p->n_buffers + 1, sizeof *p->buffers);
    if (err) return err;
    p->buffers[p->n_buffers] = (omcu_buffer){.place = place, .bytes = bytes, .first = -1, .last = -1};
    return p->n_buffers++;
}

int omcu_add_const(omcu_program *p, const void *data, size_t bytes)
{
    int n = omcu_add_buffer(p, OMCU_IN_CONST, bytes);
    if (n < 0) return n;
    omcu_buffer *b = &p->buffers[n];
    int err = omcu_store_get(p->store, data, bytes, &b->data);
    p->constants += bytes;
    return err ? err : n;
}

static void touch(omcu_program *p, const omcu_view *v, int step)
{
    omcu_buffer *b = &p->buffers[v->buffer];
    if (b->first < 0) b->first = step;
    b->last = step;
}

int omcu_add_step(omcu_program *p, const omcu_step *s)
{
    int err = grow((void **)&p->steps, &p->cap_steps, p->n_steps + 1, sizeof *p->steps);
    if (err) return err;
    for (int i = 0; i < s->n_in; i++) touch(p, &s->in[i], p->n_steps);
    for (int i = 0; i < s->n_out; i++) touch(p, &s->out[i], p->n_steps);
    p->steps[p->n_steps] = *s;
    return p->n_steps++;
}

int omcu_add_user(omcu_program *p, omcu_user *u)
{
    int err = grow((void **)&p->users, &p->cap_users, p->n_users + 1, sizeof *p->users);
    if (!err) p->users[p->n_users++] = u;
    return err;
}

void omcu_program_destroy(omcu_program *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_users; i++) omcu_user_destroy(p->users[i]);
    om_free(p->users);
    omcu_tuner_destroy(p->tuner);
    omcu_store_unref(p->store);
    for (int i = 0; i < p->n_outputs && p->out; i++) p->out[i].data = NULL;
    om_free(p->buffers);
    om_free(p->steps);
    om_free(p->inputs);
    om_free(p->outputs);
    om_free(p->out);
    om_free(p);
}

static bool overlap(const omcu_buffer *a, const omcu_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest place where `b` meets no buffer that lives at the same time; `placed` is sorted by offset. */
static size_t find_place(const omcu_program *p, const omcu_buffer *b, const int *placed, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const omcu_buffer *o = &p->buffers[placed[i]];
        if (!overlap(o, b)) continue;
        if (at + b->bytes <= o->offset) return at;
        size_t end = (o->offset + o->bytes + OMCU_ARENA_ALIGN - 1) / OMCU_ARENA_ALIGN * OMCU_ARENA_ALIGN;
        if (end > at) at = end;
    }
    return at;
}

/* Large buffers first: the small ones fill what is left between them. */
int omcu_place_buffers(omcu_program *p)
{
    int *order = om_calloc((size_t)p->n_buffers + 1, sizeof *order);
    int *placed = om_calloc((size_t)p->n_buffers + 1, sizeof *placed);
    int n = 0, done = 0, err = order && placed ? OM_OK : OM_ERR_NOMEM;
    for (int i = 0; i < p->n_buffers && !err; i++) {
        const omcu_buffer *b = &p->buffers[i];
        if (b->place != OMCU_IN_ARENA || b->first < 0) continue;
        int at = n++;
        for (; at > 0 && p->buffers[order[at - 1]].bytes < b->bytes; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = 0; i < n && !err; i++) {
        omcu_buffer *b = &p->buffers[order[i]];
        b->offset = find_place(p, b, placed, done);
        int at = done++;
        for (; at > 0 && p->buffers[placed[at - 1]].offset > b->offset; at--) placed[at] = placed[at - 1];
        placed[at] = order[i];
        if (b->offset + b->bytes > p->arena) p->arena = b->offset + b->bytes;
    }
    om_free(order);
    om_free(placed);
    return err;
}

void *omcu_address(const omcu_program *p, const omcu_view *v, const omcu_binding *b)
{
    const omcu_buffer *buffer = &p->buffers[v->buffer];
    char *base = NULL;
    switch (buffer->place) {
    case OMCU_IN_ARENA: base = (char *)b->arena + buffer->offset; break;
    case OMCU_IN_CONST: base = buffer->data; break;
    case OMCU_IN_INPUT: base = b->inputs[buffer->index]; break;
    case OMCU_IN_OUTPUT: base = b->outputs[buffer->index]; break;
    }
    return base + v->offset * (int64_t)omcu_type_size(v->type);
}

omcu_conv omcu_conv_bound(const omcu_program *p, const omcu_step *s, const omcu_binding *b)
{
    omcu_conv c = s->u.conv;
    c.x = omcu_address(p, &s->in[0], b);
    c.w = omcu_address(p, &s->in[1], b);
    c.bias = omcu_address(p, &s->in[2], b);
    c.res = s->has_res ? omcu_address(p, &s->in[3], b) : NULL;
    /* As omcu_upload_sums() laid them. */
    if (s->in[0].grid.scale > 0) {
        int64_t room = (s->in[2].dim[0] - 4) / 2;
        c.scale = c.bias + room;
        c.outside = c.bias + 2 * room;
    }
    c.y = omcu_address(p, &s->out[0], b);
    return c;
}

static int run_conv(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    omcu_conv c = omcu_conv_bound(p, s, b);
    if (s->cudnn) return omcu_cudnn_run(p, s, &c, b->workspace, stream);
    if (s->lt) return omcu_lt_run(p, s, &c, b->workspace, stream);
    if (s->tactic == OMCU_TACTIC_FIRST) return omcu_conv_first_launch(&c, stream);
    if (s->tactic >= 0) return omcu_conv_launch(s->tactic, &c, stream);
    return omcu_conv_plain_launch(s->half, &c, stream);
}

static int run_point(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    omcu_point k = s->u.point;
    for (int i = 0; i < s->n_in; i++) k.in[i].base = omcu_address(p, &s->in[i], b);
    k.out = omcu_address(p, &s->out[0], b);
    return omcu_point_launch(&k, stream);
}

static int run_rows(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    omcu_rows k = s->u.rows;
    k.x = omcu_address(p, &s->in[0], b);
    k.y = omcu_address(p, &s->out[0], b);
    if (s->kind == OMCU_STEP_SOFTMAX) {
        k.weights = s->has_scale ? omcu_address(p, &s->in[1], b) : NULL;
        return omcu_softmax_launch(&k, stream);
    }
    k.scale = s->has_scale ? omcu_address(p, &s->in[1], b) : NULL;
    k.bias = s->has_bias ? omcu_address(p, &s->in[2], b) : NULL;
    return omcu_layer_norm_launch(&k, stream);
}

static int run_moving(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    void *x = s->n_in ? omcu_address(p, &s->in[0], b) : NULL, *y = omcu_address(p, &s->out[0], b);
    switch (s->kind) {
    case OMCU_STEP_POOL: {
        omcu_pool k = s->u.pool;
        k.x = x;
        k.y = y;
        return omcu_pool_launch(&k, stream);
    }
    case OMCU_STEP_SPPF: {
        omcu_sppf k = s->u.sppf;
        k.x = x;
        for (int i = 0; i < 3; i++) k.y[i] = omcu_address(p, &s->out[i], b);
        return omcu_sppf_launch(&k, stream);
    }
    case OMCU_STEP_RESIZE: {
        omcu_resize k = s->u.resize;
        k.x = x;
        k.y = y;
        k.rows = omcu_address(p, &s->in[1], b);
        k.cols = omcu_address(p, &s->in[2], b);
        if (s->has_scale) k.row_share = omcu_address(p, &s->in[3], b);
        if (s->has_scale) k.col_share = omcu_address(p, &s->in[4], b);
        return omcu_resize_launch(&k, stream);
    }
    case OMCU_STEP_REDUCE: {
        omcu_reduce k = s->u.reduce;
        k.x = x;
        k.y = y;
        return omcu_reduce_launch(&k, stream);
    }
    case OMCU_STEP_PICK: {
        omcu_pick k = s->u.pick;
        k.x = x;
        k.y = y;
        k.index = omcu_address(p, &s->in[1], b);
        return omcu_pick_launch(&k, stream);
    }
    default: return (int)cudaMemsetAsync(y, 0, p->buffers[s->out[0].buffer].bytes, stream);
    }
}

static int run_matmul(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    if (s->kind == OMCU_STEP_ATTENTION) {
        omcu_attention k = s->u.attention;
        k.q = omcu_address(p, &s->in[0], b);
        k.k = omcu_address(p, &s->in[1], b);
        k.v = omcu_address(p, &s->in[2], b);
        k.y = omcu_address(p, &s->out[0], b);
        return omcu_attention_launch(&k, stream);
    }
    omcu_matmul k = s->u.matmul;
    k.a = omcu_address(p, &s->in[0], b);
    k.b = omcu_address(p, &s->in[1], b);
    k.bias = s->has_bias ? omcu_address(p, &s->in[2], b) : NULL;
    k.c = omcu_address(p, &s->out[0], b);
    return omcu_matmul_launch(&k, stream);
}

static int run_lstm(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    omcu_lstm k = s->u.lstm;
    void *out[3] = {NULL};
    for (int i = 0; i < 3; i++)
        if (k.out_at[i]) out[i] = omcu_address(p, &s->out[k.out_at[i] - 1], b);
    k.x = omcu_address(p, &s->in[0], b);
    k.r = omcu_address(p, &s->in[1], b);
    k.h0 = k.in_at[0] ? omcu_address(p, &s->in[k.in_at[0]], b) : NULL;
    k.c0 = k.in_at[1] ? omcu_address(p, &s->in[k.in_at[1]], b) : NULL;
    k.y = out[0];
    k.y_h = out[1];
    k.y_c = out[2];
    return omcu_lstm_launch(&k, stream);
}

static int launch(const omcu_program *p, const omcu_step *s, const omcu_binding *b, cudaStream_t stream)
{
    omcu_conv c;
    switch (s->kind) {
    case OMCU_STEP_CONV: return run_conv(p, s, b, stream);
    case OMCU_STEP_DEPTHWISE:
        c = omcu_conv_bound(p, s, b);
        return omcu_depthwise_launch(s->tactic - OMCU_TACTIC_DEPTHWISE, s->half, &c, stream);
    case OMCU_STEP_DECONV: c = omcu_conv_bound(p, s, b); return omcu_deconv_launch(s->half, &c, stream);
    case OMCU_STEP_POINT: return run_point(p, s, b, stream);
    case OMCU_STEP_SOFTMAX:
    case OMCU_STEP_LAYER_NORM: return run_rows(p, s, b, stream);
    case OMCU_STEP_MATMUL:
    case OMCU_STEP_ATTENTION: return run_matmul(p, s, b, stream);
    case OMCU_STEP_USER: return omcu_user_run(p, s, b, stream);
    case OMCU_STEP_LSTM: return run_lstm(p, s, b, stream);
    default: return run_moving(p, s, b, stream);
    }
}

int omcu_step_run(const omcu_program *p, const omcu_step *s, const omcu_binding *b,
                  struct CUstream_st *stream)
{
    int status = launch(p, s, b, stream);
    if (status == cudaSuccess) return OM_OK;
    int err = om_cuda_check(p->device, status, "launching");
    return om_fail_prefix(err, "node '%s' (%s)", s->name, s->type);
}

int omcu_run(const omcu_program *p, const omcu_binding *b, struct CUstream_st *stream)
{
    int err = OM_OK;
    for (int i = 0; i < p->n_steps && !err; i++) err = omcu_step_run(p, &p->steps[i], b, stream);
    return err;
}
