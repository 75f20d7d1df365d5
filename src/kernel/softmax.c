/* Likelihoods of scores, and the best few. */
#include <math.h>
#include <string.h>

#include "kernel/variant.h"
#include "kernel/vec.h"

#define LANES 16 /* sums of their own, so that every variant adds in one order */

/* e^x for x <= 0 within 2 units of the last place; 0 below -87 and for what is no number. The shape of
 * Cephes' expf: 2^k times a polynomial of what is left. */
static inline float exp_below_zero(float x)
{
    float in = x >= -87.0f ? x : -87.0f;
    float k = in * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    int32_t bits;
    memcpy(&bits, &k, sizeof bits);
    k -= 12582912.0f;
    float r = in - k * 0.693359375f - k * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t scale = (uint32_t)(bits - 0x4b400000 + 127) << 23;
    float two_k;
    memcpy(&two_k, &scale, sizeof two_k);
    float y = p * two_k;
    return x >= -87.0f ? y : 0;
}

/* Where every number is finite this is the largest of them. */
static float largest_finite(const float *v, size_t n)
{
    float top[LANES], most = -INFINITY;
    for (int k = 0; k < LANES; k++) top[k] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float x = v[i + k] < INFINITY ? v[i + k] : -INFINITY;
            top[k] = x > top[k] ? x : top[k];
        }
    for (; i < n; i++) top[0] = v[i] < INFINITY && v[i] > top[0] ? v[i] : top[0];
    for (int k = 0; k < LANES; k++) most = top[k] > most ? top[k] : most;
    return most;
}

float OM_VARIANT(om_softmax)(const float *v, size_t n, float *out)
{
    float sum[LANES] = {0}, most = largest_finite(v, n);
    double total = 0;
    size_t i = 0;
    if (!(most > -INFINITY)) {
        memset(out, 0, n * sizeof *out);
        return 0;
    }
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float e = exp_below_zero(v[i + k] < INFINITY ? v[i + k] - most : -INFINITY);
            out[i + k] = e;
            sum[k] += e;
        }
    for (; i < n; i++) {
        out[i] = exp_below_zero(v[i] < INFINITY ? v[i] - most : -INFINITY);
        sum[0] += out[i];
    }
    for (int k = 0; k < LANES; k++) total += (double)sum[k];
    float part = (float)(1 / total);
    for (i = 0; i < n; i++) out[i] *= part;
    return part;
}

/* Puts v[i] among the best so far, behind equal ones, which came earlier. */
static size_t insert(const float *v, uint32_t i, size_t n, size_t most, uint32_t *index)
{
    size_t at = n < most ? n : most - 1;
    for (; at > 0 && v[index[at - 1]] < v[i]; at--) index[at] = index[at - 1];
    index[at] = i;
    return n < most ? n + 1 : n;
}

size_t OM_VARIANT(om_top_k)(const float *v, size_t n, float least, size_t most, uint32_t *index)
{
    size_t found = 0, i = 0;
    if (most == 0) return 0;
    for (; i < n; i += OM_LANES) {
        float bar = found == most ? v[index[most - 1]] : least;
        if (i + OM_LANES <= n && !om_vec_greater(om_vec_load(v + i), om_vec_set(bar))) continue;
        for (size_t k = i; k < n && k < i + OM_LANES; k++) {
            bar = found == most ? v[index[most - 1]] : least;
            if (v[k] > bar && v[k] < INFINITY) found = insert(v, (uint32_t)k, found, most, index);
        }
    }
    return found;
}
