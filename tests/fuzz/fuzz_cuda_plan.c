/* No bytes at all make the reader of the CUDA engine's compiled forms touch what is not theirs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/plan_io.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    omcu_form f;
    size_t sum = 0;
    if (size < 1) return 0;
    /* The first byte chooses an allocation that fails. */
    om_mem_fail_after(data[0] ? data[0] : -1);
    int err = omcu_form_parse(data + 1, size - 1, &f);
    om_mem_fail_after(-1);
    for (int i = 0; i < f.n_rungs; i++)
        for (int k = 0; k < f.rungs[i].n_choices; k++) {
            const omcu_choice *c = &f.rungs[i].choices[k];
            sum += strlen(c->key) + strlen(c->tactic);
            for (size_t b = 0; c->engine && b < c->engine_len; b++) sum += (unsigned char)c->engine[b];
        }
    if ((err && f.n_rungs) || sum == SIZE_MAX) abort();
    omcu_form_fini(&f);
    return 0;
}
