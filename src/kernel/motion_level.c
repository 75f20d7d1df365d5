#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/motion.h"

#define MOST_CELLS 256
#define LEVEL 256 /* what one level counts in a cell */

int om_motion_init(om_motion *m, int columns, int rows, float threshold)
{
    *m = (om_motion){.columns = columns, .rows = rows, .threshold = threshold};
    if (columns < 1 || columns > MOST_CELLS || rows < 1 || rows > MOST_CELLS)
        return om_fail(OM_ERR_ARG, "motion: a grid of %dx%d; 1x1 to %dx%d was expected", columns, rows,
                       MOST_CELLS, MOST_CELLS);
    if (!(threshold >= 0 && threshold <= 255))
        return om_fail(OM_ERR_ARG, "motion: a threshold of %g levels; 0 to 255 was expected",
                       (double)threshold);
    size_t n = (size_t)columns * (size_t)rows;
    m->cells = om_calloc(n, sizeof *m->cells);
    m->before = om_calloc(n, sizeof *m->before);
    if (m->cells && m->before) return OM_OK;
    om_motion_fini(m);
    return OM_ERR_NOMEM;
}

void om_motion_fini(om_motion *m)
{
    if (!m) return;
    om_free(m->cells);
    om_free(m->before);
    om_free(m->work);
    *m = (om_motion){0};
}

void om_motion_forget(om_motion *m) { m->known = false; }

static bool alike(const om_image *a, const om_image *b)
{
    return a->fmt == b->fmt && a->range == b->range && a->width == b->width && a->height == b->height;
}

int om_motion_update(om_motion *m, const om_image *img, om_motion_level *out)
{
    *out = (om_motion_level){.fresh = true, .changed = 1};
    if (!om_pixfmt_get(img->fmt)->planes || img->width < 1 || img->height < 1)
        return om_fail(OM_ERR_UNSUPPORTED, "motion: a picture of %dx%d in format %s", img->width, img->height,
                       om_pixfmt_get(img->fmt)->name);
    int rc = om_grow((void **)&m->work, &m->work_cap, (size_t)img->width, sizeof *m->work);
    if (rc < 0) return rc;
    const om_kernels *k = om_kernels_get();
    int columns = m->columns < img->width ? m->columns : img->width,
        rows = m->rows < img->height ? m->rows : img->height;
    size_t n = (size_t)columns * (size_t)rows, changed;
    k->luma_grid(img, columns, rows, m->work, m->cells);
    if (m->known && alike(&m->like, img)) {
        uint64_t sum = k->grid_difference(m->cells, m->before, n, (uint16_t)(m->threshold * LEVEL), &changed);
        *out = (om_motion_level){.mean = (float)((double)sum / LEVEL / (double)n),
                                 .changed = (float)changed / (float)n};
    }
    uint16_t *spare = m->before;
    m->before = m->cells;
    m->cells = spare;
    m->like = *img;
    m->known = true;
    return OM_OK;
}
