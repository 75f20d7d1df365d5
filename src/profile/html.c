#include "profile/html.h"

#include <string.h>

#include "base/mem.h"
#include "profile/svg.h"

static void add_findings(const om_findings *f, om_str *o)
{
    om_str_add(o, "<h2>What was found</h2>");
    for (size_t i = 0; i < f->n; i++) {
        const om_finding *x = &f->items[i];
        om_str_addf(o, "<div class=\"finding%s\"><h3>%s: ", x->cause == OM_CAUSE_NONE ? " ok" : "",
                    om_cause_name(x->cause));
        om_html_text(o, x->title);
        om_str_add(o, "</h3>");
        om_html_list(o, "ul", &x->evidence);
        if (x->advice.n) om_str_add(o, "<p class=\"dim\">What to try, the most promising first:</p>");
        om_html_list(o, "ol", &x->advice);
        om_str_add(o, "</div>");
    }
}

static void add_layer_tiles(const om_profile *p, om_str *o)
{
    double macs = 0;
    for (size_t i = 0; i < p->n_layers; i++) macs += (double)p->layers[i].macs;
    om_str_add(o, "<div class=\"tiles\">");
    om_html_tile(o, "an inference", "%.2f ms", p->latency_us / 1e3);
    om_html_tile(o, "images a second", "%.1f", p->latency_us > 0 ? 1e6 * p->batch / p->latency_us : 0);
    om_html_tile(o, "layers' times, added up", "%.2f ms", p->layers_us / 1e3);
    om_html_tile(o, "layers", "%zu", p->n_layers);
    om_html_tile(o, "multiply-adds", "%.2f G", macs / 1e9);
    om_html_tile(o, "parameters", "%.2f M", (double)p->parameters / 1e6);
    om_str_add(o, "</div>");
}

static void add_layers(const om_profile *p, om_str *o)
{
    static const char *const heads[] = {"#",    "layer",     "type",     "precision", "output",
                                        "us",   "%",         "MMAC",     "KB",        "GFLOP/s",
                                        "GB/s", "% of roof", "bound by", "operators"};
    om_str_add(o, "<h2>Layers</h2><div class=\"table\"><table class=\"sort\"><thead><tr>");
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) om_str_addf(o, "<th>%s</th>", heads[i]);
    om_str_add(o, "</tr></thead><tbody>");
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        om_str members = {0};
        for (size_t k = 0; k < l->members.n; k++)
            om_str_addf(&members, "%s%s", k ? ", " : "", l->members.items[k]);
        om_str_addf(o, "<tr><td>%zu</td>", i);
        om_html_cell_text(o, l->name);
        om_html_cell_text(o, l->type);
        om_html_cell_text(o, l->precision);
        om_html_cell_text(o, l->shape);
        om_html_cell_num(o, l->us, 1);
        om_html_cell_num(o, 100 * l->us / (p->layers_us > 0 ? p->layers_us : 1), 1);
        om_html_cell_num(o, (double)l->macs / 1e6, 1);
        om_html_cell_num(o, (double)l->bytes / 1e3, 0);
        om_html_cell_num(o, l->gflops, 1);
        om_html_cell_num(o, l->gbs, 1);
        om_html_cell_num(o, 100 * l->reach, 0);
        om_html_cell_text(o, om_roof_name(l->roof));
        om_html_cell_text(o, om_str_get(&members));
        om_str_add(o, "</tr>");
        om_str_fini(&members);
    }
    om_str_add(o, "</tbody></table></div>");
}

static void share_cell(om_str *o, double v)
{
    if (v >= 0) om_html_cell_num(o, 100 * v, 0);
    else om_html_cell_text(o, "");
}

static void add_counters(const om_profile *p, om_str *o)
{
    om_str_addf(
        o,
        "<h2>Counted by %s</h2><div class=\"table\"><table><thead><tr><th>layer</th><th>kernels</th><th>us</th>"
        "<th>occupancy %%</th><th>L2 hits %%</th><th>DRAM GB/s</th><th>DRAM busy %%</th><th>SMs busy %%</th></tr>"
        "</thead><tbody>",
        p->counted_by);
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_counters *c = &p->layers[i].counters;
        if (!c->kernels) continue;
        om_str_add(o, "<tr>");
        om_html_cell_text(o, p->layers[i].name);
        om_html_cell_num(o, c->kernels, 0);
        om_html_cell_num(o, c->us, 1);
        share_cell(o, c->occupancy);
        share_cell(o, c->l2_hits);
        if (c->dram_gbs >= 0) om_html_cell_num(o, c->dram_gbs, 0);
        else om_html_cell_text(o, "");
        share_cell(o, c->dram_busy);
        share_cell(o, c->sm_busy);
        om_str_add(o, "</tr>");
    }
    om_str_add(o, "</tbody></table></div>");
}

static void add_model(const om_profile *p, om_str *o)
{
    add_layer_tiles(p, o);
    if (p->gap) {
        om_str_add(o, "<p class=\"dim\">");
        om_html_text(o, p->gap);
        om_str_add(o, "</p>");
    }
    om_str_add(o, "<h2>Where the time goes</h2><div class=\"plot\">");
    om_svg_treemap(p, o);
    om_str_add(o, "</div><h2>Against the machine's roofs</h2><div class=\"plot\">");
    om_svg_roofline(p, o);
    om_str_add(o, "</div>");
    add_layers(p, o);
    if (p->counted_by[0]) add_counters(p, o);
    size_t open = 0;
    om_str_add(o, "<h2>Fusions and reformats</h2><ul>");
    for (size_t i = 0; i < p->n_fusions; i++) {
        if (p->fusions[i].state == OM_FUSION_DONE) continue;
        om_str_addf(o, "<li>%s not fused: ", p->fusions[i].pattern);
        om_html_text(o, p->fusions[i].where);
        om_str_add(o, ": ");
        om_html_text(o, p->fusions[i].why);
        om_str_add(o, "</li>");
        open++;
    }
    om_str_addf(o, "</ul><p>%zu of %zu places where operators could run as one do.</p>", p->n_fusions - open,
                p->n_fusions);
    om_html_list(o, "ul", &p->notes);
}

static void add_threads(const om_json_value *run, om_str *o)
{
    const om_json_value *threads = om_json_get(run, "threads");
    if (!threads || threads->type != OM_JSON_ARR) return;
    om_str_add(
        o,
        "<h2>Processor time by thread</h2><div class=\"table\"><table class=\"left\"><thead><tr><th>threads</th><th>how "
        "many</th><th>CPU s</th><th>waiting for a core s</th></tr></thead><tbody>");
    for (size_t i = 0; i < threads->n; i++) {
        const om_json_value *t = &threads->children[i], *name = om_json_get(t, "name");
        om_str_add(o, "<tr><td>");
        om_html_text(o, name && name->type == OM_JSON_STR ? name->str : "");
        om_str_addf(o, "</td><td>%.0f</td><td>%.2f</td><td>%.2f</td></tr>", om_json_get_num(t, "threads", 0),
                    om_json_get_num(t, "cpu_s", 0), om_json_get_num(t, "wait_s", 0));
    }
    om_str_add(o, "</tbody></table></div>");
}

#define MOST_DRAWN 32 /* streams; the JSON has all */

/* Means of each stage, a row a stream; below them their histograms, to be opened. */
static void add_streams(const om_json_value *run, om_str *o)
{
    const om_json_value *streams = om_json_get_list(run, "streams");
    const om_json_value *first =
        streams && streams->n ? om_json_get_list(&streams->children[0], "stages") : NULL;
    if (!first || streams->n < 2) return;
    om_str_add(
        o,
        "<h2>Stages by stream, mean ms</h2><div class=\"table\"><table class=\"sort\"><thead><tr><th>stream</th>");
    for (size_t k = 0; k < first->n; k++) {
        om_str_add(o, "<th>");
        om_html_text(o, om_json_get_string(&first->children[k], "stage"));
        om_str_add(o, "</th>");
    }
    om_str_add(o, "</tr></thead><tbody>");
    for (size_t i = 0; i < streams->n; i++) {
        const om_json_value *stages = om_json_get_list(&streams->children[i], "stages");
        om_str_add(o, "<tr>");
        om_html_cell_text(o, om_json_get_string(&streams->children[i], "name"));
        for (size_t k = 0; stages && k < stages->n; k++)
            om_html_cell_num(o, om_json_get_num(&stages->children[k], "mean_ms", 0), 3);
        om_str_add(o, "</tr>");
    }
    om_str_add(o, "</tbody></table></div>");
    for (size_t i = 0; i < streams->n && i < MOST_DRAWN; i++) {
        om_str_add(o, "<details><summary>");
        om_html_text(o, om_json_get_string(&streams->children[i], "name"));
        om_str_add(o, "</summary>");
        om_svg_histograms(&streams->children[i], o);
        om_str_add(o, "</details>");
    }
    if (streams->n > MOST_DRAWN)
        om_str_addf(o, "<p class=\"dim\">Histograms of %zu more are in the JSON.</p>",
                    streams->n - MOST_DRAWN);
}

static double share_of(const om_json_value *device, const char *work)
{
    const om_json_value *v = om_json_get(device, work);
    return v && v->type == OM_JSON_OBJ ? 100 * om_json_get_num(v, "share", 0) : 0;
}

/* What the run's GPU did. */
static void add_device(const om_json_value *d, double fps, om_str *o)
{
    if (!d || d->type != OM_JSON_OBJ) return;
    om_str_add(o, "</div><h2>The GPU</h2><div class=\"tiles\">");
    om_html_tile(o, "% of its time: writing inputs", "%.1f", share_of(d, "gather"));
    om_html_tile(o, "% the model", "%.1f", share_of(d, "infer"));
    om_html_tile(o, "% reading outputs", "%.1f", share_of(d, "head"));
    om_html_tile(o, "MB copied to it", "%.1f", om_json_get_num(d, "bytes_to_device", 0) / 1e6);
    om_html_tile(o, "MB copied from it", "%.1f", om_json_get_num(d, "bytes_to_host", 0) / 1e6);
    if (om_json_get_num(d, "gpu_percent", -1) < 0) return; /* its driver tells nothing */
    om_html_tile(o, "% busy", "%.0f", om_json_get_num(d, "gpu_percent", 0));
    om_html_tile(o, "% its decoders", "%.0f", om_json_get_num(d, "nvdec_percent", 0));
    double watts = om_json_get_num(d, "gpu_power_w", -1);
    if (watts < 0) return;
    om_html_tile(o, "W", "%.0f", watts);
    if (fps > 0) om_html_tile(o, "J a frame", "%.3f", watts / fps);
}

/* Of the processor, where it tells. */
static void add_energy(const om_json_value *power, om_str *o)
{
    if (!power || power->type != OM_JSON_OBJ) return;
    om_html_tile(o, "W of the processor", "%.1f", om_json_get_num(power, "watts", 0));
    om_html_tile(o, "J a frame", "%.3f", om_json_get_num(power, "joules_a_frame", 0));
}

static void add_run(const om_json_value *run, om_str *o)
{
    om_str_add(o, "<h2>The run</h2><div class=\"tiles\">");
    om_html_tile(o, "frames", "%.0f", om_json_get_num(run, "frames", 0));
    om_html_tile(o, "frames a second", "%.1f", om_json_get_num(run, "fps", 0));
    om_html_tile(o, "seconds", "%.2f", om_json_get_num(run, "seconds", 0));
    om_html_tile(o, "frames a batch", "%.2f", om_json_get_num(run, "mean_batch", 0));
    om_html_tile(o, "cores busy", "%.2f", om_json_get_num(run, "cores_busy", 0));
    om_html_tile(o, "MB written as input", "%.1f",
                 om_json_get_num(om_json_get(run, "copies"), "input_bytes", 0) / 1e6);
    om_html_tile(o, "MB read as output", "%.1f",
                 om_json_get_num(om_json_get(run, "copies"), "output_bytes", 0) / 1e6);
    om_html_tile(o, "times waited for the device", "%.0f", om_json_get_num(run, "syncs", 0));
    add_energy(om_json_get(run, "power"), o);
    add_device(om_json_get(run, "device"), om_json_get_num(run, "fps", 0), o);
    om_str_add(o, "</div><h2>A frame's way, mean times</h2><div class=\"plot\">");
    om_svg_stages(run, o);
    om_str_add(o, "</div><h2>Over time</h2><div class=\"plot\">");
    om_svg_timeline(run, o);
    om_str_add(o, "</div><h2>Stages</h2>");
    om_svg_histograms(run, o);
    add_streams(run, o);
    add_threads(run, o);
}

void om_profile_html(const om_profile *p, const om_findings *f, om_str *o)
{
    const char *model = p->model ? p->model : "";
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
    if (!name[0]) name = "A run";
    om_html_begin(o, name, "omma profile");
    if (p->n_layers) {
        om_str_addf(o, "<p class=\"dim\">batch %d, %dx%d, %d inferences in %d rounds on ", p->batch, p->width,
                    p->height, p->iterations, p->rounds);
        om_html_text(o, p->engine);
        om_str_add(o, "</p>");
    }
    add_findings(f, o);
    if (p->n_layers) add_model(p, o);
    if (p->run) add_run(p->run, o);
    om_html_pairs(o, "System", &p->system_keys, &p->system_values);
    om_html_end(o);
}
