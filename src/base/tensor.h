/* The words all rooms share for arrays of numbers. */
#ifndef OM_BASE_TENSOR_H
#define OM_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum om_dtype {
    OM_DTYPE_NONE,
    OM_DTYPE_F32,
    OM_DTYPE_F16,
    OM_DTYPE_BF16,
    OM_DTYPE_F64,
    OM_DTYPE_U8,
    OM_DTYPE_I8,
    OM_DTYPE_U16,
    OM_DTYPE_I16,
    OM_DTYPE_U32,
    OM_DTYPE_I32,
    OM_DTYPE_U64,
    OM_DTYPE_I64,
    OM_DTYPE_BOOL,
    OM_DTYPE_STRING
} om_dtype;

size_t om_dtype_size(om_dtype t); /* bytes; 0 for NONE and STRING */
const char *om_dtype_name(om_dtype t);

#define OM_MAX_RANK 8
#define OM_DIM_DYNAMIC (-1)

typedef struct om_shape {
    int rank; /* -1: unknown rank */
    int64_t dim[OM_MAX_RANK];
} om_shape;

om_shape om_shape_make(int rank, ...); /* dims as int64_t */
bool om_shape_static(const om_shape *s);
bool om_shape_equal(const om_shape *a, const om_shape *b);
/* Number of elements; -1 if dynamic or if it overflows. */
int64_t om_shape_count(const om_shape *s);
#define OM_SHAPE_TEXT 160
/* "1x3x640x640", "?" for a dynamic dim. */
void om_shape_text(const om_shape *s, char out[OM_SHAPE_TEXT]);

/* A dense row-major array somewhere; never owns its data. */
typedef struct om_tensor {
    om_dtype dtype;
    om_shape shape;
    void *data; /* host pointer, or device pointer where the holder says so */
} om_tensor;

static inline uint16_t om_f32_to_bf16_bits(uint32_t bits)
{
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
float om_f16_to_f32(uint16_t h);
uint16_t om_f32_to_f16(float f);

#endif
