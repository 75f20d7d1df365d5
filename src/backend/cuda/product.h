/* Convolutions and matrix products from inside: both become one kind of step. Thread-safety: as lower.h. */
#ifndef OM_BACKEND_CUDA_PRODUCT_H
#define OM_BACKEND_CUDA_PRODUCT_H

#include "backend/cuda/lower.h"

#define OMCU_CHANNEL_ALIGN 8
#define OMCU_ROW_ROOM 128 /* output channels: a tile reads less than so many past the last */

extern const int omcu_nhwc[OM_MAX_RANK]; /* the order of memory of pictures */

/* Weights in the graph's own order: [k][c][r][s], with what was folded into them. */
typedef struct omcu_kernel {
    float *w, *bias;
    float *scale;   /* of weights that are 8-bit integers: one an output channel; NULL: they are not */
    int k, c, r, s; /* c: of one group */
} omcu_kernel;

void omcu_kernel_free(omcu_kernel *k);

static inline int64_t omcu_round_up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }

/* Offset and all strides but that of dim `skip` are multiples of `by`. */
bool omcu_view_even(const omcu_view *v, int skip, int by);
bool omcu_channels_dense(const omcu_view *v);
/* A value of four dims with its channels side by side; copied where they are not. */
int omcu_picture_view(omcu_lower_state *l, int value, const int64_t dim[4], omcu_view *out);
/* The same with channels of zeros behind, for kernels that take them by eights. */
int omcu_pad_channels(omcu_lower_state *l, omcu_view *v, int64_t channels, const char *name);
/* As omcu_conv_launch() wants x: channels rounded up to what an access reads, zeros behind; c->c follows. */
int omcu_even_channels(omcu_lower_state *l, omcu_conv *c, omcu_view *x, const char *name);
/* Weights as 8-bit integers, rows as of omcu_pack_rows(); and as one constant bias, of integers (x has a
 * grid) scales and what lies outside of x: omcu_conv_bound() finds them. */
int omcu_pack_int8(omcu_lower_state *l, const omcu_kernel *k, int total_k, omcu_view *out);
int omcu_upload_sums(omcu_lower_state *l, const omcu_kernel *k, const omcu_grid *x, omcu_view *out);
/* Of a matrix the rows are pixels in a row. */
void omcu_set_strides(const omcu_view *v, bool matrix, int64_t *n, int64_t *h, int64_t *w);
/* `n` numbers as a constant with room for `room`. */
int omcu_upload(omcu_lower_state *l, const float *v, int64_t n, int64_t room, int type, omcu_view *out);
/* [k][c][r][s] to rows of taps with the channels inside, `c` padded to `room`. */
int omcu_pack_rows(omcu_lower_state *l, const omcu_kernel *k, int room, int total_k, omcu_view *out);
/* Residual, bias, output and the step itself; s->u.conv has the shapes, s->in[0] and [1] are set. `rows`: of
 * a matrix product, in which order its tensors' dims are read; NULL: pictures. */
int omcu_finish_product(omcu_lower_state *l, omcu_step *s, const omcu_kernel *k, const omcu_tail *tail,
                        const int64_t out_dim[4], const int *rows);
/* A form before anything is timed: enough blocks to fill a GPU, tiles as large as that allows. */
int omcu_guess_form(const omcu_conv *c, omcu_numbers numbers);
omcu_numbers omcu_numbers_of(const omcu_lower_state *l);

#endif
