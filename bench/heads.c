/* The heads behind flat functions, for bench/heads.py to load and time beside others on the same numbers. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "heads.h"

#include "head/head.h"

typedef struct heads_bench {
    om_model_desc desc;
    om_tensor_spec spec;
    om_tensor tensor;
    om_head *head;
    om_head_scratch scratch;
    om_dets dets;
    om_geometry g;
} heads_bench;

heads_bench *heads_open(const heads_case *c)
{
    heads_bench *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    om_head_params p;
    om_head_params_default(&p);
    p.conf = c->conf;
    p.iou = c->iou;
    p.max_boxes = c->max_boxes;
    b->spec = (om_tensor_spec){.name = "output0",
                               .dtype = c->f16 ? OM_DTYPE_F16 : OM_DTYPE_F32,
                               .shape = om_shape_make(3, (int64_t)1, (int64_t)c->rows, (int64_t)c->columns)};
    b->tensor = (om_tensor){b->spec.dtype, b->spec.shape, (void *)c->data};
    int family = om_family_parse(c->family);
    b->desc = (om_model_desc){.outputs = &b->spec, .n_outputs = 1, .family = (om_family)family};
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 640, 640, 640, &b->g);
    if (family >= 0 && om_head_create(&b->desc, &p, &b->head) == OM_OK) return b;
    free(b);
    return NULL;
}

long heads_decode(heads_bench *b, float *boxes)
{
    om_dets_clear(&b->dets);
    if (om_head_decode(b->head, &b->scratch, &b->tensor, 1, 0, &b->g, &b->dets) < 0) return -1;
    for (size_t i = 0; boxes && i < b->dets.n; i++) {
        const om_detection *d = &b->dets.items[i];
        float six[6] = {d->x, d->y, d->x + d->w, d->y + d->h, d->score, (float)d->class_id};
        memcpy(boxes + 6 * i, six, sizeof six);
    }
    return (long)b->dets.n;
}

void heads_time(heads_bench *b, int n, double *ns)
{
    for (int i = 0; i < n; i++) {
        int64_t start = om_thread_cpu_ns();
        heads_decode(b, NULL);
        ns[i] = (double)(om_thread_cpu_ns() - start);
    }
}

void heads_time_read(const float *data, long n, int rounds, double *ns)
{
    const om_kernels *k = om_kernels_get();
    uint32_t *index = calloc((size_t)n, 4);
    float *best = calloc((size_t)n, 4);
    int32_t *which = calloc((size_t)n, 4);
    /* Columns of 2048 keep the running results in the first cache. */
    om_scores s = {data, OM_DTYPE_F32, 2048, (size_t)n / 2048, 1, 2048};
    for (int i = 0; index && best && which && i < rounds; i++) {
        int64_t start = om_thread_cpu_ns();
        k->pick(&s, 1e30f, index, best, which);
        ns[i] = (double)(om_thread_cpu_ns() - start);
    }
    free(index);
    free(best);
    free(which);
}

const char *heads_table(void) { return om_kernels_get()->name; }
const char *heads_error(void) { return om_error_message(); }

void heads_close(heads_bench *b)
{
    if (!b) return;
    om_head_destroy(b->head);
    om_head_scratch_fini(&b->scratch);
    om_dets_fini(&b->dets);
    free(b);
}
