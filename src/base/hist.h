/* A histogram of durations with constant memory: logarithmic buckets, 1 us to 1 h, error under 2%.
 * Thread-safety: one writer at a time; readers copy under the owner's lock. */
#ifndef OM_BASE_HIST_H
#define OM_BASE_HIST_H

#include <stdint.h>

#define OM_HIST_BUCKETS 1280

typedef struct om_hist {
    uint64_t count;
    int64_t sum_ns, max_ns, min_ns;
    uint32_t bucket[OM_HIST_BUCKETS];
} om_hist;

void om_hist_add(om_hist *h, int64_t ns);
void om_hist_merge(om_hist *into, const om_hist *from);
/* What came to a histogram between two looks at it. */
void om_hist_since(const om_hist *now, const om_hist *then, om_hist *out);
/* q in [0,1]; 0 for an empty histogram. The answer never exceeds max_ns. */
int64_t om_hist_quantile(const om_hist *h, double q);
/* How many durations were shorter than `ns`, to the bucket. */
uint64_t om_hist_below(const om_hist *h, int64_t ns);
double om_hist_mean(const om_hist *h);

#endif
