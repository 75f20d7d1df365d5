/* The operator of examples/user_depthwise.cu in plain C over host memory, for the engine with emulated
 * kernels. Compiled again as files that must not load: WRONG says what is wrong with it. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/tensor.h"
#include "omma/operator.h"

#define WRONG_VERSION 1
#define WRONG_LAUNCH 2
#define WRONG_EMPTY 3

const om_operator_list *omma_operators(void);

static int shapes(const om_operator_call *c, const char **why)
{
    int64_t stride = c->attr_int(c, "stride", 1);
    *why = "expected a picture and a stride";
    if (c->in[0].rank != 4 || stride < 1) return 1;
    c->out[0].rank = 4;
    for (int i = 0; i < 4; i++) {
        int64_t d = c->in[0].dim[i];
        c->out[0].dim[i] = i < 2 || d < 0 ? d : (d - 1) / stride + 1;
    }
    return 0;
}

static float get(const om_operator_tensor *t, int64_t at)
{
    return t->type == OM_OPERATOR_F16 ? om_f16_to_f32(((const uint16_t *)t->data)[at])
                                      : ((const float *)t->data)[at];
}

static float activate(const om_operator_call *c, float v)
{
    const char *own = c->attr_string(c, "activation", "");
    if (strcmp(own, "relu") == 0) v = fmaxf(v, 0);
    if (strcmp(own, "silu") == 0) v = v / (1 + expf(-v));
    if (c->activation == OM_OPERATOR_CLIP) v = fminf(fmaxf(v, c->low), c->high);
    return v;
}

static float sum(const om_operator_call *c, const int64_t at[4])
{
    const om_operator_tensor *x = &c->in[0];
    int64_t stride = c->attr_int(c, "stride", 1);
    float v = get(&c->in[2], at[1]);
    for (int64_t r = 0; r < 3; r++)
        for (int64_t s = 0; s < 3; s++) {
            int64_t iy = at[2] * stride - 1 + r, ix = at[3] * stride - 1 + s;
            if (iy < 0 || iy >= x->dim[2] || ix < 0 || ix >= x->dim[3]) continue;
            v += get(x, at[0] * x->stride[0] + at[1] * x->stride[1] + iy * x->stride[2] + ix * x->stride[3]) *
                 get(&c->in[1], at[1] * 9 + r * 3 + s);
        }
    return activate(c, v);
}

/* Sums go through the workspace, to see that it is there. */
static int launch(const om_operator_call *c, void *stream)
{
    const om_operator_tensor *y = &c->out[0];
    (void)stream;
    if (c->in[0].stride[1] != 1 || y->stride[1] != 1) return 1;
    for (int64_t i = 0; i < y->dim[0] * y->dim[1] * y->dim[2] * y->dim[3]; i++) {
        int64_t at[4] = {i / y->dim[3] / y->dim[2] / y->dim[1], i / y->dim[3] / y->dim[2] % y->dim[1],
                         i / y->dim[3] % y->dim[2], i % y->dim[3]};
        float *slot = c->workspace;
        int64_t to = 0;
        *slot = sum(c, at);
        for (int k = 0; k < 4; k++) to += at[k] * y->stride[k];
        if (y->type == OM_OPERATOR_F16) ((uint16_t *)y->data)[to] = om_f32_to_f16(*slot);
        else ((float *)y->data)[to] = *slot;
    }
    return 0;
}

static int accepts(const om_operator_call *c, const char **why)
{
    *why = "its weights are computed";
    return c->n_in == 3 && c->in[1].constant == 1 &&
           (c->activation == OM_OPERATOR_NONE || !*c->attr_string(c, "activation", ""));
}

static size_t workspace(const om_operator_call *c) { return sizeof(float); }

static const om_operator depthwise = {.name = "depthwise on the host",
                                      .domain = "com.example",
                                      .type = "DepthwiseConvAct",
                                      .layout = OM_OPERATOR_CHANNELS_LAST,
                                      .fuses = 1 << OM_OPERATOR_CLIP,
                                      .shapes = shapes,
                                      .accepts = accepts,
                                      .workspace = workspace,
                                      .launch = WRONG == WRONG_LAUNCH ? NULL : launch};

/* Of a standard operator: to see who is given its nodes. */
static int fail(const om_operator_call *c, void *stream) { return 1; }
static const om_operator recurrent = {
    .name = "LSTM on the host", .domain = "", .type = "LSTM", .layout = OM_OPERATOR_DENSE, .launch = fail};

const om_operator_list *omma_operators(void)
{
    static const om_operator *const all[] = {&depthwise, &recurrent};
    static const om_operator_list list = {.api_version = OM_OPERATOR_API + (WRONG == WRONG_VERSION),
                                          .name = "host",
                                          .operators = all,
                                          .n_operators = WRONG == WRONG_EMPTY ? 0 : 2};
    return &list;
}
