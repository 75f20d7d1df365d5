/* Lowering from inside: what an operator's function gets.
 *
 * A value is a view (it lies somewhere) or still an expression (a chain of one-number operations over views,
 * written when somebody needs it in memory). Where a concatenation wants its parts, `placed` says so before
 * the parts are computed, and they are written there. Thread-safety: one thread. */
#ifndef OM_BACKEND_CUDA_LOWER_H
#define OM_BACKEND_CUDA_LOWER_H

#include "backend/cuda/engine.h"

typedef struct omcu_expr {
    int op; /* omcu_op; OMCU_LOAD: a leaf */
    float a, b;
    bool number;    /* a leaf that is the number `a` */
    omcu_view view; /* a leaf of the value's whole shape */
    const struct omcu_expr *x, *y;
    struct omcu_expr *next; /* of the lowering's list */
} omcu_expr;

typedef struct omcu_value {
    bool set;
    const omcu_expr *expr; /* not NULL: not written yet, unless `written` */
    bool written;
    omcu_view view; /* if written */
    bool is_placed;
    omcu_view placed;
    int order[OM_MAX_RANK]; /* of memory, where nothing says where */
    int *users, n_users;    /* nodes, an entry for each use */
    int constant[3];        /* buffers with a constant's copies: f32, f16; 0: none (plus 1) */
    bool has_floats;
    omcu_view floats; /* of 8-bit integers, where somebody wanted them in the program's type */
} omcu_value;

typedef struct omcu_lower_state {
    omcu_program *p;
    const om_graph *g;
    const omcu_build *how;
    int work; /* OMCU_F16 or OMCU_F32 */
    omcu_value *values;
    bool *done; /* nodes that were taken into others */
    int *users; /* backing of the values' lists */
    omcu_expr *exprs;
    int error; /* why an expression could not be made */
} omcu_lower_state;

typedef int omcu_lower_fn(omcu_lower_state *l, int node);

/* Says which node cannot be done and why: OM_ERR_UNSUPPORTED. */
int omcu_refuse(const omcu_lower_state *l, int node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool omcu_is_const(const omcu_lower_state *l, int value);
const om_shape *omcu_shape(const omcu_lower_state *l, int value);
/* A constant's numbers as floats, freed by om_free(); NULL out of memory or not a number's type. */
float *omcu_const_floats(const omcu_lower_state *l, int value, int64_t *n);
/* Input `i` of the node as whole numbers; how many, -1: absent, or not constant. */
int omcu_const_ints(const omcu_lower_state *l, const om_node *n, int i, int64_t *out, int max);
bool omcu_const_scalar(const omcu_lower_state *l, int value, float *out);
int omcu_input(const om_node *n, int i); /* OM_NO_VALUE where absent */

/* The value in memory, any type and layout; numbers themselves. */
int omcu_view_of(omcu_lower_state *l, int value, omcu_view *out);
/* The same, or 8-bit integers on a grid. */
int omcu_view_any(omcu_lower_state *l, int value, omcu_view *out);
/* The same in the type the program computes in; written anew where it is not. */
int omcu_work_view(omcu_lower_state *l, int value, omcu_view *out);
/* Dense in the dims' own order, of the program's type. */
int omcu_dense_view(omcu_lower_state *l, int value, omcu_view *out);
const omcu_expr *omcu_expr_of(omcu_lower_state *l, int value); /* NULL: omcu_expr_error() tells */
int omcu_expr_error(const omcu_lower_state *l);

/* Where a step is to write `value`: where it is wanted if that is of the program's type (or `any` type is
 * fine), else new memory padded to `pad`. */
int omcu_out_view(omcu_lower_state *l, int value, bool any, int pad, omcu_view *out);
/* The same for a step that writes any type and 8-bit integers on a grid. */
int omcu_out_any(omcu_lower_state *l, int value, int pad, omcu_view *out);
/* The grid on which the value is to lie; its scale is 0 where it is not. */
omcu_grid omcu_grid_of(const omcu_lower_state *l, int value);
/* New memory of 8-bit integers. */
int omcu_new_grid_view(omcu_lower_state *l, const omcu_grid *grid, const om_shape *shape, const int *order,
                       omcu_view *out);
/* The value was written to `view`; copies it to where it is wanted if that is elsewhere. */
int omcu_written(omcu_lower_state *l, int value, const omcu_view *view);
int omcu_set_expr(omcu_lower_state *l, int value, const omcu_expr *e);
/* New memory of the program's. */
int omcu_new_view(omcu_lower_state *l, int type, const om_shape *shape, const int *order, int pad,
                  omcu_view *out);

/* expr.c */
omcu_expr *omcu_expr_new(omcu_lower_state *l, int op, const omcu_expr *x, const omcu_expr *y);
omcu_expr *omcu_expr_number(omcu_lower_state *l, float v);
omcu_expr *omcu_expr_leaf(omcu_lower_state *l, const omcu_view *v);
bool omcu_expr_fits(const omcu_expr *e, int room);
int omcu_expr_size(const omcu_expr *e);
/* Every leaf's view goes through `turn`; NULL: one could not be turned, or out of memory. */
typedef bool omcu_turn_fn(const omcu_view *in, void *user, omcu_view *out);
const omcu_expr *omcu_expr_turn(omcu_lower_state *l, const omcu_expr *e, omcu_turn_fn *turn, void *user);
const omcu_expr *omcu_expr_expand(omcu_lower_state *l, const omcu_expr *e, const om_shape *shape);
/* Writes it to `out`. */
int omcu_emit_point(omcu_lower_state *l, const omcu_expr *e, const omcu_view *out, const char *name,
                    const char *type);
int omcu_emit_copy(omcu_lower_state *l, const omcu_view *from, const omcu_view *to, const char *name);
/* Its own, or that of the first output that is there. */
const char *omcu_node_name(const omcu_lower_state *l, int node);
void omcu_step_name(const omcu_lower_state *l, int node, omcu_step *s);

/* fuse.c: what follows a value and can be done with the step that makes it. */
typedef struct omcu_tail {
    omcu_act act1, act2;
    int residual; /* a value, or OM_NO_VALUE */
    int value;    /* what the step makes in the end */
} omcu_tail;
void omcu_tail_of(omcu_lower_state *l, int value, bool residual, omcu_tail *out);
/* The only user of a value, if it is of this operator (NULL: any); -1 else. */
int omcu_only_user(const omcu_lower_state *l, int value, const char *op);
/* The attention that starts with this product of queries and keys; false: it is none. */
typedef struct omcu_attention_match {
    int q, k, v, value, k_node; /* k transposed or not */
    float scale;
} omcu_attention_match;
bool omcu_attention_of(omcu_lower_state *l, int node, omcu_attention_match *out);
/* The one-number operation of a node, its numbers from attributes and constant inputs. */
bool omcu_unary_of(const omcu_lower_state *l, const om_node *n, omcu_act *out);

/* Operators, by the file that holds them. */
/* A reshape to rows that a product with constants takes and the next reshape undoes: the product alone. 1:
 * done. */
int omcu_product_of_rows(omcu_lower_state *l, int reshape);
omcu_lower_fn omcu_lower_conv, omcu_lower_conv_transpose, omcu_lower_matmul,
    omcu_lower_gemm; /* lower_conv.c */
omcu_lower_fn omcu_lower_unary, omcu_lower_binary, omcu_lower_variadic, omcu_lower_batch_norm,
    omcu_lower_cast, omcu_lower_quantize, omcu_lower_dequantize; /* lower_element.c */
omcu_lower_fn omcu_lower_reshape, omcu_lower_transpose, omcu_lower_slice, omcu_lower_split, omcu_lower_concat,
    omcu_lower_gather, omcu_lower_expand, omcu_lower_pad, omcu_lower_depth,
    omcu_lower_same; /* lower_move.c */
omcu_lower_fn omcu_lower_pool, omcu_lower_global_pool, omcu_lower_resize, omcu_lower_reduce,
    omcu_lower_softmax, omcu_lower_layer_norm; /* lower_window.c */

omcu_lower_fn omcu_lower_lstm_steps; /* recurrent.c */

omcu_lower_fn *omcu_lower_find(const char *op);
/* layout.c: orders of memory and places, before anything is lowered. */
int omcu_plan_layout(omcu_lower_state *l);

#endif
