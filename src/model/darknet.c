/* Darknet cfg + weights to ONNX. Batch normalisation is folded into the convolution before it. */
#include "model/darknet.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/labels.h"

#define MAX_SIZE 16384
#define MAX_CHANNELS 65536
#define MAX_ROUTES 64
#define MAX_ANCHORS 64
#define MAX_CFG_BYTES (4u << 20)
#define MAX_WEIGHT_BYTES (2ull << 30)
#define OPSET 13

typedef struct layer {
    int value; /* in the graph */
    int c, h, w;
    bool is_yolo; /* its value is the raw grid, not what Darknet's layer yields */
} layer;

typedef struct importer {
    om_dn_cfg cfg;
    const om_dn_section *s; /* being built */
    const char *weights_name;
    const uint8_t *weights, *end;
    om_graph *g;
    layer *layers; /* one a section behind [net] */
    int n_layers;
    layer in; /* what the present section reads */
    int net_h, net_w, classes, stride;
    om_str anchors, masks, scales; /* metadata, an output each */
} importer;

static int add_named(importer *im, const char *op, const char *suffix, const int *in, int n_in)
{
    char *name = om_sprintf("%s_%d%s", im->s->type, im->n_layers, suffix);
    int node = name ? om_graph_add_node(im->g, op, name, in, n_in, 1) : OM_ERR_NOMEM;
    om_free(name);
    return node;
}

/* A node of one input without attributes; its output, or an error. */
static int add_plain(importer *im, const char *op, const char *suffix, const int *in, int n_in)
{
    int node = add_named(im, op, suffix, in, n_in);
    return node < 0 ? node : om_node_out(im->g, node);
}

static int add_const(importer *im, const char *suffix, om_dtype dtype, const om_shape *shape,
                     const void *data)
{
    char *name = om_sprintf("%s_%d%s", im->s->type, im->n_layers, suffix);
    int v = name ? om_graph_add_const(im->g, name, dtype, shape, data) : OM_ERR_NOMEM;
    om_free(name);
    return v;
}

static int activate(importer *im, int v)
{
    static const struct {
        const char *name, *op;
    } plain[] = {{"relu", "Relu"}, {"logistic", "Sigmoid"}, {"tanh", "Tanh"}};
    const om_dn_option *o = om_dn_find(im->s, "activation");
    const char *a = o ? o->value : "linear";
    if (strcmp(a, "linear") == 0) return v;
    if (strcmp(a, "leaky") == 0) {
        int node = add_named(im, "LeakyRelu", "_act", &v, 1);
        if (node >= 0 && om_node_set_float(&im->g->nodes[node], "alpha", 0.1f) < 0) return OM_ERR_NOMEM;
        return node < 0 ? node : om_node_out(im->g, node);
    }
    if (strcmp(a, "swish") == 0) {
        int gate = add_plain(im, "Sigmoid", "_gate", &v, 1);
        return gate < 0 ? gate : add_plain(im, "Mul", "_act", (int[]){v, gate}, 2);
    }
    if (strcmp(a, "mish") == 0) { /* the operator of that name needs opset 18 */
        int soft = add_plain(im, "Softplus", "_soft", &v, 1);
        int gate = soft < 0 ? soft : add_plain(im, "Tanh", "_gate", &soft, 1);
        return gate < 0 ? gate : add_plain(im, "Mul", "_act", (int[]){v, gate}, 2);
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(a, plain[i].name) == 0) return add_plain(im, plain[i].op, "_act", &v, 1);
    om_dn_fail(&im->cfg, im->s, o->line,
               "activation '%.40s' is not among linear, leaky, relu, logistic, tanh, swish, mish", a);
    return OM_ERR_UNSUPPORTED;
}

/* The next `n` floats of the weights, still where the file has them. */
static int take_floats(importer *im, int64_t n, const char *what, const uint8_t **out)
{
    int64_t left = (im->end - im->weights) / 4;
    if (n > left)
        return om_fail(OM_ERR_FORMAT,
                       "%s: ends inside the %s of [%s] at %s:%d: %" PRId64 " numbers expected, %" PRId64
                       " are left",
                       im->weights_name, what, im->s->type, im->cfg.name, im->s->line, n, left);
    *out = im->weights;
    im->weights += n * 4;
    return OM_OK;
}

static float float_at(const uint8_t *p, int64_t i)
{
    float v;
    memcpy(&v, p + i * 4, 4);
    return v;
}

/* Scale and shift of each filter as Darknet's normalisation applies them: (x - mean) / (sqrt(var) + 1e-6) * s
 * + b. */
static void fold_normalisation(float *w, float *b, int filters, int64_t each, const uint8_t *scales,
                               const uint8_t *means, const uint8_t *variances)
{
    for (int f = 0; f < filters; f++) {
        double k = float_at(scales, f) / (sqrt(float_at(variances, f)) + 1e-6);
        b[f] = (float)(b[f] - float_at(means, f) * k);
        for (int64_t i = 0; i < each; i++) w[f * each + i] = (float)(w[f * each + i] * k);
    }
}

static bool all_finite(const float *v, int64_t n)
{
    bool ok = true;
    for (int64_t i = 0; i < n; i++) ok = ok && isfinite(v[i]);
    return ok;
}

/* Reads one convolution's numbers into constants; in[1], in[2] become their values. */
static int read_convolution(importer *im, int filters, int per_group, int size, bool normalised, int in[3])
{
    const uint8_t *bias = NULL, *weight = NULL, *norm[3] = {NULL, NULL, NULL};
    static const char *const parts[] = {"scales", "means", "variances"};
    int64_t each = (int64_t)per_group * size * size;
    if (each * filters > (int64_t)(MAX_WEIGHT_BYTES / 4))
        return om_dn_fail(&im->cfg, im->s, im->s->line, "is too large");
    int e = take_floats(im, filters, "biases", &bias);
    for (int i = 0; !e && normalised && i < 3; i++) e = take_floats(im, filters, parts[i], &norm[i]);
    if (!e) e = take_floats(im, each * filters, "weights", &weight);
    if (e) return e;
    float *w = om_alloc((size_t)(each * filters) * 4), *b = om_alloc((size_t)filters * 4);
    if (!w || !b) {
        e = OM_ERR_NOMEM;
        goto done;
    }
    memcpy(w, weight, (size_t)(each * filters) * 4);
    memcpy(b, bias, (size_t)filters * 4);
    if (normalised) fold_normalisation(w, b, filters, each, norm[0], norm[1], norm[2]);
    if (!all_finite(w, each * filters) || !all_finite(b, filters)) {
        e = om_fail(OM_ERR_FORMAT, "%s: weights of [%s] at %s:%d are not finite numbers", im->weights_name,
                    im->s->type, im->cfg.name, im->s->line);
        goto done;
    }
    om_shape ws = om_shape_make(4, (int64_t)filters, (int64_t)per_group, (int64_t)size, (int64_t)size);
    om_shape bs = om_shape_make(1, (int64_t)filters);
    in[1] = add_const(im, "_weight", OM_DTYPE_F32, &ws, w);
    in[2] = in[1] < 0 ? in[1] : add_const(im, "_bias", OM_DTYPE_F32, &bs, b);
    e = in[2] < 0 ? in[2] : OM_OK;
done:
    om_free(w);
    om_free(b);
    return e;
}

static int set_window(om_node *n, int size, const int stride[2], int begin, int end, int dilation)
{
    int64_t kernel[] = {size, size}, strides[] = {stride[0], stride[1]};
    int64_t pads[] = {begin, begin, end, end}, dilations[] = {dilation, dilation};
    int e = om_node_set_ints(n, "kernel_shape", kernel, 2);
    if (!e) e = om_node_set_ints(n, "strides", strides, 2);
    if (!e) e = om_node_set_ints(n, "pads", pads, 4);
    if (!e && dilation != 1) e = om_node_set_ints(n, "dilations", dilations, 2);
    return e;
}

/* Sizes behind a window; an error where nothing is left. */
static int shrink(importer *im, layer *out, int size, const int stride[2], int padding, int dilation)
{
    int reach = (size - 1) * dilation + 1;
    out->h = (im->in.h + padding - reach) / stride[0] + 1;
    out->w = (im->in.w + padding - reach) / stride[1] + 1;
    if (im->in.h + padding < reach || im->in.w + padding < reach)
        return om_dn_fail(&im->cfg, im->s, im->s->line, "its window of %d is larger than its input of %dx%d",
                          size, im->in.w, im->in.h);
    return OM_OK;
}

static int read_strides(importer *im, int stride[2])
{
    int both, e = om_dn_int(&im->cfg, im->s, "stride", 1, 1, 64, &both);
    if (!e) e = om_dn_int(&im->cfg, im->s, "stride_y", both, 1, 64, &stride[0]);
    if (!e) e = om_dn_int(&im->cfg, im->s, "stride_x", both, 1, 64, &stride[1]);
    return e;
}

static int build_convolution(importer *im, layer *out)
{
    const om_dn_cfg *cfg = &im->cfg;
    const om_dn_section *s = im->s;
    int filters, size, stride[2], pad, padding, groups, dilation, normalised;
    int e = om_dn_int(cfg, s, "filters", 1, 1, MAX_CHANNELS, &filters);
    if (!e) e = om_dn_int(cfg, s, "size", 1, 1, 64, &size);
    if (!e) e = read_strides(im, stride);
    if (!e) e = om_dn_int(cfg, s, "pad", 0, 0, 1, &pad);
    if (!e) e = om_dn_int(cfg, s, "padding", 0, 0, 64, &padding);
    if (!e) e = om_dn_int(cfg, s, "groups", 1, 1, MAX_CHANNELS, &groups);
    if (!e) e = om_dn_int(cfg, s, "dilation", 1, 1, 64, &dilation);
    if (!e) e = om_dn_int(cfg, s, "batch_normalize", 0, 0, 1, &normalised);
    if (e) return e;
    if (im->in.c % groups || filters % groups)
        return om_dn_fail(cfg, s, s->line, "%d groups do not divide both %d input channels and %d filters",
                          groups, im->in.c, filters);
    if (pad) padding = size / 2 * dilation;
    int in[3] = {im->in.value, 0, 0};
    e = shrink(im, out, size, stride, 2 * padding, dilation);
    if (!e) e = read_convolution(im, filters, im->in.c / groups, size, normalised, in);
    if (e) return e;
    int node = add_named(im, "Conv", "", in, 3);
    if (node < 0) return node;
    e = set_window(&im->g->nodes[node], size, stride, padding, padding, dilation);
    if (!e && groups > 1) e = om_node_set_int(&im->g->nodes[node], "group", groups);
    if (e) return e;
    out->c = filters;
    out->value = activate(im, om_node_out(im->g, node));
    return out->value < 0 ? out->value : OM_OK;
}

/* Darknet pads size-1 in all, the smaller half before: so a window of 2 with stride 1 keeps the size. */
static int build_maxpool(importer *im, layer *out)
{
    int size, stride[2], padding, e = read_strides(im, stride);
    if (!e) e = om_dn_int(&im->cfg, im->s, "size", stride[0], 1, 64, &size);
    if (!e) e = om_dn_int(&im->cfg, im->s, "padding", size - 1, 0, size - 1, &padding);
    if (!e) e = shrink(im, out, size, stride, padding, 1);
    if (e) return e;
    int node = add_named(im, "MaxPool", "", &im->in.value, 1);
    if (node < 0) return node;
    out->value = om_node_out(im->g, node);
    return set_window(&im->g->nodes[node], size, stride, padding / 2, padding - padding / 2, 1);
}

/* The layer another section names: counted from the first behind [net], or back from here where negative. */
static int refer(importer *im, const om_dn_option *o, double number, const layer **out)
{
    int at = number < 0 ? im->n_layers + (int)fmax(number, -1e6) : (int)fmin(number, 1e6);
    if (number != floor(number) || at < 0 || at >= im->n_layers)
        return om_dn_fail(&im->cfg, im->s, o->line, "%s: there is no layer %g before layer %d", o->key,
                          number, im->n_layers);
    *out = &im->layers[at];
    if ((*out)->is_yolo)
        return om_dn_fail(&im->cfg, im->s, o->line, "%s: layer %d is a [yolo], which is an output only",
                          o->key, at);
    return OM_OK;
}

static int slice_group(importer *im, int value, int first, int end, int part)
{
    char suffix[32];
    const int64_t bounds[3] = {first, end, 1};
    static const char *const names[] = {"_start", "_end", "_axis"};
    int in[4] = {value, 0, 0, 0};
    for (int i = 0; i < 3; i++) {
        char *name = om_sprintf("%s_%d_%d%s", im->s->type, im->n_layers, part, names[i]);
        in[i + 1] = name ? om_graph_add_const_i64(im->g, name, &bounds[i], 1) : OM_ERR_NOMEM;
        om_free(name);
        if (in[i + 1] < 0) return in[i + 1];
    }
    suffix[0] = '_';
    suffix[1] = (char)('a' + part % 26);
    suffix[2] = 0;
    return add_plain(im, "Slice", suffix, in, 4);
}

static int build_route(importer *im, layer *out)
{
    double numbers[MAX_ROUTES];
    int n, groups, group, values[MAX_ROUTES];
    const om_dn_option *o = om_dn_find(im->s, "layers");
    int e = om_dn_list(&im->cfg, im->s, "layers", numbers, MAX_ROUTES, &n);
    if (!e && n == 0) e = om_dn_fail(&im->cfg, im->s, im->s->line, "needs layers=");
    if (!e) e = om_dn_int(&im->cfg, im->s, "groups", 1, 1, MAX_CHANNELS, &groups);
    if (!e) e = om_dn_int(&im->cfg, im->s, "group_id", 0, 0, groups - 1, &group);
    out->c = 0;
    for (int i = 0; !e && i < n; i++) {
        const layer *from = NULL;
        e = refer(im, o, numbers[i], &from);
        if (e) return e;
        int part = from->c / groups;
        if (i == 0) *out = (layer){.h = from->h, .w = from->w};
        if (from->h != out->h || from->w != out->w)
            return om_dn_fail(&im->cfg, im->s, o->line, "layers of %dx%d and %dx%d do not join", out->w,
                              out->h, from->w, from->h);
        if (from->c % groups || out->c + part > MAX_CHANNELS)
            return om_dn_fail(&im->cfg, im->s, o->line,
                              "%d channels do not part into %d groups, or too many join", from->c, groups);
        values[i] =
            groups == 1 ? from->value : slice_group(im, from->value, part * group, part * (group + 1), i);
        if (values[i] < 0) return values[i];
        out->c += part;
    }
    if (e) return e;
    out->value = values[0];
    if (n == 1) return OM_OK;
    int node = add_named(im, "Concat", "", values, n);
    if (node < 0) return node;
    out->value = om_node_out(im->g, node);
    return om_node_set_int(&im->g->nodes[node], "axis", 1);
}

static int build_shortcut(importer *im, layer *out)
{
    double numbers[MAX_ROUTES];
    int n, sum = im->in.value;
    const om_dn_option *o = om_dn_find(im->s, "from");
    int e = om_dn_list(&im->cfg, im->s, "from", numbers, MAX_ROUTES, &n);
    if (!e && n == 0) e = om_dn_fail(&im->cfg, im->s, im->s->line, "needs from=");
    if (!e && strcmp(om_dn_text(im->s, "weights_type", "none"), "none") != 0) {
        om_dn_fail(&im->cfg, im->s, im->s->line, "weights_type is not supported");
        return OM_ERR_UNSUPPORTED;
    }
    for (int i = 0; !e && i < n; i++) {
        const layer *from = NULL;
        char suffix[] = {'_', (char)('a' + i % 26), 0};
        e = refer(im, o, numbers[i], &from);
        if (e) return e;
        if (from->c != im->in.c || from->h != im->in.h || from->w != im->in.w)
            return om_dn_fail(&im->cfg, im->s, o->line, "adds %dx%dx%d to %dx%dx%d", from->c, from->h,
                              from->w, im->in.c, im->in.h, im->in.w);
        sum = add_plain(im, "Add", i ? suffix : "", (int[]){sum, from->value}, 2);
        if (sum < 0) return sum;
    }
    if (e) return e;
    out->value = activate(im, sum);
    return out->value < 0 ? out->value : OM_OK;
}

static int build_upsample(importer *im, layer *out)
{
    int stride, e = om_dn_int(&im->cfg, im->s, "stride", 2, 1, 16, &stride);
    float scale;
    if (!e) e = om_dn_float(&im->cfg, im->s, "scale", 1, &scale);
    if (!e && scale != 1) e = om_dn_fail(&im->cfg, im->s, im->s->line, "scale other than 1 is not supported");
    if (!e && ((int64_t)im->in.h * stride > MAX_SIZE || (int64_t)im->in.w * stride > MAX_SIZE))
        e = om_dn_fail(&im->cfg, im->s, im->s->line, "grows beyond %d pixels", MAX_SIZE);
    if (e) return e;
    const float scales[] = {1, 1, (float)stride, (float)stride};
    om_shape four = om_shape_make(1, (int64_t)4);
    int in[3] = {im->in.value, OM_NO_VALUE, add_const(im, "_scales", OM_DTYPE_F32, &four, scales)};
    int node = in[2] < 0 ? in[2] : add_named(im, "Resize", "", in, 3);
    if (node < 0) return node;
    om_node *resize = &im->g->nodes[node];
    e = om_node_set_string(resize, "mode", "nearest");
    if (!e) e = om_node_set_string(resize, "coordinate_transformation_mode", "asymmetric");
    if (!e) e = om_node_set_string(resize, "nearest_mode", "floor");
    out->value = om_node_out(im->g, node);
    out->h *= stride;
    out->w *= stride;
    return e;
}

/* Of use in training only. */
static int build_dropout(importer *im, layer *out)
{
    out->value = im->in.value;
    return OM_OK;
}

/* Makes the grid an output under a name of its own. */
static int put_out(importer *im, const layer *grid)
{
    char *name = om_sprintf("yolo_%d", im->n_layers);
    om_shape shape = om_shape_make(4, (int64_t)OM_DIM_DYNAMIC, (int64_t)grid->c, (int64_t)OM_DIM_DYNAMIC,
                                   (int64_t)OM_DIM_DYNAMIC);
    int stand_in = name ? om_graph_add_value(im->g, name, OM_DTYPE_F32, &shape) : OM_ERR_NOMEM;
    int e = stand_in < 0 ? stand_in : om_graph_mark_output(im->g, stand_in);
    if (e >= 0) e = om_graph_replace_uses(im->g, stand_in, grid->value);
    om_free(name);
    if (e) return e;
    int v = im->g->outputs[im->g->n_outputs - 1];
    im->g->values[v].dtype = OM_DTYPE_F32;
    im->g->values[v].shape = shape;
    om_graph_set_dim_param(im->g, v, 0, "batch");
    return OM_OK;
}

static void join_numbers(om_str *out, const double *numbers, int n)
{
    if (out->len > 0) om_str_addc(out, ';');
    for (int i = 0; i < n; i++) om_str_addf(out, "%s%.9g", i ? "," : "", numbers[i]);
}

static int build_yolo(importer *im, layer *out)
{
    const om_dn_cfg *cfg = &im->cfg;
    const om_dn_section *s = im->s;
    double anchors[2 * MAX_ANCHORS], masks[MAX_ANCHORS];
    int n_anchors, n_masks, classes, num, new_coords;
    float scale;
    int e = om_dn_list(cfg, s, "anchors", anchors, 2 * MAX_ANCHORS, &n_anchors);
    if (!e) e = om_dn_list(cfg, s, "mask", masks, MAX_ANCHORS, &n_masks);
    if (!e) e = om_dn_int(cfg, s, "classes", 20, 1, MAX_CHANNELS, &classes);
    if (!e) e = om_dn_int(cfg, s, "num", n_anchors / 2, 1, MAX_ANCHORS, &num);
    if (!e) e = om_dn_int(cfg, s, "new_coords", 0, 0, 1, &new_coords);
    if (!e) e = om_dn_float(cfg, s, "scale_x_y", 1, &scale);
    if (e) return e;
    if (n_anchors < 2 || n_anchors % 2 || num > n_anchors / 2)
        return om_dn_fail(cfg, s, s->line, "anchors: expected %d pairs, there are %d numbers", num,
                          n_anchors);
    if (n_masks == 0) /* all of them, as Darknet does */
        for (; n_masks < num; n_masks++) masks[n_masks] = n_masks;
    for (int i = 0; i < n_masks; i++)
        if (masks[i] < 0 || masks[i] >= n_anchors / 2 || masks[i] != floor(masks[i]))
            return om_dn_fail(cfg, s, s->line, "mask: there is no anchor %g", masks[i]);
    if (new_coords) {
        om_dn_fail(cfg, s, s->line, "new_coords=1 is not supported");
        return OM_ERR_UNSUPPORTED;
    }
    if (im->classes && im->classes != classes)
        return om_dn_fail(cfg, s, s->line, "has %d classes, the one before %d", classes, im->classes);
    if (im->in.is_yolo || im->in.c != n_masks * (5 + classes))
        return om_dn_fail(cfg, s, s->line, "expects %d channels for %d boxes of %d classes, its input has %d",
                          n_masks * (5 + classes), n_masks, classes, im->in.c);
    im->classes = classes;
    int stride = im->net_h / im->in.h;
    if (stride > im->stride) im->stride = stride;
    join_numbers(&im->anchors, anchors, n_anchors);
    join_numbers(&im->masks, masks, n_masks);
    join_numbers(&im->scales, &(double){scale}, 1);
    e = put_out(im, &im->in);
    out->is_yolo = true;
    return e;
}

static const struct {
    const char *type;
    int (*build)(importer *im, layer *out);
} builders[] = {
    {"convolutional", build_convolution},
    {"conv", build_convolution},
    {"maxpool", build_maxpool},
    {"max", build_maxpool},
    {"route", build_route},
    {"shortcut", build_shortcut},
    {"upsample", build_upsample},
    {"dropout", build_dropout},
    {"yolo", build_yolo},
};

static int build_section(importer *im)
{
    for (size_t i = 0; i < sizeof builders / sizeof *builders; i++) {
        if (strcmp(im->s->type, builders[i].type) != 0) continue;
        layer *out = &im->layers[im->n_layers];
        *out = im->in;
        out->is_yolo = false;
        bool starts = strcmp(im->s->type, "route") == 0 || strcmp(im->s->type, "yolo") == 0;
        if (im->in.is_yolo && !starts)
            return om_dn_fail(&im->cfg, im->s, im->s->line, "reads a [yolo], which is an output only");
        int e = builders[i].build(im, out);
        if (e) return e;
        im->in = *out;
        im->n_layers++;
        return OM_OK;
    }
    om_dn_fail(
        &im->cfg, im->s, im->s->line,
        "is not a section this import knows: convolutional, maxpool, route, shortcut, upsample, dropout, yolo");
    return OM_ERR_UNSUPPORTED;
}

static int start_net(importer *im)
{
    const om_dn_section *s = im->s = &im->cfg.sections[0];
    int channels;
    if (strcmp(s->type, "net") != 0 && strcmp(s->type, "network") != 0)
        return om_dn_fail(&im->cfg, s, s->line, "comes first; expected [net]");
    int e = om_dn_int(&im->cfg, s, "height", 416, 1, MAX_SIZE, &im->net_h);
    if (!e) e = om_dn_int(&im->cfg, s, "width", 416, 1, MAX_SIZE, &im->net_w);
    if (!e) e = om_dn_int(&im->cfg, s, "channels", 3, 1, 4, &channels);
    if (e) return e;
    om_shape shape = om_shape_make(4, (int64_t)OM_DIM_DYNAMIC, (int64_t)channels, (int64_t)OM_DIM_DYNAMIC,
                                   (int64_t)OM_DIM_DYNAMIC);
    int v = om_graph_add_input(im->g, "images", OM_DTYPE_F32, &shape);
    if (v < 0) return v;
    om_graph_set_dim_param(im->g, v, 0, "batch");
    om_graph_set_dim_param(im->g, v, 2, "height");
    om_graph_set_dim_param(im->g, v, 3, "width");
    im->in = (layer){.value = v, .c = channels, .h = im->net_h, .w = im->net_w};
    im->layers = om_calloc(im->cfg.n, sizeof *im->layers);
    return im->layers ? OM_OK : OM_ERR_NOMEM;
}

/* Version, then the number of images seen, whose width depends on the version. */
static int skip_header(importer *im)
{
    int32_t version[3];
    if (im->end - im->weights < 16)
        return om_fail(OM_ERR_FORMAT, "%s: no room for a Darknet header", im->weights_name);
    memcpy(version, im->weights, sizeof version);
    int64_t major = version[0], minor = version[1];
    if (major < 0 || major > 1000 || minor < 0 || minor > 1000)
        return om_fail(OM_ERR_FORMAT, "%s: not Darknet weights: its header says version %d.%d",
                       im->weights_name, version[0], version[1]);
    size_t seen = major * 10 + minor >= 2 ? 8 : 4;
    if ((size_t)(im->end - im->weights) < sizeof version + seen)
        return om_fail(OM_ERR_FORMAT, "%s: no room for a Darknet header", im->weights_name);
    im->weights += sizeof version + seen;
    return OM_OK;
}

static int write_metadata(importer *im, const om_strlist *labels)
{
    char number[16], stride[16], size[48];
    om_str names = {0};
    snprintf(number, sizeof number, "%d", im->classes);
    snprintf(stride, sizeof stride, "%d", im->stride);
    snprintf(size, sizeof size, "[%d, %d]", im->net_h, im->net_w);
    if (labels) om_labels_write((const char *const *)labels->items, (int)labels->n, &names);
    const char *pairs[][2] = {{"omma.family", "yolov3"},
                              {"omma.classes", number},
                              {"omma.anchors", om_str_get(&im->anchors)},
                              {"omma.masks", om_str_get(&im->masks)},
                              {"omma.scale_x_y", om_str_get(&im->scales)},
                              {"stride", stride},
                              {"imgsz", size},
                              {"names", labels ? om_str_get(&names) : NULL}};
    bool lost = im->anchors.failed || im->masks.failed || im->scales.failed || names.failed;
    int e = lost ? om_fail_nomem("metadata") : OM_OK;
    for (size_t i = 0; !e && i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][1]) e = om_graph_set_meta(im->g, pairs[i][0], pairs[i][1]);
    om_str_fini(&names);
    return e;
}

static int build(importer *im, const om_strlist *labels)
{
    int e = om_graph_set_opset(im->g, "", OPSET);
    if (!e) e = skip_header(im);
    if (!e) e = start_net(im);
    for (size_t i = 1; !e && i < im->cfg.n; i++) {
        im->s = &im->cfg.sections[i];
        e = build_section(im);
    }
    if (e) return e;
    if (im->classes == 0) return om_fail(OM_ERR_FORMAT, "%s: no [yolo] section, so no outputs", im->cfg.name);
    if (im->weights != im->end)
        return om_fail(OM_ERR_FORMAT, "%s: %td bytes are left over; does it belong to %s?", im->weights_name,
                       im->end - im->weights, im->cfg.name);
    if (labels && labels->n != (size_t)im->classes)
        return om_fail(OM_ERR_ARG, "%zu class names, but %s has %d classes", labels->n, im->cfg.name,
                       im->classes);
    im->g->ir_version = 8;
    im->g->producer = om_strdup("omma");
    if (!im->g->producer) return OM_ERR_NOMEM;
    e = write_metadata(im, labels);
    return e ? e : om_graph_compact(im->g);
}

int om_dn_import(const char *cfg_name, const char *cfg_text, const char *weights_name, const void *weights,
                 size_t len, const om_strlist *labels, om_graph **out)
{
    importer im = {
        .weights_name = weights_name, .weights = weights, .end = (const uint8_t *)weights + len, .stride = 1};
    *out = NULL;
    int e = om_dn_cfg_parse(cfg_name, cfg_text, &im.cfg);
    if (!e) e = om_graph_create("darknet", &im.g);
    if (!e) e = build(&im, labels);
    if (!e) *out = im.g;
    else om_graph_destroy(im.g);
    om_free(im.layers);
    om_str_fini(&im.anchors);
    om_str_fini(&im.masks);
    om_str_fini(&im.scales);
    om_dn_cfg_fini(&im.cfg);
    return e;
}

int om_model_import_darknet(const char *cfg, const char *weights, const char *names, om_graph **out)
{
    char *text = NULL, *data = NULL;
    size_t text_len, data_len;
    om_strlist labels = {0};
    *out = NULL;
    int e = om_read_file(cfg, MAX_CFG_BYTES, &text, &text_len);
    if (!e && strlen(text) != text_len) e = om_fail(OM_ERR_FORMAT, "%s: not a text; is it the weights?", cfg);
    if (!e) e = om_read_file(weights, MAX_WEIGHT_BYTES, &data, &data_len);
    if (!e && names) e = om_labels_read(names, &labels);
    if (!e) e = om_dn_import(cfg, text, weights, data, data_len, names ? &labels : NULL, out);
    om_strlist_fini(&labels);
    om_free(data);
    om_free(text);
    return e;
}
