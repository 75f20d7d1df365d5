// Raw outputs of a detector become boxes: one launch finds the candidates, one sorts and suppresses them, a
// block a picture. Compiled without contraction of products and sums, so that every number is the host's.
#include "device/cuda/boxes.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

constexpr int filter_threads = 256;
constexpr int threads = 512;
constexpr int tile = 64;        // candidates that are decided at a time: bits of a word
constexpr int in_shared = 4096; // candidates that are sorted without going to memory
constexpr float far = 1e9f;     // beyond this a coordinate is no place in any picture

__device__ float number(const float *p) { return *p; }
__device__ float number(const __half *p) { return __half2float(*p); }

struct rect {
    float x0, y0, x1, y1;
};

// Where the numbers of one anchor lie: `first` is its centre's x, `step` leads from one number to the next.
template <typename T> struct view {
    const T *first;
    size_t step;
    __device__ float operator[](int i) const { return number(first + static_cast<size_t>(i) * step); }
};

template <typename T> __device__ view<T> view_of(const om_cuda_boxes &b, int item, int anchor)
{
    size_t numbers = static_cast<size_t>(b.classes) + (b.columns ? 4 : 5);
    const T *output = static_cast<const T *>(b.output) + static_cast<size_t>(item) * numbers * b.anchors;
    if (b.columns) return {output + anchor, static_cast<size_t>(b.anchors)};
    return {output + static_cast<size_t>(anchor) * numbers, 1};
}

template <typename T> __device__ rect rect_of(const view<T> &v)
{
    float x = v[0], y = v[1], dx = v[2] / 2, dy = v[3] / 2;
    return {x - dx, y - dy, x + dx, y + dy};
}

__device__ bool is_place(float v) { return fabsf(v) < far; } // not a number fails every comparison

// The largest score and its class; the first of equal ones, and what is not a number never wins.
template <typename T> __device__ float best_of(const view<T> &v, int from, int classes, int *best)
{
    float most = v[from];
    *best = 0;
    for (int k = 1; k < classes; k++) {
        float score = v[from + k];
        if (!(score > most) && most == most) continue;
        most = score;
        *best = k;
    }
    return most;
}

template <typename T> __global__ void filter(const om_cuda_boxes b)
{
    int anchor = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), item = static_cast<int>(blockIdx.y);
    if (anchor >= b.anchors) return;
    view<T> v = view_of<T>(b, item, anchor);
    int cls;
    float score;
    if (b.columns) {
        score = best_of(v, 4, b.classes, &cls);
    } else {
        float objectness = v[4];
        if (!(objectness > b.conf)) return;
        score = objectness * best_of(v, 5, b.classes, &cls);
    }
    if (!(score > b.conf) || !isfinite(score) || (b.wanted && !b.wanted[cls])) return;
    rect r = rect_of(v);
    if (!is_place(r.x0) || !is_place(r.y0) || !is_place(r.x1) || !is_place(r.y1)) return;
    int at = atomicAdd(&b.counts[item], 1);
    // Scores are positive here, so that their bits order as they do.
    uint64_t key = static_cast<uint64_t>(~__float_as_uint(score)) << 32 | static_cast<uint32_t>(anchor);
    b.keys[static_cast<size_t>(item) * b.capacity + at] = key;
    b.class_of[static_cast<size_t>(item) * b.anchors + anchor] = cls;
}

__device__ int power_of_two(int n)
{
    int p = 1;
    while (p < n) p *= 2;
    return p;
}

// Bitonic, by all threads of the block; n is a power of two.
__device__ void sort(uint64_t *keys, int n)
{
    for (int size = 2; size <= n; size *= 2)
        for (int apart = size / 2; apart > 0; apart /= 2) {
            __syncthreads();
            for (int i = static_cast<int>(threadIdx.x); i < n / 2; i += threads) {
                int low = 2 * apart * (i / apart) + i % apart, high = low + apart;
                uint64_t a = keys[low], c = keys[high];
                if ((a > c) != ((low & size) == 0)) continue;
                keys[low] = c;
                keys[high] = a;
            }
        }
    __syncthreads();
}

// The candidates of one tile, and the boxes kept so far are b.kept.
struct tile_of {
    rect box[tile];
    float area[tile], score[tile];
    int cls[tile];
    int dead[tile];                  // a box kept before suppresses it
    unsigned long long rivals[tile]; // those of the tile before it that would suppress it
    unsigned long long keep;         // of the tile
};

__device__ float area_of(rect r) { return (r.x1 - r.x0) * (r.y1 - r.y0); }

__device__ bool overlaps(rect k, float k_area, rect r, float area, float iou)
{
    float w = (k.x1 < r.x1 ? k.x1 : r.x1) - (k.x0 > r.x0 ? k.x0 : r.x0);
    float h = (k.y1 < r.y1 ? k.y1 : r.y1) - (k.y0 > r.y0 ? k.y0 : r.y0);
    float inter = (w > 0 ? w : 0) * (h > 0 ? h : 0);
    return inter / (k_area + area - inter) > iou;
}

template <typename T>
__device__ void load(const om_cuda_boxes &b, int item, const uint64_t *keys, int m, tile_of *t)
{
    int i = static_cast<int>(threadIdx.x);
    if (i >= tile) return;
    t->dead[i] = i >= m;
    t->rivals[i] = 0;
    if (i >= m) return;
    int anchor = static_cast<int>(keys[i] & 0xffffffffu);
    t->box[i] = rect_of(view_of<T>(b, item, anchor));
    t->area[i] = area_of(t->box[i]);
    t->score[i] = __uint_as_float(~static_cast<uint32_t>(keys[i] >> 32));
    t->cls[i] = b.class_of[static_cast<size_t>(item) * b.anchors + anchor];
}

// A thread compares one candidate with every eighth box: those kept before, then those of its tile.
__device__ void compare(const om_cuda_boxes &b, const om_cuda_box *kept, int n_kept, int m, tile_of *t)
{
    int i = static_cast<int>(threadIdx.x) % tile, slice = static_cast<int>(threadIdx.x) / tile;
    if (i >= m) return;
    rect r = t->box[i];
    float area = t->area[i];
    for (int k = slice; k < n_kept; k += threads / tile) {
        const om_cuda_box &q = kept[k];
        rect o = {q.x0, q.y0, q.x1, q.y1};
        if ((b.agnostic || q.class_id == t->cls[i]) && overlaps(o, area_of(o), r, area, b.iou))
            t->dead[i] = 1;
    }
    for (int k = slice; k < i; k += threads / tile)
        if ((b.agnostic || t->cls[k] == t->cls[i]) && overlaps(t->box[k], t->area[k], r, area, b.iou))
            atomicOr(&t->rivals[i], 1ull << k);
}

// In order: who is kept decides over those behind it.
__device__ void decide(tile_of *t, int m, int room)
{
    unsigned long long keep = 0;
    for (int i = 0; i < m && room > 0; i++) {
        if (t->dead[i] || (t->rivals[i] & keep)) continue;
        keep |= 1ull << i;
        room--;
    }
    t->keep = keep;
}

template <typename T> __global__ void suppress(const om_cuda_boxes b)
{
    __shared__ uint64_t shared_keys[in_shared];
    __shared__ tile_of t;
    int item = static_cast<int>(blockIdx.x), me = static_cast<int>(threadIdx.x);
    int n = b.counts[item], padded = power_of_two(n), n_kept = 0;
    uint64_t *own = b.keys + static_cast<size_t>(item) * b.capacity;
    uint64_t *keys = padded <= in_shared ? shared_keys : own;
    for (int i = me; i < padded; i += threads) keys[i] = i < n ? own[i] : ~0ull;
    sort(keys, padded);
    if (n > OM_CUDA_MAX_CANDIDATES) n = OM_CUDA_MAX_CANDIDATES;
    om_cuda_box *kept = b.scratch + static_cast<size_t>(item) * b.max_boxes;
    om_cuda_box *out = b.kept + static_cast<size_t>(item) * b.max_boxes;
    for (int at = 0; at < n && n_kept < b.max_boxes; at += tile) {
        int m = n - at < tile ? n - at : tile;
        load<T>(b, item, keys + at, m, &t);
        __syncthreads();
        compare(b, kept, n_kept, m, &t);
        __syncthreads();
        if (me == 0) decide(&t, m, b.max_boxes - n_kept);
        __syncthreads();
        if (me < m && (t.keep >> me & 1)) {
            int place = n_kept + __popcll(t.keep & ((1ull << me) - 1));
            om_cuda_box box = {t.box[me].x0, t.box[me].y0, t.box[me].x1,
                               t.box[me].y1, t.score[me],  t.cls[me]};
            kept[place] = box;
            out[place] = box;
        }
        n_kept += __popcll(t.keep);
        __syncthreads();
    }
    if (me == 0) b.n_kept[item] = n_kept;
}

} // namespace

int om_cuda_boxes_filter(const om_cuda_boxes *b, CUstream_st *stream)
{
    dim3 grid((b->anchors + filter_threads - 1) / filter_threads, b->n);
    om_cuda_boxes copy = *b;
    void *args[] = {&copy};
    const void *kernel = b->half ? reinterpret_cast<const void *>(&filter<__half>)
                                 : reinterpret_cast<const void *>(&filter<float>);
    return cudaLaunchKernel(kernel, grid, dim3(filter_threads), args, 0, stream);
}

int om_cuda_boxes_suppress(const om_cuda_boxes *b, CUstream_st *stream)
{
    om_cuda_boxes copy = *b;
    void *args[] = {&copy};
    const void *kernel = b->half ? reinterpret_cast<const void *>(&suppress<__half>)
                                 : reinterpret_cast<const void *>(&suppress<float>);
    return cudaLaunchKernel(kernel, dim3(b->n), dim3(threads), args, 0, stream);
}
