/* An ONNX file to a graph. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/model.h"
#include "model/onnx_io.h"
#include "model/operators.h"
#include "model/wire.h"

#define MAX_FILE 2147483647u
/* More than any real model has; lists of these are searched from end to end. */
#define MAX_ATTRS 1024
#define MAX_OPSETS 256
#define MAX_METAS 16384

/* What all graphs of one file share. */
typedef struct loader {
    const char *dir; /* where external data may lie, or NULL */
} loader;

static int load_graph(const loader *l, Onnx__GraphProto *from, om_graph **out);

static int copy_text(char **to, const char *from)
{
    *to = om_strdup(from ? from : "");
    return *to ? OM_OK : OM_ERR_NOMEM;
}

/* ---- values ---- */

static int apply_type(om_graph *g, int value, const Onnx__ValueInfoProto *info)
{
    om_onnx_type t;
    om_value *v = &g->values[value];
    int err = om_onnx_read_type(info->type, &t);
    if (err < 0) return om_fail_prefix(err, "value '%s'", v->name);
    if (!v->constant) {
        v->dtype = t.dtype;
        v->shape = t.shape;
    }
    for (int i = 0; i < OM_MAX_RANK; i++) {
        om_free(v->dim_param[i]);
        v->dim_param[i] = t.dim_param[i] ? om_strdup(t.dim_param[i]) : NULL;
        if (t.dim_param[i] && !v->dim_param[i]) return OM_ERR_NOMEM;
    }
    om_free(v->doc);
    v->doc = NULL;
    if (info->doc_string && copy_text(&v->doc, info->doc_string) < 0) return OM_ERR_NOMEM;
    om_free(v->unknown.bytes);
    v->unknown = (om_unknown){0};
    if (!t.whole) err = om_onnx_keep_message(&v->unknown, 2, &info->type->base);
    if (err >= 0) err = om_onnx_keep_unknown(&v->unknown, &info->base);
    return err;
}

static int load_initializer(const loader *l, om_graph *g, Onnx__TensorProto *t)
{
    om_const *c;
    int err = om_onnx_read_tensor(t, l->dir, &c);
    if (err < 0) return err;
    int v = !t->name || !*t->name ? om_fail(OM_ERR_FORMAT, "an initializer without a name")
                                  : om_graph_add_value(g, t->name, c->dtype, &c->shape);
    if (v < 0) {
        om_const_destroy(c);
        return v;
    }
    g->values[v].constant = c;
    return OM_OK;
}

static int load_input(om_graph *g, const Onnx__ValueInfoProto *info)
{
    if (!info->name || !*info->name) return om_fail(OM_ERR_FORMAT, "a graph input without a name");
    int v = om_graph_find(g, info->name);
    if (v >= 0 && g->values[v].constant && !g->values[v].listed) g->values[v].listed = true;
    else if ((v = om_graph_add_input(g, info->name, OM_DTYPE_NONE, NULL)) < 0) return v;
    return apply_type(g, v, info);
}

/* The value of that name, made where it is not there yet; "" is none. (OM_NO_VALUE is also an error's
 * number.) */
static int value_named(om_graph *g, const char *name, int *out)
{
    *out = OM_NO_VALUE;
    if (!name || !*name) return OM_OK;
    int v = om_graph_find(g, name);
    if (v < 0) v = om_graph_add_value(g, name, OM_DTYPE_NONE, NULL);
    if (v < 0) return v;
    *out = v;
    return OM_OK;
}

static int load_output(om_graph *g, const Onnx__ValueInfoProto *info)
{
    int v, err = value_named(g, info->name, &v);
    if (err < 0) return err;
    if (v == OM_NO_VALUE) return om_fail(OM_ERR_FORMAT, "a graph output without a name");
    bool again = g->values[v].is_output || g->values[v].is_input;
    err = om_graph_push_output(g, v);
    return err < 0 || again ? err : apply_type(g, v, info);
}

static int load_value_info(om_graph *g, const Onnx__ValueInfoProto *info)
{
    int v = info->name ? om_graph_find(g, info->name) : OM_NO_VALUE;
    if (v < 0 || g->values[v].is_input || g->values[v].is_output || g->values[v].listed) return OM_OK;
    g->values[v].declared = true;
    return apply_type(g, v, info);
}

/* ---- attributes ---- */

static om_attr_type attr_type(const Onnx__AttributeProto *a)
{
    if (a->ref_attr_name && *a->ref_attr_name) return OM_ATTR_OTHER;
    if (a->has_type && a->type) return a->type >= 1 && a->type <= 10 ? (om_attr_type)a->type : OM_ATTR_OTHER;
    /* Files of the first format leave the type to be seen from what is there. */
    if (a->has_f) return OM_ATTR_FLOAT;
    if (a->has_i) return OM_ATTR_INT;
    if (a->has_s) return OM_ATTR_STRING;
    if (a->t) return OM_ATTR_TENSOR;
    if (a->g) return OM_ATTR_GRAPH;
    if (a->n_floats) return OM_ATTR_FLOATS;
    if (a->n_ints) return OM_ATTR_INTS;
    if (a->n_strings) return OM_ATTR_STRINGS;
    if (a->n_tensors) return OM_ATTR_TENSORS;
    if (a->n_graphs) return OM_ATTR_GRAPHS;
    return OM_ATTR_OTHER;
}

static char *copy_bytes(const ProtobufCBinaryData *b)
{
    char *s = om_alloc(b->len + 1);
    if (!s) return NULL;
    if (b->len) memcpy(s, b->data, b->len);
    s[b->len] = 0;
    return s;
}

static int load_strings(const Onnx__AttributeProto *from, om_attr *to)
{
    to->strings = om_calloc(from->n_strings, sizeof *to->strings);
    if (!to->strings) return OM_ERR_NOMEM;
    to->n = from->n_strings;
    for (size_t i = 0; i < to->n; i++) {
        if (from->strings[i].len && memchr(from->strings[i].data, 0, from->strings[i].len))
            return om_fail(OM_ERR_UNSUPPORTED, "attribute '%s': a text with a zero byte", to->name);
        to->strings[i] = copy_bytes(&from->strings[i]);
        if (!to->strings[i]) return OM_ERR_NOMEM;
    }
    return OM_OK;
}

static int load_tensors(const loader *l, Onnx__TensorProto **from, size_t n, om_attr *to)
{
    to->tensors = om_calloc(n, sizeof *to->tensors);
    if (!to->tensors) return OM_ERR_NOMEM;
    to->n = n;
    for (size_t i = 0; i < n; i++) {
        int err = om_onnx_read_tensor(from[i], l->dir, &to->tensors[i]);
        if (err >= 0) err = om_onnx_keep_text(&to->tensors[i]->unknown, 8, from[i]->name);
        if (err < 0) return om_fail_prefix(err, "attribute '%s'", to->name);
    }
    return OM_OK;
}

static int load_graphs(const loader *l, Onnx__GraphProto **from, size_t n, om_attr *to)
{
    to->graphs = om_calloc(n, sizeof *to->graphs);
    if (!to->graphs) return OM_ERR_NOMEM;
    to->n = n;
    for (size_t i = 0; i < n; i++) {
        int err = load_graph(l, from[i], &to->graphs[i]);
        if (err < 0) return om_fail_prefix(err, "attribute '%s'", to->name);
    }
    return OM_OK;
}

static int copy_list(void **to, size_t *n, const void *from, size_t count, size_t size)
{
    *to = om_alloc(count * size);
    if (!*to) return OM_ERR_NOMEM;
    if (count) memcpy(*to, from, count * size);
    *n = count;
    return OM_OK;
}

/* What has no form of its own in om_attr stays as its bytes, all but the name. */
static int keep_attr(const Onnx__AttributeProto *from, om_attr *to)
{
    Onnx__AttributeProto nameless = *from;
    nameless.name = NULL;
    size_t len = protobuf_c_message_get_packed_size(&nameless.base);
    to->unknown.bytes = om_alloc(len);
    if (!to->unknown.bytes) return OM_ERR_NOMEM;
    to->unknown.len = protobuf_c_message_pack(&nameless.base, to->unknown.bytes);
    return OM_OK;
}

static int load_content(const loader *l, Onnx__AttributeProto *from, om_attr *to)
{
    switch (to->type) {
    case OM_ATTR_FLOAT: to->f = from->f; return OM_OK;
    case OM_ATTR_INT: to->i = from->i; return OM_OK;
    case OM_ATTR_STRING:
        to->s = copy_bytes(&from->s);
        to->s_len = from->s.len;
        return to->s ? OM_OK : OM_ERR_NOMEM;
    case OM_ATTR_TENSOR:
        if (!from->t) return om_fail(OM_ERR_FORMAT, "attribute '%s': a tensor was expected", to->name);
        return load_tensors(l, &from->t, 1, to);
    case OM_ATTR_GRAPH:
        if (!from->g) return om_fail(OM_ERR_FORMAT, "attribute '%s': a graph was expected", to->name);
        return load_graphs(l, &from->g, 1, to);
    case OM_ATTR_FLOATS:
        return copy_list((void **)&to->floats, &to->n, from->floats, from->n_floats, sizeof *to->floats);
    case OM_ATTR_INTS:
        return copy_list((void **)&to->ints, &to->n, from->ints, from->n_ints, sizeof *to->ints);
    case OM_ATTR_STRINGS: return load_strings(from, to);
    case OM_ATTR_TENSORS: return load_tensors(l, from->tensors, from->n_tensors, to);
    case OM_ATTR_GRAPHS: return load_graphs(l, from->graphs, from->n_graphs, to);
    default: return keep_attr(from, to);
    }
}

static int load_attr(const loader *l, om_node *n, Onnx__AttributeProto *from)
{
    if (!from->name || !*from->name) return om_fail(OM_ERR_FORMAT, "an attribute without a name");
    if (om_node_attr(n, from->name))
        return om_fail(OM_ERR_FORMAT, "attribute '%s' is given twice", from->name);
    om_attr *to = &n->attrs[n->n_attrs];
    *to = (om_attr){.type = attr_type(from)};
    if (copy_text(&to->name, from->name) < 0) return OM_ERR_NOMEM;
    n->n_attrs++;
    int err = load_content(l, from, to);
    if (err < 0 || to->type == OM_ATTR_OTHER) return err;
    err = om_onnx_keep_text(&to->unknown, 13, from->doc_string);
    return err < 0 ? err : om_onnx_keep_unknown(&to->unknown, &from->base);
}

/* ---- nodes ---- */

static int load_ends(om_graph *g, int node, const Onnx__NodeProto *from)
{
    om_node *n = &g->nodes[node];
    n->inputs = om_alloc(from->n_input * sizeof *n->inputs);
    n->outputs = om_alloc(from->n_output * sizeof *n->outputs);
    if (!n->inputs || !n->outputs) return OM_ERR_NOMEM;
    for (size_t i = 0; i < from->n_input; i++) {
        int v, err = value_named(g, from->input[i], &v);
        if (err < 0) return err;
        n->inputs[n->n_inputs++] = v;
    }
    for (size_t i = 0; i < from->n_output; i++) {
        int v, err = value_named(g, from->output[i], &v);
        if (err < 0) return err;
        if (v != OM_NO_VALUE && !om_value_is_free(&g->values[v]))
            return om_fail(OM_ERR_FORMAT, "value '%s' is defined twice", from->output[i]);
        if (v != OM_NO_VALUE) g->values[v].producer = node;
        n->outputs[n->n_outputs++] = v;
    }
    return OM_OK;
}

static int load_node_parts(const loader *l, om_graph *g, int at, const Onnx__NodeProto *from)
{
    om_node *n = &g->nodes[at];
    if (copy_text(&n->name, from->name) < 0 || copy_text(&n->op, from->op_type) < 0 ||
        copy_text(&n->domain, from->domain) < 0 ||
        (from->doc_string && copy_text(&n->doc, from->doc_string) < 0))
        return OM_ERR_NOMEM;
    if (!*n->op) return om_fail(OM_ERR_FORMAT, "an operator without a name");
    if (from->n_attribute > MAX_ATTRS)
        return om_fail(OM_ERR_FORMAT, "%zu attributes, at most %d are expected", from->n_attribute,
                       MAX_ATTRS);
    int err = load_ends(g, at, from);
    if (err < 0) return err;
    n->attrs = om_calloc(from->n_attribute, sizeof *n->attrs);
    if (!n->attrs) return OM_ERR_NOMEM;
    for (size_t i = 0; i < from->n_attribute && err >= 0; i++) err = load_attr(l, n, from->attribute[i]);
    return err < 0 ? err : om_onnx_keep_unknown(&n->unknown, &from->base);
}

static int load_node(const loader *l, om_graph *g, const Onnx__NodeProto *from)
{
    int at = om_graph_push_node(g);
    if (at < 0) return at;
    int err = load_node_parts(l, g, at, from);
    char label[OM_NODE_LABEL];
    if (err < 0 && err != OM_ERR_NOMEM)
        return om_fail_prefix(err, "%s", om_node_label(g, &g->nodes[at], label));
    return err;
}

/* ---- graphs ---- */

static int load_parts(const loader *l, Onnx__GraphProto *from, om_graph *g)
{
    int err = OM_OK;
    if (from->doc_string && copy_text(&g->doc, from->doc_string) < 0) return OM_ERR_NOMEM;
    if (from->n_sparse_initializer)
        return om_fail(OM_ERR_UNSUPPORTED, "graph '%s': sparse initializers are not supported", g->name);
    for (size_t i = 0; i < from->n_initializer && err >= 0; i++)
        err = load_initializer(l, g, from->initializer[i]);
    for (size_t i = 0; i < from->n_input && err >= 0; i++) err = load_input(g, from->input[i]);
    for (size_t i = 0; i < from->n_node && err >= 0; i++) err = load_node(l, g, from->node[i]);
    for (size_t i = 0; i < from->n_output && err >= 0; i++) err = load_output(g, from->output[i]);
    for (size_t i = 0; i < from->n_value_info && err >= 0; i++) err = load_value_info(g, from->value_info[i]);
    for (size_t i = 0; i < from->n_quantization_annotation && err >= 0; i++)
        err = om_onnx_keep_message(&g->unknown, 14, &from->quantization_annotation[i]->base);
    return err < 0 ? err : om_onnx_keep_unknown(&g->unknown, &from->base);
}

static int load_graph(const loader *l, Onnx__GraphProto *from, om_graph **out)
{
    om_graph *g;
    *out = NULL;
    int err = om_graph_create(from->name, &g);
    if (err < 0) return err;
    err = load_parts(l, from, g);
    if (err < 0) {
        om_graph_destroy(g);
        return err;
    }
    *out = g;
    return OM_OK;
}

static int load_header(const Onnx__ModelProto *m, om_graph *g)
{
    int err = OM_OK;
    g->ir_version = m->ir_version;
    g->model_version = m->model_version;
    if (copy_text(&g->producer, m->producer_name) < 0 ||
        copy_text(&g->producer_version, m->producer_version) < 0 ||
        copy_text(&g->model_domain, m->domain) < 0 || copy_text(&g->model_doc, m->doc_string) < 0)
        return OM_ERR_NOMEM;
    if (m->n_opset_import > MAX_OPSETS || m->n_metadata_props > MAX_METAS)
        return om_fail(OM_ERR_FORMAT,
                       "%zu operator sets and %zu metadata entries, at most %d and %d are expected",
                       m->n_opset_import, m->n_metadata_props, MAX_OPSETS, MAX_METAS);
    for (size_t i = 0; i < m->n_opset_import && err >= 0; i++) {
        const char *domain = m->opset_import[i]->domain;
        err = om_graph_set_opset(g, domain ? domain : "", m->opset_import[i]->version);
    }
    for (size_t i = 0; i < m->n_metadata_props && err >= 0; i++) {
        const Onnx__StringStringEntryProto *p = m->metadata_props[i];
        err = om_graph_set_meta(g, p->key ? p->key : "", p->value ? p->value : "");
    }
    for (size_t i = 0; i < m->n_training_info && err >= 0; i++)
        err = om_onnx_keep_message(&g->model_unknown, 20, &m->training_info[i]->base);
    for (size_t i = 0; i < m->n_functions && err >= 0; i++)
        err = om_onnx_keep_message(&g->model_unknown, 25, &m->functions[i]->base);
    return err < 0 ? err : om_onnx_keep_unknown(&g->model_unknown, &m->base);
}

static int load_model(const uint8_t *bytes, size_t len, const char *dir, om_graph **out)
{
    loader l = {dir};
    bool out_of_memory;
    int err = om_onnx_prescan(bytes, len);
    if (err < 0) return err;
    ProtobufCAllocator allocator = om_onnx_allocator(&out_of_memory);
    Onnx__ModelProto *m = onnx__model_proto__unpack(&allocator, len, bytes);
    if (!m && out_of_memory) return OM_ERR_NOMEM;
    if (!m) return om_fail(OM_ERR_FORMAT, "not a valid ONNX model");
    if (!m->graph) err = om_fail(OM_ERR_FORMAT, "not an ONNX model: there is no graph in it");
    if (err >= 0) err = load_graph(&l, m->graph, out);
    if (err >= 0) err = load_header(m, *out);
    onnx__model_proto__free_unpacked(m, &allocator);
    return err;
}

int om_model_load_memory(const void *bytes, size_t len, const char *name, const char *dir, om_graph **out)
{
    *out = NULL;
    int err = om_operators_load_env();
    if (err < 0) return err;
    err = load_model(bytes, len, dir, out);
    if (err < 0 && err != OM_ERR_NOMEM) om_fail_prefix(err, "%s", name);
    if (err >= 0) err = om_graph_validate(*out, name);
    if (err < 0) {
        om_graph_destroy(*out);
        *out = NULL;
    }
    return err;
}

/* "a/b.onnx" -> "a", "b.onnx" -> "." */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash          ? om_strdup(".")
           : slash == path ? om_strdup("/")
                           : om_strndup(path, (size_t)(slash - path));
}

int om_model_load(const char *path, om_graph **out)
{
    char *data, *dir;
    size_t len;
    *out = NULL;
    int err = om_read_file(path, MAX_FILE, &data, &len);
    if (err < 0) return err;
    dir = folder_of(path);
    err = dir ? om_model_load_memory(data, len, path, dir, out) : OM_ERR_NOMEM;
    om_free(dir);
    om_free(data);
    return err;
}
