#include "model/describe.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/family.h"
#include "model/labels.h"

#define DEFAULT_SIZE 640
#define IMAGENET_SIZE 224
#define FACE_SIZE 112
#define TEXT_SIZE 960
#define LINE_WIDTH 320
#define LINE_HEIGHT 48
#define DEFAULT_STRIDE 32
#define MAX_SIZE 65536
#define MAX_END 128 /* nodes before the outputs that are looked at */

const char *om_model_desc_meta(const om_model_desc *d, const char *key)
{
    for (int i = 0; i < d->n_metas; i++)
        if (strcmp(d->metas[i].key, key) == 0) return d->metas[i].value;
    return NULL;
}

static void free_specs(om_tensor_spec *specs, int n)
{
    for (int i = 0; specs && i < n; i++) om_free((char *)specs[i].name);
    om_free(specs);
}

static void free_labels(om_model_desc *d)
{
    for (int i = 0; i < d->n_labels; i++) om_free((char *)d->labels[i]);
    om_free(d->labels);
    d->labels = NULL;
    d->n_labels = 0;
}

void om_model_desc_free(om_model_desc *d)
{
    if (!d) return;
    free_specs(d->inputs, d->n_inputs);
    free_specs(d->outputs, d->n_outputs);
    for (int i = 0; i < d->n_metas; i++) {
        om_free(d->metas[i].key);
        om_free(d->metas[i].value);
    }
    om_free(d->metas);
    free_labels(d);
    om_free((char *)d->family_why);
    om_free(d);
}

static int copy_specs(const om_graph *g, const int *values, int n, om_tensor_spec **out, int *n_out)
{
    *out = om_calloc((size_t)n, sizeof **out);
    if (!*out) return OM_ERR_NOMEM;
    for (; *n_out < n; (*n_out)++) {
        const om_value *v = &g->values[values[*n_out]];
        om_tensor_spec *s = &(*out)[*n_out];
        s->dtype = v->dtype;
        s->shape = v->shape;
        s->name = om_strdup(v->name);
        if (!s->name) return OM_ERR_NOMEM;
    }
    return OM_OK;
}

static int copy_metas(const om_graph *g, om_model_desc *d)
{
    d->metas = om_calloc((size_t)g->n_metas, sizeof *d->metas);
    if (!d->metas) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_metas; i++) {
        om_meta *m = &d->metas[d->n_metas++];
        m->key = om_strdup(g->metas[i].key);
        m->value = om_strdup(g->metas[i].value);
        if (!m->key || !m->value) return OM_ERR_NOMEM;
    }
    return OM_OK;
}

/* Takes the list's texts. */
static void adopt_labels(om_model_desc *d, om_strlist *l)
{
    free_labels(d);
    d->labels = (const char **)l->items;
    d->n_labels = (int)l->n;
    memset(l, 0, sizeof *l);
}

static int labels_from_meta(om_model_desc *d)
{
    const char *names = om_model_desc_meta(d, "names");
    om_strlist list = {0};
    if (!names) return OM_OK;
    int e = om_labels_parse(names, &list);
    if (!e && list.n > 0) adopt_labels(d, &list);
    om_strlist_fini(&list);
    if (e != OM_ERR_FORMAT) return e;
    om_log(OM_LOG_WARN, "metadata names: %s; classes go by number", om_error_message());
    return OM_OK;
}

/* COCO's names where a YOLO says nothing, "face" for faces, "text" for text; none where the model's own
 * contradict its outputs. */
static int settle_labels(om_model_desc *d)
{
    bool yolo = d->family == OM_FAMILY_YOLOV3 || d->family == OM_FAMILY_YOLOV5 ||
                d->family == OM_FAMILY_YOLOV8 || d->family == OM_FAMILY_YOLOX;
    const char *only = om_family_only_label(d);
    if (d->n_labels > 0 && d->n_classes > 0 && d->n_labels != d->n_classes) {
        om_log(OM_LOG_WARN, "metadata has %d class names but the outputs %d classes; classes go by number",
               d->n_labels, d->n_classes);
        free_labels(d);
        return OM_OK;
    }
    if (d->n_labels > 0 || !(only || (yolo && d->n_classes == OM_COCO_CLASSES))) return OM_OK;
    om_strlist list = {0};
    int e = OM_OK;
    for (int i = 0; !e && i < d->n_classes; i++) e = om_strlist_add(&list, only ? only : om_coco_names[i]);
    if (!e) adopt_labels(d, &list);
    om_strlist_fini(&list);
    return e;
}

/* The next whole number of a text like "[640, 384]"; 0 when there is none. */
static int next_number(const char **p)
{
    long v = 0;
    while (**p && (**p < '0' || **p > '9')) (*p)++;
    for (; **p >= '0' && **p <= '9'; (*p)++)
        if (v <= MAX_SIZE) v = v * 10 + (**p - '0');
    return v <= MAX_SIZE ? (int)v : 0;
}

static int stride_from_meta(const om_model_desc *d)
{
    const char *text = om_model_desc_meta(d, "stride");
    int best = 0;
    while (text && *text) {
        int v = next_number(&text);
        if (v > best) best = v;
    }
    return best > 0 && best <= 1024 ? best : DEFAULT_STRIDE;
}

static void settle_size(om_model_desc *d, const om_tensor_spec *in, int channel)
{
    int rank = in->shape.rank, row = channel == rank - 1 ? rank - 3 : rank - 2;
    int64_t h = in->shape.dim[row], w = in->shape.dim[row + 1];
    int fallback = d->family == OM_FAMILY_CLASSIFY    ? IMAGENET_SIZE
                   : d->family == OM_FAMILY_EMBEDDING ? FACE_SIZE
                   : d->family == OM_FAMILY_DB        ? TEXT_SIZE
                   : d->family == OM_FAMILY_CTC       ? LINE_WIDTH
                                                      : DEFAULT_SIZE;
    const char *text = om_model_desc_meta(d, "imgsz");
    int meta_h = text ? next_number(&text) : 0, meta_w = text ? next_number(&text) : 0;
    d->dynamic_batch = rank == 4 && in->shape.dim[0] == OM_DIM_DYNAMIC;
    d->dynamic_size = h <= 0 && w <= 0;
    d->dynamic_width = d->family == OM_FAMILY_CTC && w <= 0;
    if (d->family == OM_FAMILY_CTC && h <= 0) h = LINE_HEIGHT;
    if (d->native_size) {
        /* Declared for one size, but fully convolutional: any other does. */
        d->dynamic_batch = d->dynamic_size = true;
        h = w = 0;
    }
    d->height = h > 0 && h <= MAX_SIZE ? (int)h : meta_h > 0 ? meta_h : fallback;
    d->width = w > 0 && w <= MAX_SIZE ? (int)w : meta_w > 0 ? meta_w : meta_h > 0 ? meta_h : fallback;
}

static void settle_input(om_model_desc *d)
{
    int channel = 1;
    const om_tensor_spec *in = om_desc_picture(d, &channel);
    d->width = d->height = DEFAULT_SIZE;
    d->prep.layout = OM_LAYOUT_NCHW;
    d->prep.dtype = d->n_inputs > 0 ? d->inputs[0].dtype : OM_DTYPE_F32;
    if (!in) return;
    d->prep.dtype = in->dtype;
    if (channel == in->shape.rank - 1) d->prep.layout = OM_LAYOUT_NHWC;
    if (in->shape.dim[channel] == 1) d->prep.channels = OM_CHANNELS_GRAY;
    settle_size(d, in, channel);
}

static bool ends_in_probabilities(const om_graph *g)
{
    static const char *const shaping[] = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"};
    int v = g->n_outputs == 1 ? g->outputs[0] : OM_NO_VALUE;
    for (int steps = 0; steps < 8 && v >= 0 && g->values[v].producer >= 0; steps++) {
        const om_node *n = &g->nodes[g->values[v].producer];
        if (strcmp(n->op, "Softmax") == 0 || strcmp(n->op, "Sigmoid") == 0) return true;
        bool reshapes = false;
        for (size_t i = 0; i < sizeof shaping / sizeof *shaping; i++)
            reshapes = reshapes || strcmp(n->op, shaping[i]) == 0;
        if (!reshapes || n->n_inputs < 1) return false;
        v = n->inputs[0];
    }
    return false;
}

/* Looks at what lies between the last convolutions and the first output. */
static om_family_hints look_at_end(const om_graph *g)
{
    om_family_hints hints = {0};
    int todo[MAX_END], n = 0;
    int v = g->n_outputs > 0 ? g->outputs[0] : OM_NO_VALUE;
    if (v < 0 || g->values[v].producer < 0) return hints;
    todo[n++] = g->values[v].producer;
    hints.transposed = strcmp(g->nodes[todo[0]].op, "Transpose") == 0;
    for (int i = 0; i < n; i++) {
        const om_node *node = &g->nodes[todo[i]];
        if (strcmp(node->op, "Exp") == 0) hints.exponential = true;
        if (strcmp(node->op, "Conv") == 0) continue;
        for (int k = 0; k < node->n_inputs && n < MAX_END; k++) {
            int from = node->inputs[k] >= 0 ? g->values[node->inputs[k]].producer : -1, seen = from < 0;
            for (int j = 0; j < n && !seen; j++) seen = todo[j] == from;
            if (!seen) todo[n++] = from;
        }
    }
    return hints;
}

static void follow_family(om_model_desc *d, om_family family)
{
    d->family = family;
    d->n_classes = om_family_classes(d, family);
    om_family_prepare(d, family, &d->prep, &d->fit, &d->native_size);
    settle_input(d);
}

static int describe(const om_graph *g, om_model_desc *d)
{
    om_family_finding found = {0};
    om_family_hints hints = look_at_end(g);
    int e = copy_specs(g, g->inputs, g->n_inputs, &d->inputs, &d->n_inputs);
    if (!e) e = copy_specs(g, g->outputs, g->n_outputs, &d->outputs, &d->n_outputs);
    if (!e) e = copy_metas(g, d);
    if (!e) e = labels_from_meta(d);
    if (!e) e = om_family_recognise(d, &hints, &found);
    if (!e) {
        d->stride = stride_from_meta(d);
        d->probabilities = ends_in_probabilities(g);
        d->decoded = hints.exponential;
        follow_family(d, found.family);
        d->family_why = om_str_take(&found.why);
        e = d->family_why ? settle_labels(d) : OM_ERR_NOMEM;
    }
    om_str_fini(&found.why);
    return e;
}

int om_model_describe(const om_graph *g, om_model_desc **out)
{
    *out = NULL;
    om_model_desc *d = om_calloc(1, sizeof *d);
    if (!d) return OM_ERR_NOMEM;
    int e = describe(g, d);
    if (e) {
        om_model_desc_free(d);
        return e;
    }
    *out = d;
    return OM_OK;
}

static int labels_mismatch(const char *whose, int names, int classes, om_family family)
{
    return om_fail(OM_ERR_ARG, "%s: %d class names, but the model's outputs have %d classes (family %s)",
                   whose, names, classes, om_family_name(family));
}

int om_model_desc_set_family(om_model_desc *d, om_family family)
{
    int e = om_family_check(d, family);
    if (e) return e;
    int classes = om_family_classes(d, family);
    if (d->n_labels > 0 && classes > 0 && classes != d->n_labels)
        return labels_mismatch("class names", d->n_labels, classes, family);
    char *why = om_strdup("chosen by name");
    if (!why) return OM_ERR_NOMEM;
    om_free((char *)d->family_why);
    d->family_why = why;
    follow_family(d, family);
    return settle_labels(d);
}

int om_model_desc_load_labels(om_model_desc *d, const char *path)
{
    om_strlist list = {0};
    int e = om_labels_read(path, &list);
    if (!e && d->n_classes > 0 && list.n != (size_t)d->n_classes)
        e = labels_mismatch(path, (int)list.n, d->n_classes, d->family);
    if (!e) adopt_labels(d, &list);
    om_strlist_fini(&list);
    return e;
}
