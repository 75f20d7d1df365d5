#include "media/hwaccel.h"

/* FFmpeg's header asks for CUDA's unless told its version; the two types it needs only pass through here. */
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
#define CUDA_VERSION 0
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_cuda.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/media.h"

struct om_hwaccel {
    om_device *device;
    om_stream *stream; /* the device's own, in which decoders write pictures */
    AVBufferRef *ref;  /* of an AVHWDeviceContext */
    atomic_ullong declined;
};

int om_hwaccel_create(om_device *d, om_hwaccel **out)
{
    void *context, *stream;
    *out = NULL;
    int rc = om_device_native(d, &context, &stream);
    if (rc != OM_OK) return rc;
    om_hwaccel *h = om_calloc(1, sizeof *h);
    if (!h) return OM_ERR_NOMEM;
    h->device = d;
    h->stream = stream;
    h->ref = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA);
    if (!h->ref) {
        rc = om_fail(OM_ERR_UNSUPPORTED, "this FFmpeg has no CUDA");
        goto fail;
    }
    AVHWDeviceContext *dev = (AVHWDeviceContext *)(void *)h->ref->data;
    AVCUDADeviceContext *cuda = dev->hwctx;
    cuda->cuda_ctx = context;
    cuda->stream = stream;
    dev->user_opaque = h;
    rc = av_hwdevice_ctx_init(h->ref);
    if (rc < 0) {
        rc = om_fail_av(rc, "FFmpeg's CUDA");
        goto fail;
    }
    *out = h;
    return OM_OK;
fail:
    om_hwaccel_destroy(h);
    return rc;
}

void om_hwaccel_destroy(om_hwaccel *h)
{
    if (!h) return;
    av_buffer_unref(&h->ref);
    om_free(h);
}

uint64_t om_hwaccel_declined(const om_hwaccel *h) { return atomic_load(&h->declined); }

om_device *om_hwaccel_device(const om_hwaccel *h) { return h->device; }

const om_hwaccel *om_hwaccel_of(const AVFrame *av)
{
    const AVHWFramesContext *frames = (const AVHWFramesContext *)(void *)av->hw_frames_ctx->data;
    return frames->device_ctx->user_opaque;
}

static bool speeds_up(const AVCodec *codec)
{
    const AVCodecHWConfig *config;
    for (int i = 0; (config = avcodec_get_hw_config(codec, i)); i++)
        if (config->pix_fmt == AV_PIX_FMT_CUDA && (config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX))
            return true;
    return false;
}

/* FFmpeg's own decoder with an accelerator in it, never NVIDIA's wrapped as a decoder: that one has its own
 * way with surfaces and damaged streams. */
const AVCodec *om_hwaccel_codec(const om_hwaccel *h, enum AVCodecID id)
{
    const AVCodec *codec;
    /* On an H200 that had other work too, some pictures of MJPEG came out as something else altogether. */
    if (id == AV_CODEC_ID_MJPEG) return NULL;
    for (void *at = NULL; (codec = av_codec_iterate(&at));)
        if (codec->id == id && av_codec_is_decoder(codec) && !codec->wrapper_name && speeds_up(codec))
            return codec;
    return NULL;
}

/* The buffers of FFmpeg's pool stay empty: the pictures lie in the decoder's surfaces. */
static AVBufferRef *no_buffer(size_t size) { return av_buffer_create(NULL, 0, NULL, NULL, 0); }

/* What the surfaces of a decoder count for, from before they are made until the last picture is gone. */
typedef struct claim {
    om_device *device;
    size_t bytes;
} claim;

static void free_pool(AVHWFramesContext *frames)
{
    claim *c = frames->user_opaque;
    av_buffer_pool_uninit(&frames->pool);
    if (c) om_device_mem_release(c->device, OM_PURPOSE_SURFACES, c->bytes);
    om_free(c);
}

/* OM_ERR_NOMEM: they are too much. */
static int claim_surfaces(const om_hwaccel *h, AVHWFramesContext *frames)
{
    int one = av_image_get_buffer_size(frames->sw_format, frames->width, frames->height, 1);
    if (one < 0) return OM_ERR_UNSUPPORTED;
    claim *c = om_alloc(sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    /* As many again for what the decoder hands out: measured, 20 surfaces of 1080p take 111 MB, not 60. */
    *c = (claim){h->device, (size_t)one * (size_t)frames->initial_pool_size * 2};
    int rc = om_device_mem_claim(c->device, OM_PURPOSE_SURFACES, c->bytes);
    if (rc < 0) om_free(c);
    else frames->user_opaque = c;
    return rc;
}

/* As libavcodec would make it, with as many surfaces as are needed and no more: they are the memory a stream
 * costs. */
static int make_frames(om_surfaces *s, AVCodecContext *ctx)
{
    om_hwaccel *h = ((AVHWDeviceContext *)(void *)ctx->hw_device_ctx->data)->user_opaque;
    AVBufferRef *ref = NULL;
    int rc = avcodec_get_hw_frames_parameters(ctx, ctx->hw_device_ctx, AV_PIX_FMT_CUDA, &ref);
    if (rc < 0) return rc;
    AVHWFramesContext *frames = (AVHWFramesContext *)(void *)ref->data;
    int limit = om_surfaces_fit(s, OM_SURFACES_MAX - frames->initial_pool_size);
    if (limit < 1 || om_pixfmt_from_av(frames->sw_format) == OM_PIX_NONE) {
        av_buffer_unref(&ref);
        return AVERROR(ENOSYS);
    }
    frames->initial_pool_size +=
        limit; /* om_surfaces_wait() counts the one that waits inside to be received */
    frames->free = free_pool;
    if (claim_surfaces(h, frames) == OM_ERR_NOMEM) {
        om_surfaces_refuse(s, "the GPU's memory has no room for its surfaces");
        atomic_fetch_add(&h->declined, 1);
        om_log(OM_LOG_DEBUG, "%s", om_error_message());
        av_buffer_unref(&ref);
        return AVERROR(ENOMEM);
    }
    frames->pool = av_buffer_pool_init(0, no_buffer);
    rc = frames->pool ? av_hwframe_ctx_init(ref) : AVERROR(ENOMEM);
    if (rc < 0) {
        av_buffer_unref(&ref);
        return rc;
    }
    ctx->hw_frames_ctx = ref;
    return 0;
}

/* libavcodec asks anew whenever the stream's parameters change, and after a failure without the format that
 * failed. */
static enum AVPixelFormat choose_format(AVCodecContext *ctx, const enum AVPixelFormat *formats)
{
    om_surfaces *s = ctx->opaque;
    for (const enum AVPixelFormat *f = formats; *f != AV_PIX_FMT_NONE; f++)
        if (*f == AV_PIX_FMT_CUDA && make_frames(s, ctx) >= 0) return *f;
    if (!om_surfaces_refused(s))
        om_surfaces_refuse(s, "the GPU has no decoder for this stream: none of its kind, or none is left");
    return AV_PIX_FMT_NONE;
}

int om_hwaccel_attach(om_hwaccel *h, AVCodecContext *ctx, int hold, om_surfaces **out)
{
    *out = NULL;
    om_surfaces *s;
    int rc = om_surfaces_create(h->device, h->stream, hold, &s);
    if (rc != OM_OK) return rc;
    ctx->hw_device_ctx = av_buffer_ref(h->ref);
    if (!ctx->hw_device_ctx) {
        om_surfaces_unref(s);
        return om_fail_nomem("a decoder");
    }
    ctx->opaque = s;
    ctx->get_format = choose_format;
#ifdef AV_HWACCEL_FLAG_UNSAFE_OUTPUT
    /* Since 6.1 FFmpeg copies each picture into the pool's own memory, which has none, unless told that its
     * surfaces are counted. */
    ctx->hwaccel_flags |= AV_HWACCEL_FLAG_UNSAFE_OUTPUT;
#endif
    ctx->thread_count = 1; /* the GPU is what works; threads would only hold more surfaces */
    *out = s;
    return OM_OK;
}

/* Into host memory, by the decoder's stream; the caller waits. */
int om_frame_download(const om_frame *src, om_frame **out)
{
    *out = NULL;
    AVFrame *from = src->native, *to = av_frame_alloc();
    if (!to) return om_fail_nomem("a frame");
    int rc = src->memory != OM_MEMORY_CUDA || !from
                 ? om_fail(OM_ERR_ARG, "a picture that no GPU decoder made cannot be copied from one")
                 : OM_OK;
    if (rc == OM_OK) {
        int av = av_hwframe_transfer_data(to, from, 0);
        if (av >= 0) av = av_frame_copy_props(to, from);
        if (av < 0) rc = om_fail_av(av, "copying a picture from the GPU");
        /* FFmpeg keeps a copy's failure to itself. */
        else if (om_device_is_lost(om_hwaccel_of(from)->device, true))
            rc = om_fail(OM_ERR_DEVICE_LOST, "copying a picture from the GPU: it is lost");
    }
    if (rc == OM_OK) {
        to->crop_left = from->crop_left;
        to->crop_top = from->crop_top;
        rc = om_frame_from_av(to, out);
    }
    av_frame_free(&to);
    if (rc != OM_OK) return rc;
    om_frame_copy_stamps(*out, src);
    return OM_OK;
}
