#include "media/frame_av.h"

#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "media/hwaccel.h"
#include "media/media.h"

/* An om_frame over a decoder's surface. */
typedef struct av_holder {
    om_frame frame;
    AVFrame *av;
    void (*released)(void *arg); /* may be NULL */
    void *released_arg;
} av_holder;

/* A picture as swscale wants it. */
typedef struct sws_side {
    enum AVPixelFormat fmt;
    int width, height, full, matrix;
    const uint8_t *data[4];
    int stride[4];
} sws_side;

static const struct {
    enum AVPixelFormat av;
    om_pixfmt om;
} formats[] = {
    {AV_PIX_FMT_NV12, OM_PIX_NV12},        {AV_PIX_FMT_YUV420P, OM_PIX_I420},
    {AV_PIX_FMT_YUV422P, OM_PIX_I422},     {AV_PIX_FMT_YUV444P, OM_PIX_I444},
    {AV_PIX_FMT_P010LE, OM_PIX_P010},      {AV_PIX_FMT_YUV420P10LE, OM_PIX_I010},
    {AV_PIX_FMT_YUV422P10LE, OM_PIX_I210}, {AV_PIX_FMT_YUV444P10LE, OM_PIX_I410},
    {AV_PIX_FMT_GRAY8, OM_PIX_GRAY8},      {AV_PIX_FMT_RGB24, OM_PIX_RGB24},
    {AV_PIX_FMT_BGR24, OM_PIX_BGR24},
};

/* The JPEG twins say their range in their name. */
static const struct {
    enum AVPixelFormat twin, plain;
} full_range[] = {
    {AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P}, {AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P},
    {AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P}, {AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P},
    {AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

int om_err_from_av(int averror)
{
    switch (averror) {
    case AVERROR_EOF: return OM_ERR_EOF;
    case AVERROR_EXIT: return OM_ERR_CANCELLED;
    case AVERROR_INVALIDDATA: return OM_ERR_FORMAT;
    case AVERROR_PATCHWELCOME:
    case AVERROR_DECODER_NOT_FOUND:
    case AVERROR_DEMUXER_NOT_FOUND:
    case AVERROR_PROTOCOL_NOT_FOUND: return OM_ERR_UNSUPPORTED;
    case AVERROR_HTTP_NOT_FOUND:
    case AVERROR_STREAM_NOT_FOUND: return OM_ERR_NOT_FOUND;
    case AVERROR(ETIMEDOUT): return OM_ERR_TIMEOUT;
    default:
        return AVUNERROR(averror) > 0 && AVUNERROR(averror) < 4096 ? om_err_from_errno(AVUNERROR(averror))
                                                                   : OM_ERR_IO;
    }
}

int om_fail_av(int averror, const char *what)
{
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(averror, words, sizeof words);
    return om_fail(om_err_from_av(averror), "%s: %s", what, words);
}

static enum AVPixelFormat plain_format(enum AVPixelFormat fmt)
{
    for (size_t i = 0; i < COUNT(full_range); i++)
        if (full_range[i].twin == fmt) return full_range[i].plain;
    return fmt;
}

om_pixfmt om_pixfmt_from_av(enum AVPixelFormat fmt)
{
    fmt = plain_format(fmt);
    for (size_t i = 0; i < COUNT(formats); i++)
        if (formats[i].av == fmt) return formats[i].om;
    return OM_PIX_NONE;
}

enum AVPixelFormat om_pixfmt_to_av(om_pixfmt fmt)
{
    for (size_t i = 0; i < COUNT(formats); i++)
        if (formats[i].om == fmt) return formats[i].av;
    return AV_PIX_FMT_NONE;
}

/* What a surface on a GPU holds, or the picture's own format. */
static enum AVPixelFormat memory_format(const AVFrame *av)
{
    if (av->format != AV_PIX_FMT_CUDA || !av->hw_frames_ctx) return av->format;
    return ((const AVHWFramesContext *)(const void *)av->hw_frames_ctx->data)->sw_format;
}

static om_range range_of(const AVFrame *av)
{
    if (av->color_range == AVCOL_RANGE_JPEG || plain_format(av->format) != av->format) return OM_RANGE_FULL;
    if (av->color_range == AVCOL_RANGE_MPEG) return OM_RANGE_LIMITED;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(memory_format(av));
    bool gray_or_rgb = desc && (desc->nb_components < 3 || (desc->flags & AV_PIX_FMT_FLAG_RGB));
    return gray_or_rgb ? OM_RANGE_FULL : OM_RANGE_LIMITED;
}

static om_matrix matrix_of(const AVFrame *av)
{
    switch (av->colorspace) {
    case AVCOL_SPC_BT709: return OM_MATRIX_BT709;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_FCC: return OM_MATRIX_BT601;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: return OM_MATRIX_BT2020;
    default: return av->height < 720 ? OM_MATRIX_BT601 : OM_MATRIX_BT709;
    }
}

static int sws_matrix(om_matrix m)
{
    static const int codes[] = {[OM_MATRIX_BT601] = SWS_CS_ITU601,
                                [OM_MATRIX_BT709] = SWS_CS_ITU709,
                                [OM_MATRIX_BT2020] = SWS_CS_BT2020};
    return codes[m];
}

static int scale(const sws_side *src, const sws_side *dst, struct SwsContext **scaler)
{
    struct SwsContext *sws =
        sws_getCachedContext(*scaler, src->width, src->height, src->fmt, dst->width, dst->height, dst->fmt,
                             SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    *scaler = sws;
    if (!sws)
        return om_fail(OM_ERR_UNSUPPORTED, "no conversion from pixel format %s to %s",
                       av_get_pix_fmt_name(src->fmt), av_get_pix_fmt_name(dst->fmt));
    sws_setColorspaceDetails(sws, sws_getCoefficients(src->matrix), src->full,
                             sws_getCoefficients(dst->matrix), dst->full, 0, 1 << 16, 1 << 16);
    int rows =
        sws_scale(sws, src->data, src->stride, 0, src->height, (uint8_t *const *)dst->data, dst->stride);
    return rows < 0 ? om_fail_av(rows, "converting a picture") : OM_OK;
}

static sws_side side_of(const om_image *img)
{
    sws_side s = {om_pixfmt_to_av(img->fmt), img->width, img->height, img->range == OM_RANGE_FULL,
                  sws_matrix(img->matrix),   {0},        {0}};
    for (int i = 0; i < om_pixfmt_get(img->fmt)->planes; i++) {
        s.data[i] = img->plane[i];
        s.stride[i] = img->stride[i];
    }
    return s;
}

int om_image_convert(const om_image *src, const om_image *dst, struct SwsContext **scaler)
{
    sws_side from = side_of(src), to = side_of(dst);
    return scale(&from, &to, scaler);
}

/* The nearest of our formats for one we do not know. */
static om_pixfmt nearest_format(enum AVPixelFormat fmt)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(fmt);
    if (!desc || (desc->flags & AV_PIX_FMT_FLAG_HWACCEL) || !sws_isSupportedInput(fmt)) return OM_PIX_NONE;
    if (desc->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) return OM_PIX_RGB24;
    return desc->nb_components < 3 ? OM_PIX_GRAY8 : OM_PIX_I420;
}

static int convert_av(const AVFrame *av, struct SwsContext **scaler, om_frame **out)
{
    om_pixfmt fmt = nearest_format(av->format);
    if (fmt == OM_PIX_NONE) {
        const char *name = av_get_pix_fmt_name(av->format);
        return om_fail(OM_ERR_UNSUPPORTED, "pixel format %s is not supported", name ? name : "(unknown)");
    }
    om_frame *f = NULL;
    int rc = om_frame_create(fmt, av->width, av->height, &f);
    if (rc != OM_OK) return rc;
    f->image.range = range_of(av);
    f->image.matrix = matrix_of(av);
    sws_side from = {plain_format(av->format),    av->width, av->height, f->image.range == OM_RANGE_FULL,
                     sws_matrix(f->image.matrix), {0},       {0}};
    for (int i = 0; i < 4; i++) {
        from.data[i] = av->data[i];
        from.stride[i] = av->linesize[i];
    }
    sws_side to = side_of(&f->image);
    rc = scale(&from, &to, scaler);
    if (rc != OM_OK) {
        om_frame_unref(f);
        return rc;
    }
    *out = f;
    return OM_OK;
}

static void release_holder(om_frame *f)
{
    av_holder *h = f->owner;
    av_frame_free(&h->av);
    if (h->released) h->released(h->released_arg);
    om_free(h);
}

void om_frame_on_release(om_frame *f, void (*fn)(void *), void *arg)
{
    av_holder *h = f->owner;
    h->released = fn;
    h->released_arg = arg;
}

/* What lies in host memory was cut by the decoder; of a surface it only cuts the right and the bottom. */
static void cut_left_top(om_image *img, const AVFrame *av)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    int left = (int)av->crop_left & ~1, top = (int)av->crop_top & ~1;
    if (left >= img->width || top >= img->height) return;
    img->width -= left;
    img->height -= top;
    for (int i = 0; i < info->planes; i++) {
        int bytes, rows;
        om_pixfmt_plane_size(img->fmt, i, left, top, &bytes, &rows);
        img->plane[i] += (ptrdiff_t)rows * img->stride[i] + bytes;
    }
}

static int hold_av(AVFrame *av, om_pixfmt fmt, om_frame **out)
{
    av_holder *h = om_calloc(1, sizeof *h);
    if (!h) return OM_ERR_NOMEM;
    h->av = av_frame_alloc();
    if (!h->av) {
        om_free(h);
        return om_fail_nomem("a frame");
    }
    om_frame *f = &h->frame;
    om_ref_init(&f->ref);
    f->image = (om_image){
        .fmt = fmt, .range = range_of(av), .matrix = matrix_of(av), .width = av->width, .height = av->height};
    for (int i = 0; i < om_pixfmt_get(fmt)->planes; i++) {
        f->image.plane[i] = av->data[i];
        f->image.stride[i] = av->linesize[i];
    }
    cut_left_top(&f->image, av);
    f->memory = OM_MEMORY_HOST;
    if (av->format == AV_PIX_FMT_CUDA) {
        f->memory = OM_MEMORY_CUDA;
        f->device = om_hwaccel_device(om_hwaccel_of(av))->index;
    }
    f->release = release_holder;
    f->owner = h;
    f->native = h->av;
    av_frame_move_ref(h->av, av);
    *out = f;
    return OM_OK;
}

int om_frame_wrap_av(AVFrame *av, struct SwsContext **scaler, om_frame **out)
{
    *out = NULL;
    if (av->width <= 0 || av->height <= 0) return om_fail(OM_ERR_FORMAT, "a picture without a size");
    bool key = av->key_frame;
    om_pixfmt fmt = om_pixfmt_from_av(memory_format(av));
    int rc = fmt != OM_PIX_NONE ? hold_av(av, fmt, out) : convert_av(av, scaler, out);
    if (rc != OM_OK) return rc;
    if (fmt == OM_PIX_NONE) av_frame_unref(av);
    (*out)->key = key;
    return OM_OK;
}

int om_frame_from_av(void *avframe, om_frame **out)
{
    struct SwsContext *scaler = NULL;
    int rc = om_frame_wrap_av(avframe, &scaler, out);
    sws_freeContext(scaler);
    return rc;
}

void om_frame_copy_stamps(om_frame *to, const om_frame *from)
{
    to->seq = from->seq;
    to->packet = from->packet;
    to->pts_ns = from->pts_ns;
    to->wall_us = from->wall_us;
    to->due_ns = from->due_ns;
    to->key = from->key;
}

static void copy_planes(const om_image *src, const om_image *dst)
{
    for (int i = 0; i < om_pixfmt_get(src->fmt)->planes; i++) {
        int bytes, rows;
        om_pixfmt_plane_size(src->fmt, i, src->width, src->height, &bytes, &rows);
        for (int y = 0; y < rows; y++)
            memcpy(dst->plane[i] + (ptrdiff_t)y * dst->stride[i],
                   src->plane[i] + (ptrdiff_t)y * src->stride[i], (size_t)bytes);
    }
}

/* The copy that came from the GPU is nobody else's. */
static int download_drawable(const om_frame *src, om_frame **out)
{
    om_frame *f;
    int rc = om_frame_download(src, &f);
    if (rc != OM_OK) return rc;
    if (f->image.fmt == OM_PIX_NV12) {
        *out = f;
        return OM_OK;
    }
    rc = om_frame_copy_drawable(f, out);
    om_frame_unref(f);
    return rc;
}

int om_frame_copy_drawable(const om_frame *src, om_frame **out)
{
    *out = NULL;
    if (src->memory != OM_MEMORY_HOST) return download_drawable(src, out);
    const om_image *img = &src->image;
    bool as_is = img->fmt == OM_PIX_NV12 || img->fmt == OM_PIX_I420;
    om_frame *f = NULL;
    int rc = om_frame_create(as_is ? img->fmt : OM_PIX_I420, img->width, img->height, &f);
    if (rc != OM_OK) return rc;
    om_frame_copy_stamps(f, src);
    f->image.range = om_pixfmt_get(img->fmt)->yuv ? img->range : OM_RANGE_LIMITED;
    f->image.matrix = img->matrix;
    if (as_is) {
        copy_planes(img, &f->image);
    } else {
        struct SwsContext *scaler = NULL;
        rc = om_image_convert(img, &f->image, &scaler);
        sws_freeContext(scaler);
    }
    if (rc != OM_OK) {
        om_frame_unref(f);
        return rc;
    }
    *out = f;
    return OM_OK;
}
