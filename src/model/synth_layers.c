/* Layers of models with random weights. The numbers in them: synth_weights.c. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/synth.h"

#define MAX_INPUTS 16
#define LOGITS 3.0f /* deviation of a classifier's numbers, so that some class stands out */

const char *om_synth_at(om_synth *b, const char *leaf)
{
    return om_build_name(b->name, "/%s/%s", b->module, leaf);
}

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
    int groups = c.groups ? c.groups : 1, end = c.pad + c.pad_end;
    om_shape ws = om_shape_make(4, (int64_t)c.out, (int64_t)(x.c / groups), (int64_t)c.size, (int64_t)c.size);
    om_shape bs = om_shape_make(1, (int64_t)c.out);
    weight_name(name, path, "weight");
    int weight = om_build_f32(&b->to, name, &ws, w);
    weight_name(name, path, "bias");
    int shift = om_build_f32(&b->to, name, &bs, bias);
    om_build_name(name, "/%s/Conv", path);
    om_synth_tensor out = {.c = c.out, .mean = c.lift, .var = OM_SYNTH_SCALE * OM_SYNTH_SCALE};
    out.v = om_build_op(&b->to, "Conv", name, 3, x.v, weight, shift);
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_int(&b->to, "group", groups);
    om_build_ints(&b->to, "kernel_shape", 2, c.size, c.size);
    om_build_ints(&b->to, "pads", 4, c.pad, c.pad, end, end);
    om_build_ints(&b->to, "strides", 2, c.stride, c.stride);
    return out;
}

om_synth_tensor om_synth_conv_random(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c)
{
    size_t each = (size_t)om_synth_filter(x, c);
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

/* x and a number that stands in the original's code. */
static int with_scalar(om_synth *b, const char *op, const char *path, const char *leaf, int x, float number)
{
    char name[OM_BUILD_NAME], constant[OM_BUILD_NAME];
    om_build_name(name, "/%s/%s", path, leaf);
    om_build_name(constant, "f_%.9g", (double)number);
    return om_build_op(&b->to, op, name, 2, x, om_build_f32_scalar(&b->to, constant, number));
}

static int gelu(om_synth *b, const char *path, int x)
{
    char name[OM_BUILD_NAME];
    int v = with_scalar(b, "Div", path, "act/Div", x, 1.41421356f);
    v = om_build_op(&b->to, "Erf", om_build_name(name, "/%s/act/Erf", path), 1, v);
    v = with_scalar(b, "Add", path, "act/Add", v, 1);
    v = om_build_op(&b->to, "Mul", om_build_name(name, "/%s/act/Mul", path), 2, x, v);
    return with_scalar(b, "Mul", path, "act/Mul_1", v, 0.5f);
}

om_synth_tensor om_synth_activate(om_synth *b, om_synth_act act, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor out = x;
    switch (act) {
    case OM_SYNTH_SILU: {
        int gate = om_build_op(&b->to, "Sigmoid", om_build_name(name, "/%s/act/Sigmoid", path), 1, x.v);
        out.v = om_build_op(&b->to, "Mul", om_build_name(name, "/%s/act/Mul", path), 2, x.v, gate);
        break;
    }
    case OM_SYNTH_RELU:
        out.v = om_build_op(&b->to, "Relu", om_build_name(name, "/%s/act/Relu", path), 1, x.v);
        break;
    case OM_SYNTH_RELU6:
        out.v = om_build_op(&b->to, "Clip", om_build_name(name, "/%s/act/Clip", path), 3, x.v,
                            om_build_f32_scalar(&b->to, "f_0", 0), om_build_f32_scalar(&b->to, "f_6", 6));
        break;
    case OM_SYNTH_LEAKY:
        out.v = om_build_op(&b->to, "LeakyRelu", om_build_name(name, "/%s/act/LeakyRelu", path), 1, x.v);
        om_build_float(&b->to, "alpha", 0.1f);
        break;
    case OM_SYNTH_GELU: out.v = gelu(b, path, x.v); break;
    }
    om_synth_act_stats(act, &out);
    return out;
}

om_synth_tensor om_synth_silu(om_synth *b, const char *path, om_synth_tensor x)
{
    return om_synth_activate(b, OM_SYNTH_SILU, path, x);
}

om_synth_tensor om_synth_cbs_of(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "%s/conv", path);
    c.lift = OM_SYNTH_LIFT;
    return om_synth_silu(b, path, om_synth_conv_random(b, name, x, c));
}

om_synth_tensor om_synth_cbs(om_synth *b, const char *path, om_synth_tensor x, int out, int size, int stride)
{
    om_synth_conv c = {.out = out, .size = size, .stride = stride, .pad = size == 6 ? 2 : size / 2};
    return om_synth_cbs_of(b, path, x, c);
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

om_synth_tensor om_synth_join(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y)
{
    return om_synth_concat(b, name, (om_synth_tensor[]){x, y}, 2);
}

om_synth_tensor om_synth_add(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y)
{
    return (om_synth_tensor){om_build_op(&b->to, "Add", name, 2, x.v, y.v), x.c, x.mean + y.mean,
                             x.var + y.var, 0};
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

void om_synth_halves(om_synth *b, const char *path, om_synth_tensor x, om_synth_tensor out[2])
{
    char name[OM_BUILD_NAME];
    int half = x.c / 2;
    int sizes = om_build_i64(&b->to, om_build_name(name, "split_%d", half), 2, half, half);
    om_build_op(&b->to, "Split", om_build_name(name, "/%s/Split", path), 2, x.v, sizes);
    om_build_int(&b->to, "axis", 1);
    for (int i = 0; i < 2; i++) out[i] = (om_synth_tensor){om_build_out(&b->to, i), half, x.mean, x.var, 0};
}

om_synth_tensor om_synth_maxpool(om_synth *b, const char *name, om_synth_tensor x, om_synth_conv window)
{
    om_synth_tensor out = x;
    int end = window.pad + window.pad_end;
    out.v = om_build_op(&b->to, "MaxPool", name, 1, x.v);
    om_build_int(&b->to, "ceil_mode", 0);
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_ints(&b->to, "kernel_shape", 2, window.size, window.size);
    om_build_ints(&b->to, "pads", 4, window.pad, window.pad, end, end);
    om_build_ints(&b->to, "strides", 2, window.stride, window.stride);
    om_synth_maxpool_stats(&out);
    return out;
}

static om_synth_tensor pool(om_synth *b, const char *path, int i, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    if (i == 0) om_build_name(name, "/%s/m/MaxPool", path);
    else om_build_name(name, "/%s/m_%d/MaxPool", path, i);
    return om_synth_maxpool(b, name, x, (om_synth_conv){.size = 5, .stride = 1, .pad = 2});
}

om_synth_tensor om_synth_linear(om_synth *b, const char *path, om_synth_tensor x, int out)
{
    char name[OM_BUILD_NAME];
    om_synth_conv c = {.out = out, .size = 1, .stride = 1};
    om_shape ws = om_shape_make(2, (int64_t)out, (int64_t)x.c), bs = om_shape_make(1, (int64_t)out);
    float *w = om_alloc((size_t)out * (size_t)x.c * sizeof *w), *bias = om_alloc((size_t)out * sizeof *bias);
    om_synth_tensor y = {OM_NO_VALUE, out, 0, LOGITS * LOGITS, 0};
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        x.var /= LOGITS * LOGITS;
        om_synth_draw(b, x, c, w, bias);
        weight_name(name, path, "weight");
        int weight = om_build_f32(&b->to, name, &ws, w);
        weight_name(name, path, "bias");
        int shift = om_build_f32(&b->to, name, &bs, bias);
        y.v = om_build_op(&b->to, "Gemm", om_build_name(name, "/%s/Gemm", path), 3, x.v, weight, shift);
        om_build_float(&b->to, "alpha", 1);
        om_build_float(&b->to, "beta", 1);
        om_build_int(&b->to, "transB", 1);
    }
    om_free(w);
    om_free(bias);
    return y;
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

om_synth_tensor om_synth_spp(om_synth *b, const char *path, om_synth_tensor x, const int windows[3])
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y[4];
    y[0] = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, x.c / 2, 1, 1);
    for (int i = 0; i < 3; i++) {
        om_build_name(name, "/%s/m.%d/MaxPool", path, i);
        y[i + 1] = om_synth_maxpool(b, name, y[0],
                                    (om_synth_conv){.size = windows[i], .stride = 1, .pad = windows[i] / 2});
    }
    om_synth_tensor joined = om_synth_concat(b, om_build_name(name, "/%s/Concat", path), y, 4);
    return om_synth_cbs(b, om_build_name(name, "%s/cv2", path), joined, x.c, 1, 1);
}

om_synth_tensor om_synth_upsample(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    const float twice[] = {1, 1, 2, 2};
    om_shape four = om_shape_make(1, (int64_t)4);
    om_build_name(name, "/%s/Resize", path);
    om_shape none = om_shape_make(1, (int64_t)0);
    bool optional = b->to.err || om_graph_opset(b->to.g, "") >= 13; /* the region had to be there before */
    int region = optional ? OM_NO_VALUE : om_build_f32(&b->to, "upsample_region", &none, twice);
    om_synth_tensor out = x;
    out.v = om_build_op(&b->to, "Resize", name, 3, x.v, region,
                        om_build_f32(&b->to, "upsample_scales", &four, twice));
    om_build_string(&b->to, "coordinate_transformation_mode", "asymmetric");
    om_build_string(&b->to, "mode", "nearest");
    om_build_string(&b->to, "nearest_mode", "floor");
    return out;
}
