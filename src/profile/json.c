/* A profile as JSON, there and back. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/profile.h"

#define MAX_FILE (256u << 20)

static void share_json(om_json *j, const char *key, double v)
{
    if (v >= 0) om_json_key_num(j, key, v, 4);
}

static void counters_json(const om_counters *c, om_json *j)
{
    om_json_key(j, "counters");
    om_json_begin_object(j);
    om_json_key_int(j, "kernels", c->kernels);
    om_json_key_num(j, "us", c->us, 4);
    share_json(j, "occupancy", c->occupancy);
    share_json(j, "l2_hits", c->l2_hits);
    share_json(j, "dram_gbytes_s", c->dram_gbs);
    share_json(j, "dram_busy", c->dram_busy);
    share_json(j, "sm_busy", c->sm_busy);
    om_json_end_object(j);
}

static void layer_json(const om_profile *p, const om_layer *l, om_json *j)
{
    om_json_begin_object(j);
    om_json_key_string(j, "name", l->name);
    om_json_key_string(j, "type", l->type);
    om_json_key_string(j, "engine_type", l->engine_type);
    om_json_key_string(j, "implementation", l->exec);
    om_json_key_string(j, "precision", l->precision);
    om_json_key_string(j, "shape", l->shape);
    om_json_key_num(j, "us", l->us, 4);
    om_json_key_num(j, "percent", p->layers_us > 0 ? 100 * l->us / p->layers_us : 0, 4);
    om_json_key_num(j, "least_us", l->least_us, 4);
    om_json_key_num(j, "most_us", l->most_us, 4);
    om_json_key_int(j, "macs", l->macs);
    om_json_key_int(j, "bytes", l->bytes);
    om_json_key_num(j, "gflops", l->gflops, 4);
    om_json_key_num(j, "gbytes_s", l->gbs, 4);
    om_json_key_num(j, "reach", l->reach, 4);
    om_json_key_string(j, "bound", om_roof_name(l->roof));
    om_json_key(j, "inserted");
    om_json_bool(j, l->inserted);
    om_json_key_texts(j, "operators", &l->members);
    if (l->counters.kernels) counters_json(&l->counters, j);
    om_json_end_object(j);
}

static void types_json(const om_profile *p, om_json *j)
{
    om_type_sum sums[64];
    size_t n = om_profile_types(p, sums, 64);
    om_json_key(j, "types");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key_string(j, "type", sums[i].type);
        om_json_key_int(j, "layers", (int64_t)sums[i].count);
        om_json_key_num(j, "us", sums[i].us, 4);
        om_json_key_num(j, "percent", p->layers_us > 0 ? 100 * sums[i].us / p->layers_us : 0, 4);
        om_json_key_int(j, "macs", sums[i].macs);
        om_json_key_int(j, "bytes", sums[i].bytes);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void fusions_json(const om_profile *p, om_json *j)
{
    om_json_key(j, "fusions");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->n_fusions; i++) {
        const om_fusion *f = &p->fusions[i];
        om_json_begin_object(j);
        om_json_key_string(j, "pattern", f->pattern);
        om_json_key_string(j, "where", f->where);
        om_json_key(j, "fused");
        om_json_bool(j, f->state == OM_FUSION_DONE);
        if (f->why) om_json_key_string(j, "why", f->why);
        if (f->us > 0) om_json_key_num(j, "us", f->us, 4);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void peaks_json(const om_peaks *p, om_json *j)
{
    om_json_key(j, "peaks");
    om_json_begin_object(j);
    om_json_key_string(j, "cpu", p->cpu);
    om_json_key_int(j, "threads", p->threads);
    om_json_key_num(j, "f32_gflops", p->f32_gflops, 4);
    om_json_key_num(j, "bf16_gflops", p->bf16_gflops, 4);
    om_json_key_num(j, "int8_gops", p->int8_gops, 4);
    om_json_key_num(j, "memory_gbs", p->memory_gbs, 4);
    om_json_key_num(j, "cache_gbs", p->cache_gbs, 4);
    if (!p->threads) { /* a GPU's */
        om_json_key_num(j, "f16_gflops", p->f16_gflops, 4);
        om_json_key_num(j, "tf32_gflops", p->tf32_gflops, 4);
        om_json_key_num(j, "to_device_gbs", p->to_device_gbs, 4);
        om_json_key_num(j, "to_host_gbs", p->to_host_gbs, 4);
    }
    om_json_end_object(j);
}

/* A parsed value, written again. */
static void value_json(const om_json_value *v, om_json *j)
{
    switch (v->type) {
    case OM_JSON_NULL: om_json_null(j); break;
    case OM_JSON_BOOL: om_json_bool(j, v->boolean); break;
    case OM_JSON_NUM: om_json_num(j, v->num, 4); break;
    case OM_JSON_STR: om_json_string(j, v->str); break;
    case OM_JSON_ARR:
        om_json_begin_array(j);
        for (size_t i = 0; i < v->n; i++) value_json(&v->children[i], j);
        om_json_end_array(j);
        break;
    case OM_JSON_OBJ:
        om_json_begin_object(j);
        for (size_t i = 0; i < v->n; i++) {
            om_json_key(j, v->keys[i]);
            value_json(&v->children[i], j);
        }
        om_json_end_object(j);
        break;
    }
}

static void totals_json(const om_profile *p, om_json *j)
{
    int64_t macs = 0, bytes = 0;
    for (size_t i = 0; i < p->n_layers; i++) {
        macs += p->layers[i].macs;
        bytes += p->layers[i].bytes;
    }
    om_json_key(j, "totals");
    om_json_begin_object(j);
    om_json_key_int(j, "layers", (int64_t)p->n_layers);
    om_json_key_num(j, "layers_us", p->layers_us, 4);
    om_json_key_num(j, "latency_us", p->latency_us, 4);
    om_json_key_num(j, "profiled_us", p->profiled_us, 4);
    if (p->int8_us > 0) om_json_key_num(j, "int8_latency_us", p->int8_us, 4);
    if (p->gap) om_json_key_string(j, "gap", p->gap);
    om_json_key_num(j, "images_s", p->latency_us > 0 ? 1e6 * p->batch / p->latency_us : 0, 4);
    om_json_key_int(j, "macs", macs);
    om_json_key_int(j, "bytes", bytes);
    om_json_key_int(j, "parameters", p->parameters);
    om_json_key(j, "transfers");
    om_json_begin_object(j);
    om_json_key(j, "in_place");
    om_json_bool(j, p->in_place);
    om_json_key_int(j, "input_bytes", p->input_bytes);
    om_json_key_int(j, "output_bytes", p->output_bytes);
    om_json_key_num(j, "to_device_us", p->to_device_us, 4);
    om_json_key_num(j, "to_host_us", p->to_host_us, 4);
    om_json_end_object(j);
    om_json_end_object(j);
}

void om_profile_system_json(const char *key, const om_profile *p, om_json *j)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    for (size_t i = 0; i < p->system_keys.n; i++)
        om_json_key_string(j, p->system_keys.items[i], p->system_values.items[i]);
    om_json_end_object(j);
}

void om_profile_json(const om_profile *p, om_json *j)
{
    om_json_key_int(j, "profile", OM_PROFILE_VERSION);
    om_profile_system_json("system", p, j);
    if (p->n_layers) {
        om_json_key_string(j, "model", p->model);
        om_json_key_string(j, "device", p->device);
        om_json_key_string(j, "engine", p->engine);
        om_json_key_string(j, "engine_version", p->engine_version);
        om_json_key_string(j, "precision", p->requested);
        om_json_key_int(j, "batch", p->batch);
        om_json_key_int(j, "width", p->width);
        om_json_key_int(j, "height", p->height);
        om_json_key_int(j, "threads", p->threads);
        om_json_key_int(j, "iterations", p->iterations);
        om_json_key_int(j, "rounds", p->rounds);
        if (p->counted_by[0]) om_json_key_string(j, "counted_by", p->counted_by);
        peaks_json(&p->peaks, j);
        totals_json(p, j);
        om_json_key(j, "layers");
        om_json_begin_array(j);
        for (size_t i = 0; i < p->n_layers; i++) layer_json(p, &p->layers[i], j);
        om_json_end_array(j);
        types_json(p, j);
        fusions_json(p, j);
        om_json_key_texts(j, "notes", &p->notes);
    }
    if (p->run) {
        om_json_key(j, "run");
        value_json(p->run, j);
    }
}

/* Reading: members that are not there stay zero; wrong types are refused by name. */
typedef struct reader {
    const char *path;
    int err;
} reader;

static const om_json_value *member(reader *r, const om_json_value *o, const char *key, om_json_type type)
{
    const om_json_value *v = o && o->type == OM_JSON_OBJ ? om_json_get(o, key) : NULL;
    if (!v || v->type == OM_JSON_NULL || v->type == type) return v && v->type == type ? v : NULL;
    if (!r->err) r->err = om_fail(OM_ERR_FORMAT, "%s: '%s' has the wrong type", r->path, key);
    return NULL;
}

static double get_num(reader *r, const om_json_value *o, const char *key)
{
    const om_json_value *v = member(r, o, key, OM_JSON_NUM);
    return v ? v->num : 0;
}

static int64_t get_count(reader *r, const om_json_value *o, const char *key)
{
    double v = get_num(r, o, key);
    return v > -9e15 && v < 9e15 ? (int64_t)v : 0;
}

static void get_text(reader *r, const om_json_value *o, const char *key, char **out)
{
    const om_json_value *v = member(r, o, key, OM_JSON_STR);
    *out = om_strdup(v ? v->str : "");
    if (!*out && !r->err) r->err = OM_ERR_NOMEM;
}

static void get_chars(reader *r, const om_json_value *o, const char *key, char *out, size_t size)
{
    const om_json_value *v = member(r, o, key, OM_JSON_STR);
    size_t n = v ? strlen(v->str) : 0;
    if (n >= size) n = size - 1;
    if (v) memcpy(out, v->str, n);
    out[n] = '\0';
}

static void get_texts(reader *r, const om_json_value *o, const char *key, om_strlist *out)
{
    const om_json_value *v = member(r, o, key, OM_JSON_ARR);
    for (size_t i = 0; v && i < v->n && !r->err; i++)
        if (v->children[i].type == OM_JSON_STR) r->err = om_strlist_add(out, v->children[i].str);
}

static double get_share(reader *r, const om_json_value *o, const char *key)
{
    const om_json_value *v = member(r, o, key, OM_JSON_NUM);
    return v ? v->num : -1;
}

static void read_counters(reader *r, const om_json_value *o, om_counters *c)
{
    if (!o) return;
    *c = (om_counters){.kernels = (int)get_count(r, o, "kernels"),
                       .us = get_num(r, o, "us"),
                       .occupancy = get_share(r, o, "occupancy"),
                       .l2_hits = get_share(r, o, "l2_hits"),
                       .dram_gbs = get_share(r, o, "dram_gbytes_s"),
                       .dram_busy = get_share(r, o, "dram_busy"),
                       .sm_busy = get_share(r, o, "sm_busy")};
}

static void read_layer(reader *r, const om_json_value *v, om_layer *l)
{
    char bound[16];
    l->step = -1;
    get_text(r, v, "name", &l->name);
    get_text(r, v, "type", &l->type);
    get_chars(r, v, "engine_type", l->engine_type, sizeof l->engine_type);
    get_chars(r, v, "implementation", l->exec, sizeof l->exec);
    get_chars(r, v, "precision", l->precision, sizeof l->precision);
    get_chars(r, v, "shape", l->shape, sizeof l->shape);
    get_chars(r, v, "bound", bound, sizeof bound);
    for (int i = OM_ROOF_COMPUTE; i <= OM_ROOF_OVERHEAD; i++)
        if (!strcmp(bound, om_roof_name((om_roof)i))) l->roof = (om_roof)i;
    l->us = get_num(r, v, "us");
    l->least_us = get_num(r, v, "least_us");
    l->most_us = get_num(r, v, "most_us");
    l->macs = get_count(r, v, "macs");
    l->bytes = get_count(r, v, "bytes");
    l->gflops = get_num(r, v, "gflops");
    l->gbs = get_num(r, v, "gbytes_s");
    l->reach = get_num(r, v, "reach");
    const om_json_value *inserted = member(r, v, "inserted", OM_JSON_BOOL);
    l->inserted = inserted && inserted->boolean;
    get_texts(r, v, "operators", &l->members);
    read_counters(r, member(r, v, "counters", OM_JSON_OBJ), &l->counters);
}

static void read_layers(reader *r, const om_json_value *root, om_profile *p)
{
    const om_json_value *v = member(r, root, "layers", OM_JSON_ARR);
    if (!v || !v->n) return;
    p->layers = om_calloc(v->n, sizeof *p->layers);
    if (!p->layers) r->err = OM_ERR_NOMEM;
    for (; p->layers && p->n_layers < v->n && !r->err; p->n_layers++)
        read_layer(r, &v->children[p->n_layers], &p->layers[p->n_layers]);
}

static const char *known_pattern(const char *text)
{
    static const char *const names[] = {"Conv+BatchNorm",      "Conv+Activation",     "Conv+Add",
                                        "Depthwise+Pointwise", "Pointwise+Depthwise", "QDQ island"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(text, names[i])) return names[i];
    return "other";
}

static void read_fusions(reader *r, const om_json_value *root, om_profile *p)
{
    const om_json_value *v = member(r, root, "fusions", OM_JSON_ARR);
    if (!v || !v->n) return;
    p->fusions = om_calloc(v->n, sizeof *p->fusions);
    if (!p->fusions) r->err = OM_ERR_NOMEM;
    for (; p->fusions && p->n_fusions < v->n && !r->err; p->n_fusions++) {
        om_fusion *f = &p->fusions[p->n_fusions];
        const om_json_value *from = &v->children[p->n_fusions],
                            *fused = member(r, from, "fused", OM_JSON_BOOL);
        char pattern[32];
        get_chars(r, from, "pattern", pattern, sizeof pattern);
        f->pattern = known_pattern(pattern);
        f->state = fused && fused->boolean ? OM_FUSION_DONE : OM_FUSION_OPEN;
        f->us = get_num(r, from, "us");
        get_text(r, from, "where", &f->where);
        get_text(r, from, "why", &f->why);
    }
}

static void read_head(reader *r, const om_json_value *root, om_profile *p)
{
    get_text(r, root, "model", &p->model);
    get_text(r, root, "device", &p->device);
    get_text(r, root, "engine", &p->engine);
    get_text(r, root, "engine_version", &p->engine_version);
    get_text(r, root, "precision", &p->requested);
    p->batch = (int)get_count(r, root, "batch");
    p->width = (int)get_count(r, root, "width");
    p->height = (int)get_count(r, root, "height");
    p->threads = (int)get_count(r, root, "threads");
    p->iterations = (int)get_count(r, root, "iterations");
    p->rounds = (int)get_count(r, root, "rounds");
    get_chars(r, root, "counted_by", p->counted_by, sizeof p->counted_by);
    const om_json_value *peaks = member(r, root, "peaks", OM_JSON_OBJ);
    get_chars(r, peaks, "cpu", p->peaks.cpu, sizeof p->peaks.cpu);
    p->peaks.threads = (int)get_count(r, peaks, "threads");
    p->peaks.f32_gflops = get_num(r, peaks, "f32_gflops");
    p->peaks.bf16_gflops = get_num(r, peaks, "bf16_gflops");
    p->peaks.int8_gops = get_num(r, peaks, "int8_gops");
    p->peaks.memory_gbs = get_num(r, peaks, "memory_gbs");
    p->peaks.cache_gbs = get_num(r, peaks, "cache_gbs");
    p->peaks.f16_gflops = get_num(r, peaks, "f16_gflops");
    p->peaks.tf32_gflops = get_num(r, peaks, "tf32_gflops");
    p->peaks.to_device_gbs = get_num(r, peaks, "to_device_gbs");
    p->peaks.to_host_gbs = get_num(r, peaks, "to_host_gbs");
    const om_json_value *totals = member(r, root, "totals", OM_JSON_OBJ);
    p->layers_us = get_num(r, totals, "layers_us");
    p->latency_us = get_num(r, totals, "latency_us");
    p->profiled_us = get_num(r, totals, "profiled_us");
    p->int8_us = get_num(r, totals, "int8_latency_us");
    p->parameters = get_count(r, totals, "parameters");
    const om_json_value *moved = member(r, totals, "transfers", OM_JSON_OBJ);
    const om_json_value *in_place = member(r, moved, "in_place", OM_JSON_BOOL);
    p->in_place = !in_place || in_place->boolean;
    p->input_bytes = get_count(r, moved, "input_bytes");
    p->output_bytes = get_count(r, moved, "output_bytes");
    p->to_device_us = get_num(r, moved, "to_device_us");
    p->to_host_us = get_num(r, moved, "to_host_us");
    const om_json_value *gap = member(r, totals, "gap", OM_JSON_STR);
    if (gap && !(p->gap = om_strdup(gap->str)) && !r->err) r->err = OM_ERR_NOMEM;
    const om_json_value *system = member(r, root, "system", OM_JSON_OBJ);
    for (size_t i = 0; system && i < system->n && !r->err; i++) {
        if (system->children[i].type != OM_JSON_STR) continue;
        r->err = om_strlist_add(&p->system_keys, system->keys[i]);
        if (!r->err) r->err = om_strlist_add(&p->system_values, system->children[i].str);
    }
}

/* Takes a member out of its object, so that it outlives it. */
static om_json_value *detach(const om_json_value *root, const char *key)
{
    om_json_value *found = (om_json_value *)om_json_get(root, key);
    om_json_value *own = found && found->type == OM_JSON_OBJ ? om_calloc(1, sizeof *own) : NULL;
    if (!own) return NULL;
    *own = *found;
    memset(found, 0, sizeof *found);
    return own;
}

int om_profile_take_run(om_profile *p, om_json_value *from, const char *key)
{
    om_json_value *run = detach(from, key);
    if (!run) return om_fail(OM_ERR_NOT_FOUND, "there is no account of the run in '%s'", key);
    om_json_free(p->run);
    p->run = run;
    return OM_OK;
}

int om_profile_load(const char *path, om_profile *p)
{
    reader r = {.path = path};
    char *bytes = NULL;
    size_t len;
    om_json_value *root = NULL;
    memset(p, 0, sizeof *p);
    r.err = om_read_file(path, MAX_FILE, &bytes, &len);
    if (!r.err) {
        r.err = om_json_parse(bytes, len, &root);
        if (r.err) om_fail_prefix(r.err, "%s", path);
    }
    if (!r.err && (root->type != OM_JSON_OBJ || get_count(&r, root, "profile") != OM_PROFILE_VERSION))
        r.err = om_fail(OM_ERR_FORMAT, "%s: not a profile of omma (its 'profile' is not %d)", path,
                        OM_PROFILE_VERSION);
    if (!r.err) read_head(&r, root, p);
    if (!r.err) read_layers(&r, root, p);
    if (!r.err && p->n_layers && (p->batch < 1 || !(p->latency_us > 0)))
        r.err = om_fail(OM_ERR_FORMAT, "%s: has layers, but '%s' is not above 0", path,
                        p->batch < 1 ? "batch" : "totals.latency_us");
    if (!r.err) read_fusions(&r, root, p);
    if (!r.err) get_texts(&r, root, "notes", &p->notes);
    if (!r.err) p->run = detach(root, "run");
    om_json_free(root);
    om_free(bytes);
    return r.err;
}
