/* omma model check: whether a model runs here, on what, and what to mind. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/model_tools.h"
#include "cli/table.h"
#include "cli/text.h"
#include "model/check.h"
#include "model/operators.h"

#define MAX_ENGINES 16
#define MAX_MISSING_SHOWN 8

typedef struct check_flags {
    char *device;
    om_strlist operators;
    bool quick, json;
} check_flags;

static const om_option flag_table[] = {
    {"device", 'd', OM_OPT_STRING, offsetof(check_flags, device), "auto", 0, 0, NULL, "DEVICE", "Options",
     "the device that decides the exit code"},
    {"operators", 0, OM_OPT_LIST, offsetof(check_flags, operators), NULL, 0, 0, NULL, "FILE.so", NULL,
     "operators of your own for the GPU (docs/operators.md); several are allowed, as in $OMMA_OPERATORS"},
    {"quick", 0, OM_OPT_BOOL, offsetof(check_flags, quick), "no", 0, 0, NULL, NULL, NULL,
     "only ask operator by operator, do not compile the model"},
    {"json", 0, OM_OPT_BOOL, offsetof(check_flags, json), "no", 0, 0, NULL, NULL, NULL, "as JSON"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

/* An operator that an engine lacks. */
typedef struct missing {
    int node;
    char *why;
    const char *falls_to; /* the engine that has it, or NULL */
} missing;

typedef struct engine_check {
    const om_backend_ops *ops;
    om_backend_device device;
    const char *engine_device; /* the engine's own name of it: behind ':' in device.id, or "CPU" */
    bool chosen;
    int supported;
    missing *lacks;
    size_t n_lacks, cap_lacks;
} engine_check;

typedef struct check {
    const char *path;
    om_graph *graph;
    om_model_desc *desc;
    om_model_facts facts;
    engine_check engines[MAX_ENGINES];
    int n_engines;
    om_strlist signatures; /* of each node */
    om_strlist warnings;
    char *failure; /* why it does not run on the chosen device; NULL: it does */
    char note[160];
} check;

static void check_fini(check *c)
{
    for (int i = 0; i < c->n_engines; i++) {
        for (size_t k = 0; k < c->engines[i].n_lacks; k++) om_free(c->engines[i].lacks[k].why);
        om_free(c->engines[i].lacks);
    }
    om_strlist_fini(&c->signatures);
    om_strlist_fini(&c->warnings);
    om_free(c->failure);
    om_model_desc_free(c->desc);
    om_graph_destroy(c->graph);
}

static int warn(check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int warn(check *c, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return om_strlist_add(&c->warnings, text);
}

static const char *node_name(const om_graph *g, const om_node *n)
{
    if (n->name && *n->name) return n->name;
    return n->n_outputs && n->outputs[0] >= 0 ? g->values[n->outputs[0]].name : "";
}

/* ---- engines ---- */

static int add_lack(engine_check *e, int node, const char *why)
{
    int err = om_grow((void **)&e->lacks, &e->cap_lacks, e->n_lacks + 1, sizeof *e->lacks);
    if (err) return err;
    char *copy = om_strdup(why ? why : "");
    if (!copy) return OM_ERR_NOMEM;
    e->lacks[e->n_lacks++] = (missing){node, copy, NULL};
    return OM_OK;
}

/* What an engine can judge a node by: operator, attributes, types and shapes. */
static void add_signature(const om_graph *g, const om_node *n, om_str *out)
{
    char shape[OM_SHAPE_TEXT];
    om_str_addf(out, "%s %s %d", n->domain, n->op, n->n_outputs);
    for (int i = 0; i < n->n_inputs; i++) {
        const om_value *v = n->inputs[i] < 0 ? NULL : &g->values[n->inputs[i]];
        if (v) om_shape_text(&v->shape, shape);
        om_str_addf(out, ";%s %s%s", v ? om_dtype_name(v->dtype) : "", v ? shape : "",
                    v && v->constant ? "!" : "");
    }
    for (int i = 0; i < n->n_attrs; i++) {
        const om_attr *a = &n->attrs[i];
        om_str_addf(out, ";%s %d %zu %g %lld %s", a->name, (int)a->type, a->n, (double)a->f, (long long)a->i,
                    a->s ? a->s : "");
        for (size_t k = 0; k < a->n && a->ints; k++) om_str_addf(out, ",%lld", (long long)a->ints[k]);
        for (size_t k = 0; k < a->n && a->tensors; k++)
            om_str_addf(out, ",%s", om_dtype_name(a->tensors[k]->dtype));
    }
}

/* The node before `node` that looks the same, or -1. */
static int find_twin(const check *c, int node)
{
    for (int i = 0; i < node; i++)
        if (!strcmp(c->signatures.items[i], c->signatures.items[node])) return i;
    return -1;
}

static int sign_nodes(check *c)
{
    int err = OM_OK;
    for (int i = 0; i < c->graph->n_nodes && !err; i++) {
        om_str text = {0};
        add_signature(c->graph, &c->graph->nodes[i], &text);
        err = text.failed ? OM_ERR_NOMEM : om_strlist_add(&c->signatures, om_str_get(&text));
        om_str_fini(&text);
    }
    return err;
}

/* Twins get one answer: asking costs milliseconds, and models have hundreds of nodes. */
static int ask_engine(check *c, engine_check *e)
{
    int err = OM_OK, n = c->graph->n_nodes;
    bool *has = om_calloc((size_t)n + 1, sizeof *has);
    if (!has) return OM_ERR_NOMEM;
    for (int i = 0; i < n && !err; i++) {
        const char *why = NULL;
        if (c->graph->nodes[i].dead) continue;
        int twin = find_twin(c, i);
        has[i] = twin >= 0 && has[twin]
                     ? true
                     : e->ops->supports(e->engine_device, c->graph, &c->graph->nodes[i], &why) > 0;
        if (has[i]) e->supported++;
        else err = add_lack(e, i, why);
    }
    om_free(has);
    return err;
}

static void find_fallbacks(check *c, engine_check *e)
{
    for (size_t i = 0; i < e->n_lacks; i++)
        for (int k = 0; k < c->n_engines && !e->lacks[i].falls_to; k++) {
            const char *why;
            const engine_check *other = &c->engines[k];
            if (other->ops == e->ops) continue;
            if (other->ops->supports(other->engine_device, c->graph, &c->graph->nodes[e->lacks[i].node],
                                     &why) > 0)
                e->lacks[i].falls_to = other->ops->name;
        }
}

/* "openvino:GPU.0" is the engine's device "GPU.0"; "cpu" is OpenVINO's "CPU". */
static const char *own_name(const char *id)
{
    const char *colon = strchr(id, ':');
    return colon ? colon + 1 : !strcmp(id, "cpu") ? "CPU" : NULL;
}

/* All engines that compute: the null backend would take anything. */
static void list_engines(check *c, const om_backend_ops *chosen, const char *device)
{
    for (const om_backend_ops *const *b = om_backend_list(); *b; b++) {
        om_backend_device found[8];
        int n = (*b)->devices(found, 8);
        if (!strcmp((*b)->name, "null") && *b != chosen) continue;
        bool any = false;
        for (int i = 0; i < n && i < 8 && c->n_engines < MAX_ENGINES; i++) {
            engine_check *e = &c->engines[c->n_engines++];
            *e = (engine_check){.ops = *b, .device = found[i]};
            e->engine_device = own_name(e->device.id);
            bool same = !device || (e->engine_device && !strcmp(e->engine_device, device));
            e->chosen = *b == chosen && same && !any;
            any = any || e->chosen;
        }
    }
}

static int ask_engines(check *c)
{
    int signing = sign_nodes(c);
    if (signing) return signing;
    for (int i = 0; i < c->n_engines; i++) {
        int err = ask_engine(c, &c->engines[i]);
        if (err) return err;
    }
    for (int i = 0; i < c->n_engines; i++) find_fallbacks(c, &c->engines[i]);
    return OM_OK;
}

/* ---- verdict ---- */

static int fail_with(check *c, const char *text)
{
    if (c->failure) return OM_OK;
    c->failure = om_strdup(text);
    return c->failure ? OM_OK : OM_ERR_NOMEM;
}

/* The last word: the engine's own compiler. */
static int try_compile(check *c, const engine_check *e)
{
    om_device *memory = NULL;
    om_plan *plan = NULL;
    om_error_clear();
    const om_shape *s = &c->desc->inputs[0].shape;
    int err = om_device_open(om_device_find(e->ops->name) ? e->ops->name : "cpu", &memory);
    om_compile_params p = {.graph = c->graph,
                           .desc = c->desc,
                           .device = e->engine_device,
                           .memory = memory,
                           .batch = s->rank == 4 && s->dim[0] > 0 ? (int)s->dim[0] : 1,
                           .width = c->desc->width,
                           .height = c->desc->height,
                           .mode = OM_MODE_THROUGHPUT};
    if (!err) err = om_plan_compile(e->ops, &p, &plan);
    if (!err) snprintf(c->note, sizeof c->note, "%s", plan->note);
    else if (err != OM_ERR_NOMEM) err = fail_with(c, om_error_message());
    om_plan_destroy(plan);
    if (memory) om_device_close(memory);
    return err;
}

static int judge_engine(check *c, const engine_check *e, bool quick)
{
    char text[400];
    size_t lost = 0, first = 0;
    for (size_t i = e->n_lacks; i-- > 0;)
        if (!e->lacks[i].falls_to) {
            lost++;
            first = i;
        }
    if (lost) {
        const om_node *n = &c->graph->nodes[e->lacks[first].node];
        snprintf(text, sizeof text,
                 "%s lacks %zu operator%s, first %.40s '%.100s', and no other engine here has %s",
                 e->ops->name, lost, lost == 1 ? "" : "s", n->op, node_name(c->graph, n),
                 lost == 1 ? "it" : "them");
        return fail_with(c, text);
    }
    if (c->desc->n_inputs != 1) {
        snprintf(text, sizeof text, "it has %d inputs; expected one, the picture", c->desc->n_inputs);
        return fail_with(c, text);
    }
    return quick ? OM_OK : try_compile(c, e);
}

static int judge(check *c, bool quick)
{
    for (int i = 0; i < c->n_engines; i++)
        if (c->engines[i].chosen) return judge_engine(c, &c->engines[i], quick);
    return fail_with(c, "there is no such device here: 'omma info' lists them");
}

static int note_facts(check *c)
{
    const om_model_facts *f = &c->facts;
    int err = OM_OK;
    if (c->desc->family == OM_FAMILY_UNKNOWN)
        err = warn(c, "no family is recognised (%s); 'run' and 'detect' want --head FAMILY",
                   c->desc->family_why ? c->desc->family_why : "");
    if (!err && f->n_external)
        err = warn(c, "%d tensors lie in files beside the model, which have to go where it goes",
                   f->n_external);
    if (!err && f->half_input) err = warn(c, "input '%s' takes 16-bit floats", f->half_input);
    if (!err && f->n_domains)
        err = warn(c, "operators of another domain than ONNX's: '%s'%s", f->domain,
                   f->n_domains > 1 ? ", ..." : "");
    if (!err && f->n_subgraphs)
        err = warn(c, "%d operators carry graphs of their own, which engines judge only as a whole",
                   f->n_subgraphs);
    return err;
}

/* ---- output ---- */

static void weights_text(const om_model_facts *f, om_str *out)
{
    for (int t = 1; t < 16; t++) {
        char n[32];
        if (!f->weights[t] || t == OM_DTYPE_STRING) continue;
        om_text_count((double)f->weights[t], n, sizeof n);
        om_str_addf(out, "%s%s %s", out->len ? ", " : "", n, om_dtype_name((om_dtype)t));
    }
    if (!out->len) om_str_add(out, "none");
}

static int print_engines(const check *c, int width, om_str *out)
{
    static const om_column columns[] = {{"engine", false, 0, 0},
                                        {"device", false, 8, 1},
                                        {"operators", false, 0, 0},
                                        {"falls back", false, 10, 0}};
    om_table t;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (int i = 0; i < c->n_engines; i++) {
        const engine_check *e = &c->engines[i];
        om_str lacks = {0};
        for (size_t k = 0; k < e->n_lacks && k < MAX_MISSING_SHOWN; k++)
            om_str_addf(&lacks, "%s%s to %s", k ? ", " : "", c->graph->nodes[e->lacks[k].node].op,
                        e->lacks[k].falls_to ? e->lacks[k].falls_to : "none");
        if (e->n_lacks > MAX_MISSING_SHOWN) om_str_addf(&lacks, ", %zu more", e->n_lacks - MAX_MISSING_SHOWN);
        om_table_cell(&t, "%s%s", e->ops->name, e->chosen ? " *" : "");
        om_table_cell(&t, "%s", e->device.id);
        om_table_cell(&t, "%d of %d", e->supported, c->facts.n_nodes);
        om_table_cell(&t, "%s", om_str_get(&lacks));
        om_str_fini(&lacks);
    }
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static int print_text(const check *c, int width, om_str *out)
{
    om_str weights = {0};
    char clean[700];
    weights_text(&c->facts, &weights);
    om_text_clean(c->path, clean, sizeof clean);
    om_str_addf(out, "%s: a valid model, opset %" PRId64 ", %d operators, weights %s\n", clean,
                c->facts.opset, c->facts.n_nodes, om_str_get(&weights));
    om_str_fini(&weights);
    om_str_addf(out, "family %s: ", om_family_name(c->desc->family));
    om_text_clean(c->desc->family_why ? c->desc->family_why : "", clean, sizeof clean);
    om_str_addf(out, "%s\n\n", clean);
    int err = print_engines(c, width, out);
    for (int i = 0; i < c->n_engines; i++)
        for (size_t k = 0; k < c->engines[i].n_lacks && k < MAX_MISSING_SHOWN; k++) {
            const missing *m = &c->engines[i].lacks[k];
            const om_node *n = &c->graph->nodes[m->node];
            char line[600];
            snprintf(line, sizeof line, "%s: %s '%s': %s", c->engines[i].ops->name, n->op,
                     node_name(c->graph, n), m->why);
            om_text_clean(line, clean, sizeof clean);
            om_str_addf(out, "%s\n", clean);
        }
    for (size_t i = 0; i < c->warnings.n; i++) {
        om_text_clean(c->warnings.items[i], clean, sizeof clean);
        om_str_addf(out, "note: %s\n", clean);
    }
    om_text_clean(c->failure ? c->failure : c->note, clean, sizeof clean);
    if (c->failure) om_str_addf(out, "does not run: %s\n", clean);
    else om_str_addf(out, "runs%s%s\n", *clean ? ": " : "", clean);
    return err;
}

static void json_engine(om_json *j, const check *c, const engine_check *e)
{
    om_json_begin_object(j);
    om_json_key_string(j, "engine", e->ops->name);
    om_json_key_string(j, "device", e->device.id);
    om_json_key(j, "chosen"), om_json_bool(j, e->chosen);
    om_json_key(j, "supported"), om_json_int(j, e->supported);
    om_json_key(j, "missing");
    om_json_begin_array(j);
    for (size_t i = 0; i < e->n_lacks; i++) {
        const om_node *n = &c->graph->nodes[e->lacks[i].node];
        om_json_begin_object(j);
        om_json_key_string(j, "operator", n->op);
        om_json_key_string(j, "name", node_name(c->graph, n));
        om_json_key_string(j, "why", e->lacks[i].why);
        om_json_key_string(j, "falls_back_to", e->lacks[i].falls_to);
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_end_object(j);
}

static void print_json(const check *c, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 2);
    om_json_begin_object(&j);
    om_json_key_string(&j, "file", c->path);
    om_json_key(&j, "runs"), om_json_bool(&j, !c->failure);
    om_json_key_string(&j, "failure", c->failure);
    om_json_key_string(&j, "plan", *c->note ? c->note : NULL);
    om_json_key(&j, "opset"), om_json_int(&j, c->facts.opset);
    om_json_key(&j, "operators"), om_json_int(&j, c->facts.n_nodes);
    om_json_key(&j, "external_tensors"), om_json_int(&j, c->facts.n_external);
    om_json_key_string(&j, "family", om_family_name(c->desc->family));
    om_json_key(&j, "weights");
    om_json_begin_object(&j);
    for (int t = 1; t < 16; t++)
        if (c->facts.weights[t])
            om_json_key(&j, om_dtype_name((om_dtype)t)), om_json_int(&j, c->facts.weights[t]);
    om_json_end_object(&j);
    om_json_key(&j, "engines");
    om_json_begin_array(&j);
    for (int i = 0; i < c->n_engines; i++) json_engine(&j, c, &c->engines[i]);
    om_json_end_array(&j);
    om_json_key(&j, "notes");
    om_json_begin_array(&j);
    for (size_t i = 0; i < c->warnings.n; i++) om_json_string(&j, c->warnings.items[i]);
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
}

static int check_model(const char *path, const check_flags *f, int *status)
{
    check c = {.path = path};
    om_str out = {0};
    const om_backend_ops *chosen;
    const char *device;
    int err = om_model_open(path, &c.graph);
    if (!err) err = om_model_describe(c.graph, &c.desc);
    if (!err) om_graph_facts(c.graph, &c.facts);
    if (!err) err = om_model_count_external(path, &c.facts.n_external);
    if (!err) err = om_backend_select(f->device, &chosen, &device);
    if (!err) list_engines(&c, chosen, device);
    if (!err) err = ask_engines(&c);
    if (!err) err = judge(&c, f->quick);
    if (!err) err = note_facts(&c);
    if (!err && f->json) print_json(&c, &out);
    else if (!err) err = print_text(&c, om_console_columns(stdout, 0), &out);
    if (!err && out.failed) err = om_fail_nomem("the check's result");
    if (!err) fputs(om_str_get(&out), stdout);
    if (!err && c.failure) *status = OM_EXIT_FAILED;
    om_str_fini(&out);
    check_fini(&c);
    return err;
}

static int run(const om_args *args, int *status)
{
    check_flags f;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a MODEL.onnx");
    if (!err) err = om_operators_load_list(&f.operators);
    if (!err) err = check_model(args->positional[0], &f, status);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_check = {
    .name = "model check",
    .summary = "whether a model runs here, on what, and what to mind",
    .usage = "MODEL.onnx [--device DEVICE] [--json]",
    .about =
        "Checks the file, asks every engine for every operator, says what an engine lacks and which other has it, and "
        "compiles the model on the chosen device. Exit code 0: it runs there; 1: it does not.",
    .examples = "omma model check yolov8n.onnx\nomma model check yolov8n.onnx --device openvino:CPU --quick",
    .tables = tables,
    .run = run,
};
