/* A head with outputs filled by hand: what the tests of heads share. */
#ifndef HEAD_RIG_H
#define HEAD_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "head/candidate.h"

#define MAX_OUTPUTS 4

/* A model's description and outputs, filled by hand. */
typedef struct rig {
    om_model_desc desc;
    om_tensor_spec specs[MAX_OUTPUTS];
    om_tensor tensors[MAX_OUTPUTS];
    om_head_params params;
    om_head_scratch scratch;
    om_dets dets;
    om_geometry g;
} rig;

static inline void rig_fini(rig *r)
{
    om_dets_fini(&r->dets);
    om_head_scratch_fini(&r->scratch);
}

/* Of a zeroed rig, or of one that was used. */
static inline void rig_init(rig *r, om_family family)
{
    rig_fini(r);
    *r = (rig){.desc = {.family = family}};
    r->desc.outputs = r->specs;
    om_head_params_default(&r->params);
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 480, 640, 640, &r->g);
}

static inline void rig_add(rig *r, const char *name, om_dtype dtype, om_shape shape, void *data)
{
    int i = r->desc.n_outputs++;
    r->specs[i] = (om_tensor_spec){name, dtype, shape};
    r->tensors[i] = (om_tensor){dtype, shape, data};
}

static inline int rig_decode(rig *r)
{
    om_head *h;
    om_dets_clear(&r->dets);
    int rc = om_head_create(&r->desc, &r->params, &h);
    if (rc < 0) {
        assert_null(h);
        return rc;
    }
    rc = om_head_decode(h, &r->scratch, r->tensors, r->desc.n_outputs, 0, &r->g, &r->dets);
    om_head_destroy(h);
    return rc;
}

/* Fails with OM_ERR_ARG and a message that has the word. */
static inline void expect_refused(rig *r, const char *word)
{
    assert_int_equal(rig_decode(r), OM_ERR_ARG);
    if (!strstr(om_error_message(), word)) fail_msg("'%s' is not in: %s", word, om_error_message());
    assert_int_equal(r->dets.n, 0);
}

static inline void expect_clean(const om_dets *d)
{
    for (size_t i = 0; i < d->n; i++) {
        const om_detection *o = &d->items[i];
        assert_true(isfinite(o->x) && isfinite(o->y) && isfinite(o->w) && isfinite(o->h) &&
                    isfinite(o->score));
        assert_true(o->w > 0 && o->h > 0);
        assert_true(o->x >= 0 && o->y >= 0 && o->x + o->w <= 640.01f && o->y + o->h <= 480.01f);
        for (int k = 0; k < o->n_landmarks; k++)
            assert_true(isfinite(o->landmarks[k][0]) && isfinite(o->landmarks[k][1]));
    }
}

#define ANCHORS 12
#define CLASSES 3

/* A YOLOv8 matrix of boxes in a row, none of which overlaps another; all of class i % CLASSES. */
static inline void fill_yolov8(float *m, float score)
{
    memset(m, 0, (4 + CLASSES) * ANCHORS * sizeof *m);
    for (int i = 0; i < ANCHORS; i++) {
        m[0 * ANCHORS + i] = 25 + 50 * (float)i;
        m[1 * ANCHORS + i] = 320;
        m[2 * ANCHORS + i] = 20;
        m[3 * ANCHORS + i] = 40;
        m[(4 + i % CLASSES) * ANCHORS + i] = score;
    }
}

static inline void rig_yolov8(rig *r, float *m)
{
    rig_init(r, OM_FAMILY_YOLOV8);
    rig_add(r, "output0", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)4 + CLASSES, (int64_t)ANCHORS),
            m);
}

#endif
