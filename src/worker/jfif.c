#include "worker/jfif.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/color.h"

#define SCALE 32 /* of the tables: sums of three stay within 16 bits */

/* What each sample of Y, U and V adds to the one that is made, in 1/SCALE levels. */
typedef struct tables {
    int16_t part[3][256];
} tables;

bool om_jfif_knows(om_pixfmt fmt)
{
    return fmt == OM_PIX_NV12 || fmt == OM_PIX_I420 || fmt == OM_PIX_I422 || fmt == OM_PIX_I444 ||
           fmt == OM_PIX_GRAY8;
}

/* The constant goes with the first part, so that only the sums are rounded twice. */
static void fill_tables(const double m[4], int first, tables *t)
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            double sum = m[c] * v + (c == first ? m[3] + 0.5 : 0);
            t->part[c][v] = (int16_t)lrint(fmin(fmax(sum * SCALE, -16000), 16000));
        }
}

static uint8_t level(int sum)
{
    int v = sum >> 5;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static int shifted(int v, int shift) { return (v + (1 << shift) - 1) >> shift; }

/* A row of chroma samples: NV12's lie in pairs. */
typedef struct chroma_row {
    const uint8_t *u, *v;
    int step;
} chroma_row;

static chroma_row chroma_of(const om_image *img, int row)
{
    if (img->fmt == OM_PIX_NV12) {
        const uint8_t *uv = img->plane[1] + (ptrdiff_t)row * img->stride[1];
        return (chroma_row){uv, uv + 1, 2};
    }
    return (chroma_row){img->plane[1] + (ptrdiff_t)row * img->stride[1],
                        img->plane[2] + (ptrdiff_t)row * img->stride[2], 1};
}

static void luma_row(const tables *t, const om_image *img, int y, const om_pixfmt_info *info, bool crossed,
                     int16_t *colour, uint8_t *out)
{
    const uint8_t *in = img->plane[0] + (ptrdiff_t)y * img->stride[0];
    if (!crossed) {
        uint8_t direct[256];
        for (int v = 0; v < 256; v++) direct[v] = level(t->part[0][v]);
        for (int x = 0; x < img->width; x++) out[x] = direct[in[x]];
        return;
    }
    int shift = info->chroma_shift_x, n = shifted(img->width, shift);
    chroma_row c = chroma_of(img, y >> info->chroma_shift_y);
    for (int x = 0; x < n; x++)
        colour[x] = (int16_t)(t->part[1][c.u[x * c.step]] + t->part[2][c.v[x * c.step]]);
    for (int x = 0; x < img->width; x++) out[x] = level(t->part[0][in[x]] + colour[x >> shift]);
}

static void chroma_rows(const tables *tu, const tables *tv, chroma_row c, int n, bool crossed, uint8_t *u,
                        uint8_t *v)
{
    for (int x = 0; x < n; x++) {
        int cu = c.u[x * c.step], cv = c.v[x * c.step];
        u[x] = level(tu->part[1][cu] + (crossed ? tu->part[2][cv] : 0));
        v[x] = level(tv->part[2][cv] + (crossed ? tv->part[1][cu] : 0));
    }
}

/* Repeats the last column up to `wide`. */
static void pad_row(uint8_t *row, int n, int wide)
{
    for (int x = n; x < wide; x++) row[x] = row[n - 1];
}

static int allocate(om_jfif *j, const om_image *img, int wide, int high)
{
    size_t luma = (size_t)wide * (size_t)high,
           chroma = j->planes == 1 ? 0 : (size_t)(wide >> j->shift_x) * (size_t)(high >> j->shift_y);
    size_t colour = (size_t)img->width * sizeof(int16_t);
    void *memory = j->memory;
    int err = om_grow(&memory, &j->cap, luma + 2 * chroma + colour + sizeof(int16_t), 1);
    j->memory = memory;
    if (err) return err;
    j->plane[0] = j->memory;
    j->plane[1] = j->memory + luma;
    j->plane[2] = j->plane[1] + chroma;
    j->stride[0] = wide;
    j->stride[1] = j->stride[2] = wide >> j->shift_x;
    return OM_OK;
}

static void convert(om_jfif *j, const om_image *img, int wide, int high)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    double m[3][4];
    tables t[3];
    om_color_to_jfif(img, m);
    m[1][0] = m[2][0] = 0; /* gray has no colour; what is left is rounding */
    for (int c = 0; c < 3; c++) fill_tables(m[c], c, &t[c]);
    bool gray = j->planes == 1, crossed = !gray && img->matrix != OM_MATRIX_BT601;
    size_t chroma = gray ? 0 : (size_t)j->stride[1] * (size_t)(high >> j->shift_y);
    uint8_t *y0 = j->memory, *u0 = y0 + (size_t)wide * (size_t)high, *v0 = u0 + chroma;
    uintptr_t after = (uintptr_t)(v0 + chroma);
    int16_t *colour = (int16_t *)(void *)(v0 + chroma + (after & 1));
    for (int y = 0; y < high; y++) {
        uint8_t *row = y0 + (size_t)y * (size_t)wide;
        luma_row(&t[0], img, y < img->height ? y : img->height - 1, info, crossed, colour, row);
        pad_row(row, img->width, wide);
    }
    int n = shifted(img->width, j->shift_x), rows = gray ? 0 : high >> j->shift_y;
    for (int y = 0; y < rows; y++) {
        uint8_t *u = u0 + (size_t)y * (size_t)j->stride[1], *v = v0 + (size_t)y * (size_t)j->stride[2];
        chroma_rows(&t[1], &t[2], chroma_of(img, y), n, crossed, u, v);
    }
}

int om_jfif_convert(om_jfif *j, const om_image *img)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    j->planes = img->fmt == OM_PIX_GRAY8 ? 1 : 3;
    j->shift_x = j->planes == 1 ? 0 : info->chroma_shift_x;
    j->shift_y = j->planes == 1 ? 0 : info->chroma_shift_y;
    int wide = shifted(img->width, j->shift_x) << j->shift_x, high = shifted(img->height, j->shift_y)
                                                                     << j->shift_y;
    bool meant = img->range == OM_RANGE_FULL && (j->planes == 1 || img->matrix == OM_MATRIX_BT601);
    if (meant && img->fmt != OM_PIX_NV12 && wide == img->width && high == img->height) {
        for (int i = 0; i < j->planes; i++) {
            j->plane[i] = img->plane[i];
            j->stride[i] = img->stride[i];
        }
        return OM_OK;
    }
    int err = allocate(j, img, wide, high);
    if (!err) convert(j, img, wide, high);
    return err;
}

void om_jfif_fini(om_jfif *j)
{
    om_free(j->memory);
    memset(j, 0, sizeof *j);
}
