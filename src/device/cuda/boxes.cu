// Raw outputs of a detector become boxes: one launch finds the candidates, one sorts and suppresses them, a
// block a picture. Compiled without contraction of products and sums, so that every number is the host's.
#include "device/cuda/boxes.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

constexpr int filter_threads = 256;
constexpr int threads = 512;
constexpr int tile = 64;    // candidates that are decided at a time: bits of a word
constexpr float far = 1e9f; // beyond this a coordinate is no place in any picture
// Candidates that are sorted without going to memory: the fewer, the sooner a block finds room beside others.
constexpr int in_shared = 1024;

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
    const int before = b.kind == OM_CUDA_BOX_COLUMNS ? 4 : b.kind == OM_CUDA_BOX_FACES ? 15 : 5;
    size_t numbers = static_cast<size_t>(b.classes) + before;
    const T *output = static_cast<const T *>(b.outputs[0]) + static_cast<size_t>(item) * numbers * b.anchors;
    if (b.kind == OM_CUDA_BOX_COLUMNS) return {output + anchor, static_cast<size_t>(b.anchors)};
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

struct found {
    rect box;
    float score;
    int cls;
};

__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ float between(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

// The grid that an anchor is of.
__device__ const om_cuda_box_grid &grid_of(const om_cuda_boxes &b, int anchor)
{
    int k = 0;
    while (k + 1 < b.n_grids && anchor >= b.grid[k + 1].first) k++;
    return b.grid[k];
}

// One item's numbers of output `i`, `numbers` of them.
template <typename T> __device__ view<T> item_of(const om_cuda_boxes &b, int i, int item, size_t numbers)
{
    return {static_cast<const T *>(b.outputs[i]) + static_cast<size_t>(item) * numbers, 1};
}

template <typename T> __device__ bool find_matrix(const om_cuda_boxes &b, int item, int anchor, found *f)
{
    view<T> v = view_of<T>(b, item, anchor);
    if (b.kind == OM_CUDA_BOX_COLUMNS) {
        f->score = best_of(v, 4, b.classes, &f->cls);
    } else {
        float objectness = v[4];
        if (!(objectness > b.conf)) return false;
        f->score = objectness * best_of(v, b.kind == OM_CUDA_BOX_FACES ? 15 : 5, b.classes, &f->cls);
    }
    if (!(f->score > b.conf)) return false;
    f->box = rect_of(v);
    return true;
}

template <typename T> __device__ bool find_grid(const om_cuda_boxes &b, int item, int anchor, found *f)
{
    const om_cuda_box_grid &g = grid_of(b, anchor);
    int area = g.rows * g.columns, at = anchor - g.first, a = at / area, cell = at % area;
    size_t numbers = static_cast<size_t>(b.classes) + 5;
    view<T> v = item_of<T>(b, static_cast<int>(&g - b.grid), item, numbers * g.anchors * area);
    v.first += a * numbers * area + cell;
    v.step = area;
    float objectness = sigmoid(v[4]);
    if (!(objectness > b.conf)) return false;
    f->score = objectness * sigmoid(best_of(v, 5, b.classes, &f->cls));
    if (!(f->score > b.conf)) return false;
    float shift = (g.scale_xy - 1) / 2;
    float x = (static_cast<float>(cell % g.columns) + sigmoid(v[0]) * g.scale_xy - shift) * g.step_x;
    float y = (static_cast<float>(cell / g.columns) + sigmoid(v[1]) * g.scale_xy - shift) * g.step_y;
    float dx = expf(v[2]) * g.size[a][0] / 2, dy = expf(v[3]) * g.size[a][1] / 2;
    f->box = {x - dx, y - dy, x + dx, y + dy};
    return true;
}

enum { HEAT, SIZE, OFFSET, LANDMARK };
constexpr int cell_side = 4;

template <typename T> __device__ bool find_center(const om_cuda_boxes &b, int item, int cell, found *f)
{
    size_t area = static_cast<size_t>(b.anchors);
    f->score = item_of<T>(b, HEAT, item, area)[cell];
    f->cls = 0;
    if (!(f->score > b.conf)) return false;
    view<T> size = item_of<T>(b, SIZE, item, 2 * area), offset = item_of<T>(b, OFFSET, item, 2 * area);
    int columns = b.grid[0].columns, second = static_cast<int>(area) + cell;
    float height = expf(size[cell]) * cell_side, width = expf(size[second]) * cell_side;
    float x = (static_cast<float>(cell % columns) + offset[second] + 0.5f) * cell_side - width / 2;
    float y = (static_cast<float>(cell / columns) + offset[cell] + 0.5f) * cell_side - height / 2;
    if (!isfinite(x) || !isfinite(y)) return false;
    x = between(x, 0, b.width);
    y = between(y, 0, b.height);
    f->box = {x, y, between(x + width, x, b.width), between(y + height, y, b.height)};
    return true;
}

struct prior {
    float x, y, size;
};

__device__ prior prior_of(const om_cuda_boxes &b, int anchor)
{
    const om_cuda_box_grid &g = grid_of(b, anchor);
    int at = anchor - g.first, cell = at / g.anchors;
    return {(static_cast<float>(cell % g.columns) + 0.5f) * g.step_x,
            (static_cast<float>(cell / g.columns) + 0.5f) * g.step_y, g.size[at % g.anchors][0]};
}

template <typename T> __device__ bool find_prior(const om_cuda_boxes &b, int item, int anchor, found *f)
{
    int classes = b.classes + 1; // the background first
    view<T> row = item_of<T>(b, 1, item, static_cast<size_t>(b.anchors) * classes);
    row.first += static_cast<size_t>(anchor) * classes;
    float most = best_of(row, 1, b.classes, &f->cls);
    f->score = most;
    if (b.raw[item]) {
        float top = -INFINITY;
        double sum = 0;
        for (int i = 0; i < classes; i++)
            if (isfinite(row[i]) && row[i] > top) top = row[i];
        for (int i = 0; i < classes; i++)
            if (isfinite(row[i])) sum += expf(row[i] - top);
        f->score = isfinite(most) ? static_cast<float>(expf(most - top) / sum) : 0;
    }
    if (!(f->score > b.conf)) return false;
    view<T> t = item_of<T>(b, 0, item, static_cast<size_t>(b.anchors) * 4);
    t.first += static_cast<size_t>(anchor) * 4;
    prior a = prior_of(b, anchor);
    float x = a.x + t[0] * 0.1f * a.size, y = a.y + t[1] * 0.1f * a.size;
    float dx = a.size * expf(t[2] * 0.2f) / 2, dy = a.size * expf(t[3] * 0.2f) / 2;
    f->box = {x - dx, y - dy, x + dx, y + dy};
    return true;
}

template <typename T> __device__ bool find(const om_cuda_boxes &b, int item, int anchor, found *f)
{
    switch (b.kind) {
    case OM_CUDA_BOX_GRID: return find_grid<T>(b, item, anchor, f);
    case OM_CUDA_BOX_CENTERS: return find_center<T>(b, item, anchor, f);
    case OM_CUDA_BOX_PRIORS: return find_prior<T>(b, item, anchor, f);
    default: return find_matrix<T>(b, item, anchor, f);
    }
}

// Whether an item's scores are anything but probabilities.
template <typename T> __global__ void judge(const om_cuda_boxes b)
{
    int numbers = b.anchors * (b.classes + 1), item = static_cast<int>(blockIdx.y);
    view<T> v = item_of<T>(b, 1, item, numbers);
    for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < numbers;
         i += static_cast<int>(gridDim.x * blockDim.x))
        if (isfinite(v[i]) && !(v[i] >= -1e-3f && v[i] <= 1.001f)) b.raw[item] = 1;
}

template <typename T> __global__ void filter(const om_cuda_boxes b)
{
    int anchor = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), item = static_cast<int>(blockIdx.y);
    found f;
    if (anchor >= b.anchors || !find<T>(b, item, anchor, &f)) return;
    if (!isfinite(f.score) || (b.wanted && !b.wanted[f.cls])) return;
    rect r = f.box;
    if (!is_place(r.x0) || !is_place(r.y0) || !is_place(r.x1) || !is_place(r.y1)) return;
    int at = atomicAdd(&b.counts[item], 1);
    // Scores are positive here, so that their bits order as they do.
    uint64_t key = static_cast<uint64_t>(~__float_as_uint(f.score)) << 32 | static_cast<uint32_t>(anchor);
    size_t place = static_cast<size_t>(item) * b.anchors + anchor;
    b.keys[static_cast<size_t>(item) * b.capacity + at] = key;
    b.class_of[place] = f.cls;
    *reinterpret_cast<float4 *>(b.rects + 4 * place) = make_float4(r.x0, r.y0, r.x1, r.y1);
}

// Number `i` of a kept box's points: x and y in turn.
template <typename T>
__device__ float point_of(const om_cuda_boxes &b, int item, const om_cuda_box &box, int i)
{
    size_t n = static_cast<size_t>(b.anchors);
    if (b.kind == OM_CUDA_BOX_FACES) return view_of<T>(b, item, box.anchor)[5 + i];
    if (b.kind == OM_CUDA_BOX_CENTERS) { // y before x, as fractions of the box
        int other = i ^ 1, size_at = i % 2 ? box.anchor : static_cast<int>(n) + box.anchor;
        float side = expf(item_of<T>(b, SIZE, item, 2 * n)[size_at]) * cell_side;
        view<T> v = item_of<T>(b, LANDMARK, item, 2 * n * b.points);
        v.first += other * n + box.anchor;
        return v[0] * side + (i % 2 ? box.y0 : box.x0);
    }
    view<T> v = item_of<T>(b, 2, item, n * 2 * b.points);
    v.first += static_cast<size_t>(box.anchor) * 2 * b.points + i;
    prior a = prior_of(b, box.anchor);
    return (i % 2 ? a.y : a.x) + v[0] * 0.1f * a.size;
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
    int cls[tile], anchor[tile];
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

__device__ void load(const om_cuda_boxes &b, int item, const uint64_t *keys, int m, tile_of *t)
{
    int i = static_cast<int>(threadIdx.x);
    if (i >= tile) return;
    t->dead[i] = i >= m;
    t->rivals[i] = 0;
    if (i >= m) return;
    int anchor = static_cast<int>(keys[i] & 0xffffffffu);
    float4 r =
        *reinterpret_cast<const float4 *>(b.rects + 4 * (static_cast<size_t>(item) * b.anchors + anchor));
    t->box[i] = {r.x, r.y, r.z, r.w};
    t->anchor[i] = anchor;
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
    if (me == 0) b.counts[item] = b.raw[item] = 0; // for the next batch: all threads know n by now
    if (n > OM_CUDA_MAX_CANDIDATES) n = OM_CUDA_MAX_CANDIDATES;
    om_cuda_box *kept = b.scratch + static_cast<size_t>(item) * b.max_boxes;
    om_cuda_box *out = b.kept + static_cast<size_t>(item) * b.max_boxes;
    for (int at = 0; at < n && n_kept < b.max_boxes; at += tile) {
        int m = n - at < tile ? n - at : tile;
        load(b, item, keys + at, m, &t);
        __syncthreads();
        compare(b, kept, n_kept, m, &t);
        __syncthreads();
        if (me == 0) decide(&t, m, b.max_boxes - n_kept);
        __syncthreads();
        if (me < m && (t.keep >> me & 1)) {
            int place = n_kept + __popcll(t.keep & ((1ull << me) - 1));
            om_cuda_box box = {t.box[me].x0, t.box[me].y0, t.box[me].x1, t.box[me].y1,
                               t.score[me],  t.cls[me],    t.anchor[me]};
            kept[place] = box;
            out[place] = box;
        }
        n_kept += __popcll(t.keep);
        __syncthreads();
    }
    if (me == 0) b.n_kept[item] = n_kept;
    int numbers = 2 * b.points;
    float *points = b.kept_points + static_cast<size_t>(item) * b.max_boxes * numbers;
    for (int i = me; i < n_kept * numbers; i += threads)
        points[i] = point_of<T>(b, item, kept[i / numbers], i % numbers);
}

} // namespace

int om_cuda_boxes_filter(const om_cuda_boxes *b, CUstream_st *stream)
{
    dim3 grid((b->anchors + filter_threads - 1) / filter_threads, b->n);
    om_cuda_boxes copy = *b;
    void *args[] = {&copy};
    if (b->kind == OM_CUDA_BOX_PRIORS) {
        const void *first = b->half ? reinterpret_cast<const void *>(&judge<__half>)
                                    : reinterpret_cast<const void *>(&judge<float>);
        cudaError_t e = cudaLaunchKernel(first, grid, dim3(filter_threads), args, 0, stream);
        if (e != cudaSuccess) return e;
    }
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
