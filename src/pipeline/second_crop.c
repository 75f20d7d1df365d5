/* Crops: a private copy of a piece of a picture, upright or straightened, and the way back from what is found
 * in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "gallery/align.h"
#include "kernel/quad.h"
#include "pipeline/second_priv.h"

#define SIDE_MAX 4096    /* of a straightened crop */
#define SHARP_SAMPLES 32 /* a side */
#define FAR 1e7f         /* no picture reaches so far */

static void multiply(const double a[9], const double b[9], double out[9])
{
    double r[9];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            r[3 * i + k] = a[3 * i] * b[k] + a[3 * i + 1] * b[3 + k] + a[3 * i + 2] * b[6 + k];
    memcpy(out, r, sizeof r);
}

static void shift(double x, double y, double out[9])
{
    const double m[9] = {1, 0, x, 0, 1, y, 0, 0, 1};
    memcpy(out, m, sizeof m);
}

static void map_point(const double m[9], float p[2])
{
    double x = (double)p[0], y = (double)p[1], w = m[6] * x + m[7] * y + m[8];
    if (!(fabs(w) > 1e-9)) w = 1e-9; /* beyond the horizon: somewhere far away */
    p[0] = (float)((m[0] * x + m[1] * y + m[2]) / w);
    p[1] = (float)((m[3] * x + m[4] * y + m[5]) / w);
}

void om_region_of_frame(om_frame *f, om_region *out)
{
    *out = (om_region){.pixels = f, .w = f->image.width, .h = f->image.height, .upright = true};
    shift(0, 0, out->map);
}

void om_region_fini(om_region *r)
{
    om_frame_unref(r->pixels);
    r->pixels = NULL;
}

/* The device that reads this picture. */
static om_device *device_of(const om_second *s, const om_frame *f)
{
    const om_engine *e = s->all->primary;
    if (f->memory == OM_MEMORY_HOST) return s->all->host;
    if (e->decode_device && e->decode_device->ops->memory == f->memory) return e->decode_device;
    return e->first_device;
}

static int copy_to_host(om_device *d, const om_image *src, const om_image *dst)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    int err = OM_OK;
    for (int p = 0; p < info->planes && !err; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(src->fmt, p, src->width, src->height, &bytes, &rows);
        size_t size = (size_t)abs(src->stride[p]) * (size_t)rows;
        uint8_t *whole = om_alloc(size);
        if (!whole) return om_fail_nomem("a crop's copy");
        err = om_device_copy(d, OM_COPY_TO_HOST, whole, src->plane[p], size, NULL);
        for (int y = 0; y < rows && !err; y++)
            memcpy(dst->plane[p] + (ptrdiff_t)y * dst->stride[p], whole + (ptrdiff_t)y * abs(src->stride[p]),
                   (size_t)bytes);
        om_free(whole);
    }
    return err;
}

int om_region_download(om_device *d, const om_frame *f, om_frame **out)
{
    int err = om_frame_create(f->image.fmt, f->image.width, f->image.height, out);
    if (err) return err;
    (*out)->image.range = f->image.range;
    (*out)->image.matrix = f->image.matrix;
    err = copy_to_host(d, &f->image, &(*out)->image);
    if (!err) return OM_OK;
    om_frame_unref(*out);
    *out = NULL;
    return err;
}

/* The whole pixels that a span takes of from..from+size, as om_kernels.rois has them. */
static bool clip(float at, float length, int from, int size, int *first, int *count)
{
    float low = (float)from, high = (float)(from + size);
    if (!(length > 0) || !(at < high) || !(at + length > low)) return false;
    int begin = at > low ? (int)lrintf(at) : from,
        end = at + length < high ? (int)lrintf(at + length) : from + size;
    if (begin >= from + size) begin = from + size - 1;
    *first = begin;
    *count = end > begin ? end - begin : 1;
    return true;
}

static int outside(void)
{
    return om_fail(OM_ERR_ARG, "nothing of it lies in the picture, or it has no size");
}

static int copy_upright(const om_second *s, const om_region *base, int x, int y, int w, int h, om_region *out)
{
    double m[9];
    om_device *d = device_of(s, base->pixels);
    int err = om_device_crop(d, base->pixels, x, y, w, h, NULL, &out->pixels);
    if (err) return err;
    out->x = out->pixels->image.width - w; /* it may begin on the chroma's grid */
    out->y = out->pixels->image.height - h;
    out->w = w;
    out->h = h;
    out->upright = base->upright;
    shift(x - out->x, y - out->y, m);
    multiply(base->map, m, out->map);
    return OM_OK;
}

static int cut_upright(const om_second *s, const om_region *base, const om_detection *d, om_region *out)
{
    float grow = (float)s->options->margin;
    int x, y, w, h;
    if (!(fabsf(d->x) < FAR) || !(fabsf(d->y) < FAR) || !(d->w > 0) || !(d->h > 0) || !(d->w < FAR) ||
        !(d->h < FAR))
        return outside();
    if (!clip(d->x - grow * d->w, d->w * (1 + 2 * grow), base->x, base->w, &x, &w) ||
        !clip(d->y - grow * d->h, d->h * (1 + 2 * grow), base->y, base->h, &y, &h))
        return outside();
    return copy_upright(s, base, x, y, w, h, out);
}

/* A dense RGB picture that the warp can write into. */
static int rgb_frame(int w, int h, om_frame **out)
{
    int err = om_frame_create(OM_PIX_RGB24, w, h, out);
    if (!err) (*out)->image.stride[0] = 3 * w;
    if (!err) (*out)->image.range = OM_RANGE_FULL;
    return err;
}

/* The rectangle w x h of RGB pixels that the quad of `src`, a picture in host memory, becomes. */
static int warp(const om_frame *src, const float quad[8], int w, int h, om_region *out)
{
    static const om_prep rgb = {.layout = OM_LAYOUT_NHWC, .channels = OM_CHANNELS_RGB, .dtype = OM_DTYPE_U8};
    om_perspective p;
    double there[9], half[9];
    int err = om_perspective_solve(quad, w, h, &p);
    if (!err) err = rgb_frame(w, h, &out->pixels);
    if (err) return err;
    err = om_kernels_get()->warp(&src->image, quad, w, h, &rgb, out->pixels->image.plane[0]);
    if (err) {
        om_region_fini(out);
        return err;
    }
    out->x = out->y = 0;
    out->w = w;
    out->h = h;
    /* The perspective goes from a pixel's number to a pixel's number; maps here from edge to edge. */
    memcpy(there, p.m, sizeof p.m);
    there[8] = 1;
    shift(0.5, 0.5, half);
    multiply(half, there, there);
    shift(-0.5, -0.5, half);
    multiply(there, half, there);
    memcpy(out->map, there, sizeof there);
    out->upright = false;
    return OM_OK;
}

/* As warp(), of a picture wherever it is: on a GPU only what the quad touches is copied from there. */
static int warp_from(const om_second *s, const om_region *base, const float quad[8], int w, int h,
                     om_region *out)
{
    om_frame *crop = NULL, *host = NULL;
    float box[4] = {FAR, FAR, -FAR, -FAR}, local[8];
    int x, y, cw, ch, err;
    if (base->pixels->memory == OM_MEMORY_HOST) {
        err = warp(base->pixels, quad, w, h, out);
        if (!err) multiply(base->map, out->map, out->map);
        return err;
    }
    for (int i = 0; i < 8; i++) {
        box[i & 1] = fminf(box[i & 1], quad[i] - 2);
        box[2 + (i & 1)] = fmaxf(box[2 + (i & 1)], quad[i] + 2);
    }
    if (!clip(box[0], box[2] - box[0], 0, base->pixels->image.width, &x, &cw) ||
        !clip(box[1], box[3] - box[1], 0, base->pixels->image.height, &y, &ch))
        return outside();
    om_device *d = device_of(s, base->pixels);
    err = om_device_crop(d, base->pixels, x, y, cw, ch, NULL, &crop);
    if (!err) err = om_region_download(d, crop, &host);
    if (!err) {
        x -= host->image.width - cw;
        y -= host->image.height - ch;
        for (int i = 0; i < 8; i++) local[i] = quad[i] - (float)(i & 1 ? y : x);
        err = warp(host, local, w, h, out);
    }
    if (!err) {
        double m[9];
        shift(x, y, m);
        multiply(m, out->map, m);
        multiply(base->map, m, out->map);
    }
    om_frame_unref(crop);
    om_frame_unref(host);
    return err;
}

static float distance(const float *a, const float *b) { return hypotf(a[0] - b[0], a[1] - b[1]); }

/* A length in whole pixels, as int() has it. */
static int side(float a, float b)
{
    float v = fmaxf(a, b);
    return v >= 1 ? v < SIDE_MAX ? (int)v : SIDE_MAX : 1;
}

static int cut_quad(const om_second *s, const om_region *base, const float (*points)[2], om_region *out)
{
    const om_second_options *o = s->options;
    float q[8], centre[2] = {0, 0}, turned[8], grow = 1 + 2 * (float)o->margin;
    for (int i = 0; i < 8; i++) {
        q[i] = points[o->corners[i / 2] - '0'][i & 1];
        if (!(fabsf(q[i]) < FAR)) return outside();
        centre[i & 1] += q[i] / 4;
    }
    for (int i = 0; i < 8; i++) q[i] = centre[i & 1] + (q[i] - centre[i & 1]) * grow;
    if (centre[0] < (float)base->x || centre[1] < (float)base->y || centre[0] > (float)(base->x + base->w) ||
        centre[1] > (float)(base->y + base->h))
        return outside();
    int w = side(distance(q, q + 2), distance(q + 6, q + 4)),
        h = side(distance(q, q + 6), distance(q + 2, q + 4));
    if (!(o->tall > 0) || (double)h < o->tall * w) return warp_from(s, base, q, w, h, out);
    for (int i = 0; i < 8; i++) turned[i] = q[(i + 2) % 8]; /* what was right is above now */
    return warp_from(s, base, turned, h, w, out);
}

static int cut_face(const om_second *s, const om_region *base, const om_detection *d, om_region *out)
{
    const om_run_options *o = s->engine->options;
    int w = o->input_size.width ? o->input_size.width : s->engine->desc->width;
    int h = o->input_size.width ? o->input_size.height : s->engine->desc->height;
    float quad[8];
    int err = om_face_align(d->landmarks, w, h, quad);
    return err ? err : warp_from(s, base, quad, w, h, out);
}

static int cut_shape(const om_second *s, const om_region *base, const om_detection *d, om_region *out)
{
    int crop = s->options->crop;
    if (crop == OM_CROP_AUTO) crop = d->has_quad ? OM_CROP_QUAD : OM_CROP_UPRIGHT;
    if (crop == OM_CROP_UPRIGHT) return cut_upright(s, base, d, out);
    if (crop == OM_CROP_LANDMARKS && d->n_landmarks == 5) return cut_face(s, base, d, out);
    if (crop == OM_CROP_QUAD && d->has_quad) return cut_quad(s, base, d->quad, out);
    if (d->n_landmarks == 4) return cut_quad(s, base, d->landmarks, out);
    return om_fail(OM_ERR_ARG, "secondary '%s': a detection without the points to straighten it by", s->name);
}

/* The region by half a turn. */
static int turn_half(const om_second *s, om_region *r)
{
    float x0 = (float)r->x, y0 = (float)r->y, x1 = (float)(r->x + r->w), y1 = (float)(r->y + r->h);
    const float quad[8] = {x1, y1, x0, y1, x0, y0, x1, y0};
    om_region out = {0};
    int err = warp_from(s, r, quad, r->w, r->h, &out);
    if (err) return err;
    om_region_fini(r);
    *r = out;
    return OM_OK;
}

int om_region_cut(const om_second *s, const om_region *base, const om_detection *d, bool turn, om_region *out)
{
    int err;
    *out = (om_region){0};
    if (d) err = cut_shape(s, base, d, out);
    else if (s->parent < 0) err = copy_upright(s, base, base->x, base->y, base->w, base->h, out);
    else { /* a crop is private already */ *out = *base;
        om_frame_ref(out->pixels);
        err = OM_OK;
    }
    if (!err && turn) err = turn_half(s, out);
    if (err) om_region_fini(out);
    return err;
}

/* Corners in the crop to a quad in the source, and the box around it. */
static void map_askew(const om_region *r, om_detection *d)
{
    float q[4][2] = {{d->x, d->y}, {d->x + d->w, d->y}, {d->x + d->w, d->y + d->h}, {d->x, d->y + d->h}};
    float low[2] = {FAR, FAR}, high[2] = {-FAR, -FAR};
    if (!d->has_quad) memcpy(d->quad, q, sizeof q);
    d->has_quad = 1;
    for (int i = 0; i < 4; i++) {
        map_point(r->map, d->quad[i]);
        for (int k = 0; k < 2; k++) {
            low[k] = fminf(low[k], d->quad[i][k]);
            high[k] = fmaxf(high[k], d->quad[i][k]);
        }
    }
    d->x = low[0];
    d->y = low[1];
    d->w = high[0] - low[0];
    d->h = high[1] - low[1];
}

void om_region_map_dets(const om_region *r, om_dets *dets, bool boxes)
{
    for (size_t i = 0; i < dets->n; i++) {
        om_detection *d = &dets->items[i];
        d->track = -1;
        if (!boxes) { /* about the whole crop: no box of its own */
            d->x = d->y = d->w = d->h = 0;
            d->n_landmarks = d->has_quad = 0;
            continue;
        }
        for (int k = 0; k < d->n_landmarks; k++) map_point(r->map, d->landmarks[k]);
        if (!r->upright) {
            map_askew(r, d);
            continue;
        }
        d->x += (float)r->map[2];
        d->y += (float)r->map[5];
        for (int k = 0; k < 4 && d->has_quad; k++) map_point(r->map, d->quad[k]);
    }
}

static int luma(const om_image *img, int x, int y)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    const uint8_t *row = img->plane[0] + (ptrdiff_t)y * img->stride[0];
    if (!info->yuv && info->planes == 1 && img->fmt != OM_PIX_GRAY8) return row[3 * x + 1];
    if (info->sample_bytes == 1) return row[x];
    int v = row[2 * x] | row[2 * x + 1] << 8;
    return img->fmt == OM_PIX_P010 ? v >> 8 : v >> 2;
}

double om_region_sharpness(const om_frame *f, const om_detection *d)
{
    int x, y, w, h;
    if (f->memory != OM_MEMORY_HOST) return 1;
    if (!clip(d->x, d->w, 0, f->image.width, &x, &w) || !clip(d->y, d->h, 0, f->image.height, &y, &h))
        return 0;
    int nx = w - 1 < SHARP_SAMPLES ? w - 1 : SHARP_SAMPLES,
        ny = h - 1 < SHARP_SAMPLES ? h - 1 : SHARP_SAMPLES;
    double sum = 0;
    if (nx < 1 || ny < 1) return 1;
    for (int i = 0; i < ny; i++)
        for (int k = 0; k < nx; k++) {
            int px = x + (int)((int64_t)k * (w - 1) / nx), py = y + (int)((int64_t)i * (h - 1) / ny);
            int here = luma(&f->image, px, py);
            sum += abs(here - luma(&f->image, px + 1, py)) + abs(here - luma(&f->image, px, py + 1));
        }
    return 1 + sum / (2.0 * nx * ny);
}
