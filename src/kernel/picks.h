/* Horizontal resampling without gathers: which bytes of a source row make each destination position is put
 * into shuffle masks once for a geometry. Results are 16-bit: 0..255 (10-bit samples: a quarter) times 128.
 */
#ifndef OM_KERNEL_PICKS_H
#define OM_KERNEL_PICKS_H

#include <math.h>
#include <string.h>

#include "kernel/axis.h"
#include "kernel/vec16.h"

#if defined(OM_V_LANES)

#define OM_PICKS_WINDOWS 4 /* most windows of 16 bytes that a lane's samples are looked for in */
#define OM_PICKS_PAIRS 8   /* most pairs of samples that make a position */
#define OM_PICKS_ONE 16384 /* weight 1 */

/* Where positions are made of several samples, a vector holds a position in each 32 bits, and two of them,
 * parts p = 0 and 1, are packed into OM_V16 results: lane l of part p of vector v starts at position
 * OM_V16 * v + 8 * l + 4 * p, so that packing within lanes leaves them in order. Where each position is one
 * sample there is but one part, of 8 positions a lane. */
typedef struct om_picks {
    int vectors, windows;
    int pairs;       /* of samples a position; 0: each is one sample */
    int high_bits;   /* left of the 16-bit samples' first bit: 6 of I010, 0 of P010; -1: 8-bit samples */
    int32_t *offset; /* [parts][windows][lanes], bytes from the row's start */
    uint8_t *mask;   /* [parts][pairs][windows][OM_V_BYTES] */
    int16_t *weight; /* [parts][pairs][OM_V16] */
} om_picks;

static inline int om_picks_parts(const om_picks *t) { return t->pairs ? 2 * t->vectors : t->vectors; }
static inline int om_picks_block(const om_picks *t) { return t->pairs ? 4 : 8; } /* positions a lane */
static inline int om_picks_rounds(const om_picks *t) { return t->pairs ? t->pairs : 1; }

/* One row as this axis sees it. */
typedef struct om_picks_row {
    int origin, shift; /* sample of position: (origin + axis index) >> shift */
    int unit;          /* bytes from a sample to the next of the same component */
    int sample_bytes;
    int limit; /* the last byte at which a window may start */
} om_picks_row;

static inline int om_picks_byte(const om_picks_row *r, int index)
{
    return ((r->origin + index) >> r->shift) * r->unit;
}

/* How many windows and pairs there must be; false where that is more than the kernels know. */
static inline bool om_picks_size(om_picks *t, const om_axis *a, const om_picks_row *r)
{
    int span = 0, taps = 1;
    if (r->limit < 0) return false;
    for (int i = 0; i < a->n; i++)
        if (a->last[i] - a->first[i] >= taps) taps = a->last[i] - a->first[i] + 1;
    t->vectors = (a->n + OM_V16 - 1) / OM_V16;
    t->pairs = taps == 1 ? 0 : (taps + 1) / 2;
    int block = om_picks_block(t);
    for (int i = 0; i < a->n; i += block) {
        int end = i + block < a->n ? i + block : a->n;
        int bytes = om_picks_byte(r, a->last[end - 1]) - om_picks_byte(r, a->first[i]) + r->sample_bytes;
        if (bytes > span) span = bytes;
    }
    t->windows = (span + 15) / 16;
    return t->windows <= OM_PICKS_WINDOWS && t->pairs <= OM_PICKS_PAIRS;
}

static inline void om_picks_take(om_picks *t, om_arena *a)
{
    size_t parts = (size_t)om_picks_parts(t), rounds = (size_t)om_picks_rounds(t);
    t->offset = (int32_t *)om_arena_take(a, parts * (size_t)t->windows * OM_V_LANES, sizeof(int32_t));
    t->mask = (uint8_t *)om_arena_take(a, parts * rounds * (size_t)t->windows, OM_V_BYTES);
    t->weight = (int16_t *)om_arena_take(a, parts * rounds, OM_V_BYTES);
}

/* Where a lane looks for its samples. */
typedef struct om_picks_lane {
    int start;             /* the first sample's byte */
    const int32_t *offset; /* of its windows, OM_V_LANES apart */
    uint8_t *mask;
    int16_t *weight;
} om_picks_lane;

/* Puts the sample at axis position `index` into 16 bits of the lane. */
OM_INLINE void om_picks_sample(const om_picks *t, const om_picks_row *r, const om_picks_lane *l, int index,
                               int round, int at)
{
    int byte = om_picks_byte(r, index), window = (byte - l->start) >> 4;
    uint8_t *m = l->mask + (size_t)(round * t->windows + window) * OM_V_BYTES + 2 * at;
    m[0] = (uint8_t)(byte - l->offset[window * OM_V_LANES]);
    if (r->sample_bytes == 2) m[1] = (uint8_t)(m[0] + 1);
}

/* A position of several samples. Weights are the parts of the running sum, so that they always sum to one. */
OM_INLINE void om_picks_position(const om_picks *t, const om_axis *a, const om_picks_row *r,
                                 const om_picks_lane *l, int i, int at)
{
    int n = a->last[i] - a->first[i] + 1, before = 0;
    const float *share = a->weight + (size_t)i * (size_t)a->taps;
    float sum = 0;
    for (int k = 0; k < n; k++) {
        om_picks_sample(t, r, l, a->first[i] + k, k >> 1, 2 * at + (k & 1));
        sum += share[k];
        int whole = k + 1 == n ? OM_PICKS_ONE : (int)(sum * OM_PICKS_ONE + 0.5f);
        l->weight[(k >> 1) * OM_V16 + 2 * at + (k & 1)] = (int16_t)(whole - before);
        before = whole;
    }
}

/* A position between two samples. */
OM_INLINE void om_picks_between(const om_picks *t, const om_axis *a, const om_picks_row *r,
                                const om_picks_lane *l, int i, int at)
{
    int second = (int)(a->weight[i] * OM_PICKS_ONE + 0.5f);
    om_picks_sample(t, r, l, a->first[i], 0, 2 * at);
    om_picks_sample(t, r, l, a->last[i], 0, 2 * at + 1);
    l->weight[2 * at] = (int16_t)(OM_PICKS_ONE - second);
    l->weight[2 * at + 1] = (int16_t)second;
}

OM_INLINE void om_picks_fill_lane(const om_picks *t, const om_axis *a, om_filter filter,
                                  const om_picks_row *r, const om_picks_lane *l, int first)
{
    int block = om_picks_block(t), rounds = om_picks_rounds(t);
    int end = first + block < a->n ? first + block : a->n;
    for (int k = 0; k < rounds * t->windows; k++) memset(l->mask + (size_t)k * OM_V_BYTES, 0x80, 16);
    for (int k = 0; k < rounds; k++) memset(l->weight + k * OM_V16, 0, 16);
    for (int i = first; i < end; i++) {
        if (!t->pairs) om_picks_sample(t, r, l, a->first[i], 0, i - first);
        else if (filter == OM_FILTER_AREA) om_picks_position(t, a, r, l, i, i - first);
        else om_picks_between(t, a, r, l, i, i - first);
    }
}

/* Numbers of four positions, which are of the same width with every instruction set. */
typedef int32_t om_picks_int4 __attribute__((vector_size(16)));
typedef int16_t om_picks_short4 __attribute__((vector_size(8)));
typedef float om_picks_float4 __attribute__((vector_size(16)));

OM_INLINE om_picks_int4 om_picks_bytes4(const om_picks_row *r, const int *index)
{
    om_picks_int4 i;
    memcpy(&i, index, sizeof i);
    return ((i + r->origin) >> r->shift) * r->unit;
}

/* What om_picks_sample() makes of samples at `byte`, in the low 16 bits of each. */
OM_INLINE om_picks_int4 om_picks_mask4(const om_picks_row *r, const om_picks_lane *l, om_picks_int4 byte,
                                       int window)
{
    om_picks_int4 found = (byte - l->start) >> 4 == window, at = byte - l->offset[window * OM_V_LANES];
    om_picks_int4 mask = r->sample_bytes == 2 ? at * 0x101 + 0x100 : at + 0x8000;
    return (mask & found) | (0x8080 & ~found);
}

/* A full lane without a choice for each position: narrow rectangles are made of little else. */
OM_INLINE void om_picks_fill_singles(const om_picks *t, const om_axis *a, const om_picks_row *r,
                                     const om_picks_lane *l, int first)
{
    for (int half = 0; half < 2; half++) {
        om_picks_int4 byte = om_picks_bytes4(r, a->first + first + 4 * half);
        for (int w = 0; w < t->windows; w++) {
            om_picks_short4 mask = __builtin_convertvector(om_picks_mask4(r, l, byte, w), om_picks_short4);
            memcpy(l->mask + w * OM_V_BYTES + 8 * half, &mask, sizeof mask);
        }
    }
}

OM_INLINE void om_picks_fill_betweens(const om_picks *t, const om_axis *a, const om_picks_row *r,
                                      const om_picks_lane *l, int first)
{
    om_picks_int4 low = om_picks_bytes4(r, a->first + first), high = om_picks_bytes4(r, a->last + first);
    for (int w = 0; w < t->windows; w++) {
        om_picks_int4 mask = om_picks_mask4(r, l, low, w) | om_picks_mask4(r, l, high, w) << 16;
        memcpy(l->mask + w * OM_V_BYTES, &mask, sizeof mask);
    }
    om_picks_float4 share;
    memcpy(&share, a->weight + first, sizeof share);
    om_picks_int4 second = __builtin_convertvector(share * OM_PICKS_ONE + 0.5f, om_picks_int4);
    om_picks_int4 weight = (OM_PICKS_ONE - second) | second << 16;
    memcpy(l->weight, &weight, sizeof weight);
}

static inline void om_picks_fill(om_picks *tables, const om_axis *axis, om_filter filter,
                                 const om_picks_row *source)
{
    /* Copies, so that the bytes written cannot be taken to change them. */
    const om_picks t = *tables;
    const om_axis a = *axis;
    const om_picks_row r = *source;
    int parts = om_picks_parts(&t), rounds = om_picks_rounds(&t);
    size_t masks = (size_t)rounds * (size_t)t.windows * OM_V_BYTES, weights = (size_t)rounds * OM_V16;
    int whole = filter == OM_FILTER_AREA && t.pairs ? -1 : a.n - om_picks_block(&t);
    for (int p = 0; p < parts; p++) {
        int start = t.pairs ? OM_V16 * (p >> 1) + 4 * (p & 1) : OM_V16 * p;
        for (int lane = 0; lane < OM_V_LANES; lane++) {
            int first = start + 8 * lane;
            int32_t *offset = t.offset + p * t.windows * OM_V_LANES + lane;
            const om_picks_lane l = {.start = first < a.n ? om_picks_byte(&r, a.first[first]) : 0,
                                     .offset = offset,
                                     .mask = t.mask + (size_t)p * masks + 16 * lane,
                                     .weight = t.weight + (size_t)p * weights + 8 * lane};
            for (int w = 0; w < t.windows; w++)
                offset[w * OM_V_LANES] = l.start + 16 * w < r.limit ? l.start + 16 * w : r.limit;
            if (first > whole) om_picks_fill_lane(&t, &a, filter, &r, &l, first);
            else if (t.pairs) om_picks_fill_betweens(&t, &a, &r, &l, first);
            else om_picks_fill_singles(&t, &a, &r, &l, first);
        }
    }
}

/* `windows`, and mostly `pairs`, are constants where these are inlined, for the loops to unroll. */
OM_INLINE void om_picks_load(const om_picks *t, const uint8_t *row, int part, int windows,
                             om_v16 window[OM_PICKS_WINDOWS])
{
    const int32_t *offset = t->offset + part * windows * OM_V_LANES;
    for (int w = 0; w < windows; w++) window[w] = om_v_lanes(row, offset + w * OM_V_LANES);
}

/* `second`: the samples that follow those of the masks by so many bytes, within the same windows. */
OM_INLINE om_v16 om_picks_shuffle(const om_v16 *window, const uint8_t *mask, int windows, int second)
{
    om_v16 s, further = om_v_set8(second); /* leaves a mask's empty places empty */
    for (int w = 0; w < windows; w++) {
        om_v16 m = om_v_load(mask + w * OM_V_BYTES);
        om_v16 found = om_v_shuffle(window[w], second ? om_v_add8(m, further) : m);
        s = w ? om_v_or(s, found) : found;
    }
    return s;
}

OM_INLINE om_v16 om_picks_scale(om_v16 s, const om_picks *t)
{
    return om_v_shr16(om_v_shl16(s, t->high_bits), 1);
}

OM_INLINE om_v16 om_picks_single(const om_picks *t, const uint8_t *row, int v, int windows, bool wide,
                                 int second)
{
    om_v16 window[OM_PICKS_WINDOWS];
    om_picks_load(t, row, v, windows, window);
    om_v16 s = om_picks_shuffle(window, t->mask + (size_t)(v * windows) * OM_V_BYTES, windows, second);
    return wide ? om_picks_scale(s, t) : om_v_shl16(s, 7);
}

OM_INLINE om_v16 om_picks_part(const om_picks *t, const uint8_t *row, int part, int windows, int pairs,
                               bool wide, int second)
{
    const uint8_t *mask = t->mask + (size_t)part * (size_t)(pairs * windows) * OM_V_BYTES;
    const int16_t *weight = t->weight + (size_t)part * (size_t)pairs * OM_V16;
    om_v16 window[OM_PICKS_WINDOWS], sum = om_v_set32(wide ? 1 << 13 : 1 << 6);
    om_picks_load(t, row, part, windows, window);
    for (int k = 0; k < pairs; k++) {
        om_v16 s = om_picks_shuffle(window, mask + k * windows * OM_V_BYTES, windows, second);
        if (wide) s = om_picks_scale(s, t);
        sum = om_v_add32(sum, om_v_madd(s, om_v_load(weight + k * OM_V16)));
    }
    return om_v_sra32(sum, wide ? 14 : 7);
}

/* OM_V16 results. */
OM_INLINE om_v16 om_picks_vector(const om_picks *t, const uint8_t *row, int v, int windows, int pairs,
                                 bool wide, int second)
{
    if (!pairs) return om_picks_single(t, row, v, windows, wide, second);
    return om_v_pack32(om_picks_part(t, row, 2 * v, windows, pairs, wide, second),
                       om_picks_part(t, row, 2 * v + 1, windows, pairs, wide, second));
}

/* `other`: for the second of two components that lie side by side, found in the same windows; else NULL. */
OM_INLINE void om_picks_loop(const om_picks *tables, const uint8_t *row, int16_t *restrict out,
                             int16_t *restrict other, int windows, int pairs, bool wide)
{
    const om_picks t = *tables; /* so that the stores cannot be taken to change it */
    for (int v = 0; !other && v < t.vectors; v++)
        om_v_store(out + v * OM_V16, om_picks_vector(&t, row, v, windows, pairs, wide, 0));
    for (int v = 0; other && v < t.vectors; v++) {
        om_v16 first = om_picks_vector(&t, row, v, windows, pairs, wide, 0);
        om_v16 second = om_picks_vector(&t, row, v, windows, pairs, wide, wide ? 2 : 1);
        om_v_store(out + v * OM_V16, first);
        om_v_store(other + v * OM_V16, second);
    }
}

OM_INLINE void om_picks_windows(const om_picks *t, const uint8_t *row, int16_t *out, int16_t *other,
                                int pairs, bool wide)
{
    if (t->windows == 1) om_picks_loop(t, row, out, other, 1, pairs, wide);
    else if (t->windows == 2) om_picks_loop(t, row, out, other, 2, pairs, wide);
    else if (t->windows == 3) om_picks_loop(t, row, out, other, 3, pairs, wide);
    else om_picks_loop(t, row, out, other, OM_PICKS_WINDOWS, pairs, wide);
}

/* A row of a component, and of one beside it unless `other` is NULL, to whole vectors. */
static inline void om_picks_apply(const om_picks *t, const uint8_t *row, int16_t *out, int16_t *other)
{
    if (t->high_bits >= 0) {
        if (t->pairs) om_picks_windows(t, row, out, other, t->pairs, true);
        else om_picks_windows(t, row, out, other, 0, true);
    } else if (t->pairs == 0) om_picks_windows(t, row, out, other, 0, false);
    else if (t->pairs == 1) om_picks_windows(t, row, out, other, 1, false);
    else if (t->pairs == 2) om_picks_windows(t, row, out, other, 2, false);
    else om_picks_windows(t, row, out, other, t->pairs, false);
}

#endif
#endif
