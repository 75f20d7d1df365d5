/* What a span costs: while tracing is off, and while it is on. Prints JSON; bench/trace_cost.py puts it
 * beside a run. */
#include <stdio.h>

#include "base/clock.h"
#include "trace/trace.h"

#define ROUNDS 5

static double nanoseconds(long spans)
{
    double best = 1e30;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t begin = om_thread_cpu_ns();
        for (long i = 0; i < spans; i++) {
            om_trace_begin("span", i);
            om_trace_end("span");
        }
        double each = (double)(om_thread_cpu_ns() - begin) / (double)spans;
        if (each < best) best = each;
    }
    return best;
}

int main(void)
{
    double off = nanoseconds(20000000);
    if (om_trace_start(65536)) return 1;
    double on = nanoseconds(1000000);
    om_trace_fini();
    printf("{\"off_ns\": %.3f, \"on_ns\": %.2f}\n", off, on);
    return 0;
}
