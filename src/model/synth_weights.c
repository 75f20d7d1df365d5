/* The numbers in models with random weights. */
#include <math.h>
#include <string.h>

#include "model/synth.h"

#define BIT_RANGE 4.0f /* what the two channels of a bit are apart */
#define BIT_GAIN                                                                                             \
    20.0f /* deviation of the filters behind the bits: far beyond BIT_RANGE, so that they saturate */
#define BIT_POWER 0.95    /* mean square of a bit: not 1, for those that do not saturate (measured) */
#define PROJECT_GAIN 2.0f /* deviation of a projection of perfect bits */
#define DETAIL 0.5f       /* share of a tensor's variance that is left within a window of 3x3 (measured) */
#define SMALL 0.02f       /* deviation of weights that only keep a layer dense */

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

/* xoshiro256** */
static uint64_t next_random(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

void om_synth_seed(om_synth *b, uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        b->random[i] = z ^ (z >> 31);
    }
}

/* Twelve uniform numbers summed: integers, so that every machine draws the same. */
float om_synth_gauss(om_synth *b)
{
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t r = next_random(b->random);
        for (int k = 0; k < 4; k++, r >>= 16) sum += (int64_t)(r & 0xffff);
    }
    return (float)(sum - 6 * 65535) / 65536.0f;
}

static double activated(om_synth_act act, double x)
{
    switch (act) {
    case OM_SYNTH_SILU: return x / (1 + exp(-x));
    case OM_SYNTH_RELU: return fmax(x, 0);
    case OM_SYNTH_RELU6: return fmin(fmax(x, 0), 6);
    case OM_SYNTH_LEAKY: return x < 0 ? 0.1 * x : x;
    case OM_SYNTH_GELU: return 0.5 * x * (1 + erf(x / sqrt(2)));
    }
    return x;
}

void om_synth_act_stats(om_synth_act act, om_synth_tensor *t)
{
    double sum = 0, square = 0, weight = 0;
    for (int i = -60; i <= 60; i++) {
        double g = i / 10.0, p = exp(-g * g / 2), y = activated(act, t->mean + g * sqrt(t->var));
        weight += p;
        sum += p * y;
        square += p * y * y;
    }
    t->mean = (float)(sum / weight);
    t->var = (float)(square / weight - (sum / weight) * (sum / weight));
}

/* The largest of neighbours that are much alike. */
void om_synth_maxpool_stats(om_synth_tensor *t) { t->mean += 0.8f * sqrtf(t->var); }

int om_synth_filter(om_synth_tensor x, om_synth_conv c)
{
    return x.c / (c.groups ? c.groups : 1) * c.size * c.size;
}

void om_synth_draw(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias)
{
    int each = om_synth_filter(x, c), quiet = x.quiet * c.size * c.size;
    bool shared = each > c.size * c.size; /* a filter over several channels */
    float deviation = OM_SYNTH_SCALE / sqrtf((float)(each - quiet) * x.var);
    for (int o = 0; o < c.out; o++) {
        float *filter = w + (size_t)o * (size_t)each;
        double sum = 0;
        for (int i = 0; i < quiet; i++) filter[i] = OM_SYNTH_QUIET * deviation * om_synth_gauss(b);
        for (int i = quiet; i < each; i++) sum += filter[i] = deviation * om_synth_gauss(b);
        bias[o] = c.lift + 0.1f * OM_SYNTH_SCALE * om_synth_gauss(b);
        if (x.c <= 3 || !shared) { /* a picture's brightness is news: only its mean is taken off */
            bias[o] -= (float)sum * x.mean;
            continue;
        }
        /* What all channels share would add up, layer by layer, until pictures no longer differ: take it off.
         */
        for (int i = quiet; i < each; i++) filter[i] -= (float)(sum / (each - quiet));
    }
}

void om_synth_bits(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias)
{
    int window = c.size * c.size, each = x.c * window;
    float deviation = BIT_GAIN / sqrtf((float)each * x.var * DETAIL);
    for (int o = 0; o + 1 < c.out; o += 2) {
        float *filter = w + (size_t)o * (size_t)each;
        /* Flat pictures are to yield 0: each channel's window sums to nothing. Where the window is one cell
         * the layer before sees to that, and what all channels share is taken off. */
        int group = window > 1 ? window : each;
        for (int i = 0; i < each; i += group) {
            double sum = 0;
            for (int k = 0; k < group; k++) sum += filter[i + k] = deviation * om_synth_gauss(b);
            for (int k = 0; k < group; k++) filter[i + k] -= (float)(sum / group);
        }
        memcpy(filter + each, filter, (size_t)each * sizeof *filter);
        bias[o] = BIT_RANGE / 2;
        bias[o + 1] = -BIT_RANGE / 2;
    }
    if (c.out % 2) {
        memset(w + (size_t)(c.out - 1) * (size_t)each, 0, (size_t)each * sizeof *w);
        bias[c.out - 1] = 0;
    }
}

om_synth_tensor om_synth_bits_stats(om_synth_tensor t)
{
    t.mean = 0;
    t.var = BIT_GAIN * BIT_GAIN;
    om_synth_act_stats(OM_SYNTH_SILU, &t);
    return t;
}

void om_synth_project(om_synth *b, int n_bits, om_synth_tensor x, om_synth_conv c, float *w, float *bias)
{
    int window = c.size * c.size, each = x.c * window;
    float small = SMALL / sqrtf((float)each * x.var);
    for (int o = 0; o < c.out; o++) {
        float *filter = w + (size_t)o * (size_t)each;
        double sum = 0, square = 0;
        for (int i = 0; i < each; i++) {
            filter[i] = om_synth_gauss(b);
            if (i < 2 * n_bits * window && i / window % 2 == 0) square += filter[i] * filter[i];
        }
        float unit = PROJECT_GAIN / (float)sqrt(square); /* every projection has the same length */
        for (int i = 0; i < each; i++) {
            if (i >= 2 * n_bits * window) filter[i] *= small;
            else if (i / window % 2) filter[i] = -filter[i - window];
            else sum += filter[i] *= unit * 2 / BIT_RANGE;
        }
        bias[o] = (float)-sum * BIT_RANGE / 2; /* bits lie about 0 */
    }
}

om_synth_tensor om_synth_project_stats(om_synth_tensor t)
{
    t.mean = 0;
    t.var = (float)BIT_POWER * PROJECT_GAIN * PROJECT_GAIN;
    om_synth_act_stats(OM_SYNTH_SILU, &t);
    return t;
}

/* P(x > cosine) for x the cosine between a fixed and a random direction in so many dimensions. */
static double direction_tail(double cosine, int dims)
{
    const int steps = 20000;
    double above = 0, all = 0;
    for (int i = 0; i < steps; i++) {
        double x = -1 + (2.0 * i + 1) / steps, density = pow(1 - x * x, (dims - 3) / 2.0);
        all += density;
        if (x > cosine) above += density;
    }
    return above / all;
}

static double direction_quantile(double p, int dims)
{
    double low = -1, high = 1;
    for (int i = 0; i < 16; i++) {
        double middle = (low + high) / 2;
        if (direction_tail(middle, dims) > p) low = middle;
        else high = middle;
    }
    return (low + high) / 2;
}

float om_synth_quantile_bias(double probability, int units, int bits, double logit)
{
    double each = 1 - pow(1 - fmin(probability, 0.9), 1.0 / units);
    double x = PROJECT_GAIN * sqrt(BIT_POWER * bits) * direction_quantile(each, bits);
    return (float)(logit - OM_SYNTH_SLOPE * x / (1 + exp(-x)));
}
