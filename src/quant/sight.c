#include "quant/sight.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define LEVEL 256.0 /* what one level counts in a cell */
#define COLUMNS 17
#define ROWS 16
#define FINE_COLUMNS 256
#define FINE_ROWS 144
#define LEAST_STEP 512 /* two levels: flat parts of a picture tell by their noise alone */
#define LEAST_SIDE 32
#define MOTION_COLUMNS 64
#define MOTION_ROWS 36
#define MOTION_LEVELS 8

int om_sighter_init(om_sighter *s)
{
    memset(s, 0, sizeof *s);
    s->cells = om_calloc((size_t)FINE_COLUMNS * FINE_ROWS, sizeof *s->cells);
    int err =
        s->cells ? om_motion_init(&s->motion, MOTION_COLUMNS, MOTION_ROWS, MOTION_LEVELS) : OM_ERR_NOMEM;
    if (err) om_sighter_fini(s);
    return err;
}

void om_sighter_fini(om_sighter *s)
{
    om_motion_fini(&s->motion);
    om_free(s->cells);
    om_free(s->work);
    memset(s, 0, sizeof *s);
}

static void hash(const uint16_t *cells, uint64_t *out)
{
    memset(out, 0, OM_SIGHT_WORDS * sizeof *out);
    for (int y = 0, bit = 0; y < ROWS; y++)
        for (int x = 0; x + 1 < COLUMNS; x++, bit++) {
            const uint16_t *c = cells + y * COLUMNS + x;
            if (c[0] > c[1] + LEAST_STEP) out[bit / 64] |= UINT64_C(1) << bit % 64;
        }
}

static void measure(const uint16_t *cells, int columns, int rows, om_sight *out)
{
    double sum = 0, squares = 0, edges = 0;
    int n = columns * rows;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) {
            double v = cells[y * columns + x] / LEVEL;
            sum += v;
            squares += v * v;
            if (x + 1 < columns) edges += fabs(v - cells[y * columns + x + 1] / LEVEL);
        }
    out->luma = (float)(sum / n);
    out->contrast = (float)sqrt(fmax(0, squares / n - sum / n * (sum / n)));
    out->sharpness = (float)(edges / n);
}

int om_sighter_look(om_sighter *s, const om_image *img, om_sight *out)
{
    om_motion_level level;
    memset(out, 0, sizeof *out);
    if (img->width < LEAST_SIDE || img->height < LEAST_SIDE)
        return om_fail(OM_ERR_UNSUPPORTED, "a picture of %dx%d; at least %dx%d was expected", img->width,
                       img->height, LEAST_SIDE, LEAST_SIDE);
    int err = om_motion_update(&s->motion, img, &level);
    if (!err) err = om_grow((void **)&s->work, &s->work_cap, (size_t)img->width, sizeof *s->work);
    if (err) return err;
    const om_kernels *k = om_kernels_get();
    int columns = img->width < FINE_COLUMNS ? img->width : FINE_COLUMNS;
    int rows = img->height < FINE_ROWS ? img->height : FINE_ROWS;
    k->luma_grid(img, COLUMNS, ROWS, s->work, s->cells);
    hash(s->cells, out->hash);
    k->luma_grid(img, columns, rows, s->work, s->cells);
    measure(s->cells, columns, rows, out);
    out->motion = level.fresh ? 0 : level.changed;
    out->objects = out->unsure = -1;
    return OM_OK;
}

int om_sight_distance(const om_sight *a, const om_sight *b)
{
    int n = 0;
    for (int i = 0; i < OM_SIGHT_WORDS; i++) n += __builtin_popcountll(a->hash[i] ^ b->hash[i]);
    return n;
}

void om_sight_objects(om_sight *s, const om_dets *d, double conf)
{
    s->objects = s->unsure = 0;
    for (size_t i = 0; i < d->n; i++) {
        double score = (double)d->items[i].score;
        s->objects += score >= conf;
        s->unsure += score >= conf / 2 && score < fmin(conf * 1.5, 1);
    }
}
