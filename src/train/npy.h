/* Inside the room: arrays as NumPy's files have them. */
#ifndef OM_TRAIN_NPY_H
#define OM_TRAIN_NPY_H

#include "base/tensor.h"

/* DIR/NAME.npy of f32, i32 or u32, row-major; atomic. columns 0: one dimension. */
int om_npy_write(const char *dir, const char *name, om_dtype dtype, const void *data, size_t rows,
                 size_t columns);

#endif
