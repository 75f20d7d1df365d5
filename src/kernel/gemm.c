/* Products of matrices, in tiles that stay in registers, of panels that stay in the caches. */
#include <string.h>

#include "kernel/gemm.h"
#include "kernel/variant.h"
#include "kernel/vec.h"

#define TILE_ROWS 6
#if OM_LANES > 1
#define TILE_COLUMNS (2 * OM_LANES)
#else
#define TILE_COLUMNS 16
#endif

#if OM_LANES == 16
static inline om_vec multiply_add(om_vec a, om_vec b, om_vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline void store(float *p, om_vec v) { _mm512_storeu_ps(p, v); }
#elif OM_LANES == 8
static inline om_vec multiply_add(om_vec a, om_vec b, om_vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline void store(float *p, om_vec v) { _mm256_storeu_ps(p, v); }
#endif

/* `rows` x `depth` of a matrix as strips of TILE_ROWS rows, column by column; missing rows are 0. */
static void pack_left(const om_mat *m, size_t row, size_t rows, size_t from, size_t depth, float *out)
{
    for (size_t i = 0; i < rows; i += TILE_ROWS)
        for (size_t k = 0; k < depth; k++)
            for (size_t r = 0; r < TILE_ROWS; r++)
                *out++ =
                    i + r < rows ? m->data[(row + i + r) * m->row_step + (from + k) * m->column_step] : 0;
}

/* `depth` x `columns` as strips of TILE_COLUMNS columns, row by row; missing columns are 0. */
static void pack_right(const om_mat *m, size_t from, size_t depth, size_t column, size_t columns, float *out)
{
    for (size_t j = 0; j < columns; j += TILE_COLUMNS) {
        size_t n = columns - j < TILE_COLUMNS ? columns - j : TILE_COLUMNS;
        for (size_t k = 0; k < depth; k++, out += TILE_COLUMNS) {
            const float *p = m->data + (from + k) * m->row_step + (column + j) * m->column_step;
            if (n == TILE_COLUMNS && m->column_step == 1) {
                memcpy(out, p, sizeof *out * TILE_COLUMNS);
                continue;
            }
            for (size_t c = 0; c < TILE_COLUMNS; c++) out[c] = c < n ? p[c * m->column_step] : 0;
        }
    }
}

#if OM_LANES > 1
static void multiply_tile(const float *a, const float *b, size_t depth, float tile[TILE_ROWS * TILE_COLUMNS])
{
    om_vec sum[TILE_ROWS][2];
    for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = om_vec_set(0);
    for (size_t k = 0; k < depth; k++, a += TILE_ROWS, b += TILE_COLUMNS) {
        om_vec left = om_vec_load(b), right = om_vec_load(b + OM_LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            om_vec v = om_vec_set(a[i]);
            sum[i][0] = multiply_add(v, left, sum[i][0]);
            sum[i][1] = multiply_add(v, right, sum[i][1]);
        }
    }
    for (int i = 0; i < TILE_ROWS; i++) {
        store(tile + i * TILE_COLUMNS, sum[i][0]);
        store(tile + i * TILE_COLUMNS + OM_LANES, sum[i][1]);
    }
}
#else
static void multiply_tile(const float *a, const float *b, size_t depth, float tile[TILE_ROWS * TILE_COLUMNS])
{
    memset(tile, 0, sizeof *tile * TILE_ROWS * TILE_COLUMNS);
    for (size_t k = 0; k < depth; k++, a += TILE_ROWS, b += TILE_COLUMNS)
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_COLUMNS; j++) tile[i * TILE_COLUMNS + j] += a[i] * b[j];
}
#endif

/* The packed panels' product, added to what is in `c`. */
static void multiply_panels(const float *left, const float *right, size_t rows, size_t columns, size_t depth,
                            float *c, size_t c_row)
{
    float tile[TILE_ROWS * TILE_COLUMNS];
    for (size_t j = 0; j < columns; j += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
            size_t w = columns - j < TILE_COLUMNS ? columns - j : TILE_COLUMNS;
            size_t h = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
            multiply_tile(left + i * depth, right + j * depth, depth, tile);
            for (size_t r = 0; r < h; r++)
                for (size_t s = 0; s < w; s++) c[(i + r) * c_row + j + s] += tile[r * TILE_COLUMNS + s];
        }
}

void OM_VARIANT(om_gemm)(const om_mat *a, const om_mat *b, float *c, size_t c_row, void *work)
{
    float *left = work, *right = left + OM_GEMM_ROWS * OM_GEMM_DEPTH;
    for (size_t k = 0; k < a->columns; k += OM_GEMM_DEPTH) {
        size_t depth = a->columns - k < OM_GEMM_DEPTH ? a->columns - k : OM_GEMM_DEPTH;
        for (size_t j = 0; j < b->columns; j += OM_GEMM_COLUMNS) {
            size_t columns = b->columns - j < OM_GEMM_COLUMNS ? b->columns - j : OM_GEMM_COLUMNS;
            pack_right(b, k, depth, j, columns, right);
            for (size_t i = 0; i < a->rows; i += OM_GEMM_ROWS) {
                size_t rows = a->rows - i < OM_GEMM_ROWS ? a->rows - i : OM_GEMM_ROWS;
                pack_left(a, i, rows, k, depth, left);
                multiply_panels(left, right, rows, columns, depth, c + i * c_row + j, c_row);
            }
        }
    }
}
