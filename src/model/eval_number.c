/* Arithmetic on small tensors. Each step is rounded to the type, so float results are what float arithmetic
 * gives. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

static int64_t to_int(double f) { return (int64_t)f; }
static bool fits_int(double f) { return f >= -9223372036854775808.0 && f < 9223372036854775808.0; }

int om_eval_cast(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !out[0] || in[0]->n != out[0]->n) return OM_OK;
    bool from = om_dtype_is_float(in[0]->dtype), to = om_dtype_is_float(out[0]->dtype);
    for (int64_t i = 0; i < in[0]->n; i++) {
        om_num v = in[0]->v[i];
        bool known = in[0]->known[i];
        if (out[0]->dtype == OM_DTYPE_BOOL) v.i = from ? v.f != 0 : v.i != 0;
        else if (from && !to) {
            known = known && fits_int(v.f);
            v.i = known ? to_int(v.f) : 0;
        } else if (!from && to) v.f = in[0]->dtype == OM_DTYPE_U64 ? (double)(uint64_t)v.i : (double)v.i;
        out[0]->v[i] = om_num_fit(out[0]->dtype, v);
        out[0]->known[i] = known;
    }
    return OM_OK;
}

static double unary_float(int op, double x)
{
    switch (op) {
    case OM_U_ABS: return fabs(x);
    case OM_U_NEG: return -x;
    case OM_U_FLOOR: return floor(x);
    case OM_U_CEIL: return ceil(x);
    case OM_U_ROUND: return nearbyint(x);
    case OM_U_SQRT: return sqrt(x);
    case OM_U_EXP: return exp(x);
    case OM_U_LOG: return log(x);
    case OM_U_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case OM_U_RECIPROCAL: return 1 / x;
    case OM_U_RELU: return x < 0 ? 0 : x;
    case OM_U_SIGMOID: return 1 / (1 + exp(-x));
    case OM_U_TANH: return tanh(x);
    case OM_U_SIN: return sin(x);
    default: return cos(x);
    }
}

static bool unary_int(int op, int64_t x, int64_t *out)
{
    switch (op) {
    case OM_U_ABS: *out = x < 0 ? (int64_t) - (uint64_t)x : x; return true;
    case OM_U_NEG: *out = (int64_t) - (uint64_t)x; return true;
    case OM_U_SIGN: *out = x > 0 ? 1 : x < 0 ? -1 : 0; return true;
    case OM_U_NOT: *out = !x; return true;
    case OM_U_RELU: *out = x < 0 ? 0 : x; return true;
    default: return false;
    }
}

int om_eval_unary(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !out[0] || in[0]->n != out[0]->n) return OM_OK;
    for (int64_t i = 0; i < in[0]->n; i++) {
        om_num v = in[0]->v[i];
        bool known = in[0]->known[i];
        if (om_dtype_is_float(in[0]->dtype)) v.f = unary_float(c->variant, v.f);
        else known = unary_int(c->variant, v.i, &v.i) && known;
        out[0]->v[i] = om_num_fit(out[0]->dtype, v);
        out[0]->known[i] = known;
    }
    return OM_OK;
}

static bool compare(int op, bool less, bool equal)
{
    switch (op) {
    case OM_B_EQUAL: return equal;
    case OM_B_LESS: return less;
    case OM_B_LESS_EQUAL: return less || equal;
    case OM_B_GREATER: return !less && !equal;
    default: return !less;
    }
}

static bool compares(int op) { return op >= OM_B_EQUAL && op <= OM_B_GREATER_EQUAL; }

static bool binary_float(int op, bool c_mod, double a, double b, om_num *out)
{
    switch (op) {
    case OM_B_ADD: out->f = a + b; return true;
    case OM_B_SUB: out->f = a - b; return true;
    case OM_B_MUL: out->f = a * b; return true;
    case OM_B_DIV: out->f = a / b; return true;
    case OM_B_POW: out->f = pow(a, b); return true;
    case OM_B_MOD: out->f = fmod(a, b); return c_mod;
    case OM_B_MIN: out->f = isnan(a) || a < b ? a : b; return true;
    case OM_B_MAX: out->f = isnan(a) || a > b ? a : b; return true;
    default:
        if (isnan(a) || isnan(b)) out->i = 0;
        else out->i = compare(op, a < b, a == b);
        return compares(op);
    }
}

static bool power(int64_t a, int64_t b, int64_t *out)
{
    if (b < 0 || b > 63) return false;
    for (*out = 1; b > 0; b--)
        if (__builtin_mul_overflow(*out, a, out)) return false;
    return true;
}

static bool divide(int op, bool c_mod, bool is_unsigned, int64_t a, int64_t b, int64_t *out)
{
    if (b == 0) return false;
    if (is_unsigned) {
        *out = (int64_t)(op == OM_B_DIV ? (uint64_t)a / (uint64_t)b : (uint64_t)a % (uint64_t)b);
        return true;
    }
    if (b == -1) {
        *out = op == OM_B_DIV ? (int64_t) - (uint64_t)a : 0;
        return true;
    }
    *out = op == OM_B_DIV ? a / b : a % b;
    if (op == OM_B_MOD && !c_mod && *out && (*out < 0) != (b < 0)) *out += b; /* the sign of the divisor */
    return true;
}

static bool binary_int(int op, bool c_mod, bool is_unsigned, int64_t a, int64_t b, int64_t *out)
{
    bool less = is_unsigned ? (uint64_t)a < (uint64_t)b : a < b;
    switch (op) {
    case OM_B_ADD: *out = (int64_t)((uint64_t)a + (uint64_t)b); return true;
    case OM_B_SUB: *out = (int64_t)((uint64_t)a - (uint64_t)b); return true;
    case OM_B_MUL: *out = (int64_t)((uint64_t)a * (uint64_t)b); return true;
    case OM_B_DIV:
    case OM_B_MOD: return divide(op, c_mod, is_unsigned, a, b, out);
    case OM_B_POW: return power(a, b, out);
    case OM_B_MIN: *out = less ? a : b; return true;
    case OM_B_MAX: *out = less ? b : a; return true;
    case OM_B_AND: *out = a && b; return true;
    case OM_B_OR: *out = a || b; return true;
    case OM_B_XOR: *out = !a != !b; return true;
    default: *out = compare(op, less, a == b); return compares(op);
    }
}

/* The element of `p` that broadcasting puts at index `at` of `s`. */
static int64_t broadcast_index(const om_part *p, const om_shape *s, const int64_t *at)
{
    int64_t k = 0;
    for (int i = 0; i < p->shape.rank; i++) {
        int64_t a = at[i + s->rank - p->shape.rank];
        k = k * p->shape.dim[i] + (p->shape.dim[i] == 1 ? 0 : a);
    }
    return k;
}

static bool covers(const om_part *out, const om_part *p)
{
    if (p->shape.rank > out->shape.rank) return false;
    for (int i = 0; i < p->shape.rank; i++) {
        int64_t d = p->shape.dim[i];
        if (d != 1 && d != out->shape.dim[i + out->shape.rank - p->shape.rank]) return false;
    }
    return true;
}

static void combine(const om_call *c, const om_part *a, const om_part *b, om_part *out)
{
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    bool real = om_dtype_is_float(a->dtype), c_mod = om_node_attr_int(c->n, "fmod", 0) != 0;
    if (real != om_dtype_is_float(b->dtype) || !covers(out, a) || !covers(out, b) || !out->n) return;
    do {
        int64_t i = broadcast_index(a, &out->shape, at), j = broadcast_index(b, &out->shape, at);
        om_num v = {.i = 0};
        bool sure = real
                        ? binary_float(c->variant, c_mod, a->v[i].f, b->v[j].f, &v)
                        : binary_int(c->variant, c_mod, a->dtype == OM_DTYPE_U64, a->v[i].i, b->v[j].i, &v.i);
        out->known[k] = sure && a->known[i] && b->known[j];
        out->v[k++] = om_num_fit(out->dtype, v);
    } while (om_next_index(&out->shape, at));
}

/* What the processor ends the asking process for: an engine that folds it would go down with it. */
static bool traps(int op, bool c_mod, int64_t least, int64_t a, int64_t b)
{
    return (op == OM_B_DIV || c_mod) && ((a == least && b == -1) || (c_mod && b == 0));
}

static int check_quotients(const om_call *c, const om_part *a, const om_part *b, const om_part *out)
{
    int64_t at[OM_MAX_RANK] = {0}, least = a->dtype == OM_DTYPE_I64 ? INT64_MIN : INT32_MIN;
    bool c_mod = c->variant == OM_B_MOD && om_node_attr_int(c->n, "fmod", 0);
    bool wide = a->dtype == OM_DTYPE_I64 || a->dtype == OM_DTYPE_I32;
    if (!wide || !covers(out, a) || !covers(out, b) || !out->n) return OM_OK;
    do {
        int64_t i = broadcast_index(a, &out->shape, at), j = broadcast_index(b, &out->shape, at);
        if (a->known[i] && b->known[j] && traps(c->variant, c_mod, least, a->v[i].i, b->v[j].i))
            return om_call_bad(c, "%" PRId64 " %s %" PRId64 " has no result of type %s", a->v[i].i,
                               c_mod ? "mod" : "/", b->v[j].i, om_dtype_name(a->dtype));
    } while (om_next_index(&out->shape, at));
    return OM_OK;
}

int om_eval_binary(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !in[1] || !out[0]) return OM_OK;
    int err = check_quotients(c, in[0], in[1], out[0]);
    if (!err) combine(c, in[0], in[1], out[0]);
    return err;
}

/* Min, Max, Sum of many: one after the other. */
int om_eval_variadic(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !out[0]) return OM_OK;
    for (int i = 0; i < c->n->n_inputs; i++)
        if (!in[i] || in[i]->dtype != out[0]->dtype || !covers(out[0], in[i])) return OM_OK;
    om_part *next, *sum;
    int err = om_part_create(out[0]->dtype, &out[0]->shape, &sum);
    if (err < 0) return err;
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    if (sum->n) do
            om_part_take(sum, k++, in[0], broadcast_index(in[0], &sum->shape, at));
        while (om_next_index(&sum->shape, at));
    for (int i = 1; i < c->n->n_inputs && err >= 0; i++) {
        err = om_part_create(out[0]->dtype, &out[0]->shape, &next);
        if (err < 0) break;
        combine(c, sum, in[i], next);
        om_part_destroy(sum);
        sum = next;
    }
    for (int64_t i = 0; i < sum->n && err >= 0; i++) om_part_take(out[0], i, sum, i);
    om_part_destroy(sum);
    return err;
}

int om_eval_where(const om_call *c, const om_part *const *in, om_part **out)
{
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    if (!in[0] || !in[1] || !in[2] || !out[0] || !out[0]->n) return OM_OK;
    for (int i = 0; i < 3; i++)
        if (!covers(out[0], in[i])) return OM_OK;
    do {
        int64_t i = broadcast_index(in[0], &out[0]->shape, at);
        const om_part *from = in[0]->v[i].i ? in[1] : in[2];
        if (in[0]->known[i]) om_part_take(out[0], k, from, broadcast_index(from, &out[0]->shape, at));
        k++;
    } while (om_next_index(&out[0]->shape, at));
    return OM_OK;
}

static om_num accumulate(const om_call *c, bool real, om_num sum, om_num v)
{
    static const int ops[] = {[OM_R_SUM] = OM_B_ADD,
                              [OM_R_MEAN] = OM_B_ADD,
                              [OM_R_MIN] = OM_B_MIN,
                              [OM_R_MAX] = OM_B_MAX,
                              [OM_R_PROD] = OM_B_MUL};
    om_num r = {.i = 0};
    if (real) binary_float(ops[c->variant], false, sum.f, v.f, &r);
    else binary_int(ops[c->variant], false, false, sum.i, v.i, &r.i);
    return r;
}

/* Whether axis `i` of the input is reduced, from the attribute or the input; false in *ok where that is not
 * known. */
static void reduced_axes(const om_call *c, int rank, bool *gone, bool *ok)
{
    int64_t axes[OM_MAX_RANK];
    int n = om_call_attr_or_input(c, "axes", 1, axes, OM_MAX_RANK);
    *ok = n != -1 && !(n <= 0 && om_node_attr_int(c->n, "noop_with_empty_axes", 0));
    for (int i = 0; i < rank; i++) gone[i] = n <= 0;
    for (int i = 0; i < n && *ok; i++) {
        *ok = axes[i] != OM_CALL_UNKNOWN && axes[i] >= -rank && axes[i] < rank;
        if (*ok) gone[axes[i] < 0 ? axes[i] + rank : axes[i]] = true;
    }
}

int om_eval_reduce(const om_call *c, const om_part *const *in, om_part **out)
{
    const om_part *x = in[0];
    bool gone[OM_MAX_RANK], ok, keep = om_node_attr_int(c->n, "keepdims", 1) != 0;
    if (c->variant == OM_R_NONE || !x || !out[0] || !x->n || !out[0]->n) return OM_OK;
    reduced_axes(c, x->shape.rank, gone, &ok);
    if (!ok || x->n % out[0]->n) return OM_OK;
    bool real = om_dtype_is_float(x->dtype);
    int64_t at[OM_MAX_RANK] = {0}, k = 0, each = x->n / out[0]->n;
    bool *begun = out[0]->known; /* becomes "all known" below */
    do {
        int64_t to[OM_MAX_RANK], n = 0, j;
        for (int i = 0; i < x->shape.rank; i++)
            if (!gone[i]) to[n++] = at[i];
            else if (keep) to[n++] = 0;
        j = om_flat_index(&out[0]->shape, to);
        if (n != out[0]->shape.rank || j >= out[0]->n || !x->known[k]) {
            memset(out[0]->known, 0, (size_t)out[0]->n);
            return OM_OK;
        }
        out[0]->v[j] = begun[j] ? accumulate(c, real, out[0]->v[j], x->v[k]) : x->v[k];
        begun[j] = true;
        k++;
    } while (om_next_index(&x->shape, at));
    for (int64_t j = 0; j < out[0]->n; j++) {
        if (c->variant == OM_R_MEAN && real) out[0]->v[j].f /= (double)each;
        else if (c->variant == OM_R_MEAN) out[0]->v[j].i /= each;
        out[0]->v[j] = om_num_fit(out[0]->dtype, out[0]->v[j]);
    }
    return OM_OK;
}
