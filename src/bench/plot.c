#include "bench/plot.h"

#include <math.h>

#include "base/html.h"

#define WIDTH 460.0
#define HEIGHT 240.0
#define LEFT 52.0
#define RIGHT 446.0
#define TOP 14.0
#define BOTTOM 200.0
#define FAR 10 /* a limit so many times above all values is told and not drawn */

/* Strokes and fills of the series, of one colour each. */
static const char *const strokes[OM_PLOT_SERIES] = {"l0", "l1", "l2", "l3"};
static const char *const fills[OM_PLOT_SERIES] = {"t0", "t1", "t3", "t2"};

typedef struct axes {
    double x0, x1, y1; /* y begins at 0 */
    double step_x, step_y;
} axes;

/* 1, 2 or 5 times a power of ten, so that `range` has about `wanted` steps. */
static double nice_step(double range, int wanted)
{
    double rough = range / wanted, power = pow(10, floor(log10(rough))), share = rough / power;
    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static double most(const om_plot *p)
{
    double v = -1;
    for (int s = 0; s < p->n_series; s++)
        for (size_t i = 0; i < p->n; i++)
            if (isfinite(p->series[s].y[i])) v = fmax(v, p->series[s].y[i]);
    return v;
}

static bool is_known(const om_plot *p, int s)
{
    for (size_t i = 0; i < p->n; i++)
        if (isfinite(p->series[s].y[i])) return true;
    return false;
}

static bool draws_limit(const om_plot *p) { return p->limit > 0 && p->limit <= FAR * fmax(most(p), 1e-9); }

static axes make_axes(const om_plot *p)
{
    double top = most(p);
    if (draws_limit(p)) top = fmax(top, p->limit);
    if (top <= 0) top = 1;
    axes a = {.x0 = p->x[0], .x1 = p->x[p->n - 1]};
    if (a.x1 <= a.x0) { /* one point stands in the middle */
        a.x0 -= fmax(1, fabs(a.x0) * .5);
        a.x1 += fmax(1, fabs(a.x1) * .5);
    }
    a.step_y = nice_step(top * 1.05, 4);
    a.y1 = ceil(top * 1.05 / a.step_y - 1e-9) * a.step_y;
    a.step_x = nice_step(a.x1 - a.x0, 5);
    return a;
}

static double at_x(const axes *a, double x) { return LEFT + (x - a->x0) / (a->x1 - a->x0) * (RIGHT - LEFT); }
static double at_y(const axes *a, double y) { return BOTTOM - y / a->y1 * (BOTTOM - TOP); }

static void grid(const om_plot *p, const axes *a, om_str *out)
{
    for (double y = 0; y <= a->y1 + a->step_y / 2; y += a->step_y)
        om_str_addf(out,
                    "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                    "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%.4g</text>",
                    LEFT, RIGHT, at_y(a, y), at_y(a, y), LEFT - 6, at_y(a, y) + 4, y);
    for (double x = ceil(a->x0 / a->step_x - 1e-9) * a->step_x; x <= a->x1 + a->step_x * 1e-6; x += a->step_x)
        om_str_addf(out, "<text class=\"axis\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.0f\">%.4g</text>",
                    at_x(a, x), BOTTOM + 16, fabs(x) < a->step_x * 1e-6 ? 0 : x);
    om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.0f\">", RIGHT, BOTTOM + 33);
    om_html_text(out, p->x_label);
    om_str_add(out, "</text>");
}

static void line(const om_plot *p, const axes *a, int s, om_str *out)
{
    const double *y = p->series[s].y;
    bool open = false;
    for (size_t i = 0; i < p->n; i++) {
        if (isfinite(y[i]) && !open) om_str_addf(out, "<polyline class=\"line %s\" points=\"", strokes[s]);
        if (isfinite(y[i])) om_str_addf(out, "%.1f,%.1f ", at_x(a, p->x[i]), at_y(a, y[i]));
        else if (open) om_str_add(out, "\"/>");
        open = isfinite(y[i]);
    }
    if (open) om_str_add(out, "\"/>");
}

static void dots(const om_plot *p, const axes *a, int s, om_str *out)
{
    for (size_t i = 0; i < p->n; i++) {
        double y = p->series[s].y[i];
        if (!isfinite(y)) continue;
        om_str_addf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"><title>%.6g %s: ", fills[s],
                    at_x(a, p->x[i]), at_y(a, y), p->x[i], p->x_label);
        om_html_text(out, p->series[s].label);
        om_str_addf(out, " %.4g %s</title></circle>", y, p->unit);
    }
}

static void limit(const om_plot *p, const axes *a, om_str *out)
{
    if (!draws_limit(p)) return;
    double y = at_y(a, p->limit);
    om_str_addf(out,
                "<line class=\"roof dash\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"axis\" x=\"%.0f\" y=\"%.1f\">limit %.4g</text>",
                LEFT, RIGHT, y, y, LEFT + 4, y < TOP + 12 ? y + 12 : y - 4, p->limit);
}

void om_plot_add(const om_plot *p, om_str *out)
{
    if (!p->n || most(p) < 0) return;
    axes a = make_axes(p);
    om_str_add(out, "<figure><figcaption>");
    om_html_text(out, p->title);
    om_str_addf(out, " <small>%s", p->unit);
    if (p->limit > 0 && !draws_limit(p)) om_str_addf(out, "; the limit of %.4g is far above", p->limit);
    om_str_addf(out, "</small></figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WIDTH,
                HEIGHT);
    om_html_text(out, p->title);
    om_str_add(out, "\">");
    grid(p, &a, out);
    limit(p, &a, out);
    for (int s = 0; s < p->n_series; s++) line(p, &a, s, out);
    for (int s = 0; s < p->n_series && p->dots; s++) dots(p, &a, s, out);
    om_str_add(out, "</svg>");
    if (p->n_series > 1) {
        om_str_add(out, "<p class=\"legend\">");
        for (int s = 0; s < p->n_series; s++) {
            if (!is_known(p, s)) continue;
            om_str_addf(out, "<span><i class=\"%s\"></i>", fills[s]);
            om_html_text(out, p->series[s].label);
            om_str_add(out, "</span>");
        }
        om_str_add(out, "</p>");
    }
    om_str_add(out, "</figure>");
}

#define BAR_ROW 30.0
#define BAR_LEFT 130.0
#define BAR_RIGHT 380.0

void om_bars_add(const char *title, const char *unit, const om_bar *bars, int n, om_str *out)
{
    double top = 0;
    int row = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(bars[i].value)) top = fmax(top, bars[i].value);
    if (top <= 0) return;
    om_str_add(out, "<figure><figcaption>");
    om_html_text(out, title);
    om_str_addf(out,
                " <small>%s</small></figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
                unit, WIDTH, BAR_ROW * n + 6);
    om_html_text(out, title);
    om_str_add(out, "\">");
    for (int i = 0; i < n; i++) {
        if (!isfinite(bars[i].value)) continue;
        double y = BAR_ROW * row++ + 4, w = fmax(1, (BAR_RIGHT - BAR_LEFT) * bars[i].value / top);
        om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">", BAR_LEFT - 8,
                    y + 16);
        om_html_text(out, bars[i].label);
        om_str_addf(out,
                    "</text><rect class=\"%s\" x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/>"
                    "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\">%.4g</text>",
                    fills[i % OM_PLOT_SERIES], BAR_LEFT, y, w, BAR_ROW - 8, BAR_LEFT + w + 6, y + 16,
                    bars[i].value);
    }
    om_str_add(out, "</svg></figure>");
}
