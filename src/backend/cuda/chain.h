/* Sessions of plans that share a model with the CPU backend (subgraph.h). Nobody waits for the GPU in a
 * frame's way: when a stage is done there, a callback wakes the session's own thread, which computes the
 * CPU's part and sends off the next stage. Thread-safety: as om_session. */
#ifndef OM_BACKEND_CUDA_CHAIN_H
#define OM_BACKEND_CUDA_CHAIN_H

#include "backend/backend.h"

struct CUstream_st;
typedef struct omcu_chain_session omcu_chain_session;

/* After the session has its stream, arena and input: wires, graphs of the GPU's stages, the thread. */
int omcu_chain_session_init(om_session *s);
void omcu_chain_session_fini(om_session *s); /* waits for what is in flight */
int omcu_chain_submit(om_session *s, int n);
int omcu_chain_wait(om_session *s);
/* Steps of the GPU, copies, and an entry a part of the CPU. */
int omcu_chain_layers(om_session *s, om_layer_time *out, int max);

#endif
