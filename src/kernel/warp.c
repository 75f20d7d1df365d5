/* A quadrilateral straightened, for every format: the reference. */
#include "base/error.h"
#include "base/mem.h"
#include "kernel/row_out.h"
#include "kernel/variant.h"
#include "kernel/warp_rows.h"

static float sample(const uint8_t *p, bool wide) { return wide ? (float)*(const om_sample16 *)p : (float)*p; }

static void pick(const om_warp_component *c, const om_warp_row *r, bool wide, float *out, int n)
{
    for (int i = 0; i < n; i++) {
        float a = sample(om_warp_at(c, r->x0[i], r->y0[i]), wide);
        float b = sample(om_warp_at(c, r->x1[i], r->y0[i]), wide);
        float d = sample(om_warp_at(c, r->x0[i], r->y1[i]), wide);
        float e = sample(om_warp_at(c, r->x1[i], r->y1[i]), wide);
        float above = a + r->part_x[i] * (b - a), below = d + r->part_x[i] * (e - d);
        out[i] = above + r->part_y[i] * (below - above);
    }
}

int OM_VARIANT(om_warp_plain)(const om_image *src, const float quad[8], int dst_w, int dst_h,
                              const om_prep *p, void *dst)
{
    om_perspective view;
    om_row_out out;
    om_warp_row row;
    om_warp_component in[3];
    int err = om_prep_check("warp", src, p);
    if (err < 0) return err;
    if (dst_w < 1 || dst_h < 1)
        return om_fail(OM_ERR_ARG, "warp: a destination of %dx%d has no pixels", dst_w, dst_h);
    err = om_perspective_solve(quad, dst_w, dst_h, &view);
    if (err < 0) return err;

    om_row_out_fill(&out, src, p);
    om_warp_components(src, out.n_in, in);
    om_arena a = {0};
    om_row_out_take(&out, &a, dst_w);
    om_warp_row_take(&row, &a, dst_w);
    void *block = a.base = om_aligned_alloc(OM_ARENA_ALIGN, a.used);
    if (!block) return om_fail_nomem("warp rows");
    a.used = 0;
    om_row_out_take(&out, &a, dst_w);
    om_warp_row_take(&row, &a, dst_w);

    bool wide = om_pixfmt_get(src->fmt)->sample_bytes == 2;
    for (int y = 0; y < dst_h; y++) {
        om_warp_row_fill(&row, &view, src, p->filter, y, dst_w);
        for (int i = 0; i < out.n_in; i++) pick(&in[i], &row, wide, out.picked[i], dst_w);
        om_row_out_write(&out, dst, dst_w, dst_h, 0, y, dst_w);
    }
    om_free(block);
    return OM_OK;
}
