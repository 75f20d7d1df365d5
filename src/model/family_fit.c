/* Which families a model's outputs can be, and which they are at first sight. */
#include <string.h>
#include <strings.h>

#include "model/describe.h"
#include "model/family.h"

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

static int64_t last_dim(const om_shape *s) { return s->rank > 0 ? s->dim[s->rank - 1] : 0; }

bool om_desc_matrix(const om_model_desc *d, int64_t *rows, int64_t *cols)
{
    const om_tensor_spec *matrix = NULL;
    for (int i = 0; i < d->n_outputs; i++) {
        if (d->outputs[i].shape.rank == 5) continue;
        if (matrix || d->outputs[i].shape.rank != 3 || !is_float(d->outputs[i].dtype)) return false;
        matrix = &d->outputs[i];
    }
    if (!matrix) return false;
    *rows = matrix->shape.dim[1];
    *cols = matrix->shape.dim[2];
    return true;
}

/* The picture's sides, 0 where open. */
static bool picture_size(const om_model_desc *d, int64_t *h, int64_t *w)
{
    int channel;
    const om_tensor_spec *in = om_desc_picture(d, &channel);
    if (!in) return false;
    int rank = in->shape.rank, row = channel == rank - 1 ? rank - 3 : rank - 2;
    *h = in->shape.dim[row] > 0 ? in->shape.dim[row] : 0;
    *w = in->shape.dim[row + 1] > 0 ? in->shape.dim[row + 1] : 0;
    return true;
}

int64_t om_desc_grid_cells(const om_model_desc *d)
{
    int64_t h, w, n = 0;
    if (!picture_size(d, &h, &w) || !h || !w) return 0;
    for (int64_t s = 8; s <= 32; s *= 2) n += (h / s) * (w / s);
    return n;
}

bool om_fits_yolov8(const om_model_desc *d)
{
    int64_t rows, cols;
    return d->n_outputs == 1 && om_desc_matrix(d, &rows, &cols) && (rows >= 5 || cols >= 5);
}

bool om_fits_yolov5(const om_model_desc *d)
{
    int64_t rows, cols;
    return om_desc_matrix(d, &rows, &cols) && (cols >= 6 || (d->n_labels > 0 && rows == 5 + d->n_labels));
}

bool om_fits_yolox(const om_model_desc *d)
{
    int64_t rows, cols;
    return d->n_outputs == 1 && om_desc_matrix(d, &rows, &cols) && cols >= 6;
}

bool om_fits_centerface(const om_model_desc *d)
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

bool om_fits_boxes(const om_model_desc *d)
{
    int boxes = 0, labels = 0, scores = 0, ranks = 0;
    if (d->n_outputs != 3) return false;
    for (int i = 0; i < 3; i++) ranks += d->outputs[i].shape.rank;
    int batched = ranks == 7; /* [N, n, 4], [N, n], [N, n] */
    for (int i = 0; i < 3; i++) {
        const om_tensor_spec *o = &d->outputs[i];
        int rank = o->shape.rank - batched;
        if (is_float(o->dtype) && rank == 2 && o->shape.dim[o->shape.rank - 1] == 4) boxes++;
        else if (is_float(o->dtype) && rank == 1) scores++;
        else if ((o->dtype == OM_DTYPE_I64 || o->dtype == OM_DTYPE_I32) && rank == 1) labels++;
    }
    return boxes == 1 && labels == 1 && scores == 1;
}

bool om_fits_classify(const om_model_desc *d)
{
    const om_shape *s = &d->outputs[0].shape;
    if (d->n_outputs != 1 || !is_float(d->outputs[0].dtype)) return false;
    if (s->rank == 4 && (s->dim[2] != 1 || s->dim[3] != 1)) return false;
    return (s->rank == 2 || s->rank == 4) && s->dim[1] >= 2;
}

bool om_fits_yolov3(const om_model_desc *d)
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

static bool contains(const char *name, const char *word)
{
    size_t n = strlen(word);
    for (; *name; name++)
        if (strncasecmp(name, word, n) == 0) return true;
    return false;
}

static const om_tensor_spec *output_of_rank(const om_model_desc *d, int rank)
{
    for (int i = 0; i < d->n_outputs; i++)
        if (d->outputs[i].shape.rank == rank && is_float(d->outputs[i].dtype)) return &d->outputs[i];
    return NULL;
}

/* Columns of a raw YOLOv5-face grid of three anchors, 0 where it is none. */
static int64_t grid_columns(const om_shape *s)
{
    if (s->rank == 5 && s->dim[1] > 0) return s->dim[4];
    return s->rank == 4 && s->dim[1] > 0 && s->dim[1] % 3 == 0 ? s->dim[1] / 3 : 0;
}

int64_t om_face_columns(const om_model_desc *d)
{
    const om_tensor_spec *rows = output_of_rank(d, 3);
    if (rows) return rows->shape.dim[2];
    return d->n_outputs > 0 ? grid_columns(&d->outputs[0].shape) : 0;
}

bool om_looks_face_grids(const om_model_desc *d)
{
    if (d->n_outputs < 3 || d->n_outputs > 4) return false;
    for (int i = 0; i < d->n_outputs; i++)
        if (!is_float(d->outputs[i].dtype) || grid_columns(&d->outputs[i].shape) != OM_FACE_CLASS_COLUMN + 1)
            return false;
    return true;
}

bool om_fits_yolov5_face(const om_model_desc *d)
{
    const om_tensor_spec *rows = output_of_rank(d, 3);
    if (rows) return rows->shape.dim[2] < 0 || rows->shape.dim[2] > OM_FACE_CLASS_COLUMN;
    for (int i = 0; i < d->n_outputs; i++)
        if (grid_columns(&d->outputs[i].shape) <= OM_FACE_CLASS_COLUMN) return false;
    return d->n_outputs <= 4;
}

bool om_fits_yolov10(const om_model_desc *d)
{
    int64_t rows, cols;
    return d->n_outputs == 1 && om_desc_matrix(d, &rows, &cols) && (cols == 6 || cols < 0);
}

bool om_looks_ssd_chosen(const om_model_desc *d)
{
    int boxes = 0, scores = 0, classes = 0;
    if (d->n_outputs == 1 && d->outputs[0].shape.rank == 4)
        return last_dim(&d->outputs[0].shape) == 7 && d->outputs[0].shape.dim[1] == 1;
    for (int i = 0; i < d->n_outputs; i++) {
        const char *name = d->outputs[i].name;
        int rank = d->outputs[i].shape.rank;
        boxes += contains(name, "detection_boxes") && (rank == 3 || rank < 0);
        scores += contains(name, "detection_scores") && (rank == 2 || rank < 0);
        classes += contains(name, "detection_classes") && (rank == 2 || rank < 0);
    }
    return boxes && scores && classes;
}

/* One output of boxes, one of scores with as many rows, and perhaps one of priors. */
bool om_looks_ssd_rows(const om_model_desc *d)
{
    const om_shape *boxes = NULL, *scores = NULL;
    int others = 0;
    for (int i = 0; i < d->n_outputs; i++) {
        const om_tensor_spec *o = &d->outputs[i];
        bool prior = contains(o->name, "prior") || contains(o->name, "anchor");
        if (!is_float(o->dtype)) return false;
        if (prior && (last_dim(&o->shape) == 4 || o->shape.rank == 3)) others++;
        else if (o->shape.rank == 3 && last_dim(&o->shape) == 4 && !boxes) boxes = &o->shape;
        else if (o->shape.rank == 3 && last_dim(&o->shape) >= 2 && !scores) scores = &o->shape;
        else return false;
    }
    return boxes && scores && others <= 1 && boxes->dim[1] == scores->dim[1];
}

bool om_fits_ssd(const om_model_desc *d)
{
    if (d->n_outputs == 1) return om_looks_ssd_chosen(d);
    for (int i = 0; i < d->n_outputs; i++)
        if (last_dim(&d->outputs[i].shape) == 4 || contains(d->outputs[i].name, "loc") ||
            contains(d->outputs[i].name, "box"))
            return d->n_outputs >= 2;
    return false;
}

int om_retinaface_points(const om_model_desc *d)
{
    for (int i = 0; i < d->n_outputs; i++) {
        int64_t n = last_dim(&d->outputs[i].shape);
        if (n == 8 || n == 10) return (int)n / 2;
    }
    return 0;
}

bool om_fits_retinaface(const om_model_desc *d)
{
    int boxes = 0, scores = 0, points = 0;
    if (d->n_outputs != 3) return false;
    for (int i = 0; i < 3; i++) {
        const om_shape *s = &d->outputs[i].shape;
        int64_t n = last_dim(s);
        if ((s->rank != 3 && s->rank != 2) || !is_float(d->outputs[i].dtype)) return false;
        boxes += n == 4;
        scores += n == 2 || n == 3;
        points += n == 8 || n == 10;
    }
    return boxes == 1 && scores == 1 && points == 1;
}

bool om_fits_scrfd(const om_model_desc *d)
{
    int scores = 0, boxes = 0, points = 0;
    for (int i = 0; i < d->n_outputs; i++) {
        const om_shape *s = &d->outputs[i].shape;
        int64_t n = last_dim(s);
        if ((s->rank != 3 && s->rank != 2) || !is_float(d->outputs[i].dtype)) return false;
        scores += n == 1;
        boxes += n == 4;
        points += n == 10;
    }
    return (scores == 3 || scores == 5) && boxes == scores && (!points || points == scores) &&
           scores + boxes + points == d->n_outputs;
}

/* Detectors and classifiers do, in their metadata; readers do not. */
static bool names_classes(const om_model_desc *d) { return d->n_labels > 0 || om_model_desc_meta(d, "task"); }

bool om_fits_ctc(const om_model_desc *d) { return output_of_rank(d, 3) != NULL; }

bool om_looks_ctc(const om_model_desc *d)
{
    int64_t h = 0, w = 0;
    if (d->n_outputs != 1 || !om_fits_ctc(d)) return false;
    if (om_model_desc_meta(d, "character")) return true;
    return !names_classes(d) && picture_size(d, &h, &w) && h > 0 && h <= 64 && (!w || w >= 2 * h) &&
           d->outputs[0].shape.dim[2] >= 10;
}

bool om_fits_slots(const om_model_desc *d) { return output_of_rank(d, 3) || output_of_rank(d, 2); }

bool om_looks_slots(const om_model_desc *d)
{
    int64_t h = 0, w = 0, places, chars;
    return !names_classes(d) && d->n_outputs == 1 && om_desc_matrix(d, &places, &chars) &&
           picture_size(d, &h, &w) && h > 0 && h <= 128 && 3 * w >= 4 * h && w <= 256 && places >= 4 &&
           places <= 16 && chars >= 10 && chars <= 128;
}

bool om_fits_db(const om_model_desc *d)
{
    const om_shape *s = &d->outputs[0].shape;
    return s->rank == 4 && (s->dim[1] == 1 || s->dim[1] < 0) && is_float(d->outputs[0].dtype);
}

bool om_looks_db(const om_model_desc *d)
{
    const om_shape *s = &d->outputs[0].shape;
    return d->n_outputs == 1 && om_fits_db(d) && s->dim[1] == 1 && (s->dim[2] < 0 || s->dim[2] >= 16) &&
           (s->dim[3] < 0 || s->dim[3] >= 16);
}

bool om_fits_embedding(const om_model_desc *d)
{
    const om_shape *s = &d->outputs[0].shape;
    for (int i = 2; i < s->rank; i++)
        if (s->dim[i] != 1) return false;
    return d->n_outputs == 1 && s->rank >= 2 && is_float(d->outputs[0].dtype);
}

/* By its name, or a face's usual picture and a usual length. */
bool om_looks_embedding(const om_model_desc *d)
{
    static const int64_t lengths[] = {64, 128, 256, 512};
    int64_t h = 0, w = 0;
    if (!om_fits_embedding(d) || d->n_labels) return false;
    const char *name = d->outputs[0].name;
    if (contains(name, "embed") || contains(name, "descriptor")) return true;
    bool usual = false;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        usual = usual || d->outputs[0].shape.dim[1] == lengths[i];
    return usual && picture_size(d, &h, &w) && h == 112 && (w == 112 || w == 96);
}
