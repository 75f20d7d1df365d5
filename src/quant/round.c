/* Weights rounded one after the other: each takes up what the errors of those before it do to the output, by
 * how the numbers that they are multiplied with go together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "omma/error.h"
#include "quant/gram.h"

#define DAMPING 0.01 /* of the mean power, so that few pictures are not believed too much */
#define FEW 64       /* numbers in a window, for which more scales are tried */
#define WIDEST 2     /* times the grid that the largest weight asks for */
#define PAIR 128     /* times 255 is the most that 16 bits hold */

/* The power of an output's error, sum of d[i] * (e[i] + sum of a[i][j < i] * e[j])^2. */
typedef struct factors {
    int64_t k;
    double *a, *d; /* [k][k], [k] */
    int64_t *order;
    double *w, *e; /* weights of one output channel in this order, and their errors */
    int8_t *q, *best;
    int16_t
        *placed; /* as they lie, one more at either end; 0: not rounded yet. NULL: neighbours may be large */
} factors;

static int factors_init(factors *f, int64_t k, bool pairs)
{
    size_t n = (size_t)k;
    *f = (factors){.k = k,
                   .a = om_alloc(n * n * sizeof *f->a),
                   .d = om_alloc(n * sizeof *f->d),
                   .order = om_alloc(n * sizeof *f->order),
                   .w = om_alloc(n * sizeof *f->w),
                   .e = om_alloc(n * sizeof *f->e),
                   .q = om_alloc(n),
                   .best = om_alloc(n),
                   .placed = pairs ? om_alloc((n + 2) * sizeof *f->placed) : NULL};
    bool all = f->a && f->d && f->order && f->w && f->e && f->q && f->best;
    return all && (f->placed || !pairs) ? OM_OK : OM_ERR_NOMEM;
}

static void factors_fini(factors *f)
{
    void *owned[] = {f->a, f->d, f->order, f->w, f->e, f->q, f->best, f->placed};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
}

static double moment(const om_gram *m, int64_t group, int64_t i, int64_t j, bool centered)
{
    const double *xx = m->xx + group * m->k * m->k, *sum = m->sum + group * m->k;
    double n = (double)m->n, v = (i > j ? xx[i * m->k + j] : xx[j * m->k + i]) / n;
    return centered ? v - sum[i] / n * (sum[j] / n) : v;
}

/* Those that matter most are rounded first, while many can still make up for them. */
static void sort_order(factors *f, const double *power)
{
    for (int64_t i = 0; i < f->k; i++) {
        int64_t at = i;
        for (; at > 0 && power[i] > power[f->order[at - 1]]; at--) f->order[at] = f->order[at - 1];
        f->order[at] = i;
    }
}

/* False: nothing was seen in this group. */
static bool factorise(factors *f, const om_gram *m, int64_t group, bool centered)
{
    double mean = 0;
    int64_t k = f->k;
    for (int64_t i = 0; i < k; i++) mean += (f->d[i] = fmax(moment(m, group, i, i, centered), 0)) / (double)k;
    if (!(mean > 1e-30)) return false;
    sort_order(f, f->d);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j <= i; j++)
            f->a[i * k + j] =
                moment(m, group, f->order[i], f->order[j], centered) + (i == j ? DAMPING * mean : 0);
    for (int64_t p = k; p-- > 0;) {
        double *row = f->a + p * k, d = f->d[p] = fmax(row[p], 1e-12 * mean);
        for (int64_t i = 0; i < p; i++) {
            double by = row[i] / d, *to = f->a + i * k;
            for (int64_t j = 0; j <= i && by != 0; j++) to[j] -= by * row[j];
        }
        for (int64_t i = 0; i < p; i++) row[i] /= d;
    }
    return true;
}

/* Neighbours of one sign, of which a processor without VNNI adds the products in 16 bits, leave so much. */
static double within_pairs(const factors *f, int64_t at, double v)
{
    for (int64_t k = at; k <= at + 2; k += 2) {
        v = fmin(v, PAIR - fmax(f->placed[k], 0));
        v = fmax(v, -PAIR - fmin(f->placed[k], 0));
    }
    return v;
}

/* On the grid of `scale`, up to `most`; 0: all errors are the weights themselves. The power of the error. */
static double round_row(factors *f, double scale, int most)
{
    double power = 0;
    if (f->placed) memset(f->placed, 0, (size_t)(f->k + 2) * sizeof *f->placed);
    for (int64_t i = 0; i < f->k; i++) {
        const double *a = f->a + i * f->k;
        double t = f->w[i], v = 0;
        for (int64_t j = 0; j < i; j++) t += a[j] * f->e[j];
        if (most) v = fmin(fmax(nearbyint(t / scale), -most), most);
        if (most && f->placed) f->placed[f->order[i] + 1] = (int16_t)(v = within_pairs(f, f->order[i], v));
        f->q[i] = (int8_t)v;
        f->e[i] = f->w[i] - v * scale;
        power += f->d[i] * (t - v * scale) * (t - v * scale);
    }
    return power;
}

/* The largest weights are clipped a little where that does less harm than it helps the others. Where
 * neighbours must not be large, a wider grid may do less harm. */
static double choose(factors *f, double largest, int most, float *scale)
{
    double least = INFINITY, step = f->k <= FEW ? 0.04 : 0.08;
    for (double part = f->placed ? WIDEST : 1; part > 0.7; part -= part > 1 ? 2 * step : step) {
        double s = (double)(float)(largest * part / most), power = round_row(f, s, most);
        if (power >= least) continue;
        least = power;
        *scale = (float)s;
        memcpy(f->best, f->q, (size_t)f->k);
    }
    return least;
}

static void round_channel(factors *f, om_gram *m, const om_weight_form *form, const float *w, int64_t c,
                          int most)
{
    double largest = 0;
    int64_t i = 0;
    int8_t *q = m->q + c * f->k;
    for (; i < f->k; i++) {
        int64_t k = f->order[i], at = (k / form->inner * form->n + c) * form->inner + k % form->inner;
        f->w[i] = (double)w[at];
        largest = fmax(largest, fabs(f->w[i]));
    }
    m->scale[c] = 0;
    if (!isnormal((float)(largest / most))) return;
    m->signal += round_row(f, 1, 0);
    m->noise += choose(f, largest, most, &m->scale[c]);
    for (i = 0; i < f->k; i++) q[f->order[i]] = f->best[i];
}

int om_gram_round(om_gram *m, const om_weight_form *form, const float *w, int most, bool centered, bool pairs)
{
    factors f;
    if (m->rounded == m->n) return OM_OK;
    int err = factors_init(&f, m->k, pairs);
    int64_t each = form->n / m->groups;
    m->noise = m->signal = 0;
    for (int64_t g = 0; g < m->groups && !err; g++) {
        bool seen = factorise(&f, m, g, centered);
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
            m->scale[c] = 0;
            if (seen) round_channel(&f, m, form, w, c, most);
        }
    }
    factors_fini(&f);
    if (!err) m->rounded = m->n;
    return err;
}
