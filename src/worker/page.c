#include "worker/page.h"

#include <math.h>

#define WIDTH 960.0
#define HEIGHT 280.0
#define LEFT 70.0
#define RIGHT 14.0
#define TOP 12.0
#define BOTTOM 44.0

static const char style[] =
    "<style>:root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--dim:#5c6878;--line:#dde3ea;--card:#f5f7fa;"
    "--c0:#3b7ddd;--c1:#e07b39;--c2:#3a9d6e;--c3:#a85cc4;--c4:#c9a227;--c5:#d1495b;--c6:#3aa6b9;--c7:#8a94a3}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181e;--fg:#e4e9f0;--dim:#9aa6b5;--line:#2c343f;--card:#1c222b}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:1240px;margin:0 auto;padding:24px 20px 60px}h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}"
    "h2{font-size:18px;margin:36px 0 10px}p{margin:6px 0}.dim{color:var(--dim)}"
    ".plot{overflow-x:auto}.plot svg{width:100%;min-width:640px;height:auto;display:block}"
    "svg text{font:11px system-ui,sans-serif;fill:var(--dim)}.grid{stroke:var(--line)}"
    ".l{fill:none;stroke-width:1.8}.d{stroke-dasharray:6 4;stroke-width:1.3}.b:hover{opacity:.7}"
    ".s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}"
    ".s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}"
    ".f0{fill:var(--c0);background:var(--c0)}.f1{fill:var(--c1);background:var(--c1)}.f2{fill:var(--c2);background:var(--c2)}"
    ".f3{fill:var(--c3);background:var(--c3)}.f4{fill:var(--c4);background:var(--c4)}.f5{fill:var(--c5);background:var(--c5)}"
    ".f6{fill:var(--c6);background:var(--c6)}.f7{fill:var(--c7);background:var(--c7)}"
    ".legend span{margin-right:14px;white-space:nowrap}.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px}"
    ".table{overflow-x:auto;border:1px solid var(--line);border-radius:6px}table{border-collapse:collapse;width:100%;font-size:13px}"
    "th,td{padding:4px 7px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}th{background:var(--card)}"
    "td:first-child,th:first-child{text-align:left;max-width:420px;overflow:hidden;text-overflow:ellipsis}"
    ".facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}.facts td:first-child{white-space:nowrap}"
    "tr.bad td{color:var(--c5)}</style>";

void om_page_begin(om_str *out, const char *title, const char *below)
{
    om_str_add(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                    "content=\"width=device-width,initial-scale=1\"><title>");
    om_html_text(out, title);
    om_str_add(out, "</title>");
    om_str_add(out, style);
    om_str_add(out, "</head><body><main><h1>");
    om_html_text(out, title);
    om_str_add(out, "</h1><p class=\"dim\">");
    om_html_text(out, below);
    om_str_add(out, "</p>");
}

void om_page_end(om_str *out) { om_str_add(out, "</main></body></html>\n"); }

void om_page_legend(om_str *out, const char *const *names, size_t n)
{
    om_str_add(out, "<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        if (!names[i]) continue;
        om_str_addf(out, "<span><i class=\"f%zu\"></i>", i % OM_PAGE_COLOURS);
        om_html_text(out, names[i]);
        om_str_add(out, "</span>");
    }
    om_str_add(out, "</p>");
}

/* 1, 2 or 5 times a power of ten, so that about `marks` fit into `range`. */
static double round_step(double range, int marks)
{
    double raw = range / marks, unit = pow(10, floor(log10(raw))), share = raw / unit;
    return unit * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static double place_x(const om_chart *c, double x)
{
    double share = c->log_x ? log(x / c->x0) / log(c->x1 / c->x0) : (x - c->x0) / (c->x1 - c->x0);
    return LEFT + (WIDTH - LEFT - RIGHT) * fmin(fmax(share, 0), 1);
}

static double place_y(const om_chart *c, double y)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fmin(fmax((y - c->y0) / (c->y1 - c->y0), 0), 1);
}

static void mark_x(om_chart *c, double x)
{
    double at = place_x(c, x);
    om_str_addf(c->out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", at, at, TOP,
                HEIGHT - BOTTOM);
    om_str_addf(c->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>", at,
                HEIGHT - BOTTOM + 15, x);
}

static void mark_axes(om_chart *c)
{
    double step = round_step(c->y1 - c->y0, 5);
    for (double y = c->y0; y <= c->y1 + step * 1e-6; y += step) {
        double at = place_y(c, y);
        om_str_addf(c->out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                    WIDTH - RIGHT, at, at);
        om_str_addf(c->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>", LEFT - 6, at + 4, y);
    }
    if (c->log_x) {
        static const int few[] = {1, 2, 5}, many[] = {1, 2, 3, 4, 5, 7};
        bool narrow = c->x1 < 20 * c->x0;
        for (double decade = pow(10, floor(log10(c->x0))); decade <= c->x1; decade *= 10)
            for (int i = 0; i < (narrow ? 6 : 3); i++) {
                double x = decade * (narrow ? many : few)[i];
                if (x >= c->x0 && x <= c->x1) mark_x(c, x);
            }
        return;
    }
    double wide = round_step(c->x1 - c->x0, 12);
    if (c->whole_x && wide < 1) wide = 1;
    for (double x = ceil(c->x0 / wide) * wide; x <= c->x1 + wide * 1e-6; x += wide) mark_x(c, x);
}

void om_chart_begin(om_chart *c)
{
    if (!(c->y1 > c->y0)) c->y1 = c->y0 + 1;
    if (!(c->x1 > c->x0)) c->x1 = c->log_x ? c->x0 * 10 : c->x0 + 1;
    double step = round_step(c->y1 - c->y0, 5);
    c->y1 = ceil(c->y1 / step - 1e-9) * step;
    om_str_addf(c->out, "<div class=\"plot\"><svg viewBox=\"0 0 %g %g\" role=\"img\">", WIDTH, HEIGHT);
    mark_axes(c);
    om_str_addf(c->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
                HEIGHT - 8);
    om_html_text(c->out, c->x_label);
    om_str_addf(c->out, "</text><text transform=\"rotate(-90)\" x=\"%.1f\" y=\"14\" text-anchor=\"middle\">",
                -(TOP + HEIGHT - BOTTOM) / 2);
    om_html_text(c->out, c->y_label);
    om_str_add(c->out, "</text>");
}

void om_chart_end(om_chart *c) { om_str_add(c->out, "</svg></div>"); }

static void add_tip(om_chart *c, const char *tip)
{
    if (!tip) return;
    om_str_add(c->out, "<title>");
    om_html_text(c->out, tip);
    om_str_add(c->out, "</title>");
}

void om_chart_line(om_chart *c, const double *x, const double *y, size_t n, int colour, bool dashed,
                   const char *tip)
{
    om_str_addf(c->out, "<polyline class=\"l s%d%s\" points=\"", colour % OM_PAGE_COLOURS,
                dashed ? " d" : "");
    for (size_t i = 0; i < n; i++) om_str_addf(c->out, "%.1f,%.1f ", place_x(c, x[i]), place_y(c, y[i]));
    om_str_add(c->out, "\">");
    add_tip(c, tip);
    om_str_add(c->out, "</polyline>");
}

void om_chart_bar(om_chart *c, double x0, double x1, double y0, double y1, int colour, const char *tip)
{
    double left = place_x(c, x0), right = place_x(c, x1), top = place_y(c, y1), bottom = place_y(c, y0);
    om_str_addf(c->out, "<rect class=\"b f%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">",
                colour % OM_PAGE_COLOURS, left, top, fmax(right - left, .5), fmax(bottom - top, 0));
    add_tip(c, tip);
    om_str_add(c->out, "</rect>");
}
