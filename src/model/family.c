#include <string.h>

#include "base/error.h"
#include "model/describe.h"
#include "model/family.h"

typedef struct entry {
    const char *name;
    const char *shapes;                   /* what its outputs look like, for messages */
    bool (*fits)(const om_model_desc *d); /* whether they can be this family's; NULL: always */
} entry;

/* By om_family. */
static const entry families[] = {
    [OM_FAMILY_UNKNOWN] = {"unknown", "anything", NULL},
    [OM_FAMILY_YOLOV3] =
        {"yolov3",
         "grids [N, anchors*(5+classes), h, w] and the anchors in metadata, as a Darknet import has",
         om_fits_yolov3},
    [OM_FAMILY_YOLOV5] = {"yolov5", "one output [N, A, 5+classes]", om_fits_yolov5},
    [OM_FAMILY_YOLOV8] = {"yolov8", "one output [N, 4+classes, A]", om_fits_yolov8},
    [OM_FAMILY_CENTERFACE] = {"centerface", "four outputs of one grid with 1, 2, 2 and 10 channels",
                              om_fits_centerface},
    [OM_FAMILY_BOXES] = {"boxes", "boxes [N, 4], labels [N] of whole numbers, scores [N]", om_fits_boxes},
    [OM_FAMILY_CLASSIFY] = {"classify", "one output [N, classes]", om_fits_classify},
    [OM_FAMILY_RAW] = {"raw", "anything", NULL},
    [OM_FAMILY_YOLOV5_FACE] = {"yolov5-face",
                               "an output [N, A, 15+classes], or raw grids [N, 3, rows, columns, 15+classes]",
                               om_fits_yolov5_face},
    [OM_FAMILY_YOLOV10] = {"yolov10", "one output [N, n, 6]", om_fits_yolov10},
    [OM_FAMILY_YOLOX] = {"yolox", "one output [N, A, 5+classes], a row a cell", om_fits_yolox},
    [OM_FAMILY_SSD] =
        {"ssd",
         "boxes [N, A, 4] and scores [N, A, classes], TensorFlow's detection_boxes, _classes and "
         "_scores, or one output [1, 1, n, 7]",
         om_fits_ssd},
    [OM_FAMILY_RETINAFACE] = {"retinaface",
                              "offsets [N, A, 4], scores [N, A, 2 or 3] and points [N, A, 8 or 10]",
                              om_fits_retinaface},
    [OM_FAMILY_SCRFD] = {"scrfd",
                         "for each of 3 or 5 strides [N, A, 1], [N, A, 4] and, with landmarks, [N, A, 10]",
                         om_fits_scrfd},
    [OM_FAMILY_CTC] = {"ctc", "an output [N, T, characters]", om_fits_ctc},
    [OM_FAMILY_SLOTS] = {"slots", "an output [N, places, characters]", om_fits_slots},
    [OM_FAMILY_EMBEDDING] = {"embedding", "one output [N, numbers]", om_fits_embedding},
    [OM_FAMILY_DB] = {"db", "a first output [N, 1, h, w]", om_fits_db},
};
#define N_FAMILIES ((int)(sizeof families / sizeof *families))

const char *om_family_name(om_family f)
{
    return (int)f >= 0 && (int)f < N_FAMILIES ? families[f].name : families[OM_FAMILY_UNKNOWN].name;
}

int om_family_parse(const char *name)
{
    const char *names[N_FAMILIES];
    om_str list = {0};
    for (int i = OM_FAMILY_UNKNOWN + 1; i < N_FAMILIES; i++) {
        if (strcmp(name, families[i].name) == 0) return i;
        names[i - 1] = families[i].name;
    }
    for (int i = 0; i < N_FAMILIES - 1; i++) om_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = om_suggest(name, names, (size_t)N_FAMILIES - 1);
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

int om_family_check(const om_model_desc *d, om_family family)
{
    if (!families[family].fits || (d->n_outputs > 0 && families[family].fits(d))) return OM_OK;
    om_str have = {0};
    om_specs_text(d->outputs, d->n_outputs, &have);
    om_fail(OM_ERR_ARG, "family %s expects %s; this model has %s", om_family_name(family),
            families[family].shapes, d->n_outputs ? om_str_get(&have) : "no outputs");
    om_str_fini(&have);
    return OM_ERR_ARG;
}

static int fixed(int64_t n) { return n > 0 && n <= 1000000 ? (int)n : 0; }

/* Of scores with the background: how many classes there are besides. */
static int retinaface_classes(const om_model_desc *d)
{
    for (int i = 0; i < d->n_outputs; i++) {
        const om_shape *s = &d->outputs[i].shape;
        int64_t columns = s->rank > 0 ? s->dim[s->rank - 1] : 0;
        if (columns == 2 || columns == 3) return (int)columns - 1;
    }
    return 0;
}

/* Numbers of a box, in whichever dim they are: the labels tell, then what is open, then what is less. */
static int64_t yolov8_numbers(const om_model_desc *d, int64_t rows, int64_t cols)
{
    if (d->n_labels > 0) return rows != 4 + d->n_labels && cols == 4 + d->n_labels ? cols : rows;
    if (rows < 0) return cols;
    return cols > 4 && rows > cols ? cols : rows;
}

int om_family_classes(const om_model_desc *d, om_family family)
{
    int64_t rows, cols;
    long long n;
    const char *text;
    switch (family) {
    case OM_FAMILY_YOLOV3:
        text = om_model_desc_meta(d, "omma.classes");
        return text && om_parse_int(text, &n) == OM_OK ? fixed(n) : 0;
    case OM_FAMILY_YOLOX: return om_desc_matrix(d, &rows, &cols) ? fixed(cols - 5) : 0;
    case OM_FAMILY_YOLOV5:
        if (!om_desc_matrix(d, &rows, &cols)) return 0;
        return d->n_labels > 0 && rows == 5 + d->n_labels ? d->n_labels : fixed(cols - 5);
    case OM_FAMILY_YOLOV8:
        return om_desc_matrix(d, &rows, &cols) ? fixed(yolov8_numbers(d, rows, cols) - 4) : 0;
    case OM_FAMILY_YOLOV5_FACE: return fixed(om_face_columns(d) - OM_FACE_CLASS_COLUMN);
    case OM_FAMILY_RETINAFACE: return retinaface_classes(d);
    case OM_FAMILY_CENTERFACE:
    case OM_FAMILY_SCRFD:
    case OM_FAMILY_CTC:
    case OM_FAMILY_SLOTS:
    case OM_FAMILY_DB: return 1;
    case OM_FAMILY_CLASSIFY:
        return d->n_outputs == 1 && d->outputs[0].shape.rank >= 2 ? fixed(d->outputs[0].shape.dim[1]) : 0;
    default: return 0;
    }
}

const char *om_family_only_label(const om_model_desc *d)
{
    switch (d->n_classes == 1 ? d->family : OM_FAMILY_UNKNOWN) {
    case OM_FAMILY_CENTERFACE:
    case OM_FAMILY_SCRFD:
    case OM_FAMILY_YOLOV5_FACE: return "face";
    case OM_FAMILY_RETINAFACE: return om_retinaface_points(d) == 4 ? "plate" : "face";
    case OM_FAMILY_SLOTS: return "plate";
    case OM_FAMILY_CTC:
    case OM_FAMILY_DB: return "text";
    default: return NULL;
    }
}

/* YOLO's relatives differ in which of the matrix's dims counts the boxes and in what a row holds. Names
 * settle it, then the number of cells, then what the graph ends with, then which dim is open, then which is
 * larger. UNKNOWN where the matrix is a relative that no head reads. */
static om_family yolo_of_matrix(const om_model_desc *d, const om_family_hints *hints, om_str *why)
{
    int64_t rows, cols, cells = om_desc_grid_cells(d);
    if (!om_desc_matrix(d, &rows, &cols)) return OM_FAMILY_UNKNOWN;
    bool named8 = d->n_labels > 0 && rows == 4 + d->n_labels,
         named5 = d->n_labels > 0 && cols == 5 + d->n_labels;
    if (d->n_outputs > 1) { /* raw grids beside it, as YOLOv5 exports them */
        bool face = cols == OM_FACE_CLASS_COLUMN + 1 && d->n_labels <= 1;
        if (cols < 6 || (rows > 0 && rows <= cols)) return OM_FAMILY_UNKNOWN;
        om_str_add(why, "one output [N, A, 5+classes] and raw grids beside it");
        return face ? OM_FAMILY_YOLOV5_FACE : OM_FAMILY_YOLOV5;
    }
    if (cols == 6 && rows > 6 && rows <= 1000 && rows != 3 * cells && rows != cells) {
        om_str_add(why, "one output [N, n, 6]: boxes after the model's own selection");
        return OM_FAMILY_YOLOV10;
    }
    if (rows > 0 && rows == cells && cols < rows && d->n_labels > 0 && cols == 4 + d->n_labels) {
        om_str_add(why, "a row for each cell of the grids and 4+classes columns: a turned YOLOv8");
        return OM_FAMILY_YOLOV8;
    }
    bool ends_as_yolox = rows == OM_DIM_DYNAMIC && (hints->transposed || hints->exponential) && !named8;
    if (cols >= 6 && ((rows > 0 && rows == cells && cols < rows) || ends_as_yolox)) {
        om_str_addf(why, "one output [N, A, 5+classes] %s",
                    rows == cells ? "with a row for each cell of the grids" : "that ends as YOLOX does");
        return OM_FAMILY_YOLOX;
    }
    if (cols == OM_FACE_CLASS_COLUMN + 1 && d->n_labels <= 1 &&
        (rows == OM_DIM_DYNAMIC || (rows > cols && (!cells || rows == 3 * cells)))) {
        om_str_add(why, "one output [N, A, 16]: boxes, five landmarks, one class");
        return OM_FAMILY_YOLOV5_FACE;
    }
    if (d->n_labels > 0 && rows == 5 + d->n_labels && !named5) {
        om_str_addf(why, "%d class names and a matrix of 5+classes rows: a turned YOLOv5", d->n_labels);
        return OM_FAMILY_YOLOV5;
    }
    if (named8 != named5) {
        om_str_addf(why, "%d class names and a matrix of %s", d->n_labels,
                    named8 ? "4+classes rows" : "5+classes columns");
        return named8 ? OM_FAMILY_YOLOV8 : OM_FAMILY_YOLOV5;
    }
    bool rows_are_boxes = rows == OM_DIM_DYNAMIC && cols != OM_DIM_DYNAMIC;
    bool cols_are_boxes = cols == OM_DIM_DYNAMIC && rows != OM_DIM_DYNAMIC;
    if (rows_are_boxes || (!cols_are_boxes && rows > cols)) {
        if (!om_fits_yolov5(d)) return OM_FAMILY_UNKNOWN;
        om_str_add(why, "one output [N, A, 5+classes]");
        return OM_FAMILY_YOLOV5;
    }
    if (!om_fits_yolov8(d) || rows == cols) return OM_FAMILY_UNKNOWN;
    om_str_add(why, "one output [N, 4+classes, A]");
    return OM_FAMILY_YOLOV8;
}

/* A sentence about what the outputs resemble, where no family is recognised: the families that --head could
 * force on them. */
static void tell_near(const om_model_desc *d, om_str *why)
{
    bool grids = d->n_outputs > 0, any = false;
    for (int i = 0; i < d->n_outputs; i++) grids = grids && d->outputs[i].shape.rank >= 4;
    if (why->len > 0) om_str_add(why, "; ");
    else if (d->n_outputs == 2 && d->outputs[0].shape.rank == 3 && d->outputs[1].shape.rank == 4)
        om_str_add(why, "a matrix and a grid look like YOLO segmentation; ");
    else if (grids && d->n_outputs <= 4)
        om_str_add(
            why,
            "grids look like raw YOLO outputs, which need their anchors (yolov3: import the Darknet files); ");
    else if (d->n_outputs == 3)
        om_str_add(why,
                   "three outputs are near boxes (boxes [N, 4], labels [N], scores [N]) and retinaface; ");
    else if (d->n_outputs == 1 && d->outputs[0].shape.rank == 3)
        om_str_add(why, "a matrix is near yolov5 ([N, A, 5+classes]) and yolov8 ([N, 4+classes, A]); ");
    om_str_add(why, "no family fits ");
    om_specs_text(d->outputs, d->n_outputs, why);
    for (int i = OM_FAMILY_UNKNOWN + 1; i < N_FAMILIES && d->n_outputs > 0; i++) {
        if (!families[i].fits || !families[i].fits(d)) continue;
        om_str_addf(why, "%s%s", any ? ", " : "; --head could be ", families[i].name);
        any = true;
    }
}

/* What tells a family at first sight, the narrowest first. */
static const struct {
    om_family family;
    bool (*looks)(const om_model_desc *d);
    bool needs_picture; /* and no other input */
    const char *why;
} signs[] = {
    {OM_FAMILY_CENTERFACE, om_fits_centerface, false,
     "four outputs of one grid with 1, 2, 2 and 10 channels"},
    {OM_FAMILY_BOXES, om_fits_boxes, false, "boxes [N, 4], whole-number labels [N] and scores [N]"},
    {OM_FAMILY_SSD, om_looks_ssd_chosen, false,
     "outputs named as TensorFlow's or Caffe's detection has them"},
    {OM_FAMILY_SCRFD, om_fits_scrfd, true, "scores, distances and points for each stride"},
    {OM_FAMILY_RETINAFACE, om_fits_retinaface, true, "offsets, scores and points over priors"},
    {OM_FAMILY_YOLOV5_FACE, om_looks_face_grids, true, "raw grids with five landmarks and one class"},
    {OM_FAMILY_SSD, om_looks_ssd_rows, true, "boxes [N, A, 4] and scores [N, A, classes]"},
    {OM_FAMILY_CTC, om_looks_ctc, true,
     "one output [N, T, characters] of an alphabet or for a line's picture"},
    {OM_FAMILY_SLOTS, om_looks_slots, true, "one output [N, places, characters] for a plate's picture"},
    {OM_FAMILY_DB, om_looks_db, true, "one map [N, 1, h, w]"},
    {OM_FAMILY_EMBEDDING, om_looks_embedding, true, "one output [N, numbers] of an embedding"},
    {OM_FAMILY_CLASSIFY, om_fits_classify, true, "one output [N, classes]"},
};

static om_family recognise_shapes(const om_model_desc *d, const om_family_hints *hints, om_str *why)
{
    int channel;
    bool picture = om_desc_picture(d, &channel) != NULL;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (signs[i].needs_picture && (!picture || d->n_inputs != 1)) continue;
        if (!signs[i].looks(d)) continue;
        om_str_add(why, signs[i].why);
        return signs[i].family;
    }
    if (!picture) {
        om_str_add(why, "no input looks like a picture");
        return OM_FAMILY_UNKNOWN;
    }
    return d->n_inputs == 1 ? yolo_of_matrix(d, hints, why) : OM_FAMILY_UNKNOWN;
}

int om_family_recognise(const om_model_desc *d, const om_family_hints *hints, om_family_finding *out)
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
        out->family = recognise_shapes(d, hints, &out->why);
        if (task) om_str_addf(&out->why, "%smetadata says task '%s'", out->why.len ? "; " : "", task);
    }
    if (out->family == OM_FAMILY_UNKNOWN) tell_near(d, &out->why);
    return out->why.failed ? om_fail_nomem("a model's description") : OM_OK;
}
