/* Shape inference from inside: what an operator's function gets, and the small values it may look at.
 * Thread-safety: one thread for each om_infer. */
#ifndef OM_MODEL_INFER_H
#define OM_MODEL_INFER_H

#include "model/graph_priv.h"
#include "model/operators.h"

/* A number of a small tensor: `f` for floating-point types, `i` for all others. */
typedef union om_num {
    int64_t i;
    double f;
} om_num;

/* What is known of the elements of a small tensor: shape arithmetic, and constants to fold. */
typedef struct om_part {
    om_dtype dtype;
    om_shape shape; /* static */
    int64_t n;
    om_num *v;
    bool *known; /* of each element */
    bool pure;   /* comes from constants alone, not from the shape of anything */
} om_part;

bool om_dtype_is_float(om_dtype t);
/* Rounds or wraps to what the type can hold. */
om_num om_num_fit(om_dtype t, om_num v);
int om_part_create(om_dtype dtype, const om_shape *shape, om_part **out); /* nothing known */
void om_part_destroy(om_part *p);
bool om_part_complete(const om_part *p);
/* NULL in *out where there are more than `limit` elements, or they are no numbers. */
int om_part_from_const(const om_const *c, int64_t limit, om_part **out);
int om_part_to_const(const om_part *p, om_const **out);

/* The index behind `at` in row-major order; false past the last. */
bool om_next_index(const om_shape *s, int64_t *at);
int64_t om_flat_index(const om_shape *s, const int64_t *at);
/* Copies one element where both places exist. */
void om_part_take(om_part *out, int64_t to, const om_part *in, int64_t from);

typedef struct om_infer {
    om_graph *g;
    struct om_infer *outer; /* of the graph this one lies in, or NULL */
    om_part **parts;        /* of each value, or NULL */
    int64_t opset;
    int64_t limit; /* elements of a part */
    int depth;
} om_infer;

int om_infer_init(om_infer *in, om_graph *g, om_infer *outer, int64_t opset, int64_t limit);
void om_infer_fini(om_infer *in);
/* All nodes in order. */
int om_infer_run(om_infer *in);
/* What is known of a value, from outer graphs too; NULL: nothing. Belongs to `in`. */
const om_part *om_infer_part(om_infer *in, int value);

/* One node's inference. */
typedef struct om_call {
    om_infer *in;
    om_graph *g;
    const om_node *n;
    int64_t opset;
    int variant; /* of the operator's table row: which of several that share a function */
} om_call;

/* Of the table's row: what the function does for this operator. */
typedef int om_infer_fn(const om_call *c);
/* Fills what it can of `out` (one for each output, NULL where it is not wanted); in[i] NULL: nothing known.
 */
typedef int om_eval_fn(const om_call *c, const om_part *const *in, om_part **out);

typedef struct om_op_row {
    const char *op;
    om_infer_fn *infer;
    om_eval_fn *eval; /* NULL: its values are of no use to shapes */
    int variant;
} om_op_row;
const om_op_row *om_op_find(const char *op);

/* What a function says and asks of its node. */
int om_call_bad(const om_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool om_call_has(const om_call *c, int i); /* the input is there */
om_dtype om_call_dtype(const om_call *c, int i);
const om_shape *om_call_shape(const om_call *c, int i); /* NULL: absent, or the rank is not known */
const om_part *om_call_part(const om_call *c, int i);
/* Input `i` as integers, an unknown one as OM_CALL_UNKNOWN; how many, or -1 if not even that is known (or >
 * max). */
#define OM_CALL_UNKNOWN INT64_MIN
int om_call_ints(const om_call *c, int i, int64_t *out, int max);
/* The same of the attribute where there is one, else of the input. OM_CALL_ABSENT: neither is there. */
#define OM_CALL_ABSENT (-2)
int om_call_attr_or_input(const om_call *c, const char *attr, int i, int64_t *out, int max);
/* Sets an output; NULL shape: rank unknown. Nothing where the node has no such output. */
int om_call_set(const om_call *c, int i, om_dtype dtype, const om_shape *shape);
/* Axis counted from the end made positive; OM_ERR_FORMAT beyond the rank. */
int om_call_axis(const om_call *c, int64_t axis, int rank);
/* A list attribute of exactly `n` items from `min` to 2^31; `def` where absent. */
int om_call_sizes(const om_call *c, const char *name, int64_t *out, int n, int64_t def, int64_t min);
/* One shape from two by NumPy's rule. */
int om_call_broadcast(const om_call *c, const om_shape *a, const om_shape *b, om_shape *out);
/* a * b where both are known; OM_ERR_FORMAT where no dimension is that large. */
int om_call_mul(const om_call *c, int64_t a, int64_t b, int64_t *out);
/* "a" and "b" must be the same dimension where both are known. */
int om_call_same(const om_call *c, const char *what, int64_t a, int64_t b);

/* infer_own.c: what a user's operator says. */
int om_infer_own(const om_call *c, const om_operator *op);

/* Operators, by the file that holds them. */
/* infer_element.c */
om_infer_fn om_infer_same, om_infer_bool, om_infer_binary, om_infer_compare, om_infer_variadic,
    om_infer_where, om_infer_cast, om_infer_castlike, om_infer_dropout, om_infer_quantize,
    om_infer_dequantize, om_infer_dynamic_quantize, om_infer_layer_norm, om_infer_batch_norm,
    om_infer_instance_norm, om_infer_prelu, om_infer_scatter_nd, om_infer_scatter_elements;
/* infer_conv.c */
om_infer_fn om_infer_conv, om_infer_conv_transpose, om_infer_pool, om_infer_global_pool,
    om_infer_depth_to_space, om_infer_space_to_depth, om_infer_resize, om_infer_qlinear_conv,
    om_infer_conv_integer;
/* infer_matmul.c */
om_infer_fn om_infer_matmul, om_infer_gemm, om_infer_einsum, om_infer_rnn;
/* infer_reduce.c */
om_infer_fn om_infer_reduce, om_infer_arg, om_infer_topk, om_infer_nonzero, om_infer_roi_align, om_infer_nms,
    om_infer_onehot;
/* infer_make.c */
om_infer_fn om_infer_constant, om_infer_constant_of_shape, om_infer_range, om_infer_shape, om_infer_size,
    om_infer_random, om_infer_like, om_infer_eye;
/* infer_move.c */
om_infer_fn om_infer_reshape, om_infer_flatten, om_infer_squeeze, om_infer_unsqueeze, om_infer_transpose,
    om_infer_expand, om_infer_tile, om_infer_pad, om_infer_concat, om_infer_split;
/* infer_index.c */
om_infer_fn om_infer_slice, om_infer_gather, om_infer_gather_elements, om_infer_gather_nd, om_infer_compress;
/* infer_control.c */
om_infer_fn om_infer_if, om_infer_loop;

/* eval_number.c, eval_move.c and beside their inference; where several operators share one, `variant` says
 * which. */
om_eval_fn om_eval_copy, om_eval_cast, om_eval_unary, om_eval_binary, om_eval_variadic, om_eval_where,
    om_eval_shape, om_eval_size, om_eval_constant, om_eval_constant_of_shape, om_eval_range, om_eval_concat,
    om_eval_slice, om_eval_gather, om_eval_transpose, om_eval_expand, om_eval_tile, om_eval_split,
    om_eval_reduce;

/* Variants of om_eval_unary and om_eval_binary. */
enum {
    OM_U_ABS,
    OM_U_NEG,
    OM_U_FLOOR,
    OM_U_CEIL,
    OM_U_ROUND,
    OM_U_SQRT,
    OM_U_EXP,
    OM_U_LOG,
    OM_U_NOT,
    OM_U_SIGN,
    OM_U_RECIPROCAL,
    OM_U_RELU,
    OM_U_SIGMOID,
    OM_U_TANH,
    OM_U_SIN,
    OM_U_COS,
    OM_U_NONE
};
enum {
    OM_B_ADD,
    OM_B_SUB,
    OM_B_MUL,
    OM_B_DIV,
    OM_B_POW,
    OM_B_MOD,
    OM_B_MIN,
    OM_B_MAX,
    OM_B_EQUAL,
    OM_B_LESS,
    OM_B_GREATER,
    OM_B_LESS_EQUAL,
    OM_B_GREATER_EQUAL,
    OM_B_AND,
    OM_B_OR,
    OM_B_XOR,
    OM_B_NONE
};
/* Of om_infer_reduce and om_eval_reduce. */
enum { OM_R_SUM, OM_R_MEAN, OM_R_MIN, OM_R_MAX, OM_R_PROD, OM_R_NONE };
/* Of om_infer_pool and om_infer_global_pool. */
enum { OM_POOL_MAX, OM_POOL_OTHER };

#endif
