#include <string.h>

#include "base/error.h"
#include "model/describe.h"

static const char *const family_names[] = {
    [OM_FAMILY_UNKNOWN] = "unknown",       [OM_FAMILY_YOLOV3] = "yolov3",
    [OM_FAMILY_YOLOV5] = "yolov5",         [OM_FAMILY_YOLOV8] = "yolov8",
    [OM_FAMILY_CENTERFACE] = "centerface", [OM_FAMILY_BOXES] = "boxes",
    [OM_FAMILY_CLASSIFY] = "classify",     [OM_FAMILY_RAW] = "raw",
};
#define N_FAMILIES ((int)(sizeof family_names / sizeof *family_names))

/* What each family's outputs look like, for messages. */
static const char *const family_shapes[] = {
    [OM_FAMILY_UNKNOWN] = "anything",
    [OM_FAMILY_YOLOV3] =
        "grids [N, anchors*(5+classes), h, w] and the anchors in metadata, as a Darknet import has",
    [OM_FAMILY_YOLOV5] = "one output [N, A, 5+classes]",
    [OM_FAMILY_YOLOV8] = "one output [N, 4+classes, A]",
    [OM_FAMILY_CENTERFACE] = "four outputs of one grid with 1, 2, 2 and 10 channels",
    [OM_FAMILY_BOXES] = "boxes [N, 4], labels [N] of whole numbers, scores [N]",
    [OM_FAMILY_CLASSIFY] = "one output [N, classes]",
    [OM_FAMILY_RAW] = "anything",
};

const char *om_family_name(om_family f)
{
    return (int)f >= 0 && (int)f < N_FAMILIES ? family_names[f] : family_names[OM_FAMILY_UNKNOWN];
}

int om_family_parse(const char *name)
{
    for (int i = OM_FAMILY_UNKNOWN + 1; i < N_FAMILIES; i++)
        if (strcmp(name, family_names[i]) == 0) return i;
    om_str list = {0};
    for (int i = OM_FAMILY_UNKNOWN + 1; i < N_FAMILIES; i++)
        om_str_addf(&list, "%s%s", i > OM_FAMILY_UNKNOWN + 1 ? ", " : "", family_names[i]);
    const char *near = om_suggest(name, family_names + 1, N_FAMILIES - 1);
    if (near)
        om_fail(OM_ERR_ARG, "unknown family '%s'; did you mean '%s'? There are %s", name, near,
                om_str_get(&list));
    else om_fail(OM_ERR_ARG, "unknown family '%s'; there are %s", name, om_str_get(&list));
    om_str_fini(&list);
    return OM_ERR_ARG;
}

void om_specs_text(const om_tensor_spec *specs, int n, om_str *out)
{
    for (int i = 0; i < n; i++) {
        char shape[OM_SHAPE_TEXT];
        om_shape_text(&specs[i].shape, shape);
        om_str_addf(out, "%s%s %s %s", i ? ", " : "", specs[i].name, om_dtype_name(specs[i].dtype), shape);
    }
}

const om_tensor_spec *om_desc_picture(const om_model_desc *d, int *channel)
{
    for (int i = 0; i < d->n_inputs; i++) {
        const om_shape *s = &d->inputs[i].shape;
        if (s->rank != 3 && s->rank != 4) continue;
        int first = s->rank - 3, last = s->rank - 1;
        for (int64_t channels = 3; channels >= 1; channels -= 2) {
            if (s->dim[first] != channels && s->dim[last] != channels) continue;
            *channel = s->dim[first] == channels ? first : last;
            return &d->inputs[i];
        }
        if (s->rank == 4 && s->dim[first] == OM_DIM_DYNAMIC) {
            *channel = first;
            return &d->inputs[i];
        }
    }
    return NULL;
}

static bool is_float(om_dtype t)
{
    return t == OM_DTYPE_F32 || t == OM_DTYPE_F16 || t == OM_DTYPE_BF16 || t == OM_DTYPE_F64;
}

/* The one output's last two dims, if there is one output of rank 3 with floats. */
static bool one_matrix(const om_model_desc *d, int64_t *rows, int64_t *cols)
{
    if (d->n_outputs != 1 || d->outputs[0].shape.rank != 3 || !is_float(d->outputs[0].dtype)) return false;
    *rows = d->outputs[0].shape.dim[1];
    *cols = d->outputs[0].shape.dim[2];
    return true;
}

/* Cells of the grids with strides 8, 16 and 32, 0 where the input's size is open. */
static int64_t grid_cells(const om_model_desc *d)
{
    int channel;
    const om_tensor_spec *in = om_desc_picture(d, &channel);
    if (!in || in->shape.rank != 4) return 0;
    int64_t h = in->shape.dim[channel == 1 ? 2 : 1], w = in->shape.dim[channel == 1 ? 3 : 2], n = 0;
    if (h <= 0 || w <= 0) return 0;
    for (int64_t s = 8; s <= 32; s *= 2) n += (h / s) * (w / s);
    return n;
}

static bool fits_yolov8(const om_model_desc *d)
{
    int64_t rows, cols;
    return one_matrix(d, &rows, &cols) && rows >= 5;
}

static bool fits_yolov5(const om_model_desc *d)
{
    int64_t rows, cols;
    return one_matrix(d, &rows, &cols) && cols >= 6;
}

static bool fits_centerface(const om_model_desc *d)
{
    static const int channels[] = {1, 2, 2, 10};
    if (d->n_outputs != 4) return false;
    for (int i = 0; i < 4; i++) {
        const om_shape *s = &d->outputs[i].shape, *first = &d->outputs[0].shape;
        if (s->rank != 4 || s->dim[1] != channels[i] || !is_float(d->outputs[i].dtype)) return false;
        if (s->dim[2] != first->dim[2] || s->dim[3] != first->dim[3]) return false;
    }
    return true;
}

static bool fits_boxes(const om_model_desc *d)
{
    int boxes = 0, labels = 0, scores = 0;
    if (d->n_outputs != 3) return false;
    for (int i = 0; i < 3; i++) {
        const om_tensor_spec *o = &d->outputs[i];
        if (is_float(o->dtype) && o->shape.rank == 2 && o->shape.dim[1] == 4) boxes++;
        else if (is_float(o->dtype) && o->shape.rank == 1) scores++;
        else if ((o->dtype == OM_DTYPE_I64 || o->dtype == OM_DTYPE_I32) && o->shape.rank == 1) labels++;
    }
    return boxes == 1 && labels == 1 && scores == 1;
}

static bool fits_classify(const om_model_desc *d)
{
    const om_shape *s = &d->outputs[0].shape;
    if (d->n_outputs != 1 || !is_float(d->outputs[0].dtype)) return false;
    if (s->rank == 4 && (s->dim[2] != 1 || s->dim[3] != 1)) return false;
    return (s->rank == 2 || s->rank == 4) && s->dim[1] >= 2;
}

static bool fits_yolov3(const om_model_desc *d)
{
    int classes = om_family_classes(d, OM_FAMILY_YOLOV3);
    if (classes <= 0 || !om_model_desc_meta(d, "omma.anchors") || !om_model_desc_meta(d, "omma.masks"))
        return false;
    for (int i = 0; i < d->n_outputs; i++) {
        const om_shape *s = &d->outputs[i].shape;
        if (s->rank != 4 || s->dim[1] <= 0 || s->dim[1] % (5 + classes) != 0) return false;
    }
    return d->n_outputs > 0;
}

int om_family_check(const om_model_desc *d, om_family family)
{
    static bool (*const fits[])(const om_model_desc *) = {
        [OM_FAMILY_YOLOV3] = fits_yolov3, [OM_FAMILY_YOLOV5] = fits_yolov5,
        [OM_FAMILY_YOLOV8] = fits_yolov8, [OM_FAMILY_CENTERFACE] = fits_centerface,
        [OM_FAMILY_BOXES] = fits_boxes,   [OM_FAMILY_CLASSIFY] = fits_classify,
        [OM_FAMILY_RAW] = NULL,
    };
    if (family == OM_FAMILY_UNKNOWN || !fits[family] || (d->n_outputs > 0 && fits[family](d))) return OM_OK;
    om_str have = {0};
    om_specs_text(d->outputs, d->n_outputs, &have);
    om_fail(OM_ERR_ARG, "family %s expects %s; this model has %s", om_family_name(family),
            family_shapes[family], d->n_outputs ? om_str_get(&have) : "no outputs");
    om_str_fini(&have);
    return OM_ERR_ARG;
}

static int fixed(int64_t n) { return n > 0 && n <= 1000000 ? (int)n : 0; }

int om_family_classes(const om_model_desc *d, om_family family)
{
    int64_t rows, cols;
    long long n;
    const char *text;
    switch (family) {
    case OM_FAMILY_YOLOV3:
        text = om_model_desc_meta(d, "omma.classes");
        return text && om_parse_int(text, &n) == OM_OK ? fixed(n) : 0;
    case OM_FAMILY_YOLOV5: return one_matrix(d, &rows, &cols) ? fixed(cols - 5) : 0;
    case OM_FAMILY_YOLOV8: return one_matrix(d, &rows, &cols) ? fixed(rows - 4) : 0;
    case OM_FAMILY_CENTERFACE: return 1;
    case OM_FAMILY_CLASSIFY:
        return d->n_outputs == 1 && d->outputs[0].shape.rank >= 2 ? fixed(d->outputs[0].shape.dim[1]) : 0;
    default: return 0;
    }
}

/* YOLOv5 and v8 differ in which of the matrix's dims counts the boxes. Names settle it, then the number of
 * cells, then which dim is open, then which is larger. UNKNOWN where the matrix is a relative that neither
 * head reads. */
static om_family yolo_of_matrix(const om_model_desc *d, om_str *why)
{
    int64_t rows, cols, cells = grid_cells(d);
    if (!one_matrix(d, &rows, &cols)) return OM_FAMILY_UNKNOWN;
    bool named8 = d->n_labels > 0 && rows == 4 + d->n_labels,
         named5 = d->n_labels > 0 && cols == 5 + d->n_labels;
    if (cols == 6 && rows > 6 && rows <= 1000 && rows != 3 * cells) {
        om_str_addf(why, "rows of 6 look like boxes after an end-to-end model's own selection (YOLOv10)");
        return OM_FAMILY_UNKNOWN;
    }
    if (named8 != named5) {
        om_str_addf(why, "%d class names and a matrix of %s", d->n_labels,
                    named8 ? "4+classes rows" : "5+classes columns");
        return named8 ? OM_FAMILY_YOLOV8 : OM_FAMILY_YOLOV5;
    }
    if (rows > 0 && rows == cells && cols < rows) {
        om_str_addf(why, "a row for each cell of the grids looks like YOLOX or a transposed YOLOv8");
        return OM_FAMILY_UNKNOWN;
    }
    bool rows_are_boxes = rows == OM_DIM_DYNAMIC && cols != OM_DIM_DYNAMIC;
    bool cols_are_boxes = cols == OM_DIM_DYNAMIC && rows != OM_DIM_DYNAMIC;
    if (rows_are_boxes || (!cols_are_boxes && rows > cols)) {
        if (!fits_yolov5(d)) return OM_FAMILY_UNKNOWN;
        om_str_addf(why, "one output [N, A, 5+classes]");
        return OM_FAMILY_YOLOV5;
    }
    if (!fits_yolov8(d) || rows == cols) return OM_FAMILY_UNKNOWN;
    om_str_addf(why, "one output [N, 4+classes, A]");
    return OM_FAMILY_YOLOV8;
}

/* A sentence about what the outputs resemble, where no family fits. */
static void tell_near(const om_model_desc *d, om_str *why)
{
    bool grids = d->n_outputs > 0;
    for (int i = 0; i < d->n_outputs; i++) grids = grids && d->outputs[i].shape.rank >= 4;
    if (why->len > 0) om_str_add(why, "; ");
    else if (d->n_outputs == 2 && d->outputs[0].shape.rank == 3 && d->outputs[1].shape.rank == 4)
        om_str_add(why, "a matrix and a grid look like YOLO segmentation; ");
    else if (grids && d->n_outputs <= 4)
        om_str_add(
            why,
            "grids look like raw YOLO outputs, which need their anchors (yolov3: import the Darknet files); ");
    else if (d->n_outputs == 3)
        om_str_add(why, "three outputs are near boxes (boxes [N, 4], labels [N], scores [N]); ");
    else if (d->n_outputs == 1 && d->outputs[0].shape.rank == 3)
        om_str_add(why, "a matrix is near yolov5 ([N, A, 5+classes]) and yolov8 ([N, 4+classes, A]); ");
    om_str_add(why, "no family fits ");
    om_specs_text(d->outputs, d->n_outputs, why);
}

static om_family recognise_shapes(const om_model_desc *d, om_str *why)
{
    int channel;
    if (fits_centerface(d)) {
        om_str_add(why, "four outputs of one grid with 1, 2, 2 and 10 channels");
        return OM_FAMILY_CENTERFACE;
    }
    if (fits_boxes(d)) {
        om_str_add(why, "boxes [N, 4], whole-number labels [N] and scores [N]");
        return OM_FAMILY_BOXES;
    }
    if (!om_desc_picture(d, &channel)) {
        om_str_add(why, "no input looks like a picture");
        return OM_FAMILY_UNKNOWN;
    }
    if (d->n_inputs == 1 && d->n_outputs == 1 && fits_classify(d)) {
        om_str_add(why, "one output [N, classes]");
        return OM_FAMILY_CLASSIFY;
    }
    return d->n_inputs == 1 ? yolo_of_matrix(d, why) : OM_FAMILY_UNKNOWN;
}

int om_family_recognise(const om_model_desc *d, om_family_finding *out)
{
    const char *own = om_model_desc_meta(d, "omma.family"), *task = om_model_desc_meta(d, "task");
    memset(out, 0, sizeof *out);
    if (own) {
        int family = om_family_parse(own);
        int e = family < 0 ? family : om_family_check(d, (om_family)family);
        if (e) return om_fail_prefix(OM_ERR_FORMAT, "metadata omma.family");
        out->family = (om_family)family;
        om_str_addf(&out->why, "metadata omma.family is %s", own);
    } else if (task && strcmp(task, "detect") != 0 && strcmp(task, "classify") != 0) {
        om_str_addf(&out->why, "metadata says task '%s', which no family here does", task);
    } else if (d->n_outputs > 0) {
        out->family = recognise_shapes(d, &out->why);
        if (task) om_str_addf(&out->why, "%smetadata says task '%s'", out->why.len ? "; " : "", task);
    }
    if (out->family == OM_FAMILY_UNKNOWN) tell_near(d, &out->why);
    return out->why.failed ? om_fail_nomem("a model's description") : OM_OK;
}

static void set3(float v[3], float a, float b, float c)
{
    v[0] = a;
    v[1] = b;
    v[2] = c;
}

void om_family_prepare(const om_model_desc *d, om_family family, om_prep *prep, om_fit *fit,
                       bool *native_size)
{
    const float unit = 1.0f / 255.0f;
    *fit = OM_FIT_LETTERBOX;
    *native_size = false;
    prep->filter = OM_FILTER_LINEAR;
    set3(prep->mean, 0, 0, 0);
    set3(prep->scale, unit, unit, unit);
    set3(prep->pad, 114, 114, 114); /* Ultralytics' grey */
    switch (family) {
    case OM_FAMILY_YOLOV3: set3(prep->pad, 127.5f, 127.5f, 127.5f); break; /* Darknet pads with 0.5 */
    case OM_FAMILY_CENTERFACE: /* its own code feeds 0..255 RGB, stretched to the next multiple of 32 */
        set3(prep->scale, 1, 1, 1);
        *fit = OM_FIT_STRETCH;
        *native_size = true;
        break;
    case OM_FAMILY_CLASSIFY:
        *fit = OM_FIT_CROP;
        if (om_model_desc_meta(d, "task")) break; /* Ultralytics' classifiers take plain 0..1 */
        set3(prep->mean, 0.485f * 255, 0.456f * 255, 0.406f * 255); /* ImageNet's */
        set3(prep->scale, unit / 0.229f, unit / 0.224f, unit / 0.225f);
        break;
    default: break;
    }
}
