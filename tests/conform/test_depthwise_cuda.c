/* Depthwise convolutions on the GPU, every form of the kernel, against plain C:
 *   test_depthwise_cuda          compares
 *   test_depthwise_cuda bench    prints what each form takes on MobileNetV2's layers, batch 64 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/cuda/kernels.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/tensor.h"
#include "cuda_plugin.h"

static om_device *gpu;
static om_stream *stream;
static bool timing; /* what is in memory does not matter */
static struct {
    int (*forms)(void);
    const char *(*name)(int form);
    bool (*takes)(int form, bool half, const omcu_conv *c);
    int (*launch)(int form, bool half, const omcu_conv *c, struct CUstream_st *stream);
} dw;

typedef struct layer {
    int n, h, w, c, r, stride, pad;
    int room, at; /* channels of the tensors around, and the first of ours */
    omcu_act act1, act2;
    bool res;
} layer;

static const layer layers[] = {
    {.n = 2, .h = 19, .w = 14, .c = 32, .r = 3, .stride = 1, .pad = 1, .act1 = {OMCU_CLIP, 0, 6}},
    {.n = 1, .h = 20, .w = 33, .c = 96, .r = 3, .stride = 2, .pad = 1, .act1 = {OMCU_RELU}},
    {.n = 3, .h = 7, .w = 7, .c = 24, .r = 3, .stride = 1, .pad = 1, .act1 = {OMCU_SILU}},
    {.n = 1, .h = 1, .w = 1, .c = 8, .r = 3, .stride = 1, .pad = 1},
    {.n = 2, .h = 13, .w = 15, .c = 40, .r = 5, .stride = 1, .pad = 2, .act1 = {OMCU_HARD_SWISH}},
    {.n = 2, .h = 16, .w = 15, .c = 16, .r = 5, .stride = 2, .pad = 2, .act1 = {OMCU_GELU}},
    {.n = 1, .h = 12, .w = 9, .c = 12, .r = 3, .stride = 1, .pad = 1, .act1 = {OMCU_RELU}},
    {.n = 1, .h = 12, .w = 9, .c = 5, .r = 3, .stride = 1, .pad = 1},
    {.n = 1, .h = 11, .w = 10, .c = 16, .r = 7, .stride = 1, .pad = 3},
    {.n = 1, .h = 11, .w = 10, .c = 16, .r = 3, .stride = 3, .pad = 0},
    {.n = 2, .h = 10, .w = 12, .c = 16, .r = 3, .stride = 1, .pad = 0, .act1 = {OMCU_RELU}, .res = true},
    {.n = 2, .h = 10, .w = 12, .c = 32, .r = 3, .stride = 1, .pad = 1, .act2 = {OMCU_SILU}, .res = true},
    {.n = 1, .h = 14, .w = 12, .c = 32, .r = 3, .stride = 2, .pad = 1, .room = 80, .at = 16},
    {.n = 1, .h = 14, .w = 12, .c = 32, .r = 3, .stride = 1, .pad = 1, .room = 81, .at = 3},
    {.n = 1, .h = 300, .w = 301, .c = 8, .r = 3, .stride = 1, .pad = 1, .act1 = {OMCU_SIGMOID}},
};
#define N_LAYERS (sizeof layers / sizeof layers[0])

static float act(const omcu_act *a, float x)
{
    switch (a->op) {
    case OMCU_RELU: return fmaxf(x, 0);
    case OMCU_CLIP: return fminf(fmaxf(x, a->a), a->b);
    case OMCU_SILU: return x / (1 + expf(-x));
    case OMCU_SIGMOID: return 1 / (1 + expf(-x));
    case OMCU_HARD_SWISH: return x * fminf(fmaxf(x / 6 + 0.5f, 0), 1);
    case OMCU_GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
    default: return x;
    }
}

/* A tensor on both sides; what the host has is what the type can hold. */
typedef struct both {
    float *host;
    void *device;
    size_t n;
} both;

static both make(size_t n, bool half, float scale)
{
    static uint32_t seed = 7;
    if (timing) {
        both b = {NULL, NULL, n};
        assert_int_equal(om_device_mem_alloc(gpu, n * (half ? 2 : 4), &b.device), 0);
        return b;
    }
    both b = {om_calloc(n, sizeof(float)), NULL, n};
    uint16_t *h = om_calloc(n, 2);
    assert_non_null(b.host);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        b.host[i] = ((float)(seed >> 8) / 8388608.0f - 1) * scale;
        h[i] = om_f32_to_f16(b.host[i]);
        if (half) b.host[i] = om_f16_to_f32(h[i]);
    }
    size_t bytes = n * (half ? 2 : 4);
    assert_int_equal(om_device_mem_alloc(gpu, bytes, &b.device), 0);
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_DEVICE, b.device, half ? (void *)h : b.host, bytes, NULL),
                     0);
    om_free(h);
    return b;
}

static void drop(both *b)
{
    om_free(b->host);
    om_device_mem_free(gpu, b->device);
}

static float *fetch(const both *b, bool half)
{
    float *out = om_calloc(b->n, sizeof *out);
    uint16_t *raw = om_calloc(b->n, 2);
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_HOST, half ? (void *)raw : out, b->device,
                                    b->n * (half ? 2 : 4), NULL),
                     0);
    for (size_t i = 0; i < b->n && half; i++) out[i] = om_f16_to_f32(raw[i]);
    om_free(raw);
    return out;
}

typedef struct rig {
    omcu_conv c;
    both x, w, bias, res, y;
    int room, at;
} rig;

static void setup(const layer *l, bool half, rig *g)
{
    int room = l->room ? l->room : l->c, ho = (l->h + 2 * l->pad - l->r) / l->stride + 1,
        wo = (l->w + 2 * l->pad - l->r) / l->stride + 1;
    size_t size = half ? 2 : 4;
    g->room = room;
    g->at = l->at;
    g->x = make((size_t)l->n * (size_t)l->h * (size_t)l->w * (size_t)room, half, 1);
    g->w = make((size_t)l->r * (size_t)l->r * (size_t)l->c, half, 0.5f);
    g->bias = make((size_t)l->c + 128, false, 0.5f);
    g->y = make((size_t)l->n * (size_t)ho * (size_t)wo * (size_t)room, half, 0);
    g->res = make(g->y.n, half, 1);
    g->c = (omcu_conv){.x = (char *)g->x.device + (size_t)l->at * size,
                       .w = g->w.device,
                       .bias = g->bias.device,
                       .res = l->res ? (char *)g->res.device + (size_t)l->at * size : NULL,
                       .y = (char *)g->y.device + (size_t)l->at * size,
                       .n = l->n,
                       .h = l->h,
                       .wd = l->w,
                       .c = 1,
                       .ho = ho,
                       .wo = wo,
                       .k = 1,
                       .r = l->r,
                       .s = l->r,
                       .stride_y = l->stride,
                       .stride_x = l->stride,
                       .pad_y = l->pad,
                       .pad_x = l->pad,
                       .dil_y = 1,
                       .dil_x = 1,
                       .groups = l->c,
                       .kdim = l->r * l->r,
                       .x_n = (int64_t)l->h * l->w * room,
                       .x_h = (int64_t)l->w * room,
                       .x_w = room,
                       .y_n = (int64_t)ho * wo * room,
                       .y_h = (int64_t)wo * room,
                       .y_w = room,
                       .r_n = (int64_t)ho * wo * room,
                       .r_h = (int64_t)wo * room,
                       .r_w = room,
                       .act1 = l->act1,
                       .act2 = l->act2,
                       .vector = room % 8 == 0 && l->at % 8 == 0 && l->c % 8 == 0};
}

static void teardown(rig *g)
{
    drop(&g->x);
    drop(&g->w);
    drop(&g->bias);
    drop(&g->res);
    drop(&g->y);
}

static float expected(const layer *l, const rig *g, int n, int oy, int ox, int ch)
{
    const omcu_conv *c = &g->c;
    float sum = g->bias.host[ch];
    for (int r = 0; r < l->r; r++)
        for (int s = 0; s < l->r; s++) {
            int iy = oy * l->stride - l->pad + r, ix = ox * l->stride - l->pad + s;
            if (iy < 0 || iy >= l->h || ix < 0 || ix >= l->w) continue;
            sum += g->x.host[n * c->x_n + iy * c->x_h + ix * c->x_w + g->at + ch] *
                   g->w.host[(r * l->r + s) * l->c + ch];
        }
    sum = act(&l->act1, sum);
    if (l->res) sum += g->res.host[n * c->y_n + oy * c->y_h + ox * c->y_w + g->at + ch];
    return act(&l->act2, sum);
}

/* The largest difference; what lies beside our channels must stay as it was (zero). */
static double compare(const layer *l, const rig *g, bool half)
{
    const omcu_conv *c = &g->c;
    float *got = fetch(&g->y, half);
    double worst = 0;
    for (size_t i = 0; i < g->y.n; i++) {
        int ch = (int)(i % (size_t)g->room) - g->at;
        size_t pixel = i / (size_t)g->room;
        int ox = (int)(pixel % (size_t)c->wo), oy = (int)(pixel / (size_t)c->wo % (size_t)c->ho),
            n = (int)(pixel / (size_t)c->wo / (size_t)c->ho);
        double want = ch >= 0 && ch < l->c ? (double)expected(l, g, n, oy, ox, ch) : 0;
        double d = fabs((double)got[i] - want) / (1 + fabs(want));
        if (!(d <= worst)) worst = d;
    }
    om_free(got);
    return worst;
}

static void every_form_is_right(void **state)
{
    (void)state;
    int taken = 0;
    for (size_t i = 0; i < N_LAYERS; i++)
        for (int half = 0; half < 2; half++)
            for (int form = -1; form < dw.forms(); form++) {
                rig g;
                const layer *l = &layers[i];
                setup(l, half, &g);
                taken += dw.takes(form, half, &g.c);
                assert_int_equal(dw.launch(form, half, &g.c, (void *)stream), 0);
                assert_int_equal(om_device_settle(gpu, stream), 0);
                double worst = compare(l, &g, half), bound = half ? 2e-3 : 2e-5;
                if (!(worst <= bound))
                    fail_msg("layer %zu, %s, form %s: differs by %g", i, half ? "f16" : "f32",
                             form < 0 ? "any" : dw.name(form), worst);
                teardown(&g);
            }
    assert_true(taken > 100);
}

static void bench(void)
{
    static const int shapes[][3] = {{112, 32, 1}, {112, 96, 2}, {56, 144, 1}, {56, 144, 2}, {28, 192, 1},
                                    {28, 192, 2}, {14, 384, 1}, {14, 576, 1}, {14, 576, 2}, {7, 960, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int half = 0; half < 2; half++) {
            layer l = {.n = 64,
                       .h = shapes[i][0],
                       .w = shapes[i][0],
                       .c = shapes[i][1],
                       .r = 3,
                       .stride = shapes[i][2],
                       .pad = 1,
                       .act1 = {OMCU_CLIP, 0, 6}};
            rig g;
            setup(&l, half, &g);
            double bytes = (double)(g.x.n + g.y.n) * (half ? 2 : 4);
            printf("%3d %3d stride %d %s:", l.h, l.c, l.stride, half ? "f16" : "f32");
            for (int form = -1; form < dw.forms(); form++) {
                int64_t best = INT64_MAX;
                for (int k = 0; k < 5; k++) {
                    int64_t from = om_now_ns();
                    for (int r = 0; r < 10; r++) dw.launch(form, half, &g.c, (void *)stream);
                    om_device_settle(gpu, stream);
                    int64_t t = (om_now_ns() - from) / 10;
                    if (t < best) best = t;
                }
                printf(" %s %.1f us %.2f TB/s", form < 0 ? "any" : dw.name(form), (double)best / 1e3,
                       bytes / (double)best / 1e3);
            }
            printf("\n");
            teardown(&g);
        }
}

int main(int argc, char **argv)
{
    int skip = open_cuda(&gpu);
    if (skip) return skip;
    cuda_symbol("omcu_depthwise_forms", &dw.forms);
    cuda_symbol("omcu_depthwise_form_name", &dw.name);
    cuda_symbol("omcu_depthwise_takes", &dw.takes);
    cuda_symbol("omcu_depthwise_launch", &dw.launch);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form_is_right)};
    int failed = om_device_stream_create(gpu, 0, &stream);
    if (failed) return 1;
    timing = argc > 1;
    if (timing) bench();
    else failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_stream_destroy(gpu, stream);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
