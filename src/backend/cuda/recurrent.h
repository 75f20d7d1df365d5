/* Recurrent layers: one product with the input weights for all steps, then the recurrence by itself.
 * Thread-safety: one thread edits a graph. */
#ifndef OM_BACKEND_CUDA_RECURRENT_H
#define OM_BACKEND_CUDA_RECURRENT_H

#include "model/model.h"

/* What an LSTM of the graph becomes: inputs gates, recurrent weights [directions][hidden][4 hidden], h0, c0.
 */
#define OMCU_LSTM_STEPS "LstmSteps"
#define OMCU_LSTM_MAX_HIDDEN 2048

/* Whether the engine does this LSTM; else *why (static). */
bool omcu_lstm_takes(const om_graph *g, const om_node *n, const char **why);
/* A clone in which LSTMs that it takes are a product, its bias and the steps; *out NULL: there are none. */
int omcu_split_recurrent(const om_graph *g, om_graph **out);

#endif
