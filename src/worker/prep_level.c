#include "worker/prep_level.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/kernel.h"

const om_choice om_prep_level_choices[] = {
    {"simple", OM_PREP_SIMPLE, "resize and normalise"},
    {"medium", OM_PREP_MEDIUM, "also crop and convert to RGB"},
    {"complex", OM_PREP_COMPLEX, "also denoise, blur, mirror, change brightness and contrast"},
    {NULL, 0, NULL},
};

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

static inline void sort2(uint8_t *a, uint8_t *b)
{
    uint8_t low = *a < *b ? *a : *b, high = *a < *b ? *b : *a;
    *a = low;
    *b = high;
}

/* The fifth of nine by 19 exchanges. Scalars and no table, so that the compiler does many at once. */
static inline uint8_t median9(const uint8_t *above, const uint8_t *at, const uint8_t *below, int left,
                              int right)
{
    uint8_t a = above[left], b = above[0], c = above[right];
    uint8_t d = at[left], e = at[0], f = at[right];
    uint8_t g = below[left], h = below[0], i = below[right];
    sort2(&b, &c), sort2(&e, &f), sort2(&h, &i);
    sort2(&a, &b), sort2(&d, &e), sort2(&g, &h);
    sort2(&b, &c), sort2(&e, &f), sort2(&h, &i);
    sort2(&a, &d), sort2(&f, &i), sort2(&e, &h);
    sort2(&d, &g), sort2(&b, &e), sort2(&c, &f);
    sort2(&e, &h), sort2(&e, &c), sort2(&g, &e);
    sort2(&e, &c);
    return e;
}

/* The rows of `img` one after another in `work`: what is read while the picture is written. */
static void copy_rows(const om_image *img, uint8_t *work)
{
    size_t row = (size_t)img->width * 3;
    for (int y = 0; y < img->height; y++)
        memcpy(work + (size_t)y * row, img->plane[0] + (ptrdiff_t)y * img->stride[0], row);
}

void om_median3(const om_image *img, uint8_t *work)
{
    size_t row = (size_t)img->width * 3;
    copy_rows(img, work);
    for (int y = 0; y < img->height; y++) {
        const uint8_t *in[3];
        for (int k = 0; k < 3; k++) in[k] = work + (size_t)clamp(y + k - 1, 0, img->height - 1) * row;
        uint8_t *restrict out = img->plane[0] + (ptrdiff_t)y * img->stride[0];
        int n = 3 * img->width, one = img->width > 1 ? 3 : 0;
        for (int x = 3; x < n - 3; x++) out[x] = median9(in[0] + x, in[1] + x, in[2] + x, -3, 3);
        for (int c = 0; c < 3; c++) {
            int last = n - 3 + c;
            out[c] = median9(in[0] + c, in[1] + c, in[2] + c, 0, one);
            out[last] = median9(in[0] + last, in[1] + last, in[2] + last, -one, 0);
        }
    }
}

/* 1 4 6 4 1 both ways; edges repeat. */
void om_blur5(const om_image *img, uint8_t *work)
{
    static const int weight[5] = {1, 4, 6, 4, 1};
    size_t row = (size_t)img->width * 3;
    int n = img->width * 3;
    copy_rows(img, work);
    for (int y = 0; y < img->height; y++) {
        const uint8_t *in[5];
        for (int k = 0; k < 5; k++) in[k] = work + (size_t)clamp(y + k - 2, 0, img->height - 1) * row;
        uint8_t *out = img->plane[0] + (ptrdiff_t)y * img->stride[0];
        for (int x = 0; x < n; x++)
            out[x] = (uint8_t)((in[0][x] + 4 * in[1][x] + 6 * in[2][x] + 4 * in[3][x] + in[4][x] + 8) >> 4);
    }
    copy_rows(img, work);
    for (int y = 0; y < img->height; y++) {
        const uint8_t *in = work + (size_t)y * row;
        uint8_t *out = img->plane[0] + (ptrdiff_t)y * img->stride[0];
        for (int x = 0; x < img->width; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 8;
                for (int k = 0; k < 5; k++)
                    sum += weight[k] * in[3 * clamp(x + k - 2, 0, img->width - 1) + c];
                out[3 * x + c] = (uint8_t)(sum >> 4);
            }
    }
}

static void mirror(const om_image *img)
{
    for (int y = 0; y < img->height; y++) {
        uint8_t *row = img->plane[0] + (ptrdiff_t)y * img->stride[0];
        for (int a = 0, b = img->width - 1; a < b; a++, b--)
            for (int c = 0; c < 3; c++) {
                uint8_t v = row[3 * a + c];
                row[3 * a + c] = row[3 * b + c];
                row[3 * b + c] = v;
            }
    }
}

static void relight(const om_image *img, double brightness, double contrast)
{
    uint8_t table[256];
    for (int v = 0; v < 256; v++)
        table[v] = (uint8_t)clamp((int)lrint((v - 128) * contrast + 128 * brightness), 0, 255);
    for (int y = 0; y < img->height; y++) {
        uint8_t *row = img->plane[0] + (ptrdiff_t)y * img->stride[0];
        for (int x = 0; x < 3 * img->width; x++) row[x] = table[row[x]];
    }
}

/* 0..1, from a seed that moves on (splitmix64). */
static double chance(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* The middle 7/8 as dense rows of RGB, in one pass. */
static int crop(om_frame *f, om_frame **out)
{
    om_prep prep = {.layout = OM_LAYOUT_NHWC, .channels = OM_CHANNELS_RGB, .dtype = OM_DTYPE_U8};
    int w = clamp(f->image.width * 7 / 8, 1, f->image.width),
        h = clamp(f->image.height * 7 / 8, 1, f->image.height);
    om_geometry g = {.src_x = (f->image.width - w) / 2,
                     .src_y = (f->image.height - h) / 2,
                     .src_w = w,
                     .src_h = h,
                     .dst_w = w,
                     .dst_h = h,
                     .inner_w = w,
                     .inner_h = h};
    int err = om_frame_create(OM_PIX_RGB24, w, h, out);
    if (err) return err;
    om_image *img = &(*out)->image;
    img->range = OM_RANGE_FULL;
    img->stride[0] = 3 * w; /* the kernel writes no gaps; the frame's own rows are never shorter */
    err = om_kernels_get()->letterbox(&f->image, &g, &prep, img->plane[0]);
    if (!err) return OM_OK;
    om_frame_unref(*out);
    *out = NULL;
    return err;
}

static int complicate(om_preparer *p, const om_image *img)
{
    void *work = p->work;
    int err = om_grow(&work, &p->cap, (size_t)img->width * 3 * (size_t)img->height, 1);
    p->work = work;
    if (err) return err;
    om_median3(img, p->work);
    om_blur5(img, p->work);
    if (chance(&p->seed) < 0.5) mirror(img);
    double brightness = 0.8 + 0.4 * chance(&p->seed), contrast = 0.8 + 0.4 * chance(&p->seed);
    relight(img, brightness, contrast);
    return OM_OK;
}

int om_preparer_apply(om_preparer *p, om_frame *f, om_frame **out)
{
    if (p->level == OM_PREP_SIMPLE) {
        *out = om_frame_ref(f);
        return OM_OK;
    }
    int err = crop(f, out);
    if (!err && p->level == OM_PREP_COMPLEX) err = complicate(p, &(*out)->image);
    if (err) {
        om_frame_unref(*out);
        *out = NULL;
    }
    return err;
}

void om_preparer_fini(om_preparer *p)
{
    om_free(p->work);
    p->work = NULL;
    p->cap = 0;
}
