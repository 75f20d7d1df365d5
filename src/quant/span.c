#include "quant/span.h"

#include <math.h>

#define HALF (OM_ACT_BINS / 2)
#define JITTER 0.2 /* of a divergence, see choose_entropy() */
#define STEPS 100  /* candidates between a hundredth of the range and all of it */

static om_span with_zero(om_span r) { return (om_span){fmin(r.lo, 0), fmax(r.hi, 0)}; }

static om_span clip(const om_act_hist *h, double t) { return (om_span){fmax(h->lo, -t), fmin(h->hi, t)}; }

om_grid om_grid_make(om_span r, bool symmetric)
{
    r = with_zero(r);
    if (!(r.hi > r.lo)) return (om_grid){0};
    if (symmetric)
        return (om_grid){.scale = (float)(fmax(-r.lo, r.hi) / 127), .zero = 0, .least = -128, .most = 127};
    double scale = (r.hi - r.lo) / 255;
    return (om_grid){.scale = (float)scale, .zero = (int)lround(-r.lo / scale), .least = 0, .most = 255};
}

static double on_grid(const om_grid *g, double x)
{
    double q = nearbyint(x / (double)g->scale) + g->zero;
    q = fmin(fmax(q, g->least), g->most);
    return (q - g->zero) * (double)g->scale;
}

void om_grid_error(const om_act_hist *h, const om_grid *g, double *noise, double *signal)
{
    double step = (double)g->scale, low = (g->least - g->zero) * step, high = (g->most - g->zero) * step;
    bool fine = h->width * 4 <= step; /* a bin tells where between two levels its numbers lie */
    *noise = *signal = 0;
    for (int i = 0; i < OM_ACT_BINS; i++) {
        if (!h->bin[i]) continue;
        double x = om_act_hist_center(h, i), d = x - on_grid(g, x), n = h->mass[i];
        *noise += n * (fine || x < low || x > high ? d * d : step * step / 12);
        *signal += n * x * x;
    }
    if (h->samples) *noise /= (double)h->samples, *signal /= (double)h->samples;
}

static double noise_of(const om_act_hist *h, om_span r, bool symmetric)
{
    om_grid g = om_grid_make(r, symmetric);
    double noise, signal;
    if (!(g.scale > 0)) return INFINITY;
    om_grid_error(h, &g, &noise, &signal);
    return noise;
}

/* The ends together first, then each alone. */
static om_span choose_mse(const om_act_hist *h, bool symmetric)
{
    double most = fmax(-h->lo, h->hi), least = INFINITY;
    om_span best = {h->lo, h->hi};
    for (int i = STEPS; i > STEPS / 10; i--) {
        om_span r = clip(h, most * i / STEPS);
        double noise = noise_of(h, r, symmetric);
        if (noise < least) least = noise, best = r;
    }
    if (symmetric) return best;
    om_span from = best;
    for (int end = 0; end < 2; end++)
        for (int i = STEPS; i > STEPS / 10; i--) {
            om_span r = best;
            if (end) r.lo = from.lo * i / STEPS;
            else r.hi = from.hi * i / STEPS;
            double noise = noise_of(h, r, symmetric);
            if (noise < least) least = noise, best = r;
        }
    return best;
}

/* Half of what may be cut is cut at each end that has any. */
static om_span choose_percentile(const om_act_hist *h, double percent)
{
    double cut = (double)h->samples * (1 - percent / 100);
    bool both = h->lo < 0 && h->hi > 0;
    om_span r = {h->lo, h->hi};
    double gone = 0, may = both ? cut / 2 : cut;
    for (int i = 0; i < HALF && h->lo < 0; i++) {
        gone += (double)h->bin[i];
        if (gone <= may) continue;
        r.lo = fmax(h->lo, (i - HALF) * h->width);
        break;
    }
    gone = 0;
    for (int i = OM_ACT_BINS - 1; i >= HALF && h->hi > 0; i--) {
        gone += (double)h->bin[i];
        if (gone <= may) continue;
        r.hi = fmin(h->hi, (i + 1 - HALF) * h->width);
        break;
    }
    return r;
}

static int bin_of(const om_act_hist *h, double x)
{
    int i = (int)floor(x / h->width) + HALF;
    return i < 0 ? 0 : i >= OM_ACT_BINS ? OM_ACT_BINS - 1 : i;
}

/* How much is lost by telling the numbers within the range, with those beyond it at its ends, by levels of
 * the grid. */
static double divergence(const om_act_hist *h, om_span r, const om_grid *g)
{
    int first = bin_of(h, r.lo), last = bin_of(h, r.hi);
    double all = (double)(h->samples - h->zeros), inside = 0, below = 0, above = 0, sum = 0;
    for (int i = 0; i < OM_ACT_BINS; i++) {
        double n = (double)h->bin[i];
        if (i < first) below += n;
        else if (i > last) above += n;
        else inside += n;
    }
    if (all <= 0 || inside <= 0) return INFINITY;
    for (int i = first; i <= last;) {
        long level = lround(om_act_hist_center(h, i) / (double)g->scale);
        int end = i, filled = 0;
        double n = 0;
        for (; end <= last && lround(om_act_hist_center(h, end) / (double)g->scale) == level; end++) {
            n += (double)h->bin[end];
            filled += h->bin[end] > 0;
        }
        for (; i < end; i++) {
            double p = ((double)h->bin[i] + (i == first ? below : 0) + (i == last ? above : 0)) / all;
            double q = h->bin[i] ? n / filled / inside : 0;
            if (p > 0) sum += p * log(p / fmax(q, 1e-9));
        }
    }
    return sum;
}

/* The divergence of neighbouring candidates jumps by how bins fall into levels: of those that are as good as
 * the best but for that, the widest clips least. */
static om_span choose_entropy(const om_act_hist *h, bool symmetric)
{
    double most = fmax(-h->lo, h->hi), loss[STEPS + 1], least = INFINITY;
    for (int i = STEPS; i > STEPS / 10; i--) {
        om_span r = clip(h, most * i / STEPS);
        om_grid g = om_grid_make(r, symmetric);
        loss[i] = g.scale > 0 ? divergence(h, r, &g) : INFINITY;
        least = fmin(least, loss[i]);
    }
    for (int i = STEPS; i > STEPS / 10; i--)
        if (loss[i] <= least * (1 + JITTER) + JITTER / 1000) return clip(h, most * i / STEPS);
    return (om_span){h->lo, h->hi};
}

om_span om_span_choose(const om_act_hist *h, om_quant_method method, double percent, bool symmetric)
{
    om_span r = {h->lo, h->hi};
    if (h->width > 0 && h->samples > h->zeros) {
        if (method == OM_QUANT_PERCENTILE) r = choose_percentile(h, percent);
        else if (method == OM_QUANT_ENTROPY) r = choose_entropy(h, symmetric);
        else if (method == OM_QUANT_MSE) r = choose_mse(h, symmetric);
    }
    return with_zero(r);
}
