/* The layers that decide how many boxes pass: see the classification part of synth.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define SMALL 0.02f /* deviation of weights that only keep a layer dense */

/* Depthwise filters that see what changes from cell to cell, and nothing in a flat picture. */
static void draw_detail(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias)
{
    om_synth_draw(b, x, c, w, bias);
    int each = om_synth_filter(x, c), window = c.size * c.size;
    for (int o = 0; o < c.out; o++) {
        float *filter = w + (size_t)o * (size_t)each;
        for (int i = 0; i < each; i += window) {
            double sum = 0;
            for (int k = 0; k < window; k++) sum += filter[i + k];
            for (int k = 0; k < window; k++) filter[i + k] -= (float)(sum / window);
        }
        bias[o] = 0;
    }
}

/* Each output takes the centre of the input of its own number. */
static void draw_pass(om_synth_tensor x, om_synth_conv c, float *w, float *bias)
{
    int each = om_synth_filter(x, c), window = c.size * c.size;
    memset(w, 0, (size_t)c.out * (size_t)each * sizeof *w);
    for (int o = 0; o < c.out; o++) {
        w[(size_t)o * (size_t)each + (size_t)(c.groups == x.c ? 0 : o * window) + (size_t)(window / 2)] = 1;
        bias[o] = 0;
    }
}

/* The first outputs project, the others are plain. */
static void draw_projection(om_synth *b, int n_bits, om_synth_tensor x, om_synth_conv c, float *w,
                            float *bias)
{
    om_synth_conv first = c, rest = c;
    if (!c.units) {
        om_synth_project(b, n_bits, x, c, w, bias);
        return;
    }
    first.out = c.units;
    rest.out -= c.units;
    om_synth_project(b, n_bits, x, first, w, bias);
    om_synth_draw(b, x, rest, w + (size_t)c.units * (size_t)om_synth_filter(x, c), bias + c.units);
}

om_synth_tensor om_synth_role_layer(om_synth *b, om_synth_role role, const char *path, om_synth_tensor x,
                                    om_synth_conv c, int n_bits, om_synth_act act)
{
    char name[OM_BUILD_NAME];
    size_t each = (size_t)om_synth_filter(x, c);
    float *w = om_alloc((size_t)c.out * each * sizeof *w), *bias = om_alloc((size_t)c.out * sizeof *bias);
    om_synth_tensor before = x, y = {.v = OM_NO_VALUE, .c = c.out, .mean = 0, .var = 1};
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (role == OM_SYNTH_PLAIN || c.units) c.lift = OM_SYNTH_LIFT;
    if (!b->to.err) {
        switch (role) {
        case OM_SYNTH_PLAIN: om_synth_draw(b, x, c, w, bias); break;
        case OM_SYNTH_DETAIL: draw_detail(b, x, c, w, bias); break;
        case OM_SYNTH_BITS: om_synth_bits(b, x, c, w, bias); break;
        case OM_SYNTH_PASS: draw_pass(x, c, w, bias); break;
        case OM_SYNTH_PROJECT: draw_projection(b, n_bits, x, c, w, bias); break;
        }
        y = om_synth_conv_given(b, om_build_name(name, "%s/conv", path), x, c, w, bias);
        y = om_synth_activate(b, act, path, y);
        if (role == OM_SYNTH_BITS) y = om_synth_bits_stats(y);
        else if (role == OM_SYNTH_PROJECT && c.units) y.quiet = c.units;
        else if (role == OM_SYNTH_PROJECT) y = om_synth_project_stats(y);
        else if (role == OM_SYNTH_PASS) y.mean = before.mean, y.var = before.var;
    }
    om_free(w);
    om_free(bias);
    return y;
}

om_synth_tensor om_synth_class_layer(om_synth *b, const char *path, om_synth_tensor x, int classes,
                                     float shift)
{
    om_synth_conv c = {.out = classes, .size = 1, .stride = 1};
    if (b->p.boxes == 0) return om_synth_conv_random(b, path, x, c);
    float *w = om_alloc((size_t)classes * (size_t)x.c * sizeof *w),
          *bias = om_alloc((size_t)classes * sizeof *bias);
    om_synth_tensor y = {.v = OM_NO_VALUE, .c = classes};
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    for (int k = 0; k < classes && !b->to.err; k++) {
        for (int u = 0; u < x.c; u++)
            w[(size_t)k * (size_t)x.c + (size_t)u] = u == k ? OM_SYNTH_SLOPE : SMALL * om_synth_gauss(b);
        bias[k] = k < x.c ? shift : shift - 4; /* more classes than units: these have none */
    }
    if (!b->to.err) y = om_synth_conv_given(b, path, x, c, w, bias);
    om_free(w);
    om_free(bias);
    return y;
}
