/* The words and tables of `omma bench`. */
#ifndef OM_CLI_BENCH_PRINT_H
#define OM_CLI_BENCH_PRINT_H

#include "bench/bench.h"

/* Appends everything that was measured and, last, the acceptance table; at most `width` wide (0: as wide as
 * it is). OM_ERR_NOMEM. */
int om_bench_print(const om_bench_options *o, const om_bench_result *r, int width, om_str *out);

#endif
