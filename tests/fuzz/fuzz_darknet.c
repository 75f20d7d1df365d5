/* A cfg and weights from one input: the text up to the first 0xFE, the rest behind it. What is accepted must
 * be a valid graph whose shapes can be inferred. The first byte chooses an allocation that fails. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/darknet.h"
#include "omma/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void import(const char *cfg, const uint8_t *weights, size_t len, bool insist)
{
    om_graph *g = NULL;
    int e = om_dn_import("cfg", cfg, "weights", weights, len, NULL, &g);
    if (insist && (e == OM_OK) != (g != NULL)) abort();
    if (insist && g && (om_graph_validate(g, "cfg") != OM_OK || om_graph_infer_shapes(g) != OM_OK)) abort();
    om_graph_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const uint8_t *cut = memchr(data + 1, 0xfe, size - 1), *end = data + size;
    size_t text_len = (size_t)((cut ? cut : end) - data - 1);
    const uint8_t *weights = cut ? cut + 1 : end;
    char *cfg = malloc(text_len + 1);
    if (!cfg) return 0;
    memcpy(cfg, data + 1, text_len);
    cfg[text_len] = 0;
    import(cfg, weights, (size_t)(end - weights), true);
    om_mem_fail_after(data[0]);
    import(cfg, weights, (size_t)(end - weights), false);
    om_mem_fail_after(-1);
    free(cfg);
    return 0;
}
