#include "model/check.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/wire.h"

#define MAX_FILE 2147483647u
/* Of ModelProto, GraphProto and TensorProto. */
#define FIELD_GRAPH 7
#define FIELD_INITIALIZER 5
#define FIELD_DATA_LOCATION 14
#define EXTERNAL 1

static bool has_graph(const om_node *n)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].graphs && n->attrs[i].n) return true;
    return false;
}

static void look_at_node(const om_graph *g, const om_node *n, om_model_facts *out)
{
    out->n_nodes++;
    if (*n->domain && strcmp(n->domain, "ai.onnx")) {
        if (!out->domain || strcmp(out->domain, n->domain)) out->n_domains++;
        out->domain = n->domain;
    }
    if (has_graph(n)) out->n_subgraphs++;
    if (strstr(n->op, "QuantizeLinear") || strstr(n->op, "DequantizeLinear") || !strncmp(n->op, "QLinear", 7))
        out->n_quantized++;
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && g->values[n->outputs[i]].shape.rank < 0) out->n_unknown_shapes++;
    for (int i = 0; i < n->n_attrs; i++) /* Constant nodes */
        for (size_t k = 0; n->attrs[i].tensors && k < n->attrs[i].n; k++) {
            const om_const *c = n->attrs[i].tensors[k];
            int64_t count = om_shape_count(&c->shape);
            if (count > 0) out->weights[c->dtype] += count;
        }
}

void om_graph_facts(const om_graph *g, om_model_facts *out)
{
    memset(out, 0, sizeof *out);
    out->opset = om_graph_opset(g, "");
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead) look_at_node(g, &g->nodes[i], out);
    for (int i = 0; i < g->n_values; i++) {
        const om_const *c = g->values[i].constant;
        int64_t count = c ? om_shape_count(&c->shape) : 0;
        if (count > 0) out->weights[c->dtype] += count;
    }
    for (int i = 0; i < g->n_inputs && !out->half_input; i++) {
        const om_value *v = &g->values[g->inputs[i]];
        if (v->dtype == OM_DTYPE_F16 || v->dtype == OM_DTYPE_BF16) out->half_input = v->name;
    }
}

static bool is_external(const om_wire_field *tensor)
{
    const uint8_t *p = tensor->payload, *end = p + tensor->len;
    om_wire_field f;
    while (p < end && !om_wire_next(&p, end, &f))
        if (f.number == FIELD_DATA_LOCATION && f.type == OM_WIRE_VARINT) return f.value == EXTERNAL;
    return false;
}

static int count_in_graph(const om_wire_field *graph)
{
    const uint8_t *p = graph->payload, *end = p + graph->len;
    om_wire_field f;
    int n = 0;
    while (p < end && !om_wire_next(&p, end, &f))
        if (f.number == FIELD_INITIALIZER && f.type == OM_WIRE_BYTES) n += is_external(&f);
    return n;
}

int om_model_count_external(const char *path, int *out)
{
    char *data;
    size_t len;
    *out = 0;
    int err = om_read_file(path, MAX_FILE, &data, &len);
    if (err < 0) return err;
    const uint8_t *p = (const uint8_t *)data, *end = p + len;
    om_wire_field f;
    while (p < end && !om_wire_next(&p, end, &f))
        if (f.number == FIELD_GRAPH && f.type == OM_WIRE_BYTES) *out += count_in_graph(&f);
    om_free(data);
    return OM_OK;
}
