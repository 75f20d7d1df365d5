/* Whether figures rise: the median of the slopes between all pairs of samples (Theil-Sen), which single
 * leaps do not move, and how unlike chance their order is (Mann-Kendall, ties counted). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/trial.h"

#define LEAST 8     /* samples: below, the normal approximation means nothing */
#define CHANCE 2.58 /* one in a hundred by chance, both directions counted */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double om_median(double *values, size_t n)
{
    if (!n) return NAN;
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The variance of S, with groups of equal values; `sorted` rises. */
static double variance(const double *sorted, size_t n)
{
    double m = (double)n, v = m * (m - 1) * (2 * m + 5);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && sorted[k] == sorted[i]) k++;
        double t = (double)(k - i);
        v -= t * (t - 1) * (2 * t + 5);
        i = k;
    }
    return v / 18;
}

static double kendall_z(double s, double v)
{
    if (v <= 0 || s == 0) return 0;
    return (s > 0 ? s - 1 : s + 1) / sqrt(v);
}

/* x, y: m pairs without gaps; y is sorted afterwards. slopes: room for m * (m - 1) / 2. */
static void fit(double *x, double *y, size_t m, double *slopes, om_trend *out)
{
    double s = 0;
    size_t n = 0;
    for (size_t i = 0; i < m; i++) {
        for (size_t k = i + 1; k < m; k++) {
            s += (y[k] > y[i]) - (y[k] < y[i]);
            if (x[k] > x[i]) slopes[n++] = (y[k] - y[i]) / (x[k] - x[i]);
        }
    }
    out->first = y[0];
    out->slope = om_median(slopes, n);
    out->rise = out->slope * (x[m - 1] - x[0]);
    out->median = om_median(y, m); /* sorts */
    out->z = kendall_z(s, variance(y, m));
}

int om_trend_fit(const double *x, const double *y, size_t n, om_trend *out)
{
    *out = (om_trend){.first = NAN, .median = NAN, .slope = NAN, .rise = NAN, .z = NAN};
    size_t m = 0, pairs = n * (n > 0 ? n - 1 : 0) / 2;
    double *work = om_alloc((2 * n + pairs + 1) * sizeof *work);
    if (!work) return OM_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (isnan(y[i])) continue;
        work[m] = x[i];
        work[n + m++] = y[i];
    }
    if (m >= LEAST) fit(work, work + n, m, work + 2 * n, out);
    om_free(work);
    return OM_OK;
}

void om_trend_allow(om_trend *t, double allowed)
{
    t->allowed = allowed;
    t->rising = t->rise > allowed && t->z > CHANCE;
}
