/* Self-contained HTML pages with drawings. */
#ifndef OM_WORKER_PAGE_H
#define OM_WORKER_PAGE_H

#include "base/html.h"

#define OM_PAGE_COLOURS 8

void om_page_begin(om_str *out, const char *title, const char *below);
void om_page_end(om_str *out);
/* A row of colours and what they mean; a NULL has none. */
void om_page_legend(om_str *out, const char *const *names, size_t n);

/* A drawing with two axes, in which lines and bars are put in the axes' own numbers. */
typedef struct om_chart {
    om_str *out;
    double x0, x1, y0, y1;
    bool log_x;
    const char *x_label, *y_label;
    bool whole_x; /* marks of the x axis at whole numbers only */
} om_chart;

void om_chart_begin(om_chart *c); /* widens y to a round number */
void om_chart_end(om_chart *c);
/* `tip` may be NULL; `colour` from 0, `dashed` a thin one. */
void om_chart_line(om_chart *c, const double *x, const double *y, size_t n, int colour, bool dashed,
                   const char *tip);
void om_chart_bar(om_chart *c, double x0, double x1, double y0, double y1, int colour, const char *tip);

#endif
