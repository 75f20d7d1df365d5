/* omma model inspect: what a model is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/model_tools.h"
#include "cli/table.h"
#include "cli/text.h"

typedef struct inspect_flags {
    bool layers, json;
    om_size size;
} inspect_flags;

static const om_option flag_table[] = {
    {"layers", 0, OM_OPT_BOOL, offsetof(inspect_flags, layers), "no", 0, 0, NULL, NULL, "Options",
     "a table of all layers with shapes, multiply-accumulates and parameters"},
    {"size", 0, OM_OPT_SIZE, offsetof(inspect_flags, size), NULL, 0, 0, NULL, NULL, NULL,
     "count at this input size, where the model's is dynamic; default: its preferred one"},
    {"json", 0, OM_OPT_BOOL, offsetof(inspect_flags, json), "no", 0, 0, NULL, NULL, NULL, "as JSON"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

typedef struct operator_count {
    const char *op;
    int n;
} operator_count;

typedef struct inspection {
    const char *path;
    om_graph *graph; /* with the shapes of one picture of width x height */
    om_model_desc *desc;
    int width, height;
    operator_count *ops; /* most frequent first */
    size_t n_ops;
} inspection;

static int by_count(const void *a, const void *b)
{
    const operator_count *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->op, y->op);
}

static int count_operators(inspection *in)
{
    in->ops = om_calloc((size_t)in->graph->n_nodes + 1, sizeof *in->ops);
    if (!in->ops) return OM_ERR_NOMEM;
    for (int i = 0; i < in->graph->n_nodes; i++) {
        const om_node *n = &in->graph->nodes[i];
        size_t k = 0;
        if (n->dead) continue;
        while (k < in->n_ops && strcmp(in->ops[k].op, n->op)) k++;
        in->ops[k].op = n->op;
        in->ops[k].n++;
        if (k == in->n_ops) in->n_ops++;
    }
    qsort(in->ops, in->n_ops, sizeof *in->ops, by_count);
    return OM_OK;
}

/* Gives the picture input one picture of the wished size, so that every layer's cost is known. */
static int set_size(inspection *in, om_size size)
{
    const om_model_desc *d = in->desc;
    om_graph *g = in->graph;
    in->width = d->width;
    in->height = d->height;
    if (size.width && !d->dynamic_size && (size.width != d->width || size.height != d->height))
        return om_fail(OM_ERR_ARG, "%s takes %dx%d only: make its size dynamic with 'omma model batch'",
                       in->path, d->width, d->height);
    if (size.width) in->width = size.width, in->height = size.height;
    if (g->n_inputs < 1) return OM_OK;
    om_shape shape = g->values[g->inputs[0]].shape;
    if (shape.rank != 4 || (!d->dynamic_batch && !d->dynamic_size)) return OM_OK;
    int y = d->prep.layout == OM_LAYOUT_NCHW ? 2 : 1;
    shape.dim[y] = in->height;
    shape.dim[y + 1] = in->width;
    if (d->dynamic_batch || shape.dim[0] < 1) shape.dim[0] = 1;
    int err = om_graph_set_input_shape(g, 0, &shape);
    return err ? err : om_graph_infer_shapes(g);
}

static void add_specs(const om_tensor_spec *specs, int n, const char *head, om_str *out)
{
    char shape[OM_SHAPE_TEXT], line[512];
    for (int i = 0; i < n; i++) {
        char clean[512];
        om_shape_text(&specs[i].shape, shape);
        snprintf(line, sizeof line, "%s  %s %s", specs[i].name, om_dtype_name(specs[i].dtype), shape);
        om_text_clean(line, clean, sizeof clean);
        om_str_addf(out, "%-11s%s\n", i ? "" : head, clean);
    }
}

static void add_line(om_str *out, const char *head, const char *text, int width)
{
    char clean[2048];
    om_str wrapped = {0};
    om_text_clean(text, clean, sizeof clean);
    if (!*clean) return;
    om_text_wrap(clean, 11, width, &wrapped);
    om_str_addf(out, "%-11s%s", head, wrapped.failed ? "\n" : wrapped.data + 11);
    om_str_fini(&wrapped);
}

static void add_labels(const om_model_desc *d, int width, om_str *out)
{
    om_str text = {0};
    if (!d->n_labels) om_str_addf(&text, d->n_classes ? "%d classes without names" : "none", d->n_classes);
    else om_str_addf(&text, "%d: ", d->n_labels);
    for (int i = 0; i < d->n_labels && i < 12; i++) om_str_addf(&text, "%s%s", i ? ", " : "", d->labels[i]);
    if (d->n_labels > 12) om_str_add(&text, ", …");
    add_line(out, "classes", om_str_get(&text), width);
    om_str_fini(&text);
}

static void add_cost(const inspection *in, int width, om_str *out)
{
    char text[160], macs[32] = "unknown", params[32];
    int64_t m = om_graph_macs(in->graph);
    if (m >= 0) om_text_count((double)m, macs, sizeof macs);
    om_text_count((double)om_graph_params(in->graph), params, sizeof params);
    snprintf(text, sizeof text, "%s parameters, %s multiply-accumulates a picture of %dx%d", params, macs,
             in->width, in->height);
    add_line(out, "cost", text, width);
}

static void add_input_rules(const om_model_desc *d, int width, om_str *out)
{
    char text[160];
    snprintf(text, sizeof text, "%dx%d%s, batch %s", d->width, d->height,
             d->native_size    ? " (takes pictures at their own size)"
             : d->dynamic_size ? " preferred, dynamic"
                               : ", fixed",
             d->dynamic_batch ? "dynamic" : "fixed");
    add_line(out, "size", text, width);
}

static void print_text(const inspection *in, int width, om_str *out)
{
    const om_graph *g = in->graph;
    const om_model_desc *d = in->desc;
    char text[512];
    snprintf(text, sizeof text, "%s%s%s", g->name ? g->name : "",
             g->producer && *g->producer ? ", made by " : "", g->producer && *g->producer ? g->producer : "");
    add_line(out, "model", *text ? text : in->path, width);
    om_str opsets = {0};
    for (int i = 0; i < g->n_opsets; i++)
        om_str_addf(&opsets, "%s%s %lld", i ? ", " : "", *g->opsets[i].domain ? g->opsets[i].domain : "onnx",
                    (long long)g->opsets[i].version);
    add_line(out, "opsets", om_str_get(&opsets), width);
    om_str_fini(&opsets);
    snprintf(text, sizeof text, "%s: %s", om_family_name(d->family), d->family_why ? d->family_why : "");
    add_line(out, "family", text, width);
    add_specs(d->inputs, d->n_inputs, "inputs", out);
    add_specs(d->outputs, d->n_outputs, "outputs", out);
    add_input_rules(d, width, out);
    add_labels(d, width, out);
    add_cost(in, width, out);
    om_str ops = {0};
    for (size_t i = 0; i < in->n_ops; i++)
        om_str_addf(&ops, "%s%s %d", i ? ", " : "", in->ops[i].op, in->ops[i].n);
    add_line(out, "operators", om_str_get(&ops), width);
    om_str_fini(&ops);
}

/* Parameters among this node's own inputs. */
static int64_t node_params(const om_graph *g, const om_node *n)
{
    int64_t sum = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        const om_const *c = n->inputs[i] < 0 ? NULL : g->values[n->inputs[i]].constant;
        if (c && c->dtype == OM_DTYPE_F32) sum += om_shape_count(&c->shape);
    }
    return sum;
}

/* Its own name, or its output's where the export gave it none. */
static const char *layer_name(const om_graph *g, const om_node *n)
{
    if (n->name && *n->name) return n->name;
    return n->n_outputs && n->outputs[0] >= 0 ? g->values[n->outputs[0]].name : "";
}

static const char *out_shape(const om_graph *g, const om_node *n, char text[OM_SHAPE_TEXT])
{
    snprintf(text, OM_SHAPE_TEXT, "?");
    if (n->n_outputs && n->outputs[0] >= 0 && g->values[n->outputs[0]].shape.rank >= 0)
        om_shape_text(&g->values[n->outputs[0]].shape, text);
    return text;
}

static int print_layers(const inspection *in, int width, om_str *out)
{
    static const om_column columns[] = {{"", true, 0, 2},          {"layer", false, 12, 0},
                                        {"operator", false, 0, 0}, {"output", false, 0, 0},
                                        {"MACs", true, 0, 0},      {"parameters", true, 0, 1}};
    om_table t;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (int i = 0; i < in->graph->n_nodes; i++) {
        const om_node *n = &in->graph->nodes[i];
        char shape[OM_SHAPE_TEXT], macs[32] = "?", params[32];
        if (n->dead) continue;
        int64_t m = om_node_macs(in->graph, n), p = node_params(in->graph, n);
        if (m >= 0) om_text_count((double)m, macs, sizeof macs);
        om_text_count((double)p, params, sizeof params);
        om_table_cell(&t, "%d", i);
        om_table_cell(&t, "%s", layer_name(in->graph, n));
        om_table_cell(&t, "%s", n->op);
        om_table_cell(&t, "%s", out_shape(in->graph, n, shape));
        om_table_cell(&t, "%s", m ? macs : "");
        om_table_cell(&t, "%s", p ? params : "");
    }
    om_str_addc(out, '\n');
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static void key_int(om_json *j, const char *key, int64_t v)
{
    om_json_key(j, key);
    if (v < 0) om_json_null(j);
    else om_json_int(j, v);
}

static void json_shape(om_json *j, const char *key, const om_shape *s)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0) om_json_null(j);
        else om_json_int(j, s->dim[i]);
    om_json_end_array(j);
}

static void json_specs(om_json *j, const char *key, const om_tensor_spec *specs, int n)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (int i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key_string(j, "name", specs[i].name);
        om_json_key_string(j, "type", om_dtype_name(specs[i].dtype));
        json_shape(j, "shape", &specs[i].shape);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void json_layers(om_json *j, const om_graph *g)
{
    om_json_key(j, "layers");
    om_json_begin_array(j);
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        static const om_shape none = {.rank = 0};
        if (n->dead) continue;
        om_json_begin_object(j);
        om_json_key_string(j, "name", layer_name(g, n));
        om_json_key_string(j, "operator", n->op);
        json_shape(j, "output", n->n_outputs && n->outputs[0] >= 0 ? &g->values[n->outputs[0]].shape : &none);
        key_int(j, "macs", om_node_macs(g, n));
        key_int(j, "parameters", node_params(g, n));
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void print_json(const inspection *in, bool layers, om_str *out)
{
    const om_model_desc *d = in->desc;
    om_json j;
    om_json_init(&j, out, 2);
    om_json_begin_object(&j);
    om_json_key_string(&j, "file", in->path);
    om_json_key_string(&j, "name", in->graph->name);
    om_json_key_string(&j, "producer", in->graph->producer);
    om_json_key(&j, "opsets");
    om_json_begin_object(&j);
    for (int i = 0; i < in->graph->n_opsets; i++)
        key_int(&j, in->graph->opsets[i].domain, in->graph->opsets[i].version);
    om_json_end_object(&j);
    om_json_key_string(&j, "family", om_family_name(d->family));
    om_json_key_string(&j, "why", d->family_why);
    json_specs(&j, "inputs", d->inputs, d->n_inputs);
    json_specs(&j, "outputs", d->outputs, d->n_outputs);
    key_int(&j, "width", in->width);
    key_int(&j, "height", in->height);
    om_json_key(&j, "dynamic_batch");
    om_json_bool(&j, d->dynamic_batch);
    om_json_key(&j, "dynamic_size");
    om_json_bool(&j, d->dynamic_size);
    key_int(&j, "classes", d->n_classes);
    om_json_key(&j, "labels");
    om_json_begin_array(&j);
    for (int i = 0; i < d->n_labels; i++) om_json_string(&j, d->labels[i]);
    om_json_end_array(&j);
    key_int(&j, "parameters", om_graph_params(in->graph));
    key_int(&j, "macs", om_graph_macs(in->graph));
    om_json_key(&j, "operators");
    om_json_begin_object(&j);
    for (size_t i = 0; i < in->n_ops; i++) key_int(&j, in->ops[i].op, in->ops[i].n);
    om_json_end_object(&j);
    if (layers) json_layers(&j, in->graph);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
}

static int inspect(const char *path, const inspect_flags *f)
{
    inspection in = {.path = path};
    om_str out = {0};
    int columns = om_console_columns(stdout, 0);
    int err = om_model_open(path, &in.graph);
    if (!err) err = om_model_describe(in.graph, &in.desc);
    if (!err) err = set_size(&in, f->size);
    if (!err) err = count_operators(&in);
    if (!err && f->json) print_json(&in, f->layers, &out);
    else if (!err) print_text(&in, columns && columns < 110 ? columns : 110, &out);
    if (!err && f->layers && !f->json) err = print_layers(&in, columns, &out);
    if (!err) fputs(om_str_get(&out), stdout);
    om_str_fini(&out);
    om_free(in.ops);
    om_model_desc_free(in.desc);
    om_graph_destroy(in.graph);
    return err;
}

static int run(const om_args *args, int *status)
{
    inspect_flags f;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a MODEL.onnx");
    return err ? err : inspect(args->positional[0], &f);
}

const om_command om_cmd_model_inspect = {
    .name = "model inspect",
    .summary = "layers, shapes, parameters, multiply-accumulates, family",
    .usage = "MODEL.onnx [--layers] [--json]",
    .about =
        "Shows what a model is: where it comes from, what goes in and out, which family it belongs to and how that was "
        "recognised, its classes, and what a picture costs.",
    .examples = "omma model inspect yolov8n.onnx\nomma model inspect yolov8n.onnx --layers",
    .tables = tables,
    .run = run,
};
