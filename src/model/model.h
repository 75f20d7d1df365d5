/* Models: load, check, infer shapes, edit, save, describe, make. This is the room's public header. */
#ifndef OM_MODEL_MODEL_H
#define OM_MODEL_MODEL_H

#include "kernel/kernel.h"
#include "model/graph.h"

#define OM_OPSET_MIN 9
#define OM_OPSET_MAX 28

/* Loads an ONNX file: the bytes are scanned for nesting (64) and lengths before they are unpacked; external
 * data is read only from below the file's own folder. Validated and sorted; shapes are not inferred yet.
 * OM_ERR_FORMAT names the file, the node or value and what was expected. */
int om_model_load(const char *path, om_graph **out);
/* The same from memory (copied); `name` stands in messages, `dir` is where external data may lie (NULL: none
 * may). */
int om_model_load_memory(const void *bytes, size_t len, const char *name, const char *dir, om_graph **out);
/* Serialises; *bytes is freed with om_free(). Unknown fields that were loaded are written again. */
int om_model_serialize(const om_graph *g, char **bytes, size_t *len);
int om_model_save(const om_graph *g, const char *path); /* atomic */

/* Dangling names, duplicate definitions, cycles, wrong initializer sizes, missing outputs, opset bounds. */
int om_graph_validate(om_graph *g, const char *name);
/* Fills dtype and shape of every value it can; dynamic dims stay OM_DIM_DYNAMIC. Folds what shape arithmetic
 * needs. OM_ERR_FORMAT names the node whose inputs cannot be right. Unknown operators leave their outputs
 * unknown. */
int om_graph_infer_shapes(om_graph *g);
/* Sets the shape of input number `input` (its place among the inputs) and forgets inferred ones; call
 * om_graph_infer_shapes() afterwards. */
int om_graph_set_input_shape(om_graph *g, int input, const om_shape *shape);
/* A deep copy. */
int om_graph_clone(const om_graph *g, om_graph **out);
/* Evaluates small sub-expressions (at most 262144 elements a value) that come from constants alone; what
 * comes from a shape stays, since shapes may be set anew. Operators that are not among the foldable ones stay
 * as they are. */
int om_graph_fold_constants(om_graph *g);

/* Multiply-accumulates and parameters of one node, and of all. -1 where shapes are not known. */
int64_t om_node_macs(const om_graph *g, const om_node *n);
int64_t om_graph_macs(const om_graph *g);
int64_t om_graph_params(const om_graph *g);

typedef enum om_family {
    OM_FAMILY_UNKNOWN,
    OM_FAMILY_YOLOV3, /* raw grids of a Darknet import, anchors in metadata */
    OM_FAMILY_YOLOV5, /* [N, A, 5+classes], decoded */
    OM_FAMILY_YOLOV8, /* [N, 4+classes, A], v8 and v11 */
    OM_FAMILY_CENTERFACE,
    OM_FAMILY_BOXES, /* boxes, labels, scores (torchvision) */
    OM_FAMILY_CLASSIFY,
    OM_FAMILY_RAW
} om_family;

const char *om_family_name(om_family f); /* "yolov8" */
int om_family_parse(const char *name);   /* an om_family, or OM_ERR_ARG with the names there are */

typedef struct om_tensor_spec {
    const char *name;
    om_dtype dtype;
    om_shape shape;
} om_tensor_spec;

/* What a user of the model needs to know, read from the model itself.
 * Constant once made; owns its texts; does not refer to the graph. */
typedef struct om_model_desc {
    om_tensor_spec *inputs, *outputs;
    int n_inputs, n_outputs;
    om_meta *metas; /* all of the file's metadata */
    int n_metas;
    om_family family;       /* by metadata, then by output shapes; UNKNOWN if nothing fits */
    const char *family_why; /* one sentence: what it was recognised by, or what is near */
    const char **labels;
    int n_labels;
    int n_classes;     /* by the output's shape where it tells; 0: unknown */
    int width, height; /* the preferred or fixed input size; 640x640 where both are dynamic and nothing else
                          is said */
    bool dynamic_batch, dynamic_size;
    int stride;         /* sizes must be a multiple of it; 32 unless metadata says otherwise */
    bool native_size;   /* the input is the picture's own size, rounded up to `stride` (CenterFace) */
    bool probabilities; /* CLASSIFY: the scores are a softmax's or a sigmoid's already */
    om_prep prep;       /* normalisation, channel order, layout, padding of this family */
    om_fit fit;
} om_model_desc;

/* The value of a metadata key, or NULL. */
const char *om_model_desc_meta(const om_model_desc *d, const char *key);
/* `g` with shapes inferred. Freed by om_model_desc_free(). */
int om_model_describe(const om_graph *g, om_model_desc **out);
/* Overrides: a family by name, labels from a file (a name a line; OM_ERR_ARG if the count contradicts the
 * model). */
int om_model_desc_set_family(om_model_desc *d, om_family family);
int om_model_desc_load_labels(om_model_desc *d, const char *path);
void om_model_desc_free(om_model_desc *d);

/* Batch and/or spatial size become dynamic: reshape targets, resize scales and anchor grids that were frozen
 * for one size are rewritten; the result is checked by inferring shapes at another size. OM_ERR_UNSUPPORTED
 * names the node that cannot be freed. */
int om_model_make_dynamic(om_graph *g, bool batch, bool size);

/* Darknet: cfg + weights (+ names file or NULL) to ONNX with metadata; raw grids as outputs, decoded by the
 * yolov3 head. Input "images" [N,3,H,W], batch and size dynamic. Output k is the k-th [yolo] section's raw
 * convolution [N, anchors*(5+classes), H/stride, W/stride]; its metadata, lists of the outputs joined by ';':
 *   omma.family     yolov3
 *   omma.classes    80
 *   omma.anchors    10,14,23,27,37,58;10,14,23,27,37,58      width,height pairs in input pixels, all of them
 *   omma.masks      3,4,5;0,1,2                              which of the anchors the output's boxes have, in
 * order omma.scale_x_y  1;1                                      the centre is sigmoid(t)*s - (s-1)/2 besides
 * Ultralytics' own keys names, stride and imgsz ("[416, 416]", height first). OM_ERR_FORMAT names the section
 * and line. */
int om_model_import_darknet(const char *cfg, const char *weights, const char *names, om_graph **out);

typedef struct om_synth_params {
    uint64_t seed;
    int width, height; /* 0: the model's own */
    int classes;       /* 0: the model's own (80) */
    int boxes;    /* about how many boxes a picture pass 0.25; 0: none are planned (plain random weights) */
    bool dynamic; /* batch, height, width dynamic, as the original's own dynamic export */
} om_synth_params;

/* Seeded random weights in the structure of the original export, by name; OM_ERR_NOT_FOUND lists the names.
 */
int om_model_synth(const char *name, const om_synth_params *p, om_graph **out);
/* NULL-terminated list of the names. */
const char *const *om_model_synth_names(void);

#endif
