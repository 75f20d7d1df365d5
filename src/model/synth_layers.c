/* Layers of models with random weights. The numbers in them: synth_weights.c. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/synth.h"

#define MAX_INPUTS 16

/* "model.2/m.0/cv1" and "conv.weight" to "model.2.m.0.cv1.conv.weight". */
static void weight_name(char out[OM_BUILD_NAME], const char *path, const char *leaf)
{
    om_build_name(out, "%s.%s", path, leaf);
    for (char *p = out; *p; p++)
        if (*p == '/') *p = '.';
}

om_synth_tensor om_synth_conv_given(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c,
                                    const float *w, const float *bias)
{
    char name[OM_BUILD_NAME];
    om_shape ws = om_shape_make(4, (int64_t)c.out, (int64_t)x.c, (int64_t)c.size, (int64_t)c.size);
    om_shape bs = om_shape_make(1, (int64_t)c.out);
    weight_name(name, path, "weight");
    int weight = om_build_f32(&b->to, name, &ws, w);
    weight_name(name, path, "bias");
    int shift = om_build_f32(&b->to, name, &bs, bias);
    om_build_name(name, "/%s/Conv", path);
    om_synth_tensor out = {.c = c.out, .mean = 0, .var = OM_SYNTH_SCALE * OM_SYNTH_SCALE};
    out.v = om_build_op(&b->to, "Conv", name, 3, x.v, weight, shift);
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_int(&b->to, "group", 1);
    om_build_ints(&b->to, "kernel_shape", 2, c.size, c.size);
    om_build_ints(&b->to, "pads", 4, c.pad, c.pad, c.pad, c.pad);
    om_build_ints(&b->to, "strides", 2, c.stride, c.stride);
    return out;
}

om_synth_tensor om_synth_conv_random(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c)
{
    size_t each = (size_t)x.c * (size_t)(c.size * c.size);
    float *w = om_alloc((size_t)c.out * each * sizeof *w), *bias = om_alloc((size_t)c.out * sizeof *bias);
    om_synth_tensor out = {.v = OM_NO_VALUE, .c = c.out};
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, c, w, bias);
        out = om_synth_conv_given(b, path, x, c, w, bias);
    }
    om_free(w);
    om_free(bias);
    return out;
}

om_synth_tensor om_synth_silu(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor out = x;
    om_build_name(name, "/%s/act/Sigmoid", path);
    int gate = om_build_op(&b->to, "Sigmoid", name, 1, x.v);
    om_build_name(name, "/%s/act/Mul", path);
    out.v = om_build_op(&b->to, "Mul", name, 2, x.v, gate);
    om_synth_silu_stats(&out);
    return out;
}

om_synth_tensor om_synth_cbs(om_synth *b, const char *path, om_synth_tensor x, int out, int size, int stride)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "%s/conv", path);
    om_synth_conv c = {.out = out, .size = size, .stride = stride, .pad = size == 6 ? 2 : size / 2};
    return om_synth_silu(b, path, om_synth_conv_random(b, name, x, c));
}

om_synth_tensor om_synth_concat(om_synth *b, const char *name, const om_synth_tensor *x, int n)
{
    int in[MAX_INPUTS];
    om_synth_tensor out = {.v = OM_NO_VALUE};
    float sum = 0, square = 0;
    for (int i = 0; i < n; i++) {
        in[i] = x[i].v;
        out.c += x[i].c;
        sum += (float)x[i].c * x[i].mean;
        square += (float)x[i].c * x[i].var;
    }
    out.mean = sum / (float)out.c;
    out.var = square / (float)out.c;
    out.v = om_build_join(&b->to, name, 1, n, in);
    return out;
}

om_synth_tensor om_synth_add(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y)
{
    return (om_synth_tensor){om_build_op(&b->to, "Add", name, 2, x.v, y.v), x.c, x.mean + y.mean,
                             x.var + y.var};
}

om_synth_tensor om_synth_bottleneck(om_synth *b, const char *path, om_synth_tensor x, int size1, bool add)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "%s/cv1", path);
    om_synth_tensor y = om_synth_cbs(b, name, x, x.c, size1, 1);
    om_build_name(name, "%s/cv2", path);
    y = om_synth_cbs(b, name, y, x.c, 3, 1);
    om_build_name(name, "/%s/Add", path);
    return add ? om_synth_add(b, name, x, y) : y;
}

static om_synth_tensor pool(om_synth *b, const char *path, int i, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    if (i == 0) om_build_name(name, "/%s/m/MaxPool", path);
    else om_build_name(name, "/%s/m_%d/MaxPool", path, i);
    om_synth_tensor out = x;
    out.v = om_build_op(&b->to, "MaxPool", name, 1, x.v);
    om_build_int(&b->to, "ceil_mode", 0);
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_ints(&b->to, "kernel_shape", 2, 5, 5);
    om_build_ints(&b->to, "pads", 4, 2, 2, 2, 2);
    om_build_ints(&b->to, "strides", 2, 1, 1);
    om_synth_maxpool_stats(&out);
    return out;
}

om_synth_tensor om_synth_sppf(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y[4];
    om_build_name(name, "%s/cv1", path);
    y[0] = om_synth_cbs(b, name, x, x.c / 2, 1, 1);
    for (int i = 0; i < 3; i++) y[i + 1] = pool(b, path, i, y[i]);
    om_build_name(name, "/%s/Concat", path);
    om_synth_tensor joined = om_synth_concat(b, name, y, 4);
    om_build_name(name, "%s/cv2", path);
    return om_synth_cbs(b, name, joined, x.c, 1, 1);
}

om_synth_tensor om_synth_upsample(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    const float twice[] = {1, 1, 2, 2};
    om_shape four = om_shape_make(1, (int64_t)4);
    om_build_name(name, "/%s/Resize", path);
    om_synth_tensor out = x;
    out.v = om_build_op(&b->to, "Resize", name, 3, x.v, OM_NO_VALUE,
                        om_build_f32(&b->to, "upsample_scales", &four, twice));
    om_build_string(&b->to, "coordinate_transformation_mode", "asymmetric");
    om_build_string(&b->to, "mode", "nearest");
    om_build_string(&b->to, "nearest_mode", "floor");
    return out;
}
