/* Precision over recall, read at 101 places: COCOeval.accumulate(). */
#include <float.h>

#include "eval/detection_priv.h"

#define RECALLS 101

/* Precision at the first place where recall reaches each of 0, 0.01 ... 1; zero where it never does. */
static double mean_precision(const double *recall, const double *precision, size_t n)
{
    double sum = 0;
    size_t at = 0;
    for (int r = 0; r < RECALLS && at < n; r++) {
        double wanted = r == RECALLS - 1 ? 1 : r * 0.01;
        while (at < n && recall[at] < wanted) at++;
        if (at < n) sum += precision[at];
    }
    return sum / RECALLS;
}

void om_eval_curve(const om_judged *boxes, size_t n, int area, int max_det, size_t objects, double *work,
                   double ap[OM_EVAL_THRESHOLDS], double recall[OM_EVAL_THRESHOLDS])
{
    double *at_recall = work, *precision = work + n;
    for (int t = 0; t < OM_EVAL_THRESHOLDS; t++) {
        double hits = 0, wrong = 0;
        size_t k = 0;
        for (size_t i = 0; i < n; i++) {
            const om_judged *b = &boxes[i];
            if (b->rank >= max_det || b->mute[area] >> t & 1) continue;
            if (b->hit[area] >> t & 1) hits++;
            else wrong++;
            at_recall[k] = hits / (double)objects;
            precision[k++] = hits / (wrong + hits + DBL_EPSILON);
        }
        recall[t] = hits / (double)objects;
        for (size_t i = k; i > 1; i--)
            if (precision[i - 1] > precision[i - 2]) precision[i - 2] = precision[i - 1];
        ap[t] = mean_precision(at_recall, precision, k);
    }
}
