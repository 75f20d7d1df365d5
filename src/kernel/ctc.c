/* Greedy reading of a line of text: the best class of each step, runs drawn together, blanks left out. */
#include <math.h>

#include "kernel/variant.h"

/* The best class of one step; 0 where nothing there is a number. */
static int32_t best_at(const om_scores *s, size_t step, float *score)
{
    size_t size = om_dtype_size(s->dtype);
    const uint8_t *v = (const uint8_t *)s->data + step * s->place_step * size;
    if (s->class_step == 1) return OM_VARIANT(om_largest)(v, s->dtype, s->classes, score);
    int32_t best = 0;
    *score = -INFINITY;
    for (size_t c = 0; c < s->classes; c++, v += s->class_step * size) {
        float x = s->dtype == OM_DTYPE_F32 ? *(const float *)(const void *)v
                                           : om_f16_to_f32(*(const uint16_t *)(const void *)v);
        if (!(x > *score)) continue;
        *score = x;
        best = (int32_t)c;
    }
    return best;
}

size_t OM_VARIANT(om_ctc_greedy)(const om_scores *s, int32_t blank, om_ctc_symbol *out)
{
    size_t n = 0;
    int32_t before = -1;
    for (size_t step = 0; step < s->places; step++) {
        float score;
        int32_t best = best_at(s, step, &score);
        if (best != before && best != blank) out[n++] = (om_ctc_symbol){best, (uint32_t)step, score};
        before = best;
    }
    return n;
}
