/* Models with operators that the engine lacks: the graph becomes a chain of stages, programs of the GPU and
 * parts for the CPU backend in turn, with wires between them.
 *
 * A stage holds all nodes that can run at its place in the chain: GPU stages are even, CPU stages odd, and no
 * wire leads backwards. A late GPU stage that would save less time than its crossings cost joins the CPU.
 * Thread-safety: a chain is built by one thread and constant afterwards. */
#ifndef OM_BACKEND_CUDA_SUBGRAPH_H
#define OM_BACKEND_CUDA_SUBGRAPH_H

#include "backend/backend.h"
#include "backend/cuda/engine.h"

/* A tensor between stages, or an output of the model. */
typedef struct omcu_wire {
    char *name;
    om_dtype dtype;
    om_shape shape;
    size_t bytes; /* 0: the data decides */
    int maker;    /* stage; -1: the model's input */
    bool from_gpu, to_gpu, to_cpu, is_output;
} omcu_wire;

typedef struct omcu_stage {
    omcu_program *program; /* of the GPU, or */
    om_backend_part *part; /* of the CPU */
    int *in, *out;         /* wires */
    int n_in, n_out, n_nodes;
    char what[96]; /* of a part: its operators */
} omcu_stage;

typedef struct omcu_chain {
    const om_part_ops *parts;
    omcu_stage *stages;
    int n_stages;
    omcu_wire *wires;
    int n_wires;
    int *outputs, n_outputs; /* wires, in the graph's order */
    int cpu_nodes;
    size_t down, up; /* bytes that a run moves to the host and back, where shapes tell */
} omcu_chain;

/* `g` settled, only read. OM_ERR_UNSUPPORTED names what neither engine does; OM_ERR_NOT_FOUND: the CPU
 * backend is missing, and which operators want it. */
int omcu_chain_build(om_device *device, const om_graph *g, const omcu_build *how, int threads,
                     omcu_chain **out);
void omcu_chain_destroy(omcu_chain *c); /* NULL is allowed */
/* "41 nodes on the CPU (TopK, NonMaxSuppression, ...), 53.1 MB down, 0.1 MB up a batch" */
void omcu_chain_note(const omcu_chain *c, char *out, size_t size);

#endif
