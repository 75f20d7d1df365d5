/* ViT-B/16 as torchvision's export has it, simplified. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define WIDTH 768
#define HEADS 12
#define HEAD (WIDTH / HEADS)
#define BLOCKS 12
#define PATCH 16
#define HIDDEN 3072

static int op(om_synth *b, const char *kind, const char *path, const char *leaf, int n, int x, int y)
{
    char name[OM_BUILD_NAME];
    return om_build_op(&b->to, kind, om_build_name(name, "/%s/%s", path, leaf), n, x, y);
}

static int transpose(om_synth *b, const char *path, const char *leaf, int x, int n, const int *order)
{
    int v = op(b, "Transpose", path, leaf, 1, x, OM_NO_VALUE);
    if (n == 3) om_build_ints(&b->to, "perm", 3, order[0], order[1], order[2]);
    else if (n == 4) om_build_ints(&b->to, "perm", 4, order[0], order[1], order[2], order[3]);
    else om_build_ints(&b->to, "perm", 5, order[0], order[1], order[2], order[3], order[4]);
    return v;
}

/* A constant of Gaussian numbers about `mean`. */
static int gaussian(om_synth *b, const char *path, const char *leaf, const om_shape *shape, float mean,
                    float deviation)
{
    char name[OM_BUILD_NAME];
    size_t n = (size_t)om_shape_count(shape);
    float *v = om_alloc(n * sizeof *v);
    int constant = OM_NO_VALUE;
    if (!v) b->to.err = OM_ERR_NOMEM;
    for (size_t i = 0; i < n && !b->to.err; i++) v[i] = mean + deviation * om_synth_gauss(b);
    if (!b->to.err) constant = om_build_f32(&b->to, om_build_name(name, "%s.%s", path, leaf), shape, v);
    om_free(v);
    return constant;
}

static int norm(om_synth *b, const char *path, int x)
{
    om_shape shape = om_shape_make(1, (int64_t)WIDTH);
    char name[OM_BUILD_NAME];
    int gain = gaussian(b, path, "weight", &shape, 1, 0.1f),
        shift = gaussian(b, path, "bias", &shape, 0, 0.1f);
    int v = om_build_op(&b->to, "LayerNormalization", om_build_name(name, "/%s/LayerNormalization", path), 3,
                        x, gain, shift);
    om_build_int(&b->to, "axis", -1);
    om_build_float(&b->to, "epsilon", 1e-6f);
    return v;
}

/* MatMul and Add; `power`: the mean square of the input. */
static int linear(om_synth *b, const char *path, int x, int in, int out, float power)
{
    om_shape ws = om_shape_make(2, (int64_t)in, (int64_t)out), bs = om_shape_make(1, (int64_t)out);
    int w = gaussian(b, path, "weight", &ws, 0, 1 / sqrtf((float)in * power));
    int v = op(b, "MatMul", path, "MatMul", 2, x, w);
    return op(b, "Add", path, "Add", 2, gaussian(b, path, "bias", &bs, 0, 0.1f), v);
}

/* One of queries, keys and values out of [3, S, 1, 768], as [1, heads, S, 64]. */
static int apart(om_synth *b, const char *path, int which, int all, int flat, int heads)
{
    char leaf[32];
    snprintf(leaf, sizeof leaf, "Gather_%d", which);
    int v = op(b, "Gather", path, leaf, 2, all, om_build_scalar(&b->to, which));
    om_build_int(&b->to, "axis", 0);
    snprintf(leaf, sizeof leaf, "Reshape_flat_%d", which);
    v = op(b, "Reshape", path, leaf, 2, v, flat);
    snprintf(leaf, sizeof leaf, "Transpose_%d", which);
    v = transpose(b, path, leaf, v, 3, (const int[]){1, 0, 2});
    snprintf(leaf, sizeof leaf, "Reshape_heads_%d", which);
    return op(b, "Reshape", path, leaf, 2, v, heads);
}

/* torch's multi-head attention, which works on [S, N, 768]. */
static int attention(om_synth *b, const char *path, int x, int cells)
{
    char name[OM_BUILD_NAME];
    static const int swap[] = {1, 0, 2};
    int n = b->p.dynamic ? -1 : 1;
    int split = om_build_i64(&b->to, "shape_split", 4, cells, n, 3, WIDTH);
    int flat = om_build_i64(&b->to, "shape_flat", 3, cells, n < 0 ? n : HEADS, HEAD);
    int heads = om_build_i64(&b->to, "shape_heads", 4, n, HEADS, cells, HEAD);
    int v = transpose(b, path, "Transpose", x, 3, swap);
    om_build_name(name, "%s/in_proj", path);
    v = op(b, "Reshape", path, "Reshape", 2, linear(b, name, v, WIDTH, 3 * WIDTH, 1), split);
    v = op(b, "Unsqueeze", path, "Unsqueeze", 2, v, om_build_one(&b->to, 0));
    v = transpose(b, path, "Transpose_split", v, 5, (const int[]){3, 1, 2, 0, 4});
    v = op(b, "Squeeze", path, "Squeeze", 2, v, om_build_one(&b->to, 3));
    int q = apart(b, path, 0, v, flat, heads), k = apart(b, path, 1, v, flat, heads),
        value = apart(b, path, 2, v, flat, heads);
    /* Half of the scale for each: the fourth root of the head's width. */
    int scale = om_build_f32_scalar(&b->to, "scale", 1 / sqrtf(sqrtf((float)HEAD)));
    k = transpose(b, path, "Transpose_k", k, 4, (const int[]){0, 1, 3, 2});
    q = op(b, "Mul", path, "Mul", 2, q, scale);
    k = op(b, "Mul", path, "Mul_1", 2, k, scale);
    v = op(b, "MatMul", path, "MatMul", 2, q, k);
    v = op(b, "Softmax", path, "Softmax", 1, v, OM_NO_VALUE);
    om_build_int(&b->to, "axis", -1);
    v = op(b, "MatMul", path, "MatMul_1", 2, v, value);
    v = transpose(b, path, "Transpose_out", v, 4, (const int[]){2, 0, 1, 3});
    v = op(b, "Reshape", path, "Reshape_out", 2, v,
           om_build_i64(&b->to, "shape_rows", 2, n < 0 ? n : cells, WIDTH));
    /* A mean over many cells has a tenth of its variance left; a classifier's layer is drawn ten times as
     * strong as the others, so one for the other. */
    om_build_name(name, "%s/out_proj", path);
    v = om_synth_linear(b, name, (om_synth_tensor){v, WIDTH, 0, 1, 0}, WIDTH).v;
    v = op(b, "Reshape", path, "Reshape_back", 2, v, om_build_i64(&b->to, "shape_back", 3, cells, n, WIDTH));
    return transpose(b, path, "Transpose_back", v, 3, swap);
}

static int block(om_synth *b, int number, int x, int cells)
{
    char path[OM_BUILD_NAME], name[OM_BUILD_NAME];
    om_build_name(path, "encoder/layers/encoder_layer_%d", number);
    int y = norm(b, om_build_name(name, "%s/ln_1", path), x);
    y = attention(b, om_build_name(name, "%s/self_attention", path), y, cells);
    x = op(b, "Add", path, "Add", 2, y, x);
    y = norm(b, om_build_name(name, "%s/ln_2", path), x);
    y = linear(b, om_build_name(name, "%s/mlp/0", path), y, WIDTH, HIDDEN, 1);
    y = om_synth_activate(b, OM_SYNTH_GELU, om_build_name(name, "%s/mlp/1", path),
                          (om_synth_tensor){y, HIDDEN, 0, 1, 0})
            .v;
    y = linear(b, om_build_name(name, "%s/mlp/3", path), y, HIDDEN, WIDTH, 0.43f);
    return op(b, "Add", path, "Add_1", 2, x, y);
}

/* The class token once for each picture. */
static int repeated(om_build *b, int token, int like)
{
    int n = om_build_op(b, "Gather", "/Gather_batch", 2, om_build_op(b, "Shape", "/Shape", 1, like),
                        om_build_one(b, 0));
    om_build_int(b, "axis", 0);
    int shape =
        om_build_join(b, "/Concat_token", 0, 3, (int[]){n, om_build_one(b, 1), om_build_one(b, WIDTH)});
    return om_build_op(b, "Expand", "/Expand", 2, token, shape);
}

int om_synth_vit_b_16(om_synth *b, float width, float depth, om_synth_tensor images)
{
    int patches = (b->p.height / PATCH) * (b->p.width / PATCH), cells = patches + 1,
        n = b->p.dynamic ? -1 : 1;
    om_shape token = om_shape_make(3, (int64_t)1, (int64_t)1, (int64_t)WIDTH),
             places = om_shape_make(3, (int64_t)1, (int64_t)cells, (int64_t)WIDTH);
    (void)width;
    (void)depth;
    om_synth_tensor x = om_synth_conv_random(b, "conv_proj", images,
                                             (om_synth_conv){.out = WIDTH, .size = PATCH, .stride = PATCH});
    int v = om_build_op(&b->to, "Reshape", "/Reshape", 2, x.v,
                        om_build_i64(&b->to, "shape_patches", 3, n, WIDTH, patches));
    v = om_build_op(&b->to, "Transpose", "/Transpose", 1, v);
    om_build_ints(&b->to, "perm", 3, 0, 2, 1);
    int first = gaussian(b, "class_token", "value", &token, 0, 1);
    if (b->p.dynamic) first = repeated(&b->to, first, v);
    v = om_build_join(&b->to, "/Concat", 1, 2, (int[]){first, v});
    v = om_build_op(&b->to, "Add", "/encoder/Add", 2, v,
                    gaussian(b, "encoder", "pos_embedding", &places, 0, 1));
    for (int i = 0; i < BLOCKS; i++) v = block(b, i, v, cells);
    v = norm(b, "encoder/ln", v);
    v = om_build_op(&b->to, "Gather", "/Gather", 2, v, om_build_scalar(&b->to, 0));
    om_build_int(&b->to, "axis", 1);
    return om_synth_linear(b, "heads/head", (om_synth_tensor){v, WIDTH, 0, 1, 0}, b->p.classes).v;
}
