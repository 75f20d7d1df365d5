/* What a model's file says of itself that an engine may mind. */
#ifndef OM_MODEL_CHECK_H
#define OM_MODEL_CHECK_H

#include "model/graph.h"

typedef struct om_model_facts {
    int64_t opset;
    int n_nodes;
    int n_domains;          /* operator sets that nodes are of beside ONNX's own */
    const char *domain;     /* one of them; inside the graph */
    int64_t weights[16];    /* elements of constants, by om_dtype */
    int n_subgraphs;        /* nodes that carry graphs */
    int n_unknown_shapes;   /* values whose rank inference did not find */
    int n_quantized;        /* QuantizeLinear, DequantizeLinear, QLinear* nodes */
    int n_external;         /* tensors that lie in files beside the model */
    const char *half_input; /* the first input of 16-bit floats; inside the graph */
} om_model_facts;

/* `g` with shapes inferred. */
void om_graph_facts(const om_graph *g, om_model_facts *out);
/* Counts the external tensors of an ONNX file. */
int om_model_count_external(const char *path, int *out);

#endif
