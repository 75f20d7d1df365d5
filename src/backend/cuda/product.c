/* What convolutions and matrix products share: their weights as the kernels want them, and what is done with
 * their results on the way out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/product.h"
#include "base/error.h"
#include "base/mem.h"

#define TAIL 128   /* a tile reads so far past the last row */
#define MUCH 32768 /* numbers that a rehearsal does without */

void omcu_kernel_free(omcu_kernel *w)
{
    om_free(w->w);
    om_free(w->bias);
    om_free(w->scale);
}

int omcu_upload(omcu_lower_state *l, const float *v, int64_t n, int64_t room, int type, omcu_view *out)
{
    uint8_t *bytes = om_calloc((size_t)room, omcu_type_size(type));
    if (!bytes) return OM_ERR_NOMEM;
    bool filled = !omcu_store_rehearses(l->p->store) || n < MUCH;
    for (int64_t i = 0; i < n && type == OMCU_F16 && filled; i++)
        ((uint16_t *)(void *)bytes)[i] = om_f32_to_f16(v[i]);
    if (type != OMCU_F16 && filled) memcpy(bytes, v, (size_t)n * sizeof *v);
    int b = omcu_add_const(l->p, bytes, (size_t)room * omcu_type_size(type));
    om_free(bytes);
    *out = (omcu_view){.buffer = b, .type = type, .rank = 1, .dim = {room}, .stride = {1}};
    return b < 0 ? b : OM_OK;
}

bool omcu_view_even(const omcu_view *v, int skip, int by)
{
    bool ok = v->offset % by == 0;
    for (int i = 0; i < v->rank; i++) ok = ok && (i == skip || v->dim[i] == 1 || v->stride[i] % by == 0);
    return ok;
}

bool omcu_channels_dense(const omcu_view *v) { return v->stride[1] == 1 || v->dim[1] == 1; }

const int omcu_nhwc[OM_MAX_RANK] = {0, 2, 3, 1};

/* A value of four dims with its channels side by side; copied where they are not. */
int omcu_picture_view(omcu_lower_state *l, int value, const int64_t dim[4], omcu_view *out)
{
    omcu_view v;
    int err = omcu_work_view(l, value, &v);
    if (err) return err;
    if (omcu_view_reshape(&v, 4, dim, out) && omcu_channels_dense(out)) return OM_OK;
    const om_shape *own = omcu_shape(l, value);
    om_shape shape = {.rank = 4};
    memcpy(shape.dim, dim, 4 * sizeof *dim);
    err = omcu_new_view(l, l->work, &shape, omcu_nhwc, 1, out);
    if (err) return err;
    omcu_view to;
    if (!omcu_view_reshape(out, own->rank, own->dim, &to)) return OM_ERR_INTERNAL;
    return omcu_emit_copy(l, &v, &to, l->g->values[value].name);
}

/* The same with channels of zeros behind, for kernels that take them by eights. */
int omcu_pad_channels(omcu_lower_state *l, omcu_view *v, int64_t channels, const char *name)
{
    om_shape shape = {4, {v->dim[0], channels, v->dim[2], v->dim[3]}};
    omcu_view wide, part;
    int err = omcu_new_view(l, l->work, &shape, omcu_nhwc, 1, &wide);
    if (err) return err;
    omcu_step clear = {.kind = OMCU_STEP_CLEAR, .n_out = 1};
    clear.out[0] = wide;
    strncpy(clear.name, name, sizeof clear.name - 1);
    strncpy(clear.type, "Clear", sizeof clear.type - 1);
    err = channels > v->dim[1] ? omcu_add_step(l->p, &clear) : OM_OK;
    if (err < 0) return err;
    part = omcu_view_slice(&wide, 1, 0, v->dim[1], 1);
    err = omcu_emit_copy(l, v, &part, name);
    *v = wide;
    return err;
}

int omcu_even_channels(omcu_lower_state *l, omcu_conv *c, omcu_view *x, const char *name)
{
    int by = l->work == OMCU_F16 ? OMCU_CHANNEL_ALIGN : 4, room = (int)omcu_round_up(c->c, by);
    if (room == c->c && omcu_view_even(x, 1, by)) return OM_OK;
    c->c = room;
    return omcu_pad_channels(l, x, room, name);
}

int omcu_pack_int8(omcu_lower_state *l, const omcu_kernel *k, int total_k, omcu_view *out)
{
    int64_t row = (int64_t)k->r * k->s * k->c, n = row * total_k + TAIL;
    int8_t *v = om_calloc((size_t)n, 1);
    if (!v) return OM_ERR_NOMEM;
    for (int o = 0; o < k->k && !omcu_store_rehearses(l->p->store); o++)
        for (int c = 0; c < k->c; c++)
            for (int t = 0; t < k->r * k->s; t++)
                v[o * row + (int64_t)t * k->c + c] =
                    (int8_t)lrintf(k->w[((int64_t)o * k->c + c) * k->r * k->s + t] / k->scale[o]);
    int b = omcu_add_const(l->p, v, (size_t)n);
    om_free(v);
    *out = (omcu_view){.buffer = b, .type = OMCU_I8, .rank = 1, .dim = {n}, .stride = {1}};
    return b < 0 ? b : OM_OK;
}

int omcu_upload_sums(omcu_lower_state *l, const omcu_kernel *k, const omcu_grid *x, omcu_view *out)
{
    bool integers = x->scale > 0;
    int64_t room = omcu_round_up(k->k + OMCU_ROW_ROOM, OMCU_CHANNEL_ALIGN),
            taps = (int64_t)k->c * k->r * k->s;
    int64_t all = integers ? 2 * room + 4 : room;
    float *v = om_calloc((size_t)all, sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    for (int o = 0; o < k->k; o++) {
        double sum = 0;
        for (int64_t i = 0; i < taps && x->zero; i++) sum += k->w[o * taps + i];
        v[o] = (float)(k->bias[o] - sum * x->zero * (double)x->scale);
        if (integers) v[room + o] = k->scale[o] * x->scale;
    }
    if (integers) memset(v + 2 * room, x->zero & 255, 4 * sizeof *v);
    int err = omcu_upload(l, v, all, all, OMCU_F32, out);
    om_free(v);
    return err;
}

/* Of a matrix the rows are pixels in a row. */
void omcu_set_strides(const omcu_view *v, bool matrix, int64_t *n, int64_t *h, int64_t *w)
{
    *n = matrix ? v->dim[0] * v->stride[0] : v->stride[0];
    *h = matrix ? v->dim[0] * v->stride[0] : v->stride[2];
    *w = matrix ? v->stride[0] : v->stride[3];
    if (matrix) return;
    /* A stride that leads nowhere may be any number; the kernels and libraries want one that could lead. */
    int64_t pixel = omcu_round_up(v->dim[1], OMCU_CHANNEL_ALIGN);
    if (v->dim[3] == 1) *w = v->dim[2] > 1 ? *h : v->dim[0] > 1 ? *n : pixel;
    if (v->dim[2] == 1) *h = v->dim[0] > 1 ? *n : *w * v->dim[3];
}

/* [k][c][r][s] to rows of taps with the channels inside, `c` padded to `room`. */
int omcu_pack_rows(omcu_lower_state *l, const omcu_kernel *k, int room, int total_k, omcu_view *out)
{
    int64_t row = (int64_t)k->r * k->s * room, n = row * total_k;
    float *v = om_calloc((size_t)n, sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    for (int o = 0; o < k->k && !omcu_store_rehearses(l->p->store); o++)
        for (int c = 0; c < k->c; c++)
            for (int t = 0; t < k->r * k->s; t++)
                v[o * row + (int64_t)t * room + c] = k->w[((int64_t)o * k->c + c) * k->r * k->s + t];
    int err = omcu_upload(l, v, n, n + TAIL, l->work, out);
    om_free(v);
    return err;
}

/* A tensor's dims in the order `rows` (NULL: their own), joined to four. */
static bool join_rows(const omcu_view *v, const int *rows, const int64_t dim[4], omcu_view *out)
{
    omcu_view turned = rows ? omcu_view_permute(v, rows) : *v;
    return omcu_view_reshape(&turned, 4, dim, out);
}

/* The reverse: four dims seen as a tensor of this shape. */
static bool part_rows(const omcu_view *v, const int *rows, const om_shape *shape, omcu_view *out)
{
    int64_t dim[OM_MAX_RANK];
    int back[OM_MAX_RANK];
    for (int i = 0; i < shape->rank; i++) {
        dim[i] = shape->dim[rows ? rows[i] : i];
        back[rows ? rows[i] : i] = i;
    }
    if (!omcu_view_reshape(v, shape->rank, dim, out)) return false;
    *out = omcu_view_permute(out, back);
    return true;
}

/* What is added to rows, its rows in their order. */
static int rows_view(omcu_lower_state *l, int value, const int *rows, const int64_t dim[4], omcu_view *out)
{
    omcu_view v, to;
    int err = omcu_work_view(l, value, &v);
    if (err) return err;
    if (join_rows(&v, rows, dim, out) && omcu_channels_dense(out)) return OM_OK;
    om_shape four = {.rank = 4};
    memcpy(four.dim, dim, 4 * sizeof *dim);
    err = omcu_new_view(l, l->work, &four, omcu_nhwc, OMCU_CHANNEL_ALIGN, out);
    if (err) return err;
    if (!part_rows(out, rows, omcu_shape(l, value), &to)) return OM_ERR_INTERNAL;
    return omcu_emit_copy(l, &v, &to, l->g->values[value].name);
}

/* A value that lies as 8-bit integers, channels side by side; false: it does not. */
static bool grid_picture(omcu_lower_state *l, int value, const int64_t dim[4], omcu_view *out)
{
    const omcu_value *v = &l->values[value];
    return v->written && v->view.grid.scale > 0 && omcu_view_reshape(&v->view, 4, dim, out) &&
           omcu_channels_dense(out);
}

/* Residual, bias, output and the step itself; `c` has the shapes, s->in[0] and [1] are set. `rows`: of a
 * matrix product, in which order its tensors' dims are read; NULL: pictures. */
int omcu_finish_product(omcu_lower_state *l, omcu_step *s, const omcu_kernel *k, const omcu_tail *tail,
                        const int64_t out_dim[4], const int *rows)
{
    bool matrix = rows;
    omcu_conv *c = &s->u.conv;
    omcu_view y, own, res;
    bool first = s->tactic == OMCU_TACTIC_FIRST;
    /* Which kernels read and write 8-bit integers beside the product. */
    bool grids = l->work == OMCU_F16 && !rows && s->kind == OMCU_STEP_CONV && (s->tactic >= 0 || first);
    int err = OM_OK;
    s->n_in = 3;
    s->n_out = 1;
    if (!err && tail->residual >= 0) {
        if (rows) err = rows_view(l, tail->residual, rows, out_dim, &res);
        else if (!grids || !grid_picture(l, tail->residual, out_dim, &res))
            err = omcu_picture_view(l, tail->residual, out_dim, &res);
        c->r_grid = res.grid;
        omcu_set_strides(&res, matrix, &c->r_n, &c->r_h, &c->r_w);
        s->in[s->n_in++] = res;
        s->has_res = true;
    }
    if (!err && grids && k->k % OMCU_CHANNEL_ALIGN == 0)
        err = omcu_out_any(l, tail->value, OMCU_CHANNEL_ALIGN, &own);
    else if (!err) err = omcu_out_view(l, tail->value, s->kind != OMCU_STEP_DECONV, OMCU_CHANNEL_ALIGN, &own);
    if (err) return err;
    const om_shape *shape = omcu_shape(l, tail->value);
    if (!join_rows(&own, rows, out_dim, &y) || !omcu_channels_dense(&y) ||
        (own.type != l->work && own.type != OMCU_F32 && own.grid.scale <= 0) ||
        (own.grid.scale > 0 && !omcu_view_even(&y, 1, OMCU_CHANNEL_ALIGN)) ||
        (own.grid.scale > 0 && tail->residual >= 0 && !omcu_view_even(&res, 1, OMCU_CHANNEL_ALIGN))) {
        om_shape four = {.rank = 4};
        memcpy(four.dim, out_dim, 4 * sizeof *out_dim);
        err = omcu_new_view(l, l->work, &four, omcu_nhwc, OMCU_CHANNEL_ALIGN, &y);
        if (err || !part_rows(&y, rows, shape, &own)) return err ? err : OM_ERR_INTERNAL;
    }
    c->act1 = tail->act1;
    c->act2 = tail->act2;
    c->wide = y.type == OMCU_F32 && l->work == OMCU_F16;
    c->y_grid = y.grid;
    err = omcu_upload_sums(l, k, &s->in[0].grid, &s->in[2]);
    if (err) return err;
    omcu_set_strides(&y, matrix, &c->y_n, &c->y_h, &c->y_w);
    bool room = k->k % OMCU_CHANNEL_ALIGN == 0 ||
                (l->p->buffers[y.buffer].place == OMCU_IN_ARENA && y.offset == 0 &&
                 c->y_w >= omcu_round_up(k->k, OMCU_CHANNEL_ALIGN) && !l->values[tail->value].is_placed);
    c->vector = room && omcu_view_even(&y, 1, OMCU_CHANNEL_ALIGN) &&
                (tail->residual < 0 || omcu_view_even(&res, 1, OMCU_CHANNEL_ALIGN)) &&
                (tail->residual < 0 || k->k % OMCU_CHANNEL_ALIGN == 0);
    s->out[0] = y;
    if (s->kind == OMCU_STEP_CONV && s->tactic == OMCU_TACTIC_FIRST && !omcu_conv_first_takes(c))
        return om_fail(OM_ERR_INTERNAL, "node '%s': the first convolution's output is not as planned",
                       s->name);
    err = omcu_add_step(l->p, s);
    return err < 0 ? err : omcu_written(l, tail->value, &own);
}

omcu_numbers omcu_numbers_of(const omcu_lower_state *l)
{
    return l->work == OMCU_F16 ? OMCU_NUMBERS_F16 : l->p->tf32 ? OMCU_NUMBERS_TF32 : OMCU_NUMBERS_F32;
}

/* A plain guess before anything is timed: enough blocks to fill a GPU, tiles as large as that allows. */
int omcu_guess_form(const omcu_conv *c, omcu_numbers numbers)
{
    int best = 0;
    double least = 1e30;
    for (int i = 0; i < omcu_conv_forms(); i++) {
        int bm = 0, bn = 0;
        if (omcu_conv_form_numbers(i) != numbers || sscanf(omcu_conv_form_name(i), "%dx%d", &bm, &bn) != 2)
            continue;
        int64_t blocks = omcu_conv_form_blocks(i, c), waves = (blocks + 263) / 264;
        double cost = (double)waves * (double)(bm * bn + 24 * (bm + bn));
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}
