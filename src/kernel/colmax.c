#include <math.h>

#include "kernel/variant.h"

/* Columns taken at a time, so that their running results stay in the first cache over all rows. */
#define BLOCK 256

static void block_max(const float *m, size_t stride, size_t rows, size_t n, float *restrict best,
                      int32_t *restrict row)
{
    for (size_t i = 0; i < n; i++) {
        best[i] = -INFINITY;
        row[i] = 0;
    }
    for (size_t r = 0; r < rows; r++) {
        const float *v = m + r * stride;
        for (size_t i = 0; i < n; i++) {
            bool better = v[i] > best[i]; /* false for not a number */
            best[i] = better ? v[i] : best[i];
            row[i] = better ? (int32_t)r : row[i];
        }
    }
}

void OM_VARIANT(om_column_max)(const float *m, size_t stride, size_t rows, size_t n, float *best,
                               int32_t *row)
{
    for (size_t i = 0; i < n; i += BLOCK)
        block_max(m + i, stride, rows, n - i < BLOCK ? n - i : BLOCK, best + i, row + i);
}
