/* Inside the room: line plots as <figure>s, for <div class="bars">. */
#ifndef OM_BENCH_PLOT_H
#define OM_BENCH_PLOT_H

#include "base/str.h"

#define OM_PLOT_SERIES 4

typedef struct om_series {
    const char *label;
    const double *y; /* as many as x; NAN: a gap */
} om_series;

typedef struct om_plot {
    const char *title, *unit, *x_label;
    const double *x; /* rising */
    size_t n;
    om_series series[OM_PLOT_SERIES];
    int n_series;
    double limit; /* a dashed line; 0 or NAN: none */
    bool dots;    /* each value is a point that tells itself */
} om_plot;

/* Nothing where no value is known. */
void om_plot_add(const om_plot *p, om_str *out);

typedef struct om_bar {
    const char *label;
    double value; /* NAN: left out */
} om_bar;
/* Horizontal bars, each with its figure behind it. */
void om_bars_add(const char *title, const char *unit, const om_bar *bars, int n, om_str *out);

#endif
