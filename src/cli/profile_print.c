#include "cli/profile_print.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/table.h"
#include "cli/text.h"
#include "profile/html.h"

#define MAX_TYPES 64
#define MAX_OPEN 12 /* fusions that did not come about, told one by one */

static const om_column layer_columns[] = {
    {"#", true, 0, 0},          {"layer", false, 20, 0, true}, {"type", false, 8, 0},
    {"precision", false, 0, 5}, {"output", false, 0, 6},       {"us", true, 0, 0},
    {"%", true, 0, 0},          {"MMAC", true, 0, 3},          {"KB", true, 0, 7},
    {"GFLOP/s", true, 0, 2},    {"GB/s", true, 0, 4},          {"of roof", true, 0, 1},
    {"bound by", false, 0, 0},  {"fused with", false, 16, 8},
};

static const om_column type_columns[] = {
    {"operator", false, 8, 0}, {"layers", true, 0, 0}, {"us", true, 0, 0},
    {"%", true, 0, 0},         {"MMAC", true, 0, 2},   {"MB", true, 0, 1},
};

static void heading(om_str *out, const char *text) { om_str_addf(out, "\n%s\n", text); }

/* "Sigmoid + Mul": the operators that went into a layer besides the one that it is named for. */
static void fused_with(const om_layer *l, om_str *out)
{
    bool main_seen = l->members.n < 2;
    for (size_t i = 0; i < l->members.n; i++) {
        const char *open = strrchr(l->members.items[i], '('); /* "/model.0/act/Mul (Mul)" */
        size_t n = open ? strcspn(open + 1, ")") : 0;
        bool is_main =
            !main_seen && n && !strncmp(l->type, open + 1, n) && (!l->type[n] || l->type[n] == ' ');
        main_seen = main_seen || is_main;
        if (n && !is_main && l->members.n > 1)
            om_str_addf(out, "%s%.*s", out->len ? " + " : "", (int)n, open + 1);
    }
}

static void layer_row(om_table *t, const om_profile *p, size_t i)
{
    const om_layer *l = &p->layers[i];
    om_table_cell(t, "%zu", i);
    om_table_cell(t, "%s", l->name);
    om_table_cell(t, "%s", l->type);
    om_table_cell(t, "%s", l->precision);
    om_table_cell(t, "%s", l->shape);
    om_table_cell(t, "%.1f", l->us);
    om_table_cell(t, "%.1f", p->layers_us > 0 ? 100 * l->us / p->layers_us : 0);
    if (l->macs) om_table_cell(t, "%.1f", (double)l->macs / 1e6);
    else om_table_cell(t, "%s", "");
    om_table_cell(t, "%.0f", (double)l->bytes / 1e3);
    if (l->macs && l->us > 0) om_table_cell(t, "%.1f", l->gflops);
    else om_table_cell(t, "%s", "");
    if (l->us > 0) om_table_cell(t, "%.1f", l->gbs);
    else om_table_cell(t, "%s", "");
    if (l->us > 0) om_table_cell(t, "%.0f%%", 100 * l->reach);
    else om_table_cell(t, "%s", "");
    om_table_cell(t, "%s", om_roof_name(l->roof));
    om_str with = {0};
    fused_with(l, &with);
    om_table_cell(t, "%s", om_str_get(&with));
    om_str_fini(&with);
}

static int add_layers(const om_profile *p, size_t top, int width, om_str *out)
{
    om_table t;
    size_t *order = om_calloc(p->n_layers + 1, sizeof *order),
           n = top && top < p->n_layers ? top : p->n_layers;
    if (!order) return OM_ERR_NOMEM;
    om_profile_order(p, order);
    om_table_init(&t, layer_columns, sizeof layer_columns / sizeof layer_columns[0]);
    for (size_t i = 0; i < n; i++) layer_row(&t, p, top ? order[i] : i);
    int err = om_table_render(&t, width, out);
    if (n < p->n_layers)
        om_str_addf(out, "%zu more; --all lists them in the order they run\n", p->n_layers - n);
    om_table_fini(&t);
    om_free(order);
    return err;
}

static const om_column counter_columns[] = {
    {"#", true, 0, 0},         {"layer", false, 20, 0, true}, {"kernels", true, 0, 4},
    {"us", true, 0, 0},        {"occupancy", true, 0, 0},     {"L2 hits", true, 0, 0},
    {"DRAM GB/s", true, 0, 3}, {"DRAM busy", true, 0, 1},     {"SMs busy", true, 0, 0},
};

static void share_cell(om_table *t, double v)
{
    if (v >= 0) om_table_cell(t, "%.0f%%", 100 * v);
    else om_table_cell(t, "%s", "");
}

static int add_counters(const om_profile *p, size_t top, int width, om_str *out)
{
    om_table t;
    size_t *order = om_calloc(p->n_layers + 1, sizeof *order),
           n = top && top < p->n_layers ? top : p->n_layers;
    if (!order) return OM_ERR_NOMEM;
    om_profile_order(p, order);
    om_table_init(&t, counter_columns, sizeof counter_columns / sizeof counter_columns[0]);
    for (size_t k = 0; k < n; k++) {
        size_t i = top ? order[k] : k;
        const om_counters *c = &p->layers[i].counters;
        if (!c->kernels) continue;
        om_table_cell(&t, "%zu", i);
        om_table_cell(&t, "%s", p->layers[i].name);
        om_table_cell(&t, "%d", c->kernels);
        om_table_cell(&t, "%.1f", c->us);
        share_cell(&t, c->occupancy);
        share_cell(&t, c->l2_hits);
        if (c->dram_gbs >= 0) om_table_cell(&t, "%.0f", c->dram_gbs);
        else om_table_cell(&t, "%s", "");
        share_cell(&t, c->dram_busy);
        share_cell(&t, c->sm_busy);
    }
    om_str_addf(out, "\nCounted by %s\n", p->counted_by);
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    om_free(order);
    return err;
}

static int add_types(const om_profile *p, int width, om_str *out)
{
    om_table t;
    om_type_sum sums[MAX_TYPES];
    size_t n = om_profile_types(p, sums, MAX_TYPES);
    om_table_init(&t, type_columns, sizeof type_columns / sizeof type_columns[0]);
    for (size_t i = 0; i < n && sums[i].us > 0; i++) {
        om_table_cell(&t, "%s", sums[i].type);
        om_table_cell(&t, "%zu", sums[i].count);
        om_table_cell(&t, "%.1f", sums[i].us);
        om_table_cell(&t, "%.1f", p->layers_us > 0 ? 100 * sums[i].us / p->layers_us : 0);
        om_table_cell(&t, "%.1f", (double)sums[i].macs / 1e6);
        om_table_cell(&t, "%.2f", (double)sums[i].bytes / 1e6);
    }
    heading(out, "By operator");
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static void wrapped(om_str *out, const char *text, int width)
{
    om_text_wrap(text, 2, width ? width : 110, out);
}

static void add_totals(const om_profile *p, int width, om_str *out)
{
    double macs = 0, bytes = 0, longest = 0;
    size_t *order = om_calloc(p->n_layers + 1, sizeof *order);
    char line[512];
    if (!order) return;
    om_profile_order(p, order);
    for (size_t i = 0; i < p->n_layers; i++) {
        macs += (double)p->layers[i].macs;
        bytes += (double)p->layers[i].bytes;
        if (i < 5) longest += p->layers[order[i]].us;
    }
    om_free(order);
    heading(out, "Totals");
    snprintf(
        line, sizeof line,
        "%zu layers, %.1f us in all; an inference without clocks takes %.1f us (%.1f images/s), with them %.1f us",
        p->n_layers, p->layers_us, p->latency_us, p->latency_us > 0 ? 1e6 * p->batch / p->latency_us : 0,
        p->profiled_us);
    wrapped(out, line, width);
    if (p->gap) wrapped(out, p->gap, width);
    if (p->peaks.f32_gflops > 0) {
        snprintf(
            line, sizeof line,
            "the 5 longest: %.1f%% of the layers' time; %.2f GMAC, %.1f MB moved, %.1f GFLOP/s on the whole",
            p->layers_us > 0 ? 100 * longest / p->layers_us : 0, macs / 1e9, bytes / 1e6,
            p->latency_us > 0 ? 2 * macs / p->latency_us / 1e3 : 0);
        wrapped(out, line, width);
        if (p->peaks.threads)
            snprintf(
                line, sizeof line,
                "this machine: %.0f GFLOP/s f32, %.0f Gop/s int8, %.1f GB/s memory, %.1f GB/s in cache (%d threads)",
                p->peaks.f32_gflops, p->peaks.int8_gops, p->peaks.memory_gbs, p->peaks.cache_gbs,
                p->peaks.threads);
        else
            snprintf(
                line, sizeof line,
                "this GPU: %.1f TFLOP/s f32, %.1f tf32, %.1f f16, %.1f Top/s int8, %.0f GB/s memory, %.0f GB/s in "
                "cache, %.1f GB/s to it, %.1f GB/s from it",
                p->peaks.f32_gflops / 1e3, p->peaks.tf32_gflops / 1e3, p->peaks.f16_gflops / 1e3,
                p->peaks.int8_gops / 1e3, p->peaks.memory_gbs, p->peaks.cache_gbs, p->peaks.to_device_gbs,
                p->peaks.to_host_gbs);
        wrapped(out, line, width);
    }
    if (p->in_place)
        snprintf(line, sizeof line,
                 "transfers: none; the engine works on %.2f MB of input and %.2f MB of output where they are",
                 (double)p->input_bytes / 1e6, (double)p->output_bytes / 1e6);
    else
        snprintf(line, sizeof line, "transfers: input %.2f MB %.1f us, output %.2f MB %.1f us",
                 (double)p->input_bytes / 1e6, p->to_device_us, (double)p->output_bytes / 1e6, p->to_host_us);
    wrapped(out, line, width);
}

static void add_fusions(const om_profile *p, int width, om_str *out)
{
    size_t open = 0;
    if (!p->n_fusions && !p->notes.n) return;
    heading(out, "Fusions");
    for (size_t i = 0; i < p->n_fusions; i++) {
        size_t k = 0, done = 0, all = 0;
        while (strcmp(p->fusions[k].pattern, p->fusions[i].pattern)) k++;
        if (k < i) continue;
        for (; k < p->n_fusions; k++) {
            if (strcmp(p->fusions[k].pattern, p->fusions[i].pattern)) continue;
            done += p->fusions[k].state == OM_FUSION_DONE;
            all++;
        }
        om_str_addf(out, "  %-20s %zu of %zu fused\n", p->fusions[i].pattern, done, all);
    }
    for (size_t i = 0; i < p->n_fusions; i++) {
        const om_fusion *f = &p->fusions[i];
        char line[512];
        if (f->state == OM_FUSION_DONE || ++open > MAX_OPEN) continue;
        snprintf(line, sizeof line, "not fused: %.200s: %.200s", f->where, f->why);
        wrapped(out, line, width);
    }
    if (open > MAX_OPEN) om_str_addf(out, "  and %zu more (in the JSON)\n", open - MAX_OPEN);
    for (size_t i = 0; i < p->notes.n && i < MAX_OPEN; i++) wrapped(out, p->notes.items[i], width);
    if (p->notes.n > MAX_OPEN) om_str_addf(out, "  and %zu more (in the JSON)\n", p->notes.n - MAX_OPEN);
}

int om_profile_print(const om_profile *p, size_t top, int width, om_str *out)
{
    const char *slash = strrchr(p->model, '/');
    om_str line = {0};
    om_str_addf(&line, "%s, batch %d, %dx%d on %s (%s)", slash ? slash + 1 : p->model, p->batch, p->width,
                p->height, p->engine, p->engine_version);
    om_text_wrap(om_str_get(&line), 0, width ? width : 110, out);
    om_str_fini(&line);
    om_str_addf(out, "%d inferences in %d rounds\n\n", p->iterations, p->rounds);
    int err = add_layers(p, top, width, out);
    if (!err && p->counted_by[0]) err = add_counters(p, top, width, out);
    if (!err) err = add_types(p, width, out);
    add_totals(p, width, out);
    add_fusions(p, width, out);
    return err;
}

static const om_column stage_columns[] = {
    {"stage", false, 0, 0}, {"frames", true, 0, 3}, {"mean ms", true, 0, 0}, {"p50", true, 0, 0},
    {"p95", true, 0, 1},    {"p99", true, 0, 0},    {"max", true, 0, 2},
};

static const om_column thread_columns[] = {
    {"threads", false, 0, 0},
    {"", true, 0, 0},
    {"CPU s", true, 0, 0},
    {"waiting for a core s", true, 0, 0},
};

static int add_stages(const om_json_value *stages, int width, om_str *out)
{
    static const char *const keys[] = {"mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"};
    om_table t;
    om_table_init(&t, stage_columns, sizeof stage_columns / sizeof stage_columns[0]);
    for (size_t i = 0; i < stages->n; i++) {
        const om_json_value *s = &stages->children[i];
        om_table_cell(&t, "%s", om_json_get_string(s, "stage"));
        om_table_cell(&t, "%.0f", om_json_get_num(s, "count", 0));
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            om_table_cell(&t, "%.3f", om_json_get_num(s, keys[k], 0));
    }
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

#define MOST_STREAMS 16

static const om_column stream_columns[] = {
    {"stream", false, 8, 0},    {"frames", true, 0, 9},  {"source", true, 0, 4}, {"decode", true, 0, 0},
    {"cores", true, 0, 6},      {"mailbox", true, 0, 3}, {"gather", true, 0, 5}, {"infer", true, 0, 0},
    {"finish", true, 0, 8},     {"head", true, 0, 7},    {"lane", true, 0, 2},   {"track", true, 0, 10},
    {"secondary", true, 0, 11}, {"sink", true, 0, 0},
};
#define N_STREAM_COLUMNS (sizeof stream_columns / sizeof stream_columns[0])

static const om_json_value *stage_of(const om_json_value *owner, const char *name)
{
    const om_json_value *stages = om_json_get_list(owner, "stages");
    for (size_t i = 0; stages && i < stages->n; i++)
        if (!strcmp(om_json_get_string(&stages->children[i], "stage"), name)) return &stages->children[i];
    return NULL;
}

/* Means of each stage, a row a stream. */
static int add_streams(const om_json_value *streams, int width, om_str *out)
{
    om_table t;
    size_t n = streams->n < MOST_STREAMS ? streams->n : MOST_STREAMS;
    om_table_init(&t, stream_columns, N_STREAM_COLUMNS);
    for (size_t i = 0; i < n; i++) {
        const om_json_value *s = &streams->children[i];
        om_table_cell(&t, "%s", om_json_get_string(s, "name"));
        om_table_cell(&t, "%.0f", om_json_get_num(stage_of(s, "mailbox"), "count", 0));
        for (size_t k = 2; k < N_STREAM_COLUMNS; k++)
            om_table_cell(&t, "%.2f", om_json_get_num(stage_of(s, stream_columns[k].title), "mean_ms", 0));
    }
    heading(out, "By stream, mean ms");
    int err = om_table_render(&t, width, out);
    if (n < streams->n) om_str_addf(out, "%zu more (in the JSON)\n", streams->n - n);
    om_table_fini(&t);
    return err;
}

static int add_threads(const om_json_value *threads, int width, om_str *out)
{
    om_table t;
    om_table_init(&t, thread_columns, sizeof thread_columns / sizeof thread_columns[0]);
    for (size_t i = 0; i < threads->n; i++) {
        const om_json_value *s = &threads->children[i];
        if (om_json_get_num(s, "cpu_s", 0) < .005 && om_json_get_num(s, "wait_s", 0) < .005) continue;
        om_table_cell(&t, "%s", om_json_get_string(s, "name"));
        om_table_cell(&t, "%.0f", om_json_get_num(s, "threads", 0));
        om_table_cell(&t, "%.2f", om_json_get_num(s, "cpu_s", 0));
        om_table_cell(&t, "%.2f", om_json_get_num(s, "wait_s", 0));
    }
    heading(out, "Processor time");
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static double share(const om_json_value *device, const char *what)
{
    const om_json_value *v = om_json_get(device, what);
    return v && v->type == OM_JSON_OBJ ? 100 * om_json_get_num(v, "share", 0) : 0;
}

static void add_device(const om_json_value *d, double fps, int width, om_str *out)
{
    char line[440], energy[64] = "";
    double watts = om_json_get_num(d, "gpu_power_w", -1);
    if (!d || d->type != OM_JSON_OBJ) return;
    if (watts >= 0 && fps > 0) snprintf(energy, sizeof energy, ", %.3f J a frame", watts / fps);
    snprintf(
        line, sizeof line,
        "%s: of its time on the run %.1f%% wrote inputs, %.1f%% was the model, %.1f%% read its outputs; %.1f MB copied to "
        "it, %.1f MB from it; busy %.0f%%, decoders %.0f%%, %.0f W (negative: not told)%s",
        om_json_get_string(d, "id"), share(d, "gather"), share(d, "infer"), share(d, "head"),
        om_json_get_num(d, "bytes_to_device", 0) / 1e6, om_json_get_num(d, "bytes_to_host", 0) / 1e6,
        om_json_get_num(d, "gpu_percent", -1), om_json_get_num(d, "nvdec_percent", -1), watts, energy);
    wrapped(out, line, width);
}

int om_profile_print_run(const om_profile *p, int width, om_str *out)
{
    const om_json_value *stages = om_json_get(p->run, "stages"), *threads = om_json_get(p->run, "threads");
    const om_json_value *copies = om_json_get(p->run, "copies"), *power = om_json_get(p->run, "power");
    const om_json_value *streams = om_json_get_list(p->run, "streams");
    char line[400];
    int err = OM_OK;
    heading(out, "A frame's way");
    if (stages && stages->type == OM_JSON_ARR) err = add_stages(stages, width, out);
    if (!err && streams && streams->n > 1) err = add_streams(streams, width, out);
    if (!err && threads && threads->type == OM_JSON_ARR) err = add_threads(threads, width, out);
    snprintf(
        line, sizeof line,
        "%.0f frames in %.2f s, %.1f fps; %.2f frames a batch; %.1f MB written as input, %.1f MB read as output; waited for the "
        "device %.0f times; %.2f of %.0f cores busy",
        om_json_get_num(p->run, "frames", 0), om_json_get_num(p->run, "seconds", 0),
        om_json_get_num(p->run, "fps", 0), om_json_get_num(p->run, "mean_batch", 0),
        copies ? om_json_get_num(copies, "input_bytes", 0) / 1e6 : 0,
        copies ? om_json_get_num(copies, "output_bytes", 0) / 1e6 : 0, om_json_get_num(p->run, "syncs", 0),
        om_json_get_num(p->run, "cores_busy", 0), om_json_get_num(p->run, "cores", 0));
    om_str_addc(out, '\n');
    wrapped(out, line, width);
    add_device(om_json_get(p->run, "device"), om_json_get_num(p->run, "fps", 0), width, out);
    if (power && power->type == OM_JSON_OBJ) {
        snprintf(line, sizeof line, "%.1f W, %.3f J a frame", om_json_get_num(power, "watts", 0),
                 om_json_get_num(power, "joules_a_frame", 0));
        wrapped(out, line, width);
    }
    return err;
}

static int key_width(const om_strlist *keys)
{
    int most = 0;
    for (size_t i = 0; i < keys->n; i++) {
        int w = om_text_width(keys->items[i]);
        most = w > most ? w : most;
    }
    return most;
}

/* "processor  AMD EPYC": what does not fit goes on below its value. */
static void add_pair(const char *key, const char *value, int keys, int width, om_str *out)
{
    om_str lines = {0};
    char clean[1024];
    om_text_clean(value, clean, sizeof clean);
    om_text_wrap(clean, keys + 4, width ? width : 110, &lines);
    const char *text = om_str_get(&lines);
    om_str_addf(out, "  %s%*s%s", key, keys + 2 - om_text_width(key), "",
                strlen(text) > (size_t)keys + 4 ? text + keys + 4 : "\n");
    om_str_fini(&lines);
}

void om_profile_print_system(const om_profile *p, int width, om_str *out)
{
    int keys = key_width(&p->system_keys);
    if (!p->system_keys.n) return;
    heading(out, "System");
    for (size_t i = 0; i < p->system_keys.n; i++)
        add_pair(p->system_keys.items[i], p->system_values.items[i], keys, width, out);
}

static void texts(om_str *out, const char *head, const om_strlist *l, int width)
{
    for (size_t i = 0; i < l->n; i++) {
        om_str text = {0};
        om_str_addf(&text, "%s%s", head, l->items[i]);
        om_text_wrap(om_str_get(&text), 4, width ? width : 110, out);
        om_str_fini(&text);
    }
}

void om_findings_print(const om_findings *f, int width, om_str *out)
{
    heading(out, "What was found");
    for (size_t i = 0; i < f->n; i++) {
        om_str text = {0};
        om_str_addf(&text, "%s: %s", om_cause_name(f->items[i].cause), f->items[i].title);
        wrapped(out, om_str_get(&text), width);
        om_str_fini(&text);
        texts(out, "", &f->items[i].evidence, width);
        texts(out, "try: ", &f->items[i].advice, width);
    }
}

static const om_column change_columns[] = {
    {"what", false, 20, 0, true}, {"type", false, 8, 2},  {"before", true, 0, 0},
    {"after", true, 0, 0},        {"change", true, 0, 0}, {"times", true, 0, 1},
};

static void amount(om_table *t, double v)
{
    if (v < 0) om_table_cell(t, "%s", "-");
    else om_table_cell(t, "%.1f", v);
}

static int add_changes(const om_change *c, size_t n, int width, om_str *out)
{
    om_table t;
    om_table_init(&t, change_columns, sizeof change_columns / sizeof change_columns[0]);
    for (size_t i = 0; i < n; i++) {
        om_table_cell(&t, "%s", c[i].name);
        om_table_cell(&t, "%s", c[i].type);
        amount(&t, c[i].before);
        amount(&t, c[i].after);
        om_table_cell(&t, "%+.1f", (c[i].after < 0 ? 0 : c[i].after) - (c[i].before < 0 ? 0 : c[i].before));
        if (c[i].before > 0 && c[i].after > 0) om_table_cell(&t, "%.2fx", c[i].before / c[i].after);
        else om_table_cell(&t, "%s", c[i].before < 0 ? "new" : c[i].after < 0 ? "gone" : "");
    }
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static const char *system_value(const om_profile *p, const char *key)
{
    for (size_t i = 0; i < p->system_keys.n; i++)
        if (!strcmp(p->system_keys.items[i], key)) return p->system_values.items[i];
    return "not told";
}

/* What was not the same when the two were measured, but for what never is. */
static void add_differences(const om_profile *before, const om_profile *after, int width, om_str *out)
{
    static const char *const passing[] = {"time", "memory", "command"};
    bool any = false;
    for (size_t i = 0; i < before->system_keys.n; i++) {
        const char *key = before->system_keys.items[i], *now = system_value(after, key);
        bool differs = strcmp(before->system_values.items[i], now) != 0;
        for (size_t k = 0; k < sizeof passing / sizeof passing[0]; k++)
            differs = differs && strcmp(key, passing[k]);
        if (!differs) continue;
        om_str line = {0};
        if (!any) heading(out, "Measured on different systems");
        any = true;
        om_str_addf(&line, "%s: %s before, %s after", key, before->system_values.items[i], now);
        wrapped(out, om_str_get(&line), width);
        om_str_fini(&line);
    }
}

static void add_whole(const char *what, const char *unit, double before, double after, double times,
                      om_str *out)
{
    om_str_addf(out, "%s: %.1f%s before, %.1f%s after: %.2f times as fast\n", what, before, unit, after, unit,
                times);
}

int om_comparison_print(const om_profile *before, const om_profile *after, const om_comparison *c, size_t top,
                        int width, om_str *out)
{
    int err = OM_OK;
    if (before->latency_us > 0 && after->latency_us > 0)
        add_whole("an inference", " us", before->latency_us, after->latency_us,
                  before->latency_us / after->latency_us * after->batch /
                      (before->batch > 0 ? before->batch : 1),
                  out);
    if (c->fps_before > 0 && c->fps_after > 0)
        add_whole("the run", " frames a second", c->fps_before, c->fps_after, c->fps_after / c->fps_before,
                  out);
    if (c->n_layers) {
        heading(out, "Layers, us; the largest changes first");
        err = add_changes(c->layers, top && top < c->n_layers ? top : c->n_layers, width, out);
    }
    if (!err && c->n_stages) {
        heading(out, "Stages, ms a frame");
        err = add_changes(c->stages, c->n_stages, width, out);
    }
    add_differences(before, after, width, out);
    return err;
}

int om_put_text(const char *path, const om_str *text)
{
    if (text->failed) return om_fail_nomem("the report");
    if (strcmp(path, "-")) return om_write_file_atomic(path, om_str_get(text), text->len);
    fputs(om_str_get(text), stdout);
    return OM_OK;
}

static void add_what_ifs(const om_profile_files *files, om_json *j)
{
    if (!files->n_what_if) return;
    om_json_key(j, "what_if");
    om_json_begin_array(j);
    for (size_t i = 0; i < files->n_what_if; i++) {
        const om_what_if *w = &files->what_if[i];
        om_json_begin_object(j);
        om_json_key_string(j, "change", w->text);
        om_json_key_num(j, "images_s", w->fps_then, 4);
        om_json_key_num(j, "images_s_now", w->fps_now, 4);
        om_json_key_string(j, "why", w->why);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static int write_json(const om_profile *p, const om_findings *f, const om_profile_files *files)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 1);
    om_json_begin_object(&j);
    om_profile_json(p, &j);
    om_findings_json(f, &j);
    add_what_ifs(files, &j);
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    int err = om_put_text(files->json, &text);
    om_str_fini(&text);
    return err;
}

int om_profile_write(const om_profile *p, const om_findings *f, const om_profile_files *files)
{
    om_str text = {0};
    int err = files->json ? write_json(p, f, files) : OM_OK;
    if (!err && files->csv) {
        om_profile_csv(p, &text);
        err = om_put_text(files->csv, &text);
    }
    om_str_clear(&text);
    if (!err && files->html) {
        om_profile_html(p, f, &text);
        err = om_put_text(files->html, &text);
    }
    om_str_fini(&text);
    return err;
}
