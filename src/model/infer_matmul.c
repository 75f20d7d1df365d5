/* Products of matrices, Einstein sums, recurrent layers. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

/* Variants of om_infer_matmul: where the inputs are, and the type of the output. */
static const struct {
    int a, b, type_of; /* -1: int32 */
} forms[] = {{0, 1, 0}, {0, 1, -1}, {0, 3, 7}};

int om_infer_matmul(const om_call *c)
{
    const om_shape *a = om_call_shape(c, forms[c->variant].a), *b = om_call_shape(c, forms[c->variant].b);
    int of = forms[c->variant].type_of;
    om_dtype t = of < 0 ? OM_DTYPE_I32 : om_call_dtype(c, of);
    if (!a || !b) return om_call_set(c, 0, t, NULL);
    if (!a->rank || !b->rank) return om_call_bad(c, "a scalar where a matrix is expected");
    om_shape x = *a, y = *b, out;
    if (a->rank == 1) x = om_shape_make(2, (int64_t)1, a->dim[0]);
    if (b->rank == 1) y = om_shape_make(2, b->dim[0], (int64_t)1);
    int64_t m = x.dim[x.rank - 2], n = y.dim[y.rank - 1];
    int err = om_call_same(c, "columns of the first and rows of the second matrix", x.dim[x.rank - 1],
                           y.dim[y.rank - 2]);
    x.rank -= 2;
    y.rank -= 2;
    if (err >= 0) err = om_call_broadcast(c, &x, &y, &out);
    if (err < 0) return err;
    if (a->rank > 1) out.dim[out.rank++] = m;
    if (b->rank > 1) out.dim[out.rank++] = n;
    return om_call_set(c, 0, t, &out);
}

int om_infer_gemm(const om_call *c)
{
    const om_shape *a = om_call_shape(c, 0), *b = om_call_shape(c, 1), *bias = om_call_shape(c, 2);
    bool ta = om_node_attr_int(c->n, "transA", 0) != 0, tb = om_node_attr_int(c->n, "transB", 0) != 0;
    if ((a && a->rank != 2) || (b && b->rank != 2))
        return om_call_bad(c, "inputs of rank %d, 2 is expected", a && a->rank != 2 ? a->rank : b->rank);
    om_shape out = {.rank = 2, .dim = {a ? a->dim[ta] : OM_DIM_DYNAMIC, b ? b->dim[!tb] : OM_DIM_DYNAMIC}},
             sum;
    int err = a && b ? om_call_same(c, "columns of the first and rows of the second matrix", a->dim[!ta],
                                    b->dim[tb])
                     : OM_OK;
    if (err >= 0 && bias) err = om_call_broadcast(c, bias, &out, &sum);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

/* The sizes that letters stand for; the ellipsis' axes apart. */
typedef struct letters {
    int64_t size[128]; /* OM_CALL_UNKNOWN: not met */
    om_shape dots;     /* what "..." covers */
} letters;

static bool is_letter(char ch) { return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'); }

static int count_letters(const char *from, const char *to)
{
    int n = 0;
    for (; from < to; from++) n += is_letter(*from);
    return n;
}

static int meet(const om_call *c, letters *l, char ch, int64_t size)
{
    int64_t *known = &l->size[(unsigned char)ch];
    if (*known == OM_CALL_UNKNOWN || *known == 1 || *known < 0) *known = size;
    else if (size >= 0 && size != 1 && size != *known)
        return om_call_bad(c, "'%c' is both %" PRId64 " and %" PRId64, ch, *known, size);
    return OM_OK;
}

static int read_term(const om_call *c, letters *l, const char *from, const char *to, const om_shape *x)
{
    int n = count_letters(from, to), axis = 0, err = OM_OK;
    const char *dots = memmem(from, (size_t)(to - from), "...", 3);
    if (n > x->rank || (!dots && n != x->rank))
        return om_call_bad(c, "%d letters for a tensor of rank %d", n, x->rank);
    for (const char *p = from; p < to && err >= 0; p++) {
        if (p == dots) {
            om_shape covered = {.rank = x->rank - n};
            for (int i = 0; i < covered.rank; i++) covered.dim[i] = x->dim[axis++];
            err = om_call_broadcast(c, &l->dots, &covered, &l->dots);
            p += 2;
        } else if (is_letter(*p)) err = meet(c, l, *p, x->dim[axis++]);
        else if (*p != ' ') return om_call_bad(c, "'%c' in its equation", *p);
    }
    return err;
}

/* Without an arrow: the ellipsis, then the letters that come once, in order. */
static void implicit_output(const char *equation, const letters *l, om_shape *out)
{
    *out = l->dots;
    for (int ch = 'A'; ch <= 'z'; ch++) {
        int times = 0;
        for (const char *p = equation; *p; p++) times += *p == ch;
        if (times == 1 && is_letter((char)ch) && out->rank < OM_MAX_RANK) out->dim[out->rank++] = l->size[ch];
    }
}

static int explicit_output(const om_call *c, const char *text, const letters *l, om_shape *out)
{
    *out = (om_shape){.rank = 0};
    const char *dots = strstr(text, "...");
    if (count_letters(text, text + strlen(text)) + (dots ? l->dots.rank : 0) > OM_MAX_RANK)
        return om_call_bad(c, "more than %d axes", OM_MAX_RANK);
    for (const char *p = text; *p; p++) {
        for (int i = 0; p == dots && i < l->dots.rank; i++) out->dim[out->rank++] = l->dots.dim[i];
        if (!is_letter(*p)) continue;
        int64_t size = l->size[(unsigned char)*p];
        if (size == OM_CALL_UNKNOWN) return om_call_bad(c, "'%c' is in the output alone", *p);
        out->dim[out->rank++] = size;
    }
    return OM_OK;
}

int om_infer_einsum(const om_call *c)
{
    const char *equation = om_node_attr_string(c->n, "equation", ""), *arrow = strstr(equation, "->");
    const char *end = arrow ? arrow : equation + strlen(equation), *from = equation;
    letters l = {.dots = {.rank = 0}};
    om_shape out;
    int err = OM_OK;
    for (int i = 0; i < 128; i++) l.size[i] = OM_CALL_UNKNOWN;
    for (int i = 0; i < c->n->n_inputs && err >= 0; i++) {
        const om_shape *x = om_call_shape(c, i);
        const char *comma = memchr(from, ',', (size_t)(end - from)), *to = comma ? comma : end;
        if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
        if (!comma && i + 1 < c->n->n_inputs)
            return om_call_bad(c, "an equation of %d terms for %d inputs", i + 1, c->n->n_inputs);
        err = read_term(c, &l, from, to, x);
        from = comma ? comma + 1 : end;
    }
    if (err < 0) return err;
    if (arrow) err = explicit_output(c, arrow + 2, &l, &out);
    else implicit_output(equation, &l, &out);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

/* LSTM, GRU, RNN: [steps, directions, batch, hidden] and the last state; `variant`: outputs there are. */
int om_infer_rnn(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *r = om_call_shape(c, 2);
    om_dtype t = om_call_dtype(c, 0);
    const char *direction = om_node_attr_string(c->n, "direction", "forward");
    bool batch_first = om_node_attr_int(c->n, "layout", 0) != 0;
    if ((x && x->rank != 3) || (r && r->rank != 3))
        return om_call_bad(c, "inputs of rank %d, 3 is expected", x && x->rank != 3 ? x->rank : r->rank);
    int64_t dirs = !strcmp(direction, "bidirectional") ? 2 : 1,
            steps = x ? x->dim[batch_first] : OM_DIM_DYNAMIC,
            batch = x ? x->dim[!batch_first] : OM_DIM_DYNAMIC,
            hidden = om_node_attr_int(c->n, "hidden_size", OM_DIM_DYNAMIC);
    if (hidden < 0) hidden = r ? r->dim[2] : OM_DIM_DYNAMIC;
    int err = r ? om_call_same(c, "directions and the weights' first axis", dirs, r->dim[0]) : OM_OK;
    if (err >= 0 && r) err = om_call_same(c, "hidden_size and the weights", hidden, r->dim[2]);
    om_shape y = batch_first ? om_shape_make(4, batch, steps, dirs, hidden)
                             : om_shape_make(4, steps, dirs, batch, hidden);
    om_shape h = batch_first ? om_shape_make(3, batch, dirs, hidden) : om_shape_make(3, dirs, batch, hidden);
    if (err >= 0) err = om_call_set(c, 0, t, &y);
    for (int i = 1; i < c->variant && err >= 0; i++) err = om_call_set(c, i, t, &h);
    return err;
}
