/* Faster R-CNN's first stage: from anchors to proposals. */
#include <math.h>
#include <stdint.h>

#include "base/mem.h"
#include "model/synth_fasterrcnn.h"
#include "omma/error.h"

#define LEVELS OM_RCNN_LEVELS
#define RATIOS 3
#define BEST_OF_LEVEL 1000
#define RPN_IOU 0.7f
#define LEAST_SIDE 1e-3f

/* Of every anchor, level by level, row by row. */
typedef struct anchors {
    int width, height, centre_x, centre_y; /* [A, 1] each */
    int level;                             /* [A, 1], whole numbers */
    int first[LEVELS + 1];                 /* number of each level's first one, and how many there are */
} anchors;

/* The four numbers of each, in the order of the struct, and its level. */
static void fill(const om_rcnn *r, float *of[4], int64_t *level)
{
    static const float ratio[RATIOS] = {0.5f, 1, 2};
    int64_t at = 0;
    for (int i = 0; i < LEVELS; i++)
        for (int y = 0; y < r->rows[i]; y++)
            for (int x = 0; x < r->columns[i]; x++)
                for (int k = 0; k < RATIOS; k++, at++) {
                    float side = (float)(32 << i), root = sqrtf(ratio[k]);
                    of[0][at] = 2 * rintf(side / root / 2); /* the original rounds half of each */
                    of[1][at] = 2 * rintf(side * root / 2);
                    of[2][at] = (float)(x * (r->padded_w / r->columns[i]));
                    of[3][at] = (float)(y * (r->padded_h / r->rows[i]));
                    level[at] = i;
                }
}

static void make_anchors(om_synth *b, const om_rcnn *r, anchors *a)
{
    static const char *const names[4] = {"anchor_width", "anchor_height", "anchor_x", "anchor_y"};
    int *made[4] = {&a->width, &a->height, &a->centre_x, &a->centre_y};
    float *of[4];
    *a = (anchors){.first[0] = 0};
    for (int i = 0; i < LEVELS; i++) a->first[i + 1] = a->first[i] + RATIOS * r->rows[i] * r->columns[i];
    size_t n = (size_t)a->first[LEVELS];
    om_shape shape = om_shape_make(2, (int64_t)n, (int64_t)1);
    float *numbers = om_alloc(4 * n * sizeof *numbers);
    int64_t *level = om_alloc(n * sizeof *level);
    if (!numbers || !level) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        for (size_t i = 0; i < 4; i++) of[i] = numbers + i * n;
        fill(r, of, level);
        for (int i = 0; i < 4; i++) *made[i] = om_build_f32(&b->to, names[i], &shape, of[i]);
        a->level = om_build_const(&b->to, "anchor_level", OM_DTYPE_I64, &shape, level);
    }
    om_free(numbers);
    om_free(level);
}

static int number_of(om_synth *b, const char *name, int n) { return om_build_i64(&b->to, name, 0, n); }

/* The numbers [1, P] of each level's best anchors; *n: P. */
static int best_of_levels(om_synth *b, const anchors *a, int objectness, int *n)
{
    char name[OM_BUILD_NAME];
    int index[LEVELS];
    *n = 0;
    for (int i = 0; i < LEVELS; i++) {
        int count = a->first[i + 1] - a->first[i], k = count < BEST_OF_LEVEL ? count : BEST_OF_LEVEL;
        int of_level = om_rcnn_slice(b, objectness, a->first[i], om_build_one(&b->to, a->first[i + 1]), 1, 0);
        om_build_name(name, "/rpn/TopK_%d", i);
        om_build_many(&b->to, "TopK", name, 2, 2, (int[]){of_level, om_build_one(&b->to, k)});
        om_build_int(&b->to, "axis", 1);
        om_build_int(&b->to, "largest", 1);
        om_build_int(&b->to, "sorted", 1);
        index[i] = om_build_out(&b->to, 1);
        if (i > 0) {
            om_build_name(name, "first_anchor_%d", i);
            index[i] = om_rcnn_op2(b, "Add", index[i], number_of(b, name, a->first[i]));
        }
        *n += k;
    }
    return om_build_join(&b->to, NULL, 1, LEVELS, index);
}

static int reshaped(om_synth *b, const char *shape, int x, int rows, int columns)
{
    return om_rcnn_op2(b, "Reshape", x, om_build_i64(&b->to, shape, 2, rows, columns));
}

int om_rcnn_proposals(om_synth *b, const om_rcnn *r, const int objectness[LEVELS], const int deltas[LEVELS])
{
    anchors a;
    om_rcnn_list list;
    int delta[4], n;
    make_anchors(b, r, &a);
    int scores = om_build_join(&b->to, "/rpn/Concat_scores", 1, LEVELS, objectness),
        all = om_build_join(&b->to, "/rpn/Concat_deltas", 1, LEVELS, deltas), total = a.first[LEVELS];
    all = reshaped(b, "any_boxes", all, -1, 4);
    for (int i = 0; i < 4; i++) delta[i] = om_rcnn_slice(b, all, i, om_rcnn_end(b), 1, 4);
    int boxes = om_rcnn_decode(b, delta, a.width, a.height, a.centre_x, a.centre_y);
    scores = reshaped(b, "rpn_scores", scores, 1, total);
    int best = best_of_levels(b, &a, scores, &n);
    int flat = om_rcnn_op1(b, "Flatten", scores);
    om_build_int(&b->to, "axis", 2);
    scores = reshaped(b, "rpn_best_scores", om_rcnn_take(b, flat, best, 0), 1, n);
    list.groups = om_rcnn_take(b, a.level, best, 0);
    boxes = om_rcnn_take(b, reshaped(b, "rpn_boxes", boxes, total, 4), best, 0);
    list.scores = om_rcnn_op2(b, "Squeeze", om_rcnn_op1(b, "Sigmoid", scores), om_build_one(&b->to, 0));
    boxes = reshaped(b, "rpn_best_boxes", boxes, n, 4);
    list.groups = om_rcnn_op2(b, "Reshape", list.groups, om_build_one(&b->to, n));
    list.boxes = reshaped(b, "rpn_best_boxes", om_rcnn_clip(b, r, boxes, 1), n, 4);
    list = om_rcnn_choose(b, &list, om_rcnn_large(b, list.boxes, LEAST_SIDE));
    /* The least score the original asks for is 0. */
    int passing = om_rcnn_where(b, om_rcnn_number(b, "GreaterOrEqual", list.scores, 0));
    list = om_rcnn_choose(b, &list, passing);
    int keep = om_rcnn_suppress(b, "rpn", &list, RPN_IOU, OM_RCNN_PROPOSALS);
    return om_rcnn_take(b, list.boxes, keep, 0);
}
