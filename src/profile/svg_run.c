/* Drawings of a run: a frame's way, stages' histograms, batches over time. */
#include <math.h>
#include <string.h>

#include "profile/svg.h"

static const om_json_value *list(const om_json_value *o, const char *key)
{
    const om_json_value *v = o ? om_json_get(o, key) : NULL;
    return v && v->type == OM_JSON_ARR && v->n ? v : NULL;
}

#define ROW 26.0
#define LABEL 110.0
#define WIDE 960.0

/* Mean times one after the other, as a frame meets them. */
void om_svg_stages(const om_json_value *run, om_str *out)
{
    const om_json_value *stages = list(run, "stages");
    double all = 0, at = 0;
    for (size_t i = 0; stages && i < stages->n; i++)
        all += om_json_get_num(&stages->children[i], "mean_ms", 0);
    if (all <= 0) return;
    double scale = (WIDE - LABEL - 110) / all;
    om_str_addf(
        out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"A frame's way through the stages\">",
        WIDE, ROW * (double)stages->n + 8);
    for (size_t i = 0; i < stages->n; i++) {
        const om_json_value *s = &stages->children[i];
        double mean = om_json_get_num(s, "mean_ms", 0), y = ROW * (double)i + 4, w = fmax(mean * scale, 1);
        double x = LABEL + at * scale;
        om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">", LABEL - 10,
                    y + 15);
        om_html_text(out, om_json_get_string(s, "stage"));
        om_str_addf(
            out, "</text><rect class=\"t%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"><title>",
            i % 8, x, y, w, ROW - 6);
        om_html_text(out, om_json_get_string(s, "stage"));
        om_str_addf(out, ": mean %.3f ms, p50 %.3f, p99 %.3f, longest %.3f</title></rect>", mean,
                    om_json_get_num(s, "p50_ms", 0), om_json_get_num(s, "p99_ms", 0),
                    om_json_get_num(s, "max_ms", 0));
        om_str_addf(out, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\">%.2f ms</text>", x + w + 6, y + 15,
                    mean);
        at += mean;
    }
    om_str_add(out, "</svg>");
}

#define BARS_WIDTH 460.0
#define BARS_HEIGHT 130.0

static void histogram(const om_json_value *stage, size_t css, om_str *out)
{
    const om_json_value *h = list(stage, "histogram");
    double most = 0;
    for (size_t i = 0; h && i < h->n; i++)
        if (h->children[i].type == OM_JSON_ARR && h->children[i].n == 2)
            most = fmax(most, h->children[i].children[1].num);
    if (most <= 0) return;
    double step = (BARS_WIDTH - 20) / (double)h->n;
    om_str_add(out, "<figure><figcaption>");
    om_html_text(out, om_json_get_string(stage, "stage"));
    om_str_addf(out, " <small>p50 %.2f, p95 %.2f, p99 %.2f ms</small></figcaption>",
                om_json_get_num(stage, "p50_ms", 0), om_json_get_num(stage, "p95_ms", 0),
                om_json_get_num(stage, "p99_ms", 0));
    om_str_addf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">", BARS_WIDTH, BARS_HEIGHT + 20);
    for (size_t i = 0; i < h->n; i++) {
        const om_json_value *pair = &h->children[i];
        if (pair->type != OM_JSON_ARR || pair->n != 2) continue;
        double low = pair->children[0].num, n = pair->children[1].num, high = BARS_HEIGHT * n / most;
        om_str_addf(
            out,
            "<rect class=\"t%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>from %g ms: %.0f</title></rect>",
            css % 8, 10 + step * (double)i, BARS_HEIGHT - high, fmax(step - 1, .5), high, low, n);
        bool first = i == 0, last = i + 1 == h->n, middle = i == h->n / 2 && h->n > 4;
        if (first || last || middle)
            om_str_addf(out,
                        low < 1000
                            ? "<text class=\"axis\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.0f\">%.3g ms</text>"
                            : "<text class=\"axis\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.0f\">%.0f ms</text>",
                        first  ? "start"
                        : last ? "end"
                               : "middle",
                        first  ? 10
                        : last ? BARS_WIDTH - 10
                               : 10 + step * ((double)i + .5),
                        BARS_HEIGHT + 15, low);
    }
    om_str_add(out, "</svg></figure>");
}

void om_svg_histograms(const om_json_value *run, om_str *out)
{
    const om_json_value *stages = list(run, "stages");
    om_str_add(out, "<div class=\"bars\">");
    for (size_t i = 0; stages && i < stages->n; i++) histogram(&stages->children[i], i, out);
    om_str_add(out, "</div>");
}

static double largest(const om_json_value *l)
{
    double most = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->children[i].type == OM_JSON_NUM) most = fmax(most, l->children[i].num);
    return most;
}

static void line(const om_json_value *l, double step_s, const char *label, const char *css, double y0,
                 om_str *out)
{
    double most = largest(l), dx = (WIDE - LABEL - 20) / (double)(l->n > 1 ? l->n - 1 : 1);
    if (most <= 0) most = 1;
    om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.0f\">%s</text>", LABEL - 10,
                y0 + 34, label);
    om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.0f\">%.3g</text>", LABEL - 10,
                y0 + 14, most);
    om_str_addf(
        out,
        "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.0f\" y2=\"%.0f\"/><polyline class=\"line %s\" points=\"",
        LABEL, WIDE - 20, y0 + 60, y0 + 60, css);
    for (size_t i = 0; i < l->n; i++)
        om_str_addf(out, "%.1f,%.1f ", LABEL + dx * (double)i,
                    y0 + 60 - 54 * (l->children[i].type == OM_JSON_NUM ? l->children[i].num : 0) / most);
    om_str_addf(out, "\"><title>%s, %.3g s a step</title></polyline>", label, step_s);
}

void om_svg_timeline(const om_json_value *run, om_str *out)
{
    static const char *const rows[][3] = {{"fps", "frames/s", "l0"},
                                          {"batch", "batch", "l1"},
                                          {"ready", "waiting", "l2"},
                                          {"busy", "in flight", "l3"}};
    const om_json_value *t = om_json_get(run, "timeline");
    double y = 0, step = om_json_get_num(t, "step_ms", 0) / 1e3;
    if (!t || t->type != OM_JSON_OBJ || !list(t, "fps")) return;
    om_str_add(out, "<svg viewBox=\"0 0 960 300\" role=\"img\" aria-label=\"Over time\">");
    size_t n = list(t, "fps")->n;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const om_json_value *l = list(t, rows[i][0]);
        if (l) line(l, step, rows[i][1], rows[i][2], y, out);
        y += 68;
    }
    om_str_addf(
        out,
        "<text class=\"axis\" x=\"%.0f\" y=\"292\">0 s</text><text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"292\">%.1f s</text></svg>",
        LABEL, WIDE - 20, step * (double)n);
}
