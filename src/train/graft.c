#include "train/graft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/labels.h"

#define MAX_TAIL 16 /* nodes behind a classifier's layer */

static bool is_op(const om_node *n, const char *const *ops)
{
    for (; *ops; ops++)
        if (!strcmp(n->op, *ops)) return true;
    return false;
}

static bool is_const(const om_graph *g, const om_node *n, int k)
{
    return k < n->n_inputs && n->inputs[k] >= 0 && g->values[n->inputs[k]].constant;
}

/* The value that the model's last layer of weights reads; OM_NO_VALUE: it ends otherwise. */
static int find_features(const om_graph *g)
{
    static const char *const passing[] = {"Softmax", "LogSoftmax", "Sigmoid", "Flatten", "Reshape",
                                          "Squeeze", "Identity",   "Cast",    NULL};
    static const char *const layers[] = {"Gemm", "MatMul", "Conv", NULL};
    int v = g->n_outputs == 1 ? g->outputs[0] : OM_NO_VALUE;
    for (int i = 0; i < MAX_TAIL && v >= 0 && g->values[v].producer >= 0; i++) {
        const om_node *n = &g->nodes[g->values[v].producer];
        if (is_op(n, layers)) {
            const om_shape *s = &g->values[v].shape;
            bool vector = s->rank == 2 || (s->rank == 4 && s->dim[2] == 1 && s->dim[3] == 1);
            return vector && is_const(g, n, 1) ? n->inputs[0] : OM_NO_VALUE;
        }
        bool shifts = !strcmp(n->op, "Add") && n->n_inputs == 2;
        if (!shifts && !is_op(n, passing)) return OM_NO_VALUE;
        v = shifts && is_const(g, n, 0) ? n->inputs[1] : n->inputs[0];
    }
    return OM_NO_VALUE;
}

static int free_batch(om_graph *g)
{
    const om_shape *s = &g->values[g->inputs[0]].shape;
    if (s->rank < 1 || s->dim[0] < 0) return OM_OK;
    int err = om_model_make_dynamic(g, true, false);
    return err ? err : om_graph_infer_shapes(g);
}

/* The graph's one output becomes that of a new node with these inputs. */
static int append(om_graph *g, const char *op, const int *inputs, int n)
{
    int old = g->outputs[0];
    int node = om_graph_add_node(g, op, "", inputs, n, 1);
    if (node < 0) return node;
    g->values[old].is_output = false;
    g->n_outputs = 0;
    int err = om_graph_mark_output(g, om_node_out(g, node));
    return err < 0 ? err : node;
}

static int append_mean(om_graph *g)
{
    int in[2] = {g->outputs[0], OM_NO_VALUE}, n = 1;
    if (om_graph_opset(g, "") >= 18) {
        in[1] = om_graph_add_const_i64(g, NULL, (const int64_t[]){1}, 1);
        if (in[1] < 0) return in[1];
        n = 2;
    }
    int node = append(g, "ReduceMean", in, n);
    if (node < 0) return node;
    int err = n == 1 ? om_node_set_ints(&g->nodes[node], "axes", (const int64_t[]){1}, 1) : OM_OK;
    return err ? err : om_node_set_int(&g->nodes[node], "keepdims", 0);
}

/* [N, C, H, W], [N, T, C] or [N, C] to [N, C]. */
static int make_vector(om_graph *g, const char *point)
{
    om_shape s = g->values[g->outputs[0]].shape;
    if (g->values[g->outputs[0]].dtype != OM_DTYPE_F32)
        return om_fail(OM_ERR_UNSUPPORTED, "'%s' holds %s; features are f32", point,
                       om_dtype_name(g->values[g->outputs[0]].dtype));
    if (s.rank == 2) return OM_OK;
    if (s.rank == 3) return append_mean(g);
    if (s.rank != 4)
        return om_fail(OM_ERR_UNSUPPORTED, "'%s' has %d dimensions; features have 2, 3 or 4", point, s.rank);
    int err = OM_OK;
    if (s.dim[2] != 1 || s.dim[3] != 1) err = append(g, "GlobalAveragePool", &g->outputs[0], 1);
    if (err >= 0) err = append(g, "Flatten", &g->outputs[0], 1);
    return err < 0 ? err : om_node_set_int(&g->nodes[err], "axis", 1);
}

/* Plain 0..1 pictures are what a classifier with a task in its metadata gets, ImageNet's numbers one without.
 */
static int keep_input(om_graph *g, const om_model_desc *was)
{
    bool unit = was->prep.mean[0] == 0 && fabsf(was->prep.scale[0] * 255 - 1) < 1e-3f;
    bool imagenet = fabsf(was->prep.mean[0] - 0.485f * 255) < 1e-2f;
    if (!unit && !imagenet)
        om_log(OM_LOG_WARN,
               "this model's pictures have other numbers than a classifier's; with the new head they go in "
               "normalised as ImageNet's");
    return unit ? om_graph_set_meta(g, "task", "classify") : OM_OK;
}

/* The old head's class names are not the new one's. */
static void forget_names(om_graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->n_metas; i++) {
        om_meta *m = &g->metas[i];
        if (!strcmp(m->key, "names")) {
            om_free(m->key);
            om_free(m->value);
        } else g->metas[kept++] = *m;
    }
    g->n_metas = kept;
}

static int cut_at(om_graph *g, const char *cut, char **point)
{
    int v = OM_NO_VALUE;
    if (!cut) {
        v = find_features(g);
        if (v < 0)
            return om_fail(OM_ERR_ARG,
                           "the model does not end in a classifier's layer; name the tensor or layer whose "
                           "output are the features with --cut ('omma model inspect --layers' lists them)");
        cut = g->values[v].name;
    }
    if (!(*point = om_strdup(cut))) return OM_ERR_NOMEM;
    if (v >= 0 && g->values[v].producer < 0)
        return om_fail(OM_ERR_UNSUPPORTED, "the model's classifier reads the picture itself: no features");
    int err = om_graph_cut(g, NULL, 0, &(const char *){*point}, 1);
    if (!err && g->n_outputs != 1)
        err = om_fail(OM_ERR_ARG, "'%s' has %d outputs; name the one tensor that holds the features", *point,
                      g->n_outputs);
    return err;
}

int om_graft_cut(om_graph *g, const char *cut, om_size size, char **point, int *features)
{
    om_model_desc *was = NULL;
    char text[64];
    *point = NULL;
    int err = om_graph_infer_shapes(g);
    if (!err) err = om_model_describe(g, &was);
    if (!err && (was->n_inputs != 1 || was->inputs[0].shape.rank != 4))
        err = om_fail(OM_ERR_UNSUPPORTED, "expected a model of one input of four dimensions, a picture");
    if (!err && size.width && !was->dynamic_size && (size.width != was->width || size.height != was->height))
        err = om_fail(OM_ERR_ARG, "the model takes %dx%d only, not %dx%d", was->width, was->height,
                      size.width, size.height);
    if (!err) err = free_batch(g);
    if (!err) err = cut_at(g, cut, point);
    if (!err) err = make_vector(g, *point);
    if (!err) err = keep_input(g, was);
    if (!err) forget_names(g);
    if (!err) { /* where the size is free, the features mean what they mean at the model's own */
        snprintf(text, sizeof text, "[%d, %d]", size.width ? size.height : was->height,
                 size.width ? size.width : was->width);
        err = om_graph_set_meta(g, "imgsz", text);
    }
    if (!err) err = om_graph_infer_shapes(g);
    if (!err) {
        const om_shape *s = &g->values[g->outputs[0]].shape;
        if (s->rank == 2 && s->dim[1] > 0) *features = (int)s->dim[1];
        else err = om_fail(OM_ERR_UNSUPPORTED, "the number of features at '%s' is not known", *point);
    }
    om_model_desc_free(was);
    if (!err) return OM_OK;
    om_free(*point);
    *point = NULL;
    return err;
}

/* A Gemm with weights [out][in]; the graph's output becomes its. */
static int append_layer(om_graph *g, const om_classifier_layer *l, const float *weight, const float *bias,
                        const char *name)
{
    char text[64];
    om_shape ws = om_shape_make(2, (int64_t)l->out, (int64_t)l->in), bs = om_shape_make(1, (int64_t)l->out);
    int in[3] = {g->outputs[0]};
    snprintf(text, sizeof text, "%s.weight", name);
    in[1] = om_graph_add_const(g, om_graph_find(g, text) < 0 ? text : NULL, OM_DTYPE_F32, &ws, weight);
    if (in[1] < 0) return in[1];
    snprintf(text, sizeof text, "%s.bias", name);
    in[2] = om_graph_add_const(g, om_graph_find(g, text) < 0 ? text : NULL, OM_DTYPE_F32, &bs, bias);
    if (in[2] < 0) return in[2];
    int node = append(g, "Gemm", in, 3);
    return node < 0 ? node : om_node_set_int(&g->nodes[node], "transB", 1);
}

/* The first layer with the normalisation in it: w' = w * scale, b' = b - w' * mean. */
static int append_first(om_graph *g, const om_classifier *c, const float *mean, const float *scale)
{
    const om_classifier_layer *l = &c->layers[0];
    size_t in = (size_t)l->in, n = in * (size_t)l->out;
    float *weight = om_alloc(n * sizeof *weight), *bias = om_alloc((size_t)l->out * sizeof *bias);
    int err = weight && bias ? OM_OK : OM_ERR_NOMEM;
    for (int o = 0; o < l->out && !err; o++) {
        double shift = (double)c->params[l->bias + (size_t)o];
        for (size_t k = 0; k < in; k++) {
            float w = c->params[l->weight + (size_t)o * in + k] * (scale ? scale[k] : 1);
            weight[(size_t)o * in + k] = w;
            if (mean) shift -= (double)w * (double)mean[k];
        }
        bias[o] = (float)shift;
    }
    if (!err) err = append_layer(g, l, weight, bias, c->n_layers == 2 ? "head.0" : "head");
    om_free(weight);
    om_free(bias);
    return err;
}

int om_graft_head(om_graph *g, const om_classifier *c, const float *mean, const float *scale,
                  const char *const *labels)
{
    om_str names = {0};
    int err = append_first(g, c, mean, scale);
    if (!err && c->n_layers == 2) {
        const om_classifier_layer *l = &c->layers[1];
        err = append(g, "Relu", &g->outputs[0], 1);
        if (err >= 0) err = append_layer(g, l, c->params + l->weight, c->params + l->bias, "head.2");
    }
    if (!err) {
        const char *name = om_graph_find(g, "logits") < 0 ? "logits" : "head_logits";
        err = om_graph_rename_value(g, g->outputs[0], name);
    }
    if (!err && labels) {
        om_labels_write(labels, c->shape.classes, &names);
        err = names.failed ? om_fail_nomem("class names") : om_graph_set_meta(g, "names", om_str_get(&names));
    }
    if (!err) err = om_graph_set_meta(g, "omma.family", "classify");
    if (!err) err = om_graph_infer_shapes(g);
    om_str_fini(&names);
    return err;
}

int om_graft_describe(const om_graph *features, int classes, om_model_desc **out)
{
    om_classifier c = {0};
    om_graph *g = NULL;
    *out = NULL;
    const om_shape *s = &features->values[features->outputs[0]].shape;
    om_classifier_shape shape = {.features = (int)s->dim[1], .classes = classes};
    int err = om_classifier_init(&c, shape, 1, 0);
    if (!err) err = om_graph_clone(features, &g);
    if (!err) err = om_graft_head(g, &c, NULL, NULL, NULL);
    if (!err) err = om_model_describe(g, out);
    om_graph_destroy(g);
    om_classifier_fini(&c);
    return err;
}
