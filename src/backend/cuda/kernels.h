/* The engine's own kernels: what the host describes and what it launches. Plain C, read by nvcc too.
 * Strides and offsets count elements. Every launch returns a cudaError_t as an int. */
#ifndef OM_BACKEND_CUDA_KERNELS_H
#define OM_BACKEND_CUDA_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

typedef enum omcu_type { OMCU_F32, OMCU_F16, OMCU_U8, OMCU_I8, OMCU_I32, OMCU_I64 } omcu_type;

/* What stands for one number of an expression: `x` is the number so far, `a` and `b` the operation's own. */
typedef enum omcu_op {
    OMCU_NONE,
    OMCU_RELU,
    OMCU_SIGMOID,
    OMCU_SILU,
    OMCU_HARD_SIGMOID, /* clamp(a x + b, 0, 1) */
    OMCU_HARD_SWISH,
    OMCU_LEAKY, /* slope a */
    OMCU_ELU,   /* a */
    OMCU_CLIP,  /* a to b */
    OMCU_GELU,
    OMCU_GELU_TANH,
    OMCU_TANH,
    OMCU_MISH,
    OMCU_SOFTPLUS,
    OMCU_ERF,
    OMCU_EXP,
    OMCU_LOG,
    OMCU_SQRT,
    OMCU_ABS,
    OMCU_NEG,
    OMCU_RECIPROCAL,
    OMCU_FLOOR,
    OMCU_CEIL,
    OMCU_ROUND,
    OMCU_SIGN,
    OMCU_SIN,
    OMCU_COS,
    OMCU_SOFTSIGN,
    OMCU_SELU, /* alpha a, gamma b */
    OMCU_CELU, /* a */
    OMCU_UNARY_END,
    /* Of two numbers; the R forms take them the other way round. */
    OMCU_ADD = OMCU_UNARY_END,
    OMCU_SUB,
    OMCU_RSUB,
    OMCU_MUL,
    OMCU_DIV,
    OMCU_RDIV,
    OMCU_MIN,
    OMCU_MAX,
    OMCU_POW,
    OMCU_RPOW,
    OMCU_PRELU, /* x < 0 ? x * y : x */
    OMCU_RPRELU,
    OMCU_LOAD, /* the number becomes the other one */
    OMCU_SAVE  /* the number is kept in slot `k` */
} omcu_op;

typedef struct omcu_act {
    int op; /* omcu_op, unary */
    float a, b;
} omcu_act;

/* A tensor of 8-bit integers q stands for (q - zero) * scale; scale 0: it is none. */
typedef struct omcu_grid {
    float scale;
    int zero;
} omcu_grid;

/* A convolution, or a matrix product as one of 1x1. Channels lie side by side (stride 1). */
typedef struct omcu_conv {
    const void *x, *w; /* w: [k padded][kdim], rows in the order (r, s, c), zeros behind */
    const float *bias; /* k padded */
    const void *res;   /* added behind act1; NULL: none */
    void *y;
    int n, h, wd, c; /* c: of one group */
    int ho, wo, k;   /* k: of one group */
    int r, s, stride_y, stride_x, pad_y, pad_x, dil_y, dil_x;
    int groups, kdim;
    int64_t x_n, x_h, x_w, y_n, y_h, y_w, r_n, r_h, r_w;
    omcu_act act1, act2; /* before and behind the residual */
    bool vector;         /* y and res take 16-byte accesses */
    bool wide;           /* y is f32 where the numbers are f16 or 8-bit integers */
    /* Of 8-bit integers: sums are times `scale`, one an output channel, and 16 bytes of x's zero lie
     * `outside` the picture (NULL: zeros). y and res are 8-bit integers too where they have a grid, also
     * those of f16. */
    const float *scale;
    const void *outside;
    omcu_grid y_grid, r_grid;
} omcu_conv;

/* What a tiled convolution multiplies. */
typedef enum omcu_numbers {
    OMCU_NUMBERS_F16,
    OMCU_NUMBERS_INT8,
    OMCU_NUMBERS_TF32, /* f32 rounded to tf32 */
    OMCU_NUMBERS_F32   /* without tensor cores */
} omcu_numbers;

/* Tiled kernels: one group, c and the strides of x multiples of 16 bytes. How many forms of them there are,
 * those of which numbers `form` is for, and one form's launch. */
int omcu_conv_forms(void);
omcu_numbers omcu_conv_form_numbers(int form);
const char *omcu_conv_form_name(int form);
/* Thread blocks that a form makes of it, for a guess without timing. */
int64_t omcu_conv_form_blocks(int form, const omcu_conv *c);
int omcu_conv_launch(int form, const omcu_conv *c, struct CUstream_st *stream);
/* Any types (`half`: f16 in and out, else f32), any groups. */
int omcu_conv_plain_launch(bool half, const omcu_conv *c, struct CUstream_st *stream);
/* f16 with three input channels, stride 2, square kernels of 3, 6 or 7: x dense (x_w 3).
 * w: [k padded][r][s * 3 rounded up to 2] */
bool omcu_conv_first_takes(const omcu_conv *c);
int omcu_conv_first_kdim(const omcu_conv *c);
int omcu_conv_first_launch(const omcu_conv *c, struct CUstream_st *stream);
/* One channel a group: w is [r * s][groups] in the data's type. Forms differ in how many columns and rows a
 * thread makes; they take square windows of 3 and 5 at steps of 1 and 2, where 16 bytes of channels lie
 * together. What a form does not take is computed one number a thread, as by form -1. */
int omcu_depthwise_forms(void);
const char *omcu_depthwise_form_name(int form); /* "4x2" */
bool omcu_depthwise_takes(int form, bool half, const omcu_conv *c);
int omcu_depthwise_guess(bool half, const omcu_conv *c); /* without timing; -1: no form takes it */
int omcu_depthwise_launch(int form, bool half, const omcu_conv *c, struct CUstream_st *stream);
/* What is left where y holds the bare sums: bias, activations, residual. */
bool omcu_conv_finish_takes(bool half, const omcu_conv *c);
int omcu_conv_finish_launch(bool half, const omcu_conv *c, struct CUstream_st *stream);

/* The transposed convolution of the same fields: w is [k][r][s][c] a group. */
int omcu_deconv_launch(bool half, const omcu_conv *c, struct CUstream_st *stream);

#define OMCU_DIMS 6
#define OMCU_OPERANDS 6
#define OMCU_CODE 28
#define OMCU_SLOTS 3

typedef struct omcu_operand {
    const void *base;
    int type; /* omcu_type */
    int64_t stride[OMCU_DIMS];
} omcu_operand;

/* Who the second number is. */
enum { OMCU_BY_IMMEDIATE = -1, OMCU_BY_SLOT = 100 };

typedef struct omcu_inst {
    int16_t op;
    int16_t k; /* OMCU_BY_IMMEDIATE: a; OMCU_BY_SLOT + i: what was saved; else an operand */
    float a, b;
} omcu_inst;

typedef struct omcu_point {
    int rank; /* dims by falling stride of the output */
    int dim[OMCU_DIMS];
    omcu_operand in[OMCU_OPERANDS];
    int n_in;
    void *out;
    int out_type;
    int64_t out_stride[OMCU_DIMS];
    omcu_inst code[OMCU_CODE];
    int n_code;
    int vector;    /* 4: along the last dimension, which divides; 1 */
    int transpose; /* >= 0: the dimension along which operand 0 lies dense; tiles turn it over */
} omcu_point;
int omcu_point_launch(const omcu_point *p, struct CUstream_st *stream);

/* Windows over [n, h, w, c]. */
typedef struct omcu_pool {
    const void *x;
    void *y;
    int n, h, wd, c, ho, wo, r, s, stride_y, stride_x, pad_y, pad_x, dil_y, dil_x;
    int64_t x_n, x_h, x_w, y_n, y_h, y_w;
    bool half, average, count_pad, vector;
    int pad_y1, pad_x1; /* below and right, for count_pad */
} omcu_pool;
int omcu_pool_launch(const omcu_pool *p, struct CUstream_st *stream);

/* x -> three windows of 5, each of the last: f16, planes that fit shared memory, channels by 8. Of 8-bit
 * integers two count as one: c and the strides are half of theirs. */
typedef struct omcu_sppf {
    const void *x;
    void *y[3];
    int n, h, wd, c;
    int64_t x_n, x_h, x_w, y_n[3], y_h[3], y_w[3];
    bool integers;
} omcu_sppf;
bool omcu_sppf_takes(int h, int w);
int omcu_sppf_launch(const omcu_sppf *p, struct CUstream_st *stream);

/* y(h, w) = a weighted sum of x at two rows and two columns: tables on the device, by output row or column.
 */
typedef struct omcu_resize {
    const void *x;
    void *y;
    int n, c, ho, wo;
    int64_t x_n, x_h, x_w, x_c, y_n, y_h, y_w, y_c;
    const int *rows, *cols;             /* two for each */
    const float *row_share, *col_share; /* of the second; NULL: nearest */
    bool half, vector;
} omcu_resize;
int omcu_resize_launch(const omcu_resize *p, struct CUstream_st *stream);

typedef enum omcu_reduction {
    OMCU_SUM,
    OMCU_MEAN,
    OMCU_LARGEST,
    OMCU_SMALLEST,
    OMCU_PRODUCT,
    OMCU_L1,
    OMCU_L2,
    OMCU_SUM_SQUARE,
    OMCU_LOG_SUM,
    OMCU_LOG_SUM_EXP
} omcu_reduction;

/* Kept dims first, reduced behind. */
typedef struct omcu_reduce {
    const void *x;
    void *y;
    int kept, reduced; /* how many of each */
    int dim[2 * OMCU_DIMS];
    int64_t x_stride[2 * OMCU_DIMS], y_stride[OMCU_DIMS];
    int x_type, y_type;
    int kind;       /* omcu_reduction */
    bool by_column; /* neighbours of the last kept dim lie side by side */
} omcu_reduce;
int omcu_reduce_launch(const omcu_reduce *p, struct CUstream_st *stream);

/* Rows of `len` numbers; outer dims of the rows. */
typedef struct omcu_rows {
    const void *x;
    void *y;
    int dim[OMCU_DIMS], rank; /* of the rows */
    int64_t x_stride[OMCU_DIMS], y_stride[OMCU_DIMS];
    int len;
    int64_t x_step, y_step; /* along a row */
    int x_type, y_type;
    const float *scale, *bias; /* layer norm; NULL: none */
    float epsilon;
    bool log;             /* softmax: its logarithm */
    const float *weights; /* softmax: y is the sum of the shares times these, one number a row */
} omcu_rows;
int omcu_softmax_launch(const omcu_rows *p, struct CUstream_st *stream);
int omcu_layer_norm_launch(const omcu_rows *p, struct CUstream_st *stream);

/* c[b][m][n] = alpha * sum a[b][m][k] b[b][k][n] + bias[n], any strides. */
typedef struct omcu_matmul {
    const void *a, *b;
    void *c;
    const float *bias;   /* n, or NULL */
    int m, n, k, dim[4]; /* dims of the batch */
    int64_t a_batch[4], b_batch[4], c_batch[4];
    int64_t a_m, a_k, b_k, b_n, c_m, c_n;
    int a_type, b_type, c_type;
    float alpha;
    omcu_act act;
} omcu_matmul;
int omcu_matmul_launch(const omcu_matmul *p, struct CUstream_st *stream);

/* softmax(scale q k') v, f16, 32, 64 or 128 numbers a head, side by side. */
typedef struct omcu_attention {
    const void *q, *k, *v;
    void *y;
    int batch, heads, queries, keys, width;
    int64_t q_b, q_h, q_s, k_b, k_h, k_s, v_b, v_h, v_s, y_b, y_h, y_s;
    float scale;
} omcu_attention;
int omcu_attention_launch(const omcu_attention *p, struct CUstream_st *stream);

/* y(.., i, ..) = x(.., index[i], ..) */
typedef struct omcu_pick {
    const void *x;
    void *y;
    const int64_t *index;
    int rank, axis, dim[OMCU_DIMS], size; /* dims of y; bytes of an element */
    int64_t x_stride[OMCU_DIMS], y_stride[OMCU_DIMS];
} omcu_pick;
int omcu_pick_launch(const omcu_pick *p, struct CUstream_st *stream);

/* All steps of an LSTM behind its input's product, [steps, batch, directions * 4 hidden]: gates in ONNX's
 * order (input, output, forget, candidate). The second direction walks backwards; `backwards`: the first. */
typedef struct omcu_lstm {
    const void *x, *r, *h0, *c0; /* r: [directions][hidden][4 hidden]; h0, c0: NULL for zeros */
    void *y, *y_h, *y_c;         /* NULL: not wanted */
    int steps, batch, hidden, directions;
    bool backwards;
    int64_t x_step, x_item, y_stride[4];         /* y: step, direction, item, unit */
    int64_t in_stride[2][3], state_stride[2][3]; /* direction, item, unit */
    int x_type, r_type, in_type[2], out_type[3];
    int in_at[2], out_at[3]; /* the step's operand; outputs plus 1; 0: none */
} omcu_lstm;
int omcu_lstm_launch(const omcu_lstm *p, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif
