#include "device/thumbnail.h"

#include <math.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/shrink.h"
#include "kernel/color.h"

/* A small picture on its way: three planes as numbers, then as bytes. */
typedef struct small {
    int width, height;
    bool gray, subsampled;
    int chroma_width, chroma_height;
    float *plane[3];
    uint8_t *bytes[3];
    void *memory;
} small;

static int even(double v) { return v < 2 ? 2 : (int)(v / 2 + 0.5) * 2; }

/* Even sides, since that is what chroma at half size wants. */
static void fit(const om_image *img, int width, int height, small *s)
{
    double scale = fmin(1, fmin((double)width / img->width, (double)height / img->height));
    s->width = even(img->width * scale);
    s->height = even(img->height * scale);
    if (s->width > width && width >= 2) s->width = width & ~1;
    if (s->height > height && height >= 2) s->height = height & ~1;
}

static int allocate(const om_image *img, small *s)
{
    s->gray = img->fmt == OM_PIX_GRAY8;
    s->subsampled = om_pixfmt_get(img->fmt)->yuv;
    s->chroma_width = s->subsampled ? s->width / 2 : s->width;
    s->chroma_height = s->subsampled ? s->height / 2 : s->height;
    size_t luma = (size_t)s->width * (size_t)s->height,
           chroma = (size_t)s->chroma_width * (size_t)s->chroma_height;
    s->memory = om_alloc((luma + 2 * chroma) * (sizeof(float) + 1));
    if (!s->memory) return OM_ERR_NOMEM;
    s->plane[0] = s->memory;
    s->plane[1] = s->plane[0] + luma;
    s->plane[2] = s->plane[1] + chroma;
    s->bytes[0] = (uint8_t *)(s->plane[2] + chroma);
    s->bytes[1] = s->bytes[0] + luma;
    s->bytes[2] = s->bytes[1] + chroma;
    return OM_OK;
}

/* Channel c of the picture: luma or the first colour, then the others. */
static om_samples channel_of(const om_image *img, int c)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    bool packed = !info->yuv, chroma = info->yuv && c > 0;
    int plane = packed ? 0 : info->chroma_interleaved && chroma ? 1 : c;
    om_samples s = {.data = img->plane[plane], .stride = img->stride[plane], .bytes = info->sample_bytes};
    int sx = chroma ? info->chroma_shift_x : 0, sy = chroma ? info->chroma_shift_y : 0;
    s.width = (img->width + (1 << sx) - 1) >> sx;
    s.height = (img->height + (1 << sy) - 1) >> sy;
    s.channels = packed ? 3 : info->chroma_interleaved && chroma ? 2 : 1;
    if (packed) s.data += img->fmt == OM_PIX_BGR24 ? 2 - c : c;
    else if (info->chroma_interleaved && c == 2) s.data += info->sample_bytes;
    return s;
}

static int shrink(const om_image *img, small *s)
{
    float *work = om_alloc((size_t)img->width * sizeof *work);
    if (!work) return OM_ERR_NOMEM;
    for (int c = 0; c < (s->gray ? 1 : 3); c++) {
        om_samples from = channel_of(img, c);
        om_samples_shrink(&from, c ? s->chroma_width : s->width, c ? s->chroma_height : s->height, work,
                          s->plane[c]);
    }
    om_free(work);
    return OM_OK;
}

static uint8_t to_byte(double v) { return (uint8_t)(v > 0 ? (v < 255 ? v + 0.5 : 255) : 0); }

static void recolour(const om_image *img, small *s)
{
    double m[3][4];
    om_color_to_jfif(img, m);
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            size_t at = (size_t)y * (size_t)s->width + (size_t)x,
                   chroma = (size_t)(y / 2) * (size_t)s->chroma_width + (size_t)(x / 2);
            double v = m[0][0] * (double)s->plane[0][at] + m[0][3];
            if (!s->gray) v += m[0][1] * (double)s->plane[1][chroma] + m[0][2] * (double)s->plane[2][chroma];
            s->bytes[0][at] = to_byte(v);
        }
    /* The weights of luma in chroma are none but for rounding. */
    for (int c = 1; c < (s->gray ? 0 : 3); c++)
        for (size_t i = 0; i < (size_t)s->chroma_width * (size_t)s->chroma_height; i++)
            s->bytes[c][i] =
                to_byte(m[c][1] * (double)s->plane[1][i] + m[c][2] * (double)s->plane[2][i] + m[c][3]);
}

/* Red, green and blue side by side. */
static void interleave(small *s)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) s->bytes[0][3 * i + (size_t)c] = to_byte((double)s->plane[c][i]);
}

static int compress(tjhandle jpeg, const small *s, int quality, unsigned char **out, unsigned long *n)
{
    const unsigned char *planes[3] = {s->bytes[0], s->bytes[1], s->bytes[2]};
    int strides[3] = {s->width, s->chroma_width, s->chroma_width};
    if (s->subsampled)
        return tjCompressFromYUVPlanes(jpeg, planes, s->width, strides, s->height,
                                       s->gray ? TJSAMP_GRAY : TJSAMP_420, out, n, quality, 0);
    return tjCompress2(jpeg, planes[0], s->width, 3 * s->width, s->height, TJPF_RGB, out, n, TJSAMP_420,
                       quality, 0);
}

static int encode(const small *s, int quality, uint8_t **data, size_t *size)
{
    unsigned char *out = NULL;
    unsigned long n = 0;
    tjhandle jpeg = tjInitCompress();
    if (!jpeg) return om_fail_nomem("a JPEG encoder");
    int rc = OM_OK;
    if (compress(jpeg, s, quality, &out, &n) != 0)
        rc = om_fail(OM_ERR_FORMAT, "thumbnail: %s", tjGetErrorStr2(jpeg));
    else if (!(*data = om_alloc(n))) rc = OM_ERR_NOMEM;
    else {
        memcpy(*data, out, n);
        *size = n;
    }
    tjFree(out);
    tjDestroy(jpeg);
    return rc;
}

int om_thumbnail_make(const om_image *img, int width, int height, int quality, uint8_t **data, size_t *size)
{
    small s = {0};
    if (!om_pixfmt_get(img->fmt)->planes || img->width < 1 || img->height < 1)
        return om_fail(OM_ERR_UNSUPPORTED, "thumbnail: a picture of %dx%d in format %s", img->width,
                       img->height, om_pixfmt_get(img->fmt)->name);
    fit(img, width, height, &s);
    int rc = allocate(img, &s);
    if (rc == OM_OK) rc = shrink(img, &s);
    if (rc == OM_OK) {
        if (s.subsampled) recolour(img, &s);
        else interleave(&s);
        rc = encode(&s, quality, data, size);
    }
    om_free(s.memory);
    return rc;
}
