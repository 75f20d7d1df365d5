#include "worker/picture_encode.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <turbojpeg.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/kernel.h"
#include "media/frame_av.h"
#include "worker/jfif.h"

struct om_picture_encoder {
    om_picture_format format;
    int quality;
    /* JPEG */
    tjhandle jpeg;
    unsigned char *bytes;
    unsigned long room;
    om_jfif planes;
    /* the others: FFmpeg's, for pictures of one size */
    AVCodecContext *ctx;
    AVFrame *av;
    AVPacket *pkt;
    /* what a picture is converted to where the encoder does not take it as it is */
    om_frame *converted;
    struct SwsContext *scaler;
    uint8_t *rgb; /* owned; the same for PNG, row by row without gaps */
    size_t rgb_cap;
};

const om_choice om_picture_format_choices[] = {{"jpg", OM_PICTURE_JPG, NULL},
                                               {"png", OM_PICTURE_PNG, NULL},
                                               {"webp", OM_PICTURE_WEBP, NULL},
                                               {NULL, 0, NULL}};

const char *om_picture_format_name(om_picture_format f) { return om_picture_format_choices[f].name; }

static const AVCodec *find_codec(om_picture_format f)
{
    if (f == OM_PICTURE_PNG) return avcodec_find_encoder(AV_CODEC_ID_PNG);
    return avcodec_find_encoder_by_name("libwebp");
}

int om_picture_encoder_create(om_picture_format format, int quality, om_picture_encoder **out)
{
    *out = NULL;
    om_picture_encoder *e = om_calloc(1, sizeof *e);
    if (!e) return OM_ERR_NOMEM;
    e->format = format;
    e->quality = quality < 1 ? 1 : quality > 100 ? 100 : quality;
    int err = OM_OK;
    if (format == OM_PICTURE_JPG) {
        e->jpeg = tjInitCompress();
        if (!e->jpeg) err = om_fail_nomem("a JPEG encoder");
    } else {
        e->av = av_frame_alloc();
        e->pkt = av_packet_alloc();
        if (!e->av || !e->pkt) err = om_fail_nomem("a picture encoder");
        else if (!find_codec(format))
            err = om_fail(OM_ERR_UNSUPPORTED, "this FFmpeg writes no %s pictures",
                          om_picture_format_name(format));
    }
    if (err) {
        om_picture_encoder_destroy(e);
        return err;
    }
    *out = e;
    return OM_OK;
}

void om_picture_encoder_destroy(om_picture_encoder *e)
{
    if (!e) return;
    if (e->jpeg) tjDestroy(e->jpeg);
    tjFree(e->bytes);
    om_jfif_fini(&e->planes);
    avcodec_free_context(&e->ctx);
    av_frame_free(&e->av);
    av_packet_free(&e->pkt);
    om_frame_unref(e->converted);
    sws_freeContext(e->scaler);
    om_free(e->rgb);
    om_free(e);
}

static int convert(om_picture_encoder *e, const om_image *img, om_pixfmt fmt, om_range range, om_image *out)
{
    const om_image *has = e->converted ? &e->converted->image : NULL;
    if (!has || has->fmt != fmt || has->width != img->width || has->height != img->height) {
        om_frame_unref(e->converted);
        e->converted = NULL;
        int err = om_frame_create(fmt, img->width, img->height, &e->converted);
        if (err) return err;
    }
    e->converted->image.range = range;
    e->converted->image.matrix = OM_MATRIX_BT601;
    *out = e->converted->image;
    return om_image_convert(img, out, &e->scaler);
}

/* The kernels' own conversion is several times faster than swscale's; formats that they do not know go there.
 */
static int to_rgb(om_picture_encoder *e, const om_image *img, om_image *out)
{
    om_prep prep = {.layout = OM_LAYOUT_NHWC, .channels = OM_CHANNELS_RGB, .dtype = OM_DTYPE_U8};
    om_geometry g;
    size_t row = (size_t)img->width * 3;
    void *memory = e->rgb;
    int err = om_grow(&memory, &e->rgb_cap, row * (size_t)img->height, 1);
    e->rgb = memory;
    if (err) return err;
    om_geometry_fit(OM_FIT_STRETCH, img->width, img->height, img->width, img->height, &g);
    err = om_kernels_get()->letterbox(img, &g, &prep, e->rgb);
    if (err == OM_ERR_UNSUPPORTED) return convert(e, img, OM_PIX_RGB24, OM_RANGE_FULL, out);
    if (err) return err;
    *out = (om_image){.fmt = OM_PIX_RGB24, .width = img->width, .height = img->height};
    out->plane[0] = e->rgb;
    out->stride[0] = (int)row;
    return OM_OK;
}

static int subsampling(const om_jfif *j)
{
    if (j->planes == 1) return TJSAMP_GRAY;
    return !j->shift_x ? TJSAMP_444 : j->shift_y ? TJSAMP_420 : TJSAMP_422;
}

static int encode_jpeg(om_picture_encoder *e, const om_image *img, const uint8_t **data, size_t *size)
{
    om_image rgb = *img;
    unsigned long n = e->room;
    bool planar = om_jfif_knows(img->fmt), packed = img->fmt == OM_PIX_RGB24 || img->fmt == OM_PIX_BGR24;
    int err = planar ? om_jfif_convert(&e->planes, img) : packed ? OM_OK : to_rgb(e, img, &rgb), bad;
    if (err) return err;
    if (planar)
        bad = tjCompressFromYUVPlanes(e->jpeg, (const unsigned char **)e->planes.plane, img->width,
                                      e->planes.stride, img->height, subsampling(&e->planes), &e->bytes, &n,
                                      e->quality, 0);
    else
        bad = tjCompress2(e->jpeg, rgb.plane[0], img->width, rgb.stride[0], img->height,
                          rgb.fmt == OM_PIX_RGB24 ? TJPF_RGB : TJPF_BGR, &e->bytes, &n, TJSAMP_420,
                          e->quality, 0);
    if (bad) return om_fail(OM_ERR_FORMAT, "JPEG: %s", tjGetErrorStr2(e->jpeg));
    if (n > e->room) e->room = n;
    *data = e->bytes;
    *size = n;
    return OM_OK;
}

/* An encoder for pictures of this size; one of FFmpeg's has one size for life. */
static int open_codec(om_picture_encoder *e, int width, int height)
{
    if (e->ctx && e->ctx->width == width && e->ctx->height == height) return OM_OK;
    avcodec_free_context(&e->ctx);
    const AVCodec *codec = find_codec(e->format);
    AVCodecContext *ctx = e->ctx = avcodec_alloc_context3(codec);
    if (!ctx) return om_fail_nomem("a picture encoder");
    ctx->width = width;
    ctx->height = height;
    ctx->time_base = (AVRational){1, 25};
    ctx->pix_fmt = e->format == OM_PICTURE_PNG ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_YUV420P;
    ctx->color_range = e->format == OM_PICTURE_PNG ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    ctx->thread_count = 1;
    if (e->format == OM_PICTURE_WEBP) av_opt_set_double(ctx->priv_data, "quality", e->quality, 0);
    if (e->format ==
        OM_PICTURE_PNG) { /* smaller and sooner than level 6 without prediction, FFmpeg's own choice */
        ctx->compression_level = 4;
        av_opt_set(ctx->priv_data, "pred", "up", 0);
    }
    int rc = avcodec_open2(ctx, codec, NULL);
    if (rc >= 0) return OM_OK;
    avcodec_free_context(&e->ctx);
    return om_fail_av(rc, om_picture_format_name(e->format));
}

/* A picture as the encoder takes it. */
static int prepare(om_picture_encoder *e, const om_image *img, om_image *out)
{
    *out = *img;
    if (e->format == OM_PICTURE_PNG) return img->fmt == OM_PIX_RGB24 ? OM_OK : to_rgb(e, img, out);
    bool meant = img->fmt == OM_PIX_I420 && img->range == OM_RANGE_LIMITED && img->matrix == OM_MATRIX_BT601;
    return meant ? OM_OK : convert(e, img, OM_PIX_I420, OM_RANGE_LIMITED, out);
}

static int encode_av(om_picture_encoder *e, const om_image *img, const uint8_t **data, size_t *size)
{
    om_image ready;
    int err = open_codec(e, img->width, img->height);
    if (!err) err = prepare(e, img, &ready);
    if (err) return err;
    e->av->width = img->width;
    e->av->height = img->height;
    e->av->format = e->ctx->pix_fmt;
    for (int i = 0; i < om_pixfmt_get(ready.fmt)->planes; i++) {
        e->av->data[i] = ready.plane[i];
        e->av->linesize[i] = ready.stride[i];
    }
    av_packet_unref(e->pkt);
    int rc = avcodec_send_frame(e->ctx, e->av);
    if (rc >= 0) rc = avcodec_receive_packet(e->ctx, e->pkt);
    if (rc < 0) return om_fail_av(rc, om_picture_format_name(e->format));
    *data = e->pkt->data;
    *size = (size_t)e->pkt->size;
    return OM_OK;
}

int om_picture_encode(om_picture_encoder *e, const om_image *img, const uint8_t **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    if (!om_pixfmt_get(img->fmt)->planes || img->width < 1 || img->height < 1)
        return om_fail(OM_ERR_UNSUPPORTED, "a picture of %dx%d in format %s cannot be written", img->width,
                       img->height, om_pixfmt_get(img->fmt)->name);
    return e->format == OM_PICTURE_JPG ? encode_jpeg(e, img, data, size) : encode_av(e, img, data, size);
}
