/* Models with random weights, by name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/labels.h"
#include "model/synth.h"

#define MIN_SIZE 32
#define MAX_SIZE 8192
#define MAX_CLASSES 10000
#define STRIDE 32
#define DEFAULT_SIZE 640
#define OPSET 17

typedef struct recipe {
    const char *title; /* as the original's description has it */
    int (*make)(om_synth *b, float width, float depth, om_synth_tensor images);
    float width, depth;
    int extra; /* values beside the classes' scores in the output */
    bool rows_are_anchors;
} recipe;

static const char *const names[] = {"yolov8n", "yolov8s", "yolov8m", "yolov5n", "yolov5s", "yolov5m", NULL};

static const recipe recipes[] = {
    {"YOLOv8n", om_synth_yolov8, 0.25f, 1 / 3.0f, 4, false},
    {"YOLOv8s", om_synth_yolov8, 0.50f, 1 / 3.0f, 4, false},
    {"YOLOv8m", om_synth_yolov8, 0.75f, 2 / 3.0f, 4, false},
    {"YOLOv5n", om_synth_yolov5, 0.25f, 1 / 3.0f, 5, true},
    {"YOLOv5s", om_synth_yolov5, 0.50f, 1 / 3.0f, 5, true},
    {"YOLOv5m", om_synth_yolov5, 0.75f, 2 / 3.0f, 5, true},
};

const char *const *om_model_synth_names(void) { return names; }

int om_synth_width(int channels, float width) { return (int)ceilf((float)channels * width / 8) * 8; }

int om_synth_depth(int n, float depth)
{
    int scaled = (int)lrintf((float)n * depth);
    return scaled > 1 ? scaled : 1;
}

static int find_recipe(const char *name, const recipe **out)
{
    om_str list = {0};
    for (int i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = &recipes[i];
            om_str_fini(&list);
            return OM_OK;
        }
        om_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    om_fail(OM_ERR_NOT_FOUND, "no model '%s' to make; there are %s", name, om_str_get(&list));
    om_str_fini(&list);
    return OM_ERR_NOT_FOUND;
}

static int check_params(om_synth_params *p)
{
    if (p->width == 0 && p->height == 0) p->width = p->height = DEFAULT_SIZE;
    if (p->width == 0) p->width = p->height;
    if (p->height == 0) p->height = p->width;
    if (p->classes == 0) p->classes = OM_COCO_CLASSES;
    if (p->width < MIN_SIZE || p->width > MAX_SIZE || p->width % STRIDE || p->height < MIN_SIZE ||
        p->height > MAX_SIZE || p->height % STRIDE)
        return om_fail(OM_ERR_ARG, "size %dx%d: expected multiples of %d from %d to %d", p->width, p->height,
                       STRIDE, MIN_SIZE, MAX_SIZE);
    if (p->classes < 1 || p->classes > MAX_CLASSES)
        return om_fail(OM_ERR_ARG, "classes %d: expected 1 to %d", p->classes, MAX_CLASSES);
    if (p->boxes < 0) return om_fail(OM_ERR_ARG, "boxes %d: expected 0 or more", p->boxes);
    return OM_OK;
}

static om_synth_tensor add_images(om_synth *b)
{
    static const char *const dims[] = {"batch", NULL, "height", "width"};
    om_shape shape = om_shape_make(4, (int64_t)1, (int64_t)3, (int64_t)b->p.height, (int64_t)b->p.width);
    for (int i = 0; i < 4 && b->p.dynamic; i++)
        if (dims[i]) shape.dim[i] = OM_DIM_DYNAMIC;
    int v = om_graph_add_input(b->to.g, "images", OM_DTYPE_F32, &shape);
    for (int i = 0; i < 4 && v >= 0 && b->p.dynamic; i++)
        if (dims[i]) om_graph_set_dim_param(b->to.g, v, i, dims[i]);
    if (v < 0) b->to.err = v;
    return (om_synth_tensor){v, 3, 0.45f, 0.06f}; /* pictures in 0..1 */
}

static void finish_output(om_synth *b, const recipe *r, int made)
{
    int64_t anchors = 0;
    for (int s = 8; s <= 32; s *= 2) anchors += (int64_t)(b->p.height / s) * (b->p.width / s);
    if (r->rows_are_anchors) anchors *= 3;
    int64_t rows = r->extra + b->p.classes;
    om_shape shape = om_shape_make(3, (int64_t)1, r->rows_are_anchors ? anchors : rows,
                                   r->rows_are_anchors ? rows : anchors);
    int open = r->rows_are_anchors ? 1 : 2;
    if (b->p.dynamic) shape.dim[0] = shape.dim[open] = OM_DIM_DYNAMIC;
    int v = b->to.err ? b->to.err : om_graph_add_value(b->to.g, "output0", OM_DTYPE_F32, &shape);
    int e = v < 0 ? v : om_graph_mark_output(b->to.g, v);
    if (e >= 0) e = om_graph_replace_uses(b->to.g, v, made);
    if (e < 0) b->to.err = e;
    if (b->to.err) return;
    om_value *out = &b->to.g->values[b->to.g->outputs[0]];
    out->dtype = OM_DTYPE_F32;
    out->shape = shape;
    if (!b->p.dynamic) return;
    om_graph_set_dim_param(b->to.g, b->to.g->outputs[0], 0, "batch");
    om_graph_set_dim_param(b->to.g, b->to.g->outputs[0], open, "anchors");
}

/* Numbers stand in for names where there are not COCO's eighty classes. */
static int write_names(const om_synth *b, om_str *out)
{
    if (b->p.classes == OM_COCO_CLASSES) {
        om_labels_write(om_coco_names, OM_COCO_CLASSES, out);
        return out->failed ? OM_ERR_NOMEM : OM_OK;
    }
    om_str_addc(out, '{');
    for (int i = 0; i < b->p.classes; i++) om_str_addf(out, "%s%d: 'class%d'", i ? ", " : "", i, i);
    om_str_addc(out, '}');
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int write_metadata(const om_synth *b, const recipe *r)
{
    om_str classes = {0};
    char text[96], size[48];
    int e = write_names(b, &classes);
    snprintf(text, sizeof text, "Ultralytics %s structure, random weights (seed %llu)", r->title,
             (unsigned long long)b->p.seed);
    snprintf(size, sizeof size, "[%d, %d]", b->p.height, b->p.width);
    const char *pairs[][2] = {{"description", text}, {"stride", "32"}, {"task", "detect"},
                              {"batch", "1"},        {"imgsz", size},  {"names", om_str_get(&classes)}};
    for (size_t i = 0; !e && i < sizeof pairs / sizeof *pairs; i++)
        e = om_graph_set_meta(b->to.g, pairs[i][0], pairs[i][1]);
    om_str_fini(&classes);
    return e;
}

int om_model_synth(const char *name, const om_synth_params *p, om_graph **out)
{
    const recipe *r = NULL;
    om_synth b = {.p = *p};
    *out = NULL;
    int e = find_recipe(name, &r);
    if (!e) e = check_params(&b.p);
    if (!e) e = om_graph_create("main_graph", &b.to.g);
    if (!e) e = om_graph_set_opset(b.to.g, "", OPSET);
    if (e) goto fail;
    om_synth_seed(&b, p->seed);
    finish_output(&b, r, r->make(&b, r->width, r->depth, add_images(&b)));
    e = b.to.err;
    if (!e) e = write_metadata(&b, r);
    if (e) goto fail;
    b.to.g->ir_version = 8;
    b.to.g->producer = om_strdup("omma");
    e = b.to.g->producer ? om_graph_compact(b.to.g) : OM_ERR_NOMEM;
    if (e) goto fail;
    *out = b.to.g;
    return OM_OK;
fail:
    om_graph_destroy(b.to.g);
    return e;
}
