/* A graph to an ONNX file. Everything is written back to front (see wire.h), so lists run from their last
 * item. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/graph_priv.h"
#include "model/model.h"
#include "model/onnx_io.h"
#include "model/wire.h"

/* Field numbers of the schema. */
enum {
    MODEL_IR = 1,
    MODEL_PRODUCER,
    MODEL_PRODUCER_VERSION,
    MODEL_DOMAIN,
    MODEL_VERSION,
    MODEL_DOC,
    MODEL_GRAPH,
    MODEL_OPSET,
    MODEL_META = 14
};
enum {
    GRAPH_NODE = 1,
    GRAPH_NAME,
    GRAPH_INITIALIZER = 5,
    GRAPH_DOC = 10,
    GRAPH_INPUT,
    GRAPH_OUTPUT,
    GRAPH_VALUE_INFO
};
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTR, NODE_DOC, NODE_DOMAIN };
enum {
    ATTR_NAME = 1,
    ATTR_F,
    ATTR_I,
    ATTR_S,
    ATTR_T,
    ATTR_G,
    ATTR_FLOATS,
    ATTR_INTS,
    ATTR_STRINGS,
    ATTR_TENSORS,
    ATTR_GRAPHS,
    ATTR_TYPE = 20
};
enum { TENSOR_DIMS = 1, TENSOR_TYPE, TENSOR_STRINGS = 6, TENSOR_NAME = 8, TENSOR_RAW };
enum { INFO_NAME = 1, INFO_TYPE, INFO_DOC };
/* Files before this format must list their initializers among the inputs. */
#define IR_FREE_INITIALIZERS 4

static void put_graph(om_wire_writer *w, const om_graph *g, int64_t ir, uint32_t number);

/* A list item: written even where it is empty. */
static void put_item(om_wire_writer *w, uint32_t number, const char *text)
{
    om_wire_put_bytes(w, number, text, strlen(text));
}

static void put_tensor(om_wire_writer *w, const om_const *c, const char *name, uint32_t number)
{
    size_t since = w->len;
    om_wire_bytes(w, c->unknown.bytes, c->unknown.len);
    if (c->dtype != OM_DTYPE_NONE) {
        if (c->dtype == OM_DTYPE_STRING)
            for (int64_t i = om_shape_count(&c->shape); i-- > 0;)
                om_wire_put_bytes(w, TENSOR_STRINGS, c->strings[i], c->string_len[i]);
        else om_wire_put_bytes(w, TENSOR_RAW, c->data, c->size);
    }
    om_wire_put_text(w, TENSOR_NAME, name);
    if (c->dtype != OM_DTYPE_NONE) {
        om_wire_put_varint(w, TENSOR_TYPE, (uint64_t)om_onnx_data_type(c->dtype));
        for (int i = c->shape.rank; i-- > 0;) om_wire_put_varint(w, TENSOR_DIMS, (uint64_t)c->shape.dim[i]);
    }
    om_wire_put_message(w, number, since);
}

/* TypeProto { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1 | dim_param = 2 } } } } */
static void put_type(om_wire_writer *w, const om_value *v)
{
    size_t since = w->len;
    for (int i = v->shape.rank; i-- > 0;) {
        size_t dim = w->len;
        if (v->shape.dim[i] >= 0) om_wire_put_varint(w, 1, (uint64_t)v->shape.dim[i]);
        else om_wire_put_text(w, 2, v->dim_param[i]);
        om_wire_put_message(w, 1, dim);
    }
    if (v->shape.rank >= 0) om_wire_put_message(w, 2, since);
    om_wire_put_varint(w, 1, (uint64_t)om_onnx_data_type(v->dtype));
    om_wire_put_message(w, 1, since);
    om_wire_put_message(w, INFO_TYPE, since);
}

/* Whether the type as the file had it still says what the value is. */
static bool kept_type_holds(om_wire_writer *w, const om_value *v, const uint8_t *bytes, size_t len)
{
    bool out_of_memory, holds = false;
    om_onnx_type t;
    ProtobufCAllocator allocator = om_onnx_allocator(&out_of_memory);
    Onnx__TypeProto *type = onnx__type_proto__unpack(&allocator, len, bytes);
    if (out_of_memory) w->err = OM_ERR_NOMEM;
    if (!type) return false;
    if (om_onnx_read_type(type, &t) >= 0 && t.dtype == v->dtype && om_shape_equal(&t.shape, &v->shape)) {
        holds = true;
        for (int i = 0; i < t.shape.rank; i++)
            holds = holds &&
                    !strcmp(t.dim_param[i] ? t.dim_param[i] : "", v->dim_param[i] ? v->dim_param[i] : "");
    }
    onnx__type_proto__free_unpacked(type, &allocator);
    return holds;
}

static void put_kept(om_wire_writer *w, const om_unknown *u, uint32_t leave_out)
{
    if (!u->len) return;
    const uint8_t *p = u->bytes, *end = u->bytes + u->len;
    om_wire_field f;
    while (p < end && !om_wire_next(&p, end, &f))
        if (f.number != leave_out) om_wire_bytes(w, f.start, (size_t)(p - f.start));
}

static void put_value_info(om_wire_writer *w, const om_value *v, uint32_t number)
{
    size_t since = w->len, len;
    const uint8_t *type;
    bool kept = om_unknown_find(&v->unknown, INFO_TYPE, &type, &len);
    bool holds = kept && kept_type_holds(w, v, type, len);
    put_kept(w, &v->unknown, holds ? 0 : INFO_TYPE);
    om_wire_put_text(w, INFO_DOC, v->doc);
    if (!holds && v->dtype != OM_DTYPE_NONE) put_type(w, v);
    put_item(w, INFO_NAME, v->name);
    om_wire_put_message(w, number, since);
}

static void put_lists(om_wire_writer *w, const om_attr *a, int64_t ir)
{
    size_t n = a->n;
    switch (a->type) {
    case OM_ATTR_FLOATS:
        while (n-- > 0) om_wire_put_f32(w, ATTR_FLOATS, a->floats[n]);
        break;
    case OM_ATTR_INTS:
        while (n-- > 0) om_wire_put_varint(w, ATTR_INTS, (uint64_t)a->ints[n]);
        break;
    case OM_ATTR_STRINGS:
        while (n-- > 0) put_item(w, ATTR_STRINGS, a->strings[n]);
        break;
    case OM_ATTR_TENSOR:
    case OM_ATTR_TENSORS:
        while (n-- > 0) put_tensor(w, a->tensors[n], NULL, a->type == OM_ATTR_TENSOR ? ATTR_T : ATTR_TENSORS);
        break;
    case OM_ATTR_GRAPH:
    case OM_ATTR_GRAPHS:
        while (n-- > 0) put_graph(w, a->graphs[n], ir, a->type == OM_ATTR_GRAPH ? ATTR_G : ATTR_GRAPHS);
        break;
    default: break; /* kept whole among the unknown bytes */
    }
}

static void put_attr(om_wire_writer *w, const om_attr *a, int64_t ir)
{
    size_t since = w->len;
    om_wire_bytes(w, a->unknown.bytes, a->unknown.len);
    if (a->type != OM_ATTR_OTHER) om_wire_put_varint(w, ATTR_TYPE, (uint64_t)a->type);
    if (a->type == OM_ATTR_FLOAT) om_wire_put_f32(w, ATTR_F, a->f);
    else if (a->type == OM_ATTR_INT) om_wire_put_varint(w, ATTR_I, (uint64_t)a->i);
    else if (a->type == OM_ATTR_STRING) om_wire_put_bytes(w, ATTR_S, a->s, a->s_len);
    else put_lists(w, a, ir);
    put_item(w, ATTR_NAME, a->name);
    om_wire_put_message(w, NODE_ATTR, since);
}

static const char *name_of(const om_graph *g, int value) { return value < 0 ? "" : g->values[value].name; }

static void put_node(om_wire_writer *w, const om_graph *g, const om_node *n, int64_t ir)
{
    size_t since = w->len;
    om_wire_bytes(w, n->unknown.bytes, n->unknown.len);
    om_wire_put_text(w, NODE_DOMAIN, n->domain);
    om_wire_put_text(w, NODE_DOC, n->doc);
    for (int i = n->n_attrs; i-- > 0;) put_attr(w, &n->attrs[i], ir);
    put_item(w, NODE_OP, n->op);
    om_wire_put_text(w, NODE_NAME, n->name);
    for (int i = n->n_outputs; i-- > 0;) put_item(w, NODE_OUTPUT, name_of(g, n->outputs[i]));
    for (int i = n->n_inputs; i-- > 0;) put_item(w, NODE_INPUT, name_of(g, n->inputs[i]));
    om_wire_put_message(w, GRAPH_NODE, since);
}

static void put_graph(om_wire_writer *w, const om_graph *g, int64_t ir, uint32_t number)
{
    size_t since = w->len;
    om_wire_bytes(w, g->unknown.bytes, g->unknown.len);
    for (int i = g->n_values; i-- > 0;)
        if (g->values[i].declared && !g->values[i].is_input && !g->values[i].is_output &&
            !g->values[i].listed)
            put_value_info(w, &g->values[i], GRAPH_VALUE_INFO);
    for (int i = g->n_outputs; i-- > 0;) put_value_info(w, &g->values[g->outputs[i]], GRAPH_OUTPUT);
    for (int i = g->n_values; i-- > 0;)
        if (g->values[i].constant && (g->values[i].listed || ir < IR_FREE_INITIALIZERS))
            put_value_info(w, &g->values[i], GRAPH_INPUT);
    for (int i = g->n_inputs; i-- > 0;) put_value_info(w, &g->values[g->inputs[i]], GRAPH_INPUT);
    om_wire_put_text(w, GRAPH_DOC, g->doc);
    for (int i = g->n_values; i-- > 0;)
        if (g->values[i].constant) put_tensor(w, g->values[i].constant, g->values[i].name, GRAPH_INITIALIZER);
    om_wire_put_text(w, GRAPH_NAME, g->name);
    for (int i = g->n_nodes; i-- > 0;)
        if (!g->nodes[i].dead) put_node(w, g, &g->nodes[i], ir);
    om_wire_put_message(w, number, since);
}

static void put_pair(om_wire_writer *w, uint32_t number, const om_meta *m)
{
    size_t since = w->len;
    put_item(w, 2, m->value);
    put_item(w, 1, m->key);
    om_wire_put_message(w, number, since);
}

static void put_opset(om_wire_writer *w, const om_opset *o)
{
    size_t since = w->len;
    om_wire_put_varint(w, 2, (uint64_t)o->version);
    put_item(w, 1, o->domain);
    om_wire_put_message(w, MODEL_OPSET, since);
}

static void put_model(om_wire_writer *w, const om_graph *g)
{
    om_wire_bytes(w, g->model_unknown.bytes, g->model_unknown.len);
    for (int i = g->n_metas; i-- > 0;) put_pair(w, MODEL_META, &g->metas[i]);
    for (int i = g->n_opsets; i-- > 0;) put_opset(w, &g->opsets[i]);
    put_graph(w, g, g->ir_version, MODEL_GRAPH);
    om_wire_put_text(w, MODEL_DOC, g->model_doc);
    if (g->model_version) om_wire_put_varint(w, MODEL_VERSION, (uint64_t)g->model_version);
    om_wire_put_text(w, MODEL_DOMAIN, g->model_domain);
    om_wire_put_text(w, MODEL_PRODUCER_VERSION, g->producer_version);
    om_wire_put_text(w, MODEL_PRODUCER, g->producer);
    om_wire_put_varint(w, MODEL_IR, (uint64_t)g->ir_version);
}

int om_model_serialize(const om_graph *g, char **bytes, size_t *len)
{
    om_wire_writer w = {0};
    put_model(&w, g);
    return om_wire_take(&w, bytes, len);
}

int om_model_save(const om_graph *g, const char *path)
{
    char *bytes;
    size_t len;
    int err = om_model_serialize(g, &bytes, &len);
    if (err < 0) return err == OM_ERR_NOMEM ? err : om_fail_prefix(err, "%s", path);
    err = om_write_file_atomic(path, bytes, len);
    om_free(bytes);
    return err;
}
