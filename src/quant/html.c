/* The report as a page: what was reached, what to try, layers, and each tensor's numbers with its range. */
#include <math.h>
#include <string.h>

#include "base/html.h"
#include "quant/quantizer.h"

#define PLOT_WIDTH 320.0
#define PLOT_HEIGHT 70.0
#define MOST_PLOTS 400

static void add_tiles(const om_quant_report *r, om_str *o)
{
    om_str_add(o, "<div class=\"tiles\">");
    om_html_tile(o, "layers int8", "%zu of %zu", om_quant_report_quantised(r), r->n_layers);
    if (!isnan(r->score)) om_html_tile(o, om_quant_metric_name(r->metric), "%.4f", r->score);
    if (r->floor > 0) om_html_tile(o, "floor", "%.4f", r->floor);
    if (!isnan(r->speed)) om_html_tile(o, "times float, by layers", "%.2f", r->speed);
    om_html_tile(o, "pictures calibrated with", "%zu", r->frames);
    om_html_tile(o, "pictures a second", "%.1f", r->seconds > 0 ? (double)r->frames / r->seconds : 0);
    om_html_tile(o, "bits of weights", "%d", r->weight_bits);
    om_str_add(o, "</div>");
}

static void add_verdict(const om_quant_report *r, om_str *o)
{
    if (r->floor <= 0 && r->speed_goal <= 0 && !r->n_advice) return;
    om_str_addf(o, "<div class=\"finding%s\"><h3>%s</h3>", r->missed ? "" : " ok",
                r->missed ? "What was asked for was missed" : "What was asked for is kept");
    om_str_addf(o, "<ul><li>%s %.4f on %zu pictures%s</li>", om_quant_metric_name(r->metric), r->score,
                r->judged, r->judged_apart ? "" : " of the calibration");
    if (!isnan(r->plain_score))
        om_str_addf(o, "<li>%.4f with all layers int8; %zu went back to float</li>", r->plain_score,
                    r->mixed);
    om_str_add(o, "</ul>");
    if (r->n_advice) om_str_add(o, "<p class=\"dim\">What to try, the most promising first:</p><ol>");
    for (size_t i = 0; i < r->n_advice; i++) {
        om_str_add(o, "<li>");
        om_html_text(o, r->advice[i].text);
        om_str_add(o, "</li>");
    }
    om_str_add(o, r->n_advice ? "</ol></div>" : "</div>");
}

static void add_outputs(const om_quant_report *r, om_str *o)
{
    om_str_add(
        o, "<h2>Outputs against the float model's</h2><div class=\"table\"><table class=\"left\"><thead><tr>"
           "<th>output</th><th>cosine</th><th>signal/noise dB</th></tr></thead><tbody>");
    for (size_t i = 0; i < r->n_outputs; i++) {
        om_str_add(o, "<tr><td>");
        om_html_text(o, r->outputs[i].name);
        if (!r->outputs[i].pictures)
            om_str_add(o, "</td><td colspan=\"2\">not compared: its shape depends on the picture</td></tr>");
        else om_str_addf(o, "</td><td>%.5f</td><td>%.1f</td></tr>", r->outputs[i].cosine, r->outputs[i].db);
    }
    om_str_add(o, "</tbody></table></div>");
}

/* Nothing where it was not measured. */
static void cell(om_str *o, double v, int decimals)
{
    if (isfinite(v)) om_html_cell_num(o, v, decimals);
    else om_str_add(o, "<td data-v=\"-1\"></td>");
}

static void add_layers(const om_quant_report *r, om_str *o)
{
    static const char *const heads[] = {"#",          "layer",    "operator",       "is",
                                        "weights dB", "input dB", "alone dB",       "alone metric",
                                        "float us",   "int8 us",  "why it is float"};
    om_str_add(
        o,
        "<h2>Layers</h2><p class=\"dim\">dB: signal to noise. Alone: of the outputs, where this layer alone is "
        "int8 (--mixed measures it).</p><div class=\"table\"><table class=\"sort\"><thead><tr>");
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) om_str_addf(o, "<th>%s</th>", heads[i]);
    om_str_add(o, "</tr></thead><tbody>");
    for (size_t i = 0; i < r->n_layers; i++) {
        const om_quant_layer *l = &r->layers[i];
        om_str_addf(o, "<tr><td>%zu</td>", i);
        om_html_cell_text(o, l->name);
        om_html_cell_text(o, l->op);
        om_html_cell_text(o, l->quantised ? "int8" : "float");
        cell(o, l->quantised ? l->weight_db : NAN, 1);
        cell(o, l->quantised ? r->acts[l->act].db : NAN, 1);
        cell(o, l->alone_db, 1);
        cell(o, l->alone_score, 4);
        cell(o, l->float_us, 1);
        cell(o, l->int8_us, 1);
        om_html_cell_text(o, l->quantised ? "" : l->why);
        om_str_add(o, "</tr>");
    }
    om_str_add(o, "</tbody></table></div>");
}

/* Bars by the logarithm of their share, so that the rare ends are seen; the range that was chosen between two
 * lines. */
static void add_plot(const om_quant_act *a, om_str *o)
{
    double extent = a->seen_hi - a->seen_lo, step = PLOT_WIDTH / OM_QUANT_BARS;
    om_str_add(o, "<figure><figcaption>");
    om_html_text(o, a->name);
    om_str_addf(o, "<small>seen %.4g to %.4g, range %.4g to %.4g, %.1f dB</small></figcaption>", a->seen_lo,
                a->seen_hi, a->lo, a->hi, a->db);
    om_str_addf(o, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">", PLOT_WIDTH, PLOT_HEIGHT + 4);
    for (int i = 0; i < OM_QUANT_BARS; i++) {
        if (!(a->bar[i] > 0)) continue;
        double h = fmax(1, PLOT_HEIGHT * (1 + log10((double)a->bar[i]) / 6));
        om_str_addf(
            o,
            "<rect class=\"t0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%.3g %%</title></rect>",
            i * step, PLOT_HEIGHT - h, step - 0.5, h, 100 * (double)a->bar[i]);
    }
    om_str_addf(o, "<line class=\"grid\" x1=\"0\" y1=\"%.0f\" x2=\"%.0f\" y2=\"%.0f\"/>", PLOT_HEIGHT,
                PLOT_WIDTH, PLOT_HEIGHT);
    for (int end = 0; end < 2 && extent > 0; end++) {
        double x = fmin(fmax(((end ? a->hi : a->lo) - a->seen_lo) / extent, 0), 1) * PLOT_WIDTH;
        om_str_addf(o, "<line class=\"line l1\" x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%.0f\"/>", x, x,
                    PLOT_HEIGHT + 4);
    }
    om_str_add(o, "</svg></figure>");
}

static void add_acts(const om_quant_report *r, om_str *o)
{
    size_t shown = 0, used = 0;
    for (size_t i = 0; i < r->n_acts; i++) used += r->acts[i].used;
    om_str_add(
        o,
        "<h2>Tensors</h2><p class=\"dim\">What was seen, on a logarithmic scale from a millionth on; the chosen range "
        "between the lines. Tensors that are joined share one range.</p><div class=\"bars\">");
    for (size_t i = 0; i < r->n_acts && shown < MOST_PLOTS; i++) {
        if (!r->acts[i].used) continue;
        add_plot(&r->acts[i], o);
        shown++;
    }
    om_str_add(o, "</div>");
    if (shown < used) om_str_addf(o, "<p>%zu more in the JSON report.</p>", used - shown);
}

void om_quant_report_html(const om_quant_job *job, const om_quant_report *r, om_str *o)
{
    const char *slash = strrchr(job->model, '/'), *name = slash ? slash + 1 : job->model;
    om_html_begin(o, name, "omma quantize");
    om_str_addf(
        o, "<p class=\"dim\">method %s, target %s, %zu pairs of layers equalised, opset %lld; calibrated on ",
        om_quant_choice_name(om_quant_method_choices, (int)job->params.method),
        om_quant_choice_name(om_quant_target_choices, (int)job->params.target), r->equalised,
        (long long)r->opset_to);
    om_html_text(o, r->engine);
    om_str_add(o, "</p>");
    add_tiles(r, o);
    add_verdict(r, o);
    add_outputs(r, o);
    add_layers(r, o);
    add_acts(r, o);
    om_html_end(o);
}
