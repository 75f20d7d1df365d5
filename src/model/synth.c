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

typedef struct recipe recipe;

/* What the exports of one project have in common. */
typedef struct project {
    const char *says;           /* its own description of a model: a format for the title */
    const char *family;         /* of omma.family, where nothing of the original's tells it */
    const char *input, *output; /* output NULL: the maker names several itself */
    int opset, size, classes;
    bool frozen;           /* made for one picture of one size */
    bool open_size;        /* a dynamic export leaves height and width open */
    float mean, deviation; /* of its input's numbers */
    void (*shape)(const om_synth *b, om_shape *out, const char *dims[]); /* of the output */
    bool ultralytics;       /* the keys that project's exports have, its classes' names among them */
    const char *only_label; /* of the single class */
} project;

struct recipe {
    const char *title; /* as the original's description has it */
    om_synth_make *make;
    float width, depth;
    const project *of;
};

static int64_t cells(const om_synth *b)
{
    int64_t n = 0;
    for (int s = 8; s <= 32; s *= 2) n += (int64_t)(b->p.height / s) * (b->p.width / s);
    return n;
}

static void shape_columns(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(3, (int64_t)1, (int64_t)(4 + b->p.classes), cells(b));
    dims[2] = "anchors";
}

static void shape_rows(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(3, (int64_t)1, 3 * cells(b), (int64_t)(5 + b->p.classes));
    dims[1] = "anchors";
}

static void shape_faces(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(3, (int64_t)1, 3 * cells(b), (int64_t)(15 + b->p.classes));
    (void)dims;
}

static void shape_yolox(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(3, (int64_t)1, cells(b), (int64_t)(5 + b->p.classes));
    (void)dims;
}

static void shape_best(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(3, (int64_t)1, cells(b) < OM_SYNTH_BEST ? cells(b) : OM_SYNTH_BEST, (int64_t)6);
    (void)dims;
}

static void shape_classes(const om_synth *b, om_shape *out, const char *dims[])
{
    *out = om_shape_make(2, (int64_t)1, (int64_t)b->p.classes);
    (void)dims;
}

#define DETECTOR                                                                                             \
    .input = "images", .output = "output0", .opset = 17, .size = 640, .classes = OM_COCO_CLASSES,            \
    .open_size = true, .mean = 0.45f, .deviation = 0.245f, .says = "Ultralytics %s structure",               \
    .ultralytics = true
static const project ultralytics = {DETECTOR, .shape = shape_columns};
static const project ultralytics_v5 = {DETECTOR, .shape = shape_rows};
static const project ultralytics_v10 = {DETECTOR, .shape = shape_best, .family = "yolov10"};
static const project deepcam = {.says = "deepcam-cn %s structure",
                                .family = "yolov5-face",
                                .input = "input",
                                .output = "output",
                                .opset = 12,
                                .size = 640,
                                .classes = 1,
                                .mean = 0.45f,
                                .deviation = 0.245f,
                                .shape = shape_faces,
                                .only_label = "face"};
static const project megvii = {.says = "Megvii %s structure",
                               .family = "yolox",
                               .input = "images",
                               .output = "output",
                               .opset = 11,
                               .size = 640,
                               .classes = OM_COCO_CLASSES,
                               .mean = 115,
                               .deviation = 62,
                               .shape = shape_yolox};
static const project darknet = {.says = "Darknet %s structure",
                                .input = "images",
                                .opset = 13,
                                .size = 416,
                                .classes = OM_COCO_CLASSES,
                                .open_size = true,
                                .mean = 0.45f,
                                .deviation = 0.245f};
#define CLASSIFIER                                                                                           \
    .input = "input", .output = "output", .opset = 17, .size = 224, .classes = 1000, .deviation = 1,         \
    .shape = shape_classes
static const project torchvision = {CLASSIFIER, .says = "torchvision %s structure", .open_size = true};
static const project torchvision_fixed = {CLASSIFIER, .says = "torchvision %s structure"};
static const project torchvision_detector = {.says = "torchvision %s structure",
                                             .input = "images",
                                             .opset = 17,
                                             .size = 640,
                                             .classes = 91, /* the background among them */
                                             .mean = 0.45f,
                                             .deviation = 0.245f,
                                             .frozen = true};
static const project timm = {CLASSIFIER, .says = "timm %s structure", .open_size = true};

static const char *const names[] = {"yolov8n",
                                    "yolov8s",
                                    "yolov8m",
                                    "yolov5n",
                                    "yolov5s",
                                    "yolov5m",
                                    "yolov5n-face",
                                    "yolov5s-face",
                                    "yolov5m-face",
                                    "yolo11n",
                                    "yolov10n",
                                    "yolox-s",
                                    "yolov3-tiny",
                                    "resnet50",
                                    "mobilenet_v2",
                                    "efficientnet-lite0",
                                    "vit_b_16",
                                    "fasterrcnn_resnet50_fpn_v2",
                                    NULL};

static const recipe recipes[] = {
    {"YOLOv8n", om_synth_yolov8, 0.25f, 1 / 3.0f, &ultralytics},
    {"YOLOv8s", om_synth_yolov8, 0.50f, 1 / 3.0f, &ultralytics},
    {"YOLOv8m", om_synth_yolov8, 0.75f, 2 / 3.0f, &ultralytics},
    {"YOLOv5n", om_synth_yolov5, 0.25f, 1 / 3.0f, &ultralytics_v5},
    {"YOLOv5s", om_synth_yolov5, 0.50f, 1 / 3.0f, &ultralytics_v5},
    {"YOLOv5m", om_synth_yolov5, 0.75f, 2 / 3.0f, &ultralytics_v5},
    {"YOLOv5n-Face", om_synth_yolov5n_face, 1, 1, &deepcam},
    {"YOLOv5s-Face", om_synth_yolov5_face, 0.50f, 1 / 3.0f, &deepcam},
    {"YOLOv5m-Face", om_synth_yolov5_face, 0.75f, 2 / 3.0f, &deepcam},
    {"YOLO11n", om_synth_yolo11, 0.25f, 0.5f, &ultralytics},
    {"YOLOv10n", om_synth_yolov10, 0.25f, 1 / 3.0f, &ultralytics_v10},
    {"YOLOX-s", om_synth_yolox, 0.50f, 1 / 3.0f, &megvii},
    {"YOLOv3-tiny", om_synth_yolov3_tiny, 1, 1, &darknet},
    {"ResNet-50", om_synth_resnet50, 1, 1, &torchvision},
    {"MobileNet V2", om_synth_mobilenet_v2, 1, 1, &torchvision},
    {"EfficientNet-Lite0", om_synth_efficientnet_lite0, 1, 1, &timm},
    {"ViT-B/16", om_synth_vit_b_16, 1, 1, &torchvision_fixed},
    {"Faster R-CNN ResNet-50 FPN v2", om_synth_fasterrcnn, 1, 1, &torchvision_detector},
};

const char *const *om_model_synth_names(void) { return names; }

bool om_model_is_synth(const char *name)
{
    for (const char *const *n = names; *n; n++)
        if (!strcmp(*n, name)) return true;
    return false;
}

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

static int check_params(om_synth_params *p, const project *of)
{
    if (p->width == 0 && p->height == 0) p->width = p->height = of->size;
    if (p->width == 0) p->width = p->height;
    if (p->height == 0) p->height = p->width;
    if (p->classes == 0) p->classes = of->classes;
    if (p->width < MIN_SIZE || p->width > MAX_SIZE || p->width % STRIDE || p->height < MIN_SIZE ||
        p->height > MAX_SIZE || p->height % STRIDE)
        return om_fail(OM_ERR_ARG, "size %dx%d: expected multiples of %d from %d to %d", p->width, p->height,
                       STRIDE, MIN_SIZE, MAX_SIZE);
    if (p->classes < 1 || p->classes > MAX_CLASSES)
        return om_fail(OM_ERR_ARG, "classes %d: expected 1 to %d", p->classes, MAX_CLASSES);
    if (of->frozen && p->classes < 2)
        return om_fail(OM_ERR_ARG, "classes %d: expected 2 or more, the background is one", p->classes);
    if (p->dynamic && of->frozen)
        return om_fail(OM_ERR_ARG, "dynamic: this model is made for one picture of one size");
    if (p->boxes < 0) return om_fail(OM_ERR_ARG, "boxes %d: expected 0 or more", p->boxes);
    return OM_OK;
}

static om_synth_tensor add_images(om_synth *b, const project *of)
{
    static const char *const dims[] = {"batch", NULL, "height", "width"};
    om_shape shape = om_shape_make(4, (int64_t)1, (int64_t)3, (int64_t)b->p.height, (int64_t)b->p.width);
    int open = !b->p.dynamic ? 0 : of->open_size ? 4 : 1;
    for (int i = 0; i < open; i++)
        if (dims[i]) shape.dim[i] = OM_DIM_DYNAMIC;
    int v = om_graph_add_input(b->to.g, of->input, OM_DTYPE_F32, &shape);
    for (int i = 0; i < open && v >= 0; i++)
        if (dims[i]) om_graph_set_dim_param(b->to.g, v, i, dims[i]);
    if (v < 0) b->to.err = v;
    return (om_synth_tensor){v, 3, of->mean, of->deviation * of->deviation, 0};
}

void om_synth_output(om_synth *b, const char *name, int made, om_dtype dtype, const om_shape *shape,
                     const char *const *dims)
{
    om_graph *g = b->to.g;
    om_shape open = *shape;
    for (int i = 0; i < shape->rank; i++)
        if (dims[i]) open.dim[i] = OM_DIM_DYNAMIC;
    int v = b->to.err ? b->to.err : om_graph_add_value(g, name, dtype, &open);
    int e = v < 0 ? v : om_graph_mark_output(g, v);
    if (e >= 0) e = om_graph_replace_uses(g, v, made);
    if (e < 0) b->to.err = e;
    if (b->to.err) return;
    v = g->outputs[g->n_outputs - 1];
    g->values[v].dtype = dtype;
    g->values[v].shape = open;
    for (int i = 0; i < open.rank; i++)
        if (dims[i]) om_graph_set_dim_param(g, v, i, dims[i]);
}

static void finish_output(om_synth *b, const project *of, int made)
{
    const char *dims[OM_MAX_RANK] = {NULL};
    om_shape shape;
    if (!of->output) return;
    of->shape(b, &shape, dims);
    dims[0] = "batch";
    for (int i = 0; i < OM_MAX_RANK && !b->p.dynamic; i++) dims[i] = NULL;
    om_synth_output(b, of->output, made, OM_DTYPE_F32, &shape, dims);
}

/* Numbers stand in for names where there are not COCO's eighty classes. */
static int write_names(const om_synth *b, const project *of, om_str *out)
{
    if (b->p.classes == OM_COCO_CLASSES && of->classes == OM_COCO_CLASSES) {
        om_labels_write(om_coco_names, OM_COCO_CLASSES, out);
        return out->failed ? OM_ERR_NOMEM : OM_OK;
    }
    om_str_addc(out, '{');
    if (b->p.classes == 1 && of->only_label) om_str_addf(out, "0: '%s'", of->only_label);
    else
        for (int i = 0; i < b->p.classes; i++) om_str_addf(out, "%s%d: 'class%d'", i ? ", " : "", i, i);
    om_str_addc(out, '}');
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int describe(const om_synth *b, const recipe *r)
{
    om_str text = {0};
    const char *percent = strstr(r->of->says, "%s");
    om_str_addf(&text, "%.*s%s%s, random weights (seed %llu)", (int)(percent - r->of->says), r->of->says,
                r->title, percent + 2, (unsigned long long)b->p.seed);
    int e = text.failed ? OM_ERR_NOMEM : om_graph_set_meta(b->to.g, "description", om_str_get(&text));
    om_str_fini(&text);
    return e;
}

/* Classifiers of torchvision and timm carry no metadata, and none is needed to know them. */
static int write_metadata(const om_synth *b, const recipe *r)
{
    const project *of = r->of;
    om_str classes = {0};
    char size[48];
    int e = describe(b, r);
    if (e || of->shape == shape_classes || of->frozen) return e;
    e = write_names(b, of, &classes);
    snprintf(size, sizeof size, "[%d, %d]", b->p.height, b->p.width);
    const char *pairs[][2] = {{"stride", "32"},
                              {"task", of->ultralytics ? "detect" : NULL},
                              {"batch", of->ultralytics ? "1" : NULL},
                              {"imgsz", size},
                              {"names", om_str_get(&classes)},
                              {"end2end", of->shape == shape_best ? "True" : NULL},
                              {"omma.family", of->family}};
    for (size_t i = 0; !e && i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][1]) e = om_graph_set_meta(b->to.g, pairs[i][0], pairs[i][1]);
    om_str_fini(&classes);
    return e;
}

int om_model_synth(const char *name, const om_synth_params *p, om_graph **out)
{
    const recipe *r = NULL;
    om_synth b = {.p = *p};
    *out = NULL;
    int e = find_recipe(name, &r);
    if (!e) e = check_params(&b.p, r->of);
    if (!e) e = om_graph_create("main_graph", &b.to.g);
    if (!e) e = om_graph_set_opset(b.to.g, "", r->of->opset);
    if (e) goto fail;
    om_synth_seed(&b, p->seed);
    finish_output(&b, r->of, r->make(&b, r->width, r->depth, add_images(&b, r->of)));
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
