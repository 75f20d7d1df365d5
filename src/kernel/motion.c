/* The luma of a picture on a coarse grid: up to ROWS_READ rows a cell, evenly spread, are added up column by
 * column, and the columns then cell by cell. All in whole numbers, so that every variant is the same. */
#include <string.h>

#include "kernel/variant.h"

#define ROWS_READ 8 /* times the largest sample, 1023, fits 16 bits */

static void add_bytes(const uint8_t *row, int n, uint16_t *restrict sums)
{
    for (int i = 0; i < n; i++) sums[i] = (uint16_t)(sums[i] + row[i]);
}

static void add_words(const uint16_t *row, int n, int shift, uint16_t *restrict sums)
{
    for (int i = 0; i < n; i++) sums[i] = (uint16_t)(sums[i] + (row[i] >> shift & 1023));
}

/* BT.601's weights in 256ths; `blue` is 0 where blue comes first, else 2. */
static void add_colours(const uint8_t *row, int n, int blue, uint16_t *restrict sums)
{
    for (int i = 0; i < n; i++) {
        int b = row[3 * i + blue], g = row[3 * i + 1], r = row[3 * i + 2 - blue];
        sums[i] = (uint16_t)(sums[i] + ((77 * r + 150 * g + 29 * b + 128) >> 8));
    }
}

static void add_row(const om_image *img, int y, uint16_t *sums)
{
    const uint8_t *row = img->plane[0] + (ptrdiff_t)y * img->stride[0];
    if (img->fmt == OM_PIX_RGB24 || img->fmt == OM_PIX_BGR24)
        add_colours(row, img->width, img->fmt == OM_PIX_BGR24 ? 0 : 2, sums);
    else if (om_pixfmt_get(img->fmt)->sample_bytes == 2)
        add_words((const uint16_t *)(const void *)row, img->width, img->fmt == OM_PIX_P010 ? 6 : 0, sums);
    else add_bytes(row, img->width, sums);
}

static uint32_t sum_of(const uint16_t *v, int n)
{
    uint32_t sum = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    return sum;
}

/* The edge of cell i of n on `size` pixels. */
static int edge(int i, int n, int size) { return (int)((int64_t)i * size / n); }

void OM_VARIANT(om_luma_grid)(const om_image *img, int columns, int rows, uint16_t *work, uint16_t *cells)
{
    int unit = om_pixfmt_get(img->fmt)->sample_bytes == 2 ? 64 : 256; /* 10 bits against 8 */
    for (int cy = 0; cy < rows; cy++) {
        int y0 = edge(cy, rows, img->height), height = edge(cy + 1, rows, img->height) - y0;
        int read = height < ROWS_READ ? height : ROWS_READ;
        memset(work, 0, (size_t)img->width * sizeof *work);
        for (int i = 0; i < read; i++) add_row(img, y0 + (2 * i + 1) * height / (2 * read), work);
        for (int cx = 0; cx < columns; cx++) {
            int x0 = edge(cx, columns, img->width), width = edge(cx + 1, columns, img->width) - x0;
            uint32_t count = (uint32_t)(width * read);
            uint64_t sum = (uint64_t)sum_of(work + x0, width) * (uint32_t)unit;
            cells[cy * columns + cx] = (uint16_t)((sum + count / 2) / count);
        }
    }
}

uint64_t OM_VARIANT(om_grid_difference)(const uint16_t *a, const uint16_t *b, size_t n, uint16_t above,
                                        size_t *changed)
{
    uint64_t total = 0;
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t d = (uint16_t)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
        total += d;
        count += d > above;
    }
    *changed = count;
    return total;
}
