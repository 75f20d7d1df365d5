#include "profile/html.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "profile/svg.h"

static const char style[] =
    "<style>:root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--dim:#5c6878;--line:#dde3ea;--card:#f5f7fa;"
    "--t0:#3b7ddd;--t1:#e07b39;--t2:#3a9d6e;--t3:#a85cc4;--t4:#c9a227;--t5:#d1495b;--t6:#3aa6b9;--t7:#8a94a3}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181e;--fg:#e4e9f0;--dim:#9aa6b5;--line:#2c343f;--card:#1c222b}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:1080px;margin:0 auto;padding:24px 20px 60px}h1{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}"
    "h2{font-size:18px;margin:36px 0 10px}p{margin:6px 0}.dim,small{color:var(--dim)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:18px 0}"
    ".tiles div{background:var(--card);border-radius:8px;padding:12px 14px}.tiles b{display:block;font-size:22px}"
    ".finding{background:var(--card);border-left:4px solid var(--t1);border-radius:6px;padding:12px 16px;margin:12px 0}"
    ".finding.ok{border-color:var(--t2)}.finding h3{margin:0 0 6px;font-size:16px}.finding ul,.finding ol{margin:4px 0;padding-left:22px}"
    ".plot{overflow-x:auto}.plot svg{width:100%;min-width:640px;height:auto;display:block}"
    "svg text{font:11px system-ui,sans-serif;fill:#fff}svg text.sub{opacity:.85}svg text.axis{fill:var(--dim)}"
    ".tile rect{stroke:none}.tile:hover rect,circle:hover{opacity:.75}circle{fill-opacity:.75}"
    ".t0{fill:var(--t0);background:var(--t0)}.t1{fill:var(--t1);background:var(--t1)}.t2{fill:var(--t2);background:var(--t2)}"
    ".t3{fill:var(--t3);background:var(--t3)}.t4{fill:var(--t4);background:var(--t4)}.t5{fill:var(--t5);background:var(--t5)}"
    ".t6{fill:var(--t6);background:var(--t6)}.t7{fill:var(--t7);background:var(--t7)}"
    ".grid{stroke:var(--line)}.roof{fill:none;stroke:var(--fg);stroke-width:1.5}.dash{stroke-dasharray:6 4}"
    ".line{fill:none;stroke-width:1.6}.l0{stroke:var(--t0)}.l1{stroke:var(--t1)}.l2{stroke:var(--t3)}.l3{stroke:var(--t2)}"
    ".legend span{margin-right:14px;white-space:nowrap}.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:5px}"
    ".table{overflow-x:auto;max-height:620px;overflow-y:auto;border:1px solid var(--line);border-radius:6px}"
    "table{border-collapse:collapse;width:100%;font-size:13px}th,td{padding:4px 10px;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}th{position:sticky;top:0;background:var(--card);cursor:pointer}"
    "td:nth-child(2),th:nth-child(2),.left td,.left th{text-align:left}td:nth-child(2){max-width:340px;overflow:hidden;text-overflow:ellipsis}"
    ".left td{white-space:normal;overflow-wrap:anywhere}.left td:first-child{color:var(--dim);width:170px}"
    ".bars{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:16px}figure{margin:0}.bars svg{width:100%;height:auto}"
    "figcaption{font-weight:600}figcaption small{display:block;font-weight:400}li{overflow-wrap:anywhere}</style>";

/* A click on a heading sorts by that column; numbers by their value. */
static const char script[] =
    "<script>document.querySelectorAll('table.sort th').forEach((th,i)=>th.onclick=()=>{const b=th.closest('table').tBodies[0],"
    "v=r=>r.cells[i].dataset.v??r.cells[i].textContent,d=th.dataset.d=th.dataset.d==1?-1:1;"
    "[...b.rows].sort((x,y)=>{const p=v(x),q=v(y),n=p-q;return(isNaN(n)?p.localeCompare(q):-n)*d}).forEach(r=>b.append(r))})</script>";

static void tile(om_str *o, const char *label, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void tile(om_str *o, const char *label, const char *fmt, ...)
{
    char value[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    om_str_add(o, "<div><b>");
    om_html_text(o, value);
    om_str_addf(o, "</b><span class=\"dim\">%s</span></div>", label);
}

static void list(om_str *o, const char *tag, const om_strlist *l)
{
    if (!l->n) return;
    om_str_addf(o, "<%s>", tag);
    for (size_t i = 0; i < l->n; i++) {
        om_str_add(o, "<li>");
        om_html_text(o, l->items[i]);
        om_str_add(o, "</li>");
    }
    om_str_addf(o, "</%s>", tag);
}

static void add_findings(const om_findings *f, om_str *o)
{
    om_str_add(o, "<h2>What was found</h2>");
    for (size_t i = 0; i < f->n; i++) {
        const om_finding *x = &f->items[i];
        om_str_addf(o, "<div class=\"finding%s\"><h3>", x->cause == OM_CAUSE_NONE ? " ok" : "");
        om_html_text(o, x->title);
        om_str_add(o, "</h3>");
        list(o, "ul", &x->evidence);
        if (x->advice.n) om_str_add(o, "<p class=\"dim\">What to try, the most promising first:</p>");
        list(o, "ol", &x->advice);
        om_str_add(o, "</div>");
    }
}

static void add_layer_tiles(const om_profile *p, om_str *o)
{
    double macs = 0;
    for (size_t i = 0; i < p->n_layers; i++) macs += (double)p->layers[i].macs;
    om_str_add(o, "<div class=\"tiles\">");
    tile(o, "an inference", "%.2f ms", p->latency_us / 1e3);
    tile(o, "images a second", "%.1f", p->latency_us > 0 ? 1e6 * p->batch / p->latency_us : 0);
    tile(o, "layers' times, added up", "%.2f ms", p->layers_us / 1e3);
    tile(o, "layers", "%zu", p->n_layers);
    tile(o, "multiply-adds", "%.2f G", macs / 1e9);
    tile(o, "parameters", "%.2f M", (double)p->parameters / 1e6);
    om_str_add(o, "</div>");
}

static void cell_num(om_str *o, double v, int decimals)
{
    om_str_addf(o, "<td data-v=\"%.6g\">%.*f</td>", v, decimals, v);
}

static void cell_text(om_str *o, const char *text)
{
    om_str_add(o, "<td title=\"");
    om_html_text(o, text);
    om_str_add(o, "\">");
    om_html_text(o, text);
    om_str_add(o, "</td>");
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
        cell_text(o, l->name);
        cell_text(o, l->type);
        cell_text(o, l->precision);
        cell_text(o, l->shape);
        cell_num(o, l->us, 1);
        cell_num(o, 100 * l->us / (p->layers_us > 0 ? p->layers_us : 1), 1);
        cell_num(o, (double)l->macs / 1e6, 1);
        cell_num(o, (double)l->bytes / 1e3, 0);
        cell_num(o, l->gflops, 1);
        cell_num(o, l->gbs, 1);
        cell_num(o, 100 * l->reach, 0);
        cell_text(o, om_roof_name(l->roof));
        om_str_addf(o, "<td title=\"");
        om_html_text(o, om_str_get(&members));
        om_str_addf(o, "\">%zu</td></tr>", l->members.n);
        om_str_fini(&members);
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
    list(o, "ul", &p->notes);
}

static double run_num(const om_json_value *run, const char *key)
{
    const om_json_value *v = om_json_get(run, key);
    return v && v->type == OM_JSON_NUM ? v->num : 0;
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
        om_str_addf(o, "</td><td>%.0f</td><td>%.2f</td><td>%.2f</td></tr>", run_num(t, "threads"),
                    run_num(t, "cpu_s"), run_num(t, "wait_s"));
    }
    om_str_add(o, "</tbody></table></div>");
}

static void add_run(const om_json_value *run, om_str *o)
{
    om_str_add(o, "<h2>The run</h2><div class=\"tiles\">");
    tile(o, "frames", "%.0f", run_num(run, "frames"));
    tile(o, "frames a second", "%.1f", run_num(run, "fps"));
    tile(o, "seconds", "%.2f", run_num(run, "seconds"));
    tile(o, "frames a batch", "%.2f", run_num(run, "mean_batch"));
    tile(o, "cores busy", "%.2f", run_num(run, "cores_busy"));
    om_str_add(o, "</div><h2>A frame's way, mean times</h2><div class=\"plot\">");
    om_svg_stages(run, o);
    om_str_add(o, "</div><h2>Over time</h2><div class=\"plot\">");
    om_svg_timeline(run, o);
    om_str_add(o, "</div><h2>Stages</h2>");
    om_svg_histograms(run, o);
    add_threads(run, o);
}

void om_profile_html(const om_profile *p, const om_findings *f, om_str *o)
{
    const char *model = p->model ? p->model : "";
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
    if (!name[0]) name = "A run";
    om_str_add(
        o,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    om_html_text(o, name);
    om_str_add(o, " - omma profile</title>");
    om_str_add(o, style);
    om_str_add(o, "</head><body><main><h1>");
    om_html_text(o, name);
    om_str_add(o, "</h1>");
    if (p->n_layers) {
        om_str_addf(o, "<p class=\"dim\">batch %d, %dx%d, %d inferences in %d rounds on ", p->batch, p->width,
                    p->height, p->iterations, p->rounds);
        om_html_text(o, p->engine);
        om_str_add(o, "</p>");
    }
    add_findings(f, o);
    if (p->n_layers) add_model(p, o);
    if (p->run) add_run(p->run, o);
    om_str_add(o, "<h2>System</h2><div class=\"table\"><table class=\"left\"><tbody>");
    for (size_t i = 0; i < p->system_keys.n; i++) {
        om_str_add(o, "<tr><td>");
        om_html_text(o, p->system_keys.items[i]);
        om_str_add(o, "</td><td>");
        om_html_text(o, p->system_values.items[i]);
        om_str_add(o, "</td></tr>");
    }
    om_str_add(o, "</tbody></table></div></main>");
    om_str_add(o, script);
    om_str_add(o, "</body></html>\n");
}
