/* The graph engine's inside: a graph of fixed shapes becomes a program, a list of steps over buffers.
 *
 *   om_graph -> omcu_lower() -> omcu_program (steps, views, constants) -> omcu_tune() -> omcu_run() on a
 * binding
 *
 * Thread-safety: a program is built by one thread and constant afterwards; any number run it, each with its
 * own binding and stream. */
#ifndef OM_BACKEND_CUDA_ENGINE_H
#define OM_BACKEND_CUDA_ENGINE_H

#include "backend/cuda/kernels.h"
#include "backend/cuda/qdq.h"
#include "backend/cuda/store.h"
#include "base/tensor.h"
#include "device/device.h"
#include "model/model.h"

#define OMCU_ARENA_ALIGN ((size_t)256)
#define OMCU_NAME 96
#define OMCU_REFUSED 256

/* A tensor somewhere in a buffer, dims in the graph's order, strides as they fall. */
typedef struct omcu_view {
    int buffer;
    int type; /* omcu_type */
    int rank;
    int64_t dim[OM_MAX_RANK], stride[OM_MAX_RANK], offset; /* elements */
    omcu_grid grid; /* of 8-bit integers that stand for other numbers */
} omcu_view;

typedef enum omcu_place { OMCU_IN_ARENA, OMCU_IN_CONST, OMCU_IN_INPUT, OMCU_IN_OUTPUT } omcu_place;

typedef struct omcu_buffer {
    omcu_place place;
    size_t bytes;
    int first, last; /* steps that touch it; -1: none */
    size_t offset;   /* in the arena */
    int index;       /* of the input or output */
    void *data;      /* constants: device memory of the store's */
} omcu_buffer;

typedef enum omcu_kind {
    OMCU_STEP_CONV,
    OMCU_STEP_DEPTHWISE,
    OMCU_STEP_DECONV,
    OMCU_STEP_POINT,
    OMCU_STEP_POOL,
    OMCU_STEP_SPPF,
    OMCU_STEP_RESIZE,
    OMCU_STEP_REDUCE,
    OMCU_STEP_SOFTMAX,
    OMCU_STEP_LAYER_NORM,
    OMCU_STEP_MATMUL,
    OMCU_STEP_ATTENTION,
    OMCU_STEP_PICK,
    OMCU_STEP_CLEAR,
    OMCU_STEP_LSTM,
    OMCU_STEP_USER
} omcu_kind;

/* How a convolution is computed. Forms of our own kernel count from 0. */
enum {
    OMCU_TACTIC_PLAIN = -1,
    OMCU_TACTIC_FIRST = -2,
    OMCU_TACTIC_CUDNN = 1000, /* + number among the candidates of its key */
    OMCU_TACTIC_LT = 2000,
    OMCU_TACTIC_DEPTHWISE = 3000 /* + form of that kernel; below: one number a thread */
};

typedef struct omcu_step {
    omcu_kind kind;
    char name[OMCU_NAME], type[32]; /* of the graph's node */
    omcu_view in[OMCU_OPERANDS], out[3];
    int n_in, n_out;
    union {
        omcu_conv conv; /* in: x, weights, bias, then the residual if there is one */
        omcu_point point;
        omcu_pool pool;
        omcu_sppf sppf;
        omcu_resize resize; /* in: x, rows, cols, then the shares */
        omcu_reduce reduce;
        omcu_rows rows; /* in: x, then scale and bias, or weights */
        omcu_matmul matmul;
        omcu_attention attention;
        omcu_pick pick;
        omcu_lstm lstm;               /* in: gates, recurrent weights, then the states there are */
        const struct omcu_user *user; /* user_op.h; the program's */
    } u;
    bool half, has_res, has_scale, has_bias;
    int tactic;
    struct omcu_cudnn_plan *cudnn; /* of the tactic; the program's tuner owns it */
    struct omcu_lt_plan *lt;
    double ns; /* as tuned; 0: not timed */
} omcu_step;

typedef struct omcu_program {
    om_device *device; /* a GPU; outlives the program */
    bool half;         /* f16 inside, else f32 */
    bool tf32;         /* of f32: products may round their factors to tf32 */
    omcu_buffer *buffers;
    int n_buffers, cap_buffers;
    omcu_step *steps;
    int n_steps, cap_steps;
    int *inputs, *outputs; /* buffers, in the graph's order */
    int n_inputs, n_outputs;
    om_tensor *out; /* of the outputs: shape and type (f32) */
    size_t arena, constants, workspace;
    double ns; /* what all steps take, where tuning was asked for that */
    struct omcu_tuner *tuner;
    struct omcu_user **users; /* of users' operators */
    int n_users, cap_users;
    omcu_store *store; /* its constants; a reference */
} omcu_program;

typedef struct omcu_build {
    bool half;
    bool picture_nhwc; /* the first input is [n, h, w, c] in memory, f16 if `half`; else as the graph has it,
                          f32 */
    bool no_fusion;    /* every node by itself, for comparisons */
    bool tf32;         /* of f32: products may round their factors */
    const omcu_qdq *qdq; /* of f16: what may lie as 8-bit integers; NULL: nothing */
    const bool *narrow;  /* which of its groups do */
    bool no_depthwise;   /* depthwise convolutions as those of any groups, for comparisons */
    bool no_blocks;      /* those one number a thread, for comparisons */
    omcu_store *store; /* where constants are kept, for programs that share them; NULL: a store of its own */
    char *refused;     /* OMCU_REFUSED bytes that get the first output of a node that cannot be done; NULL */
} omcu_build;

/* Where one run's memory lies: device pointers. */
typedef struct omcu_binding {
    void *arena, *workspace;
    void **inputs, **outputs;
} omcu_binding;

/* `g`: shapes inferred and static, constants folded; only read. OM_ERR_UNSUPPORTED names the node. */
int omcu_lower(om_device *device, const om_graph *g, const omcu_build *how, omcu_program **out);
void omcu_program_destroy(omcu_program *p);
/* Clones, sets input shapes, folds what follows from them: what omcu_lower() wants. */
int omcu_settle(const om_graph *g, const om_shape *inputs, int n_inputs, om_graph **out);
/* Launches all steps on `stream`. */
int omcu_run(const omcu_program *p, const omcu_binding *b, struct CUstream_st *stream);
int omcu_step_run(const omcu_program *p, const omcu_step *s, const omcu_binding *b,
                  struct CUstream_st *stream);
/* 1: there is a lowering; else *why. */
int omcu_supports(const om_graph *g, const om_node *n, const char **why);

/* program.c: what lowering adds. All return a number or a negative om_err. */
int omcu_add_buffer(omcu_program *p, omcu_place place, size_t bytes);
int omcu_add_const(omcu_program *p, const void *data, size_t bytes); /* copied to the device */
int omcu_add_step(omcu_program *p, const omcu_step *s);
int omcu_add_user(omcu_program *p, struct omcu_user *u); /* takes it over, if it succeeds */
void *omcu_address(const omcu_program *p, const omcu_view *v, const omcu_binding *b);
/* Places all buffers of the arena; afterwards p->arena is its size. */
int omcu_place_buffers(omcu_program *p);
/* Resolves a convolution's pointers. */
omcu_conv omcu_conv_bound(const omcu_program *p, const omcu_step *s, const omcu_binding *b);

/* view.c */
size_t omcu_type_size(int type);
int omcu_type_of(om_dtype t); /* -1: none of the kernels' */
int64_t omcu_view_count(const omcu_view *v);
/* Dense in the order of memory `order` (outermost first; NULL: as the dims come), the innermost padded to
 * `pad`. */
omcu_view omcu_view_dense(int type, const om_shape *shape, const int *order, int pad, size_t *bytes);
bool omcu_view_reshape(const omcu_view *v, int rank, const int64_t *dim, omcu_view *out);
omcu_view omcu_view_slice(const omcu_view *v, int axis, int64_t first, int64_t count, int64_t step);
omcu_view omcu_view_permute(const omcu_view *v, const int *perm);
/* Stretched by NumPy's rule to `shape`; false if it does not fit. */
bool omcu_view_expand(const omcu_view *v, int rank, const int64_t *dim, omcu_view *out);
bool omcu_view_same(const omcu_view *a, const omcu_view *b);
/* The order of memory, outermost first. */
void omcu_view_order(const omcu_view *v, int order[OM_MAX_RANK]);

#endif
