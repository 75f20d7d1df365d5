/* Equal products: those that any way of computing one of them computes too. */
#include <stdio.h>
#include <string.h>

#include "backend/cuda/tune.h"

static const char *numbers_of(const omcu_step *s, bool tf32)
{
    return s->in[0].grid.scale > 0 ? "int8" : s->half ? "f16" : tf32 ? "tf32" : "f32";
}

/* Slopes and bounds of activations are a part of a library's plan. "": there are none. */
static void add_numbers(const omcu_conv *c, char out[16])
{
    const float numbers[] = {c->act1.a, c->act1.b, c->act2.a, c->act2.b};
    uint32_t hash = 2166136261u;
    bool any = false;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        hash = (hash ^ bits) * 16777619u;
        hash ^= hash >> 15;
        any |= bits << 1 != 0;
    }
    out[0] = 0;
    if (any) snprintf(out, 16, " f%08x", (unsigned)hash);
}

void omcu_product_key(const omcu_step *s, bool tf32, char out[OMCU_KEY])
{
    const omcu_conv *c = &s->u.conv;
    const char *kind = s->kind == OMCU_STEP_DEPTHWISE ? " depthwise" : c->groups > 1 ? " grouped" : "";
    char numbers[16];
    add_numbers(c, numbers);
    /* Of one group x always begins where 16 bytes do. */
    bool uneven = c->groups > 1 && s->in[0].offset * (int64_t)omcu_type_size(s->in[0].type) % 16;
    snprintf(
        out, OMCU_KEY,
        "%s%s %d,%d,%d,%d>%d,%d,%d k%dx%d s%d,%d p%d,%d d%d,%d g%d x%lld,%lld,%lld y%lld,%lld,%lld r%lld,%lld,%lld a%d,%d%s%s%s%s%s%s%s",
        numbers_of(s, tf32), kind, c->n, c->h, c->wd, c->c, c->ho, c->wo, c->k, c->r, c->s, c->stride_y,
        c->stride_x, c->pad_y, c->pad_x, c->dil_y, c->dil_x, c->groups, (long long)c->x_n, (long long)c->x_h,
        (long long)c->x_w, (long long)c->y_n, (long long)c->y_h, (long long)c->y_w, (long long)c->r_n,
        (long long)c->r_h, (long long)c->r_w, c->act1.op, c->act2.op, numbers, s->has_res ? " res" : "",
        c->wide ? " wide" : "", c->vector ? "" : " odd", uneven ? " uneven" : "",
        c->y_grid.scale > 0 ? " y8" : "", c->r_grid.scale > 0 ? " r8" : "");
}
