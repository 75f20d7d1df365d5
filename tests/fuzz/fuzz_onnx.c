/* Bytes as a model: loading, inference, folding, copying and saving must answer, whatever they are; and what
 * is saved must load again. The first byte chooses an allocation that fails. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

static void save_and_load(const om_graph *g)
{
    om_graph *back;
    char *bytes;
    size_t len;
    insist(om_model_serialize(g, &bytes, &len) == OM_OK);
    insist(om_model_load_memory(bytes, len, "saved", NULL, &back) == OM_OK);
    insist(back->n_nodes == g->n_nodes && back->n_inputs == g->n_inputs && back->n_outputs == g->n_outputs);
    om_graph_destroy(back);
    om_free(bytes);
}

static void live(const uint8_t *data, size_t size, bool memory)
{
    om_graph *g, *copy = NULL;
    char *bytes = NULL;
    size_t len;
    if (om_model_load_memory(data, size, "input", NULL, &g) < 0) {
        insist(g == NULL);
        return;
    }
    if (memory) save_and_load(g);
    om_graph_infer_shapes(g);
    if (om_graph_clone(g, &copy) >= 0) {
        om_graph_fold_constants(copy);
        om_model_serialize(copy, &bytes, &len);
    }
    om_free(bytes);
    om_graph_destroy(copy);
    om_graph_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    live(data + 1, size - 1, true);
    om_mem_fail_after(data[0]);
    live(data + 1, size - 1, false);
    om_mem_fail_after(-1);
    return 0;
}
