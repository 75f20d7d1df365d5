#include "head/head.h"

#include <limits.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "head/candidate.h"
#include "head/family.h"
#include "trace/trace.h"

static const om_head_ops *const registry[] = {
    &om_head_yolov3,     &om_head_yolov5,     &om_head_yolov5_face,
    &om_head_yolov8,     &om_head_yolov10,    &om_head_yolox,
    &om_head_ssd,        &om_head_retinaface, &om_head_scrfd,
    &om_head_centerface, &om_head_boxes,      &om_head_classify,
    &om_head_ctc,        &om_head_slots,      &om_head_db,
    &om_head_embedding,  &om_head_raw,        NULL,
};

const om_head_ops *const *om_head_registry(void) { return registry; }

void om_head_params_default(om_head_params *p)
{
    *p = (om_head_params){.conf = -1,
                          .iou = -1,
                          .max_boxes = 300,
                          .top_k = 5,
                          .blank = OM_BLANK_OWN,
                          .mask_conf = -1,
                          .mask_dilate = true,
                          .unclip = -1,
                          .vector_max = OM_VECTOR_MAX};
}

void *om_head_scratch_get(om_head_scratch *s, size_t size)
{
    if (s->data && s->size >= size) return s->data;
    om_head_scratch_fini(s);
    size_t want = om_piece(size ? size : 1);
    if (want < size) return NULL;
    s->data = om_aligned_alloc(64, want);
    if (s->data) s->size = want;
    return s->data;
}

void om_head_scratch_fini(om_head_scratch *s)
{
    if (!s) return;
    om_free(s->data);
    *s = (om_head_scratch){0};
}

static const om_head_ops *find(om_family family)
{
    for (const om_head_ops *const *ops = registry; *ops; ops++)
        if ((*ops)->family == family) return *ops;
    return NULL;
}

static int no_head(const om_model_desc *desc)
{
    om_str what = {0};
    om_str_addf(&what, "the outputs of a known family (");
    for (const om_head_ops *const *ops = registry; *ops; ops++)
        om_str_addf(&what, "%s%s", ops == registry ? "" : ", ", (*ops)->name);
    om_str_addc(&what, ')');
    if (desc->family_why && *desc->family_why) om_str_addf(&what, " (%s)", desc->family_why);
    int rc = om_head_misfit(desc, om_family_name(desc->family), om_str_get(&what));
    om_str_fini(&what);
    return rc;
}

static int check_params(const om_head_params *p)
{
    if (!(p->conf <= 1))
        return om_fail(OM_ERR_ARG, "conf %g: a number from 0 to 1 was expected", (double)p->conf);
    if (!(p->iou <= 1))
        return om_fail(OM_ERR_ARG, "iou %g: a number from 0 to 1 was expected", (double)p->iou);
    if (p->max_boxes < 1) return om_fail(OM_ERR_ARG, "max-boxes %d: at least 1 was expected", p->max_boxes);
    if (p->top_k < 1) return om_fail(OM_ERR_ARG, "top-k %d: at least 1 was expected", p->top_k);
    if (!(p->mask_conf <= 1))
        return om_fail(OM_ERR_ARG, "mask-conf %g: a number from 0 to 1 was expected", (double)p->mask_conf);
    if (!(p->unclip <= 10))
        return om_fail(OM_ERR_ARG, "unclip %g: a number from 0 to 10 was expected", (double)p->unclip);
    if (p->blank < OM_BLANK_OWN)
        return om_fail(OM_ERR_ARG, "blank %d: the number of a class was expected", p->blank);
    if (p->vector_max < 0)
        return om_fail(OM_ERR_ARG, "vector-max %d: at least 0 was expected", p->vector_max);
    if (p->n_classes < 0 || (p->n_classes && !p->classes))
        return om_fail(OM_ERR_ARG, "classes: a list and its length were expected");
    return OM_OK;
}

/* What init() may look at; the rest needs to know the model's classes and the family's overlap. */
static void settle_params(om_head *h, const om_head_params *p)
{
    h->params = *p;
    h->params.classes = NULL;
    h->params.n_classes = 0;
    h->own_iou = h->ops->iou;
    if (p->conf < 0) h->params.conf = h->ops->conf;
    if (p->mask_conf < 0) h->params.mask_conf = 0.3f;
    if (p->unclip < 0) h->params.unclip = 1.6f;
}

/* The user's choice, checked against what the model tells of its classes. */
static int finish_params(om_head *h, const om_head_params *p)
{
    h->params.alphabet = h->params.anchors = NULL;
    if (p->iou < 0) h->params.iou = h->own_iou;
    if (!p->n_classes) return OM_OK;
    for (int i = 0; i < p->n_classes; i++)
        if (p->classes[i] < 0 || (h->n_classes && p->classes[i] >= h->n_classes))
            return om_fail(OM_ERR_ARG, "class %d: the model's classes are 0 to %d", p->classes[i],
                           h->n_classes ? h->n_classes - 1 : INT_MAX);
    int *copy = om_calloc((size_t)p->n_classes, sizeof *copy);
    if (!copy) return OM_ERR_NOMEM;
    memcpy(copy, p->classes, (size_t)p->n_classes * sizeof *copy);
    h->params.classes = copy;
    h->params.n_classes = p->n_classes;
    return OM_OK;
}

int om_head_create(const om_model_desc *desc, const om_head_params *params, om_head **out)
{
    *out = NULL;
    om_head_params standard;
    om_head_params_default(&standard);
    if (!params) params = &standard;
    int rc = check_params(params);
    if (rc < 0) return rc;
    const om_head_ops *ops = find(desc->family);
    if (!ops) return no_head(desc);

    om_head *h = om_calloc(1, sizeof *h);
    if (!h) return OM_ERR_NOMEM;
    h->ops = ops;
    h->desc = desc;
    h->kernels = om_kernels_get();
    h->n_classes = desc->n_classes;
    if (ops->priv_size && !(h->priv = om_calloc(1, ops->priv_size))) {
        rc = OM_ERR_NOMEM;
        goto fail;
    }
    settle_params(h, params);
    rc = ops->init(h, desc);
    if (rc < 0) goto fail;
    rc = finish_params(h, params);
    if (rc < 0) goto fail;
    *out = h;
    return OM_OK;
fail:
    om_head_destroy(h);
    return rc;
}

void om_head_destroy(om_head *h)
{
    if (!h) return;
    if (h->ops->fini && h->priv) h->ops->fini(h);
    om_free((void *)h->params.classes);
    om_free(h->priv);
    om_free(h);
}

static int check_outputs(const om_head *h, const om_tensor *outputs, int n_outputs)
{
    if (n_outputs != h->desc->n_outputs)
        return om_fail(OM_ERR_ARG, "%s head: %d outputs where the model has %d", h->ops->name, n_outputs,
                       h->desc->n_outputs);
    for (int i = 0; i < n_outputs; i++) {
        int64_t count = om_shape_count(&outputs[i].shape);
        if (count > 0 && outputs[i].data) continue;
        if (count == 0) continue;
        char text[OM_SHAPE_TEXT];
        om_shape_text(&outputs[i].shape, text);
        return om_fail(OM_ERR_ARG, "%s head: output %s (%s) has no data", h->ops->name,
                       h->desc->outputs[i].name, text);
    }
    return OM_OK;
}

int om_head_decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                   const om_geometry *g, om_dets *out)
{
    int rc = check_outputs(h, outputs, n_outputs);
    if (rc < 0) return rc;
    if (g->dst_w < 1 || g->dst_h < 1 || g->inner_w < 1 || g->inner_h < 1)
        return om_fail(OM_ERR_ARG, "%s head: an empty input picture of %dx%d", h->ops->name, g->dst_w,
                       g->dst_h);
    size_t before = out->n;
    om_trace_begin("head", item);
    rc = h->ops->decode(h, s, outputs, n_outputs, item, g, out);
    om_trace_end("head");
    if (rc < 0) out->n = before;
    return rc;
}
