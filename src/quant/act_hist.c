#include "quant/act_hist.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "omma/error.h"

#define LANES 8
#define HALF (OM_ACT_BINS / 2)

static bool ends(const float *v, size_t n, float *lo, float *hi)
{
    float least[LANES], most[LANES];
    int odd[LANES] = {0};
    size_t i = 0;
    for (int k = 0; k < LANES; k++) least[k] = FLT_MAX, most[k] = -FLT_MAX;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float x = v[i + (size_t)k];
            least[k] = x < least[k] ? x : least[k];
            most[k] = x > most[k] ? x : most[k];
            odd[k] |= !(fabsf(x) <= FLT_MAX);
        }
    for (; i < n; i++) {
        least[0] = v[i] < least[0] ? v[i] : least[0];
        most[0] = v[i] > most[0] ? v[i] : most[0];
        odd[0] |= !(fabsf(v[i]) <= FLT_MAX);
    }
    *lo = least[0];
    *hi = most[0];
    for (int k = 0; k < LANES; k++) {
        *lo = fminf(*lo, least[k]);
        *hi = fmaxf(*hi, most[k]);
        odd[0] |= odd[k];
    }
    return !odd[0];
}

/* Twice as wide: neighbours join, and the whole moves to the middle. */
static void widen(om_act_hist *h)
{
    uint64_t joined[HALF];
    double mass[HALF];
    for (int i = 0; i < HALF; i++) {
        joined[i] = h->bin[2 * i] + h->bin[2 * i + 1];
        mass[i] = h->mass[2 * i] + h->mass[2 * i + 1];
    }
    memset(h->bin, 0, sizeof h->bin);
    memset(h->mass, 0, sizeof h->mass);
    memcpy(h->bin + HALF / 2, joined, sizeof joined);
    memcpy(h->mass + HALF / 2, mass, sizeof mass);
    h->width *= 2;
}

static void reach(om_act_hist *h, double most)
{
    if (most <= 0) return;
    if (h->width <= 0) h->width = most * 1.01 / HALF;
    while (most >= h->width * (HALF - 1)) widen(h);
}

int om_act_hist_add(om_act_hist *h, const float *v, size_t n, const om_act_matter *m)
{
    float lo, hi;
    if (!n) return OM_OK;
    if (!ends(v, n, &lo, &hi)) return OM_ERR_FORMAT;
    h->lo = h->tensors ? fmin(h->lo, (double)lo) : (double)lo;
    h->hi = h->tensors ? fmax(h->hi, (double)hi) : (double)hi;
    reach(h, fmax(-(double)lo, (double)hi));
    size_t step = n / OM_ACT_SAMPLES + 1;
    if (step > 1) step |= 1; /* rows have even lengths: an odd step does not fall into their columns */
    double per = h->width > 0 ? 1 / h->width : 0;
    for (size_t i = (size_t)(h->tensors % step); i < n; i += step) {
        h->samples++;
        if (v[i] == 0) {
            h->zeros++;
            continue;
        }
        int at = (int)floor((double)v[i] * per) + HALF;
        h->bin[at]++;
        h->mass[at] += m ? (double)m->of[i / m->inner % m->n] : 1;
    }
    h->tensors++;
    return OM_OK;
}
