/* Models: load, check, infer shapes, edit, save, describe, make. This is the room's public header. */
#ifndef OM_MODEL_MODEL_H
#define OM_MODEL_MODEL_H

#include "base/option.h"
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

/* What om_graph_simplify() may do; any of them alone is valid. Outputs stay the same up to rounding, and
 * inputs, outputs and their names as they are. */
enum {
    OM_SIMPLIFY_DEAD = 1,       /* nodes that no output needs go */
    OM_SIMPLIFY_FOLD = 2,       /* what comes from constants or from known shapes becomes a constant */
    OM_SIMPLIFY_IDENTITY = 4,   /* nodes that do nothing go */
    OM_SIMPLIFY_COMMON = 8,     /* equal nodes and equal constants become one */
    OM_SIMPLIFY_MERGE = 16,     /* reshapes, transposes, joins, cuts, pads in a row; MatMul + Add to Gemm */
    OM_SIMPLIFY_BATCHNORM = 32, /* BatchNormalization into the Conv, ConvTranspose or Gemm before it */
    OM_SIMPLIFY_SCALE = 64,     /* a constant a channel that is added or multiplied, likewise */
    OM_SIMPLIFY_ALL = 127
};
/* Infers shapes, rewrites until nothing is left to do, drops what is dead and infers shapes again. Shapes
 * that are static when it is called are taken for granted: fix them before, or leave open what shall stay
 * open. After a failure the graph is good for nothing but om_graph_destroy(). */
int om_graph_simplify(om_graph *g, unsigned flags);
/* How many were folded, or an error. */
int om_graph_fold_batchnorm(om_graph *g);
/* How many nodes went, or an error. */
int om_graph_eliminate_dead(om_graph *g);
/* Keeps what lies between. A name is a tensor's, or a layer's: its inputs for `from`, its outputs for `to`.
 * No names: the model's own inputs or outputs. New inputs and outputs get the types and shapes that are
 * inferred. OM_ERR_ARG: an unknown name (with near ones), or a tensor that would have to be named too; the
 * graph has not changed then. Where the outputs change, metadata that tells the family goes. */
int om_graph_cut(om_graph *g, const char *const *from, int n_from, const char *const *to, int n_to);

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
    OM_FAMILY_RAW,         /* the outputs' own numbers */
    OM_FAMILY_YOLOV5_FACE, /* [N, A, 16] decoded, or three raw grids */
    OM_FAMILY_YOLOV10,     /* [N, n, 6], chosen by the model */
    OM_FAMILY_YOLOX,       /* [N, A, 5+classes], a row a cell */
    OM_FAMILY_SSD,         /* boxes or offsets [N, A, 4] and scores [N, A, classes], or TensorFlow's four */
    OM_FAMILY_RETINAFACE,  /* offsets, scores and points over computed priors */
    OM_FAMILY_SCRFD,       /* scores, distances and points for each stride */
    OM_FAMILY_CTC,         /* a line of text, [N, T, chars] */
    OM_FAMILY_SLOTS,       /* a plate of fixed places, [N, slots, chars] */
    OM_FAMILY_EMBEDDING,   /* a vector */
    OM_FAMILY_DB           /* a map of text's likeness, [N, 1, h, w] */
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
    bool dynamic_width; /* the width alone is free (lines of text) */
    int stride;         /* sizes must be a multiple of it; 32 unless metadata says otherwise */
    bool native_size;   /* the input is the picture's own size, rounded up to `stride` (CenterFace) */
    bool probabilities; /* the one output is a softmax's or a sigmoid's already */
    bool decoded;       /* YOLOX: the boxes are in pixels already */
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
typedef enum om_normalize {
    OM_NORMALIZE_OWN,
    OM_NORMALIZE_UNIT,     /* 0..1 */
    OM_NORMALIZE_HALF,     /* -1..1 */
    OM_NORMALIZE_IMAGENET, /* its mean and deviation */
    OM_NORMALIZE_NONE      /* 0..255 */
} om_normalize;

extern const om_choice om_normalize_choices[], om_channels_choices[], om_fit_choices[];

/* Overrides how pictures become input; channels and fit -1: as the family has them. After the family is set.
 */
void om_model_desc_set_input(om_model_desc *d, om_normalize normalization, int channels, int fit);
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
bool om_model_is_synth(const char *name);

#endif
