#include "base/tensor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [OM_DTYPE_NONE] = {"none", 0}, [OM_DTYPE_F32] = {"f32", 4},   [OM_DTYPE_F16] = {"f16", 2},
    [OM_DTYPE_BF16] = {"bf16", 2}, [OM_DTYPE_F64] = {"f64", 8},   [OM_DTYPE_U8] = {"u8", 1},
    [OM_DTYPE_I8] = {"i8", 1},     [OM_DTYPE_U16] = {"u16", 2},   [OM_DTYPE_I16] = {"i16", 2},
    [OM_DTYPE_U32] = {"u32", 4},   [OM_DTYPE_I32] = {"i32", 4},   [OM_DTYPE_U64] = {"u64", 8},
    [OM_DTYPE_I64] = {"i64", 8},   [OM_DTYPE_BOOL] = {"bool", 1}, [OM_DTYPE_STRING] = {"string", 0},
};

static bool known(om_dtype t) { return (unsigned)t < sizeof dtypes / sizeof dtypes[0]; }

size_t om_dtype_size(om_dtype t) { return known(t) ? dtypes[t].size : 0; }
const char *om_dtype_name(om_dtype t) { return known(t) ? dtypes[t].name : "none"; }

om_shape om_shape_make(int rank, ...)
{
    om_shape s = {.rank = rank < OM_MAX_RANK ? rank : OM_MAX_RANK};
    va_list ap;
    va_start(ap, rank);
    for (int i = 0; i < s.rank; i++) s.dim[i] = va_arg(ap, int64_t);
    va_end(ap);
    return s;
}

bool om_shape_static(const om_shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0) return false;
    return s->rank >= 0;
}

bool om_shape_equal(const om_shape *a, const om_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

int64_t om_shape_count(const om_shape *s)
{
    if (!om_shape_static(s)) return -1;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] == 0) return 0;
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++)
        if (__builtin_mul_overflow(count, s->dim[i], &count)) return -1;
    return count;
}

void om_shape_text(const om_shape *s, char out[OM_SHAPE_TEXT])
{
    snprintf(out, OM_SHAPE_TEXT, "%s", s->rank < 0 ? "unknown" : s->rank == 0 ? "scalar" : "");
    size_t n = 0;
    for (int i = 0; i < s->rank && i < OM_MAX_RANK && n < OM_SHAPE_TEXT; i++) {
        const char *sep = i ? "x" : "";
        int w = s->dim[i] < 0 ? snprintf(out + n, OM_SHAPE_TEXT - n, "%s?", sep)
                              : snprintf(out + n, OM_SHAPE_TEXT - n, "%s%" PRId64, sep, s->dim[i]);
        n += (size_t)w;
    }
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Both ways as the F16C instructions do them: nearest even, NaNs made quiet. */
float om_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = (h >> 10) & 31u, frac = h & 0x3ffu;
    if (exp == 31) return float_of(sign | 0x7f800000u | (frac ? 0x400000u | frac << 13 : 0));
    if (exp) return float_of(sign | (exp + 112) << 23 | frac << 13);
    float tiny = (float)frac * 0x1p-24f;
    return sign ? -tiny : tiny;
}

uint16_t om_f32_to_f16(float f)
{
    uint32_t bits = bits_of(f), sign = (bits >> 16) & 0x8000u, mag = bits & 0x7fffffffu;
    if (mag > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((mag >> 13) & 0x3ffu));
    if (mag >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and up round to infinity */
    if (mag < 0x38800000u) { /* subnormal: at 0.5 the last place of a float is 2^-24, f16's smallest step */
        return (uint16_t)(sign | (bits_of(float_of(mag) + 0.5f) - bits_of(0.5f)));
    }
    mag += 0xfffu + ((mag >> 13) & 1u);
    return (uint16_t)(sign | ((mag - 0x38000000u) >> 13));
}
