/* What the families share: numbers out of tensors, and boxes on their way through suppression. Private to the
 * room. */
#ifndef OM_HEAD_CANDIDATE_H
#define OM_HEAD_CANDIDATE_H

#include "head/head.h"

/* No more than this many of the best candidates enter suppression, as in the YOLO originals. */
#define OM_MAX_CANDIDATES 30000
/* Boxes to fetch in advance: each lies on lines of its own. */
#define OM_AHEAD 12

/* Boxes in the model's input pixels. Lives inside the scratch; n <= cap. */
typedef struct om_cands {
    float *boxes; /* x0, y0, x1, y1 */
    float *scores;
    int32_t *classes;
    uint32_t *source; /* where in the outputs a candidate was found */
    uint32_t *keep;
    void *work;
    size_t n, cap;
} om_cands;

/* Cuts the scratch into aligned pieces: sizes are summed with om_piece() first, then taken in any order. */
size_t om_piece(size_t size);
void *om_take(uint8_t **at, size_t size);

size_t om_cands_size(size_t cap);
void om_cands_init(om_cands *c, uint8_t **at, size_t cap);
/* True if class_id passes the user's choice. */
bool om_head_wants(const om_head *h, int32_t class_id);
/* Adds a box with its corners, unless a number is not finite (or too large to be a place) or the class is
 * unwanted. */
void om_cands_add(const om_head *h, om_cands *c, const float box[4], float score, int32_t class_id,
                  uint32_t source);
/* Bounds and suppresses; returns how many entries of c->keep are valid, best first. */
size_t om_cands_suppress(const om_head *h, om_cands *c);
/* Appends candidate i in source pixels. *out is NULL where nothing of it lies inside the picture. */
int om_cands_emit(const om_cands *c, size_t i, const om_geometry *g, om_dets *dets, om_detection **out);
/* Suppresses and appends what stays. */
int om_cands_finish(const om_head *h, om_cands *c, const om_geometry *g, om_dets *dets);

/* What passed a first threshold, in the kernels' words. Lives inside the scratch. */
typedef struct om_picks {
    uint32_t *index;
    float *best;
    int32_t *which;
    size_t n;
} om_picks;

/* Room for both out of the scratch; OM_ERR_NOMEM. */
int om_picks_take(om_head_scratch *s, size_t cands, om_cands *c, size_t picks, om_picks *k);

/* One item of a matrix of boxes in the tensor's own type: `n` boxes of `numbers` numbers, in either order. */
typedef struct om_box_matrix {
    const void *data;
    om_dtype dtype;
    size_t n, numbers;
    size_t box_step, number_step; /* in elements */
} om_box_matrix;

/* Of a tensor [N, boxes, numbers], or [N, numbers, boxes] where they are `columns`. */
void om_box_matrix_init(om_box_matrix *m, const om_tensor *t, int item, bool columns);
/* The scores behind the first `skip` numbers of each box, `count` of them. */
om_scores om_box_matrix_scores(const om_box_matrix *m, size_t skip, size_t count);
static inline float om_box_number(const om_box_matrix *m, size_t box, size_t number)
{
    size_t i = box * m->box_step + number * m->number_step;
    return m->dtype == OM_DTYPE_F32 ? ((const float *)m->data)[i]
                                    : om_f16_to_f32(((const uint16_t *)m->data)[i]);
}
/* The best of the numbers from `first` on and which it was, counted from there; -infinity where none is one.
 */
int32_t om_box_best(const om_head *h, const om_box_matrix *m, size_t box, size_t first, float *best);
/* The places of a box's first four numbers are to be read soon. */
static inline void om_box_prefetch(const om_box_matrix *m, size_t box)
{
    size_t size = m->dtype == OM_DTYPE_F32 ? 4 : 2;
    const uint8_t *at = (const uint8_t *)m->data + box * m->box_step * size;
    for (size_t i = 0; i < 4; i++) __builtin_prefetch(at + i * m->number_step * size);
}
/* Adds a box whose first four numbers are its centre and size. */
void om_cands_add_centred(const om_head *h, om_cands *c, const om_box_matrix *m, size_t box, float score,
                          int32_t class_id);

/* One item's data, in the tensor's own type. */
const void *om_item_data(const om_tensor *t, int item);
/* The numbers of one item of a batch: the tensor's own where it is f32, else converted into a piece of the
 * scratch. */
size_t om_floats_size(const om_tensor *t); /* of that piece, rounded by om_piece() */
const float *om_floats(const om_tensor *t, int item, uint8_t **at);
/* OM_ERR_ARG unless the output is f32 or f16, has this rank, and its batch has the item. */
int om_head_expect(const om_head *h, const om_tensor *t, int index, int rank, int item);
/* OM_ERR_ARG: "<name> head: expected <what>; the model has <outputs and shapes>". */
int om_head_misfit(const om_model_desc *desc, const char *head, const char *what);

#endif
