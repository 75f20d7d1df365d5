#include <errno.h>
#include <glob.h>
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/media.h"
#include "media/source_ops.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)
#define MAX_PIXELS (1 << 28)

/* What a file is, by its first bytes. */
static const struct {
    const char *bytes;
    size_t n, at;
    enum AVCodecID codec;
} magics[] = {
    {"\xff\xd8\xff", 3, 0, AV_CODEC_ID_MJPEG},
    {"\x89PNG\r\n\x1a\n", 8, 0, AV_CODEC_ID_PNG},
    {"WEBP", 4, 8, AV_CODEC_ID_WEBP},
    {"BM", 2, 0, AV_CODEC_ID_BMP},
    {"II*\0", 4, 0, AV_CODEC_ID_TIFF},
    {"MM\0*", 4, 0, AV_CODEC_ID_TIFF},
    {"P6", 2, 0, AV_CODEC_ID_PPM},
    {"P5", 2, 0, AV_CODEC_ID_PGM},
    {"P3", 2, 0, AV_CODEC_ID_PPM},
    {"P2", 2, 0, AV_CODEC_ID_PGM},
};

static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".bmp", ".webp",
                                       ".tif", ".tiff", ".ppm", ".pgm"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcasecmp(path + n - m, suffix) == 0;
}

bool om_picture_suffix(const char *path)
{
    for (size_t i = 0; i < COUNT(suffixes); i++)
        if (has_suffix(path, suffixes[i])) return true;
    return false;
}

bool om_is_folder_or_glob(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0) return S_ISDIR(st.st_mode);
    return strpbrk(path, "*?[") != NULL;
}

static enum AVCodecID codec_of(const char *data, size_t len)
{
    for (size_t i = 0; i < COUNT(magics); i++)
        if (len >= magics[i].at + magics[i].n &&
            memcmp(data + magics[i].at, magics[i].bytes, magics[i].n) == 0)
            return magics[i].codec;
    return AV_CODEC_ID_NONE;
}

static int open_codec(enum AVCodecID id, AVCodecContext **out)
{
    const AVCodec *codec = avcodec_find_decoder(id);
    if (!codec) return om_fail(OM_ERR_UNSUPPORTED, "no decoder for %s in this FFmpeg", avcodec_get_name(id));
    AVCodecContext *ctx = avcodec_alloc_context3(codec);
    if (!ctx) return om_fail_nomem("a decoder");
    ctx->thread_count = 1;
    ctx->max_pixels = MAX_PIXELS;
    int rc = avcodec_open2(ctx, codec, NULL);
    if (rc < 0) {
        avcodec_free_context(&ctx);
        return om_fail_av(rc, "decoder");
    }
    *out = ctx;
    return OM_OK;
}

static int decode_one(AVCodecContext *ctx, const char *data, size_t len, AVFrame *frame)
{
    AVPacket *pkt = av_packet_alloc();
    if (!pkt || av_new_packet(pkt, (int)len) < 0) {
        av_packet_free(&pkt);
        return om_fail_nomem("a picture");
    }
    memcpy(pkt->data, data, len);
    int rc = avcodec_send_packet(ctx, pkt);
    if (rc >= 0) rc = avcodec_send_packet(ctx, NULL);
    if (rc >= 0) rc = avcodec_receive_frame(ctx, frame);
    av_packet_free(&pkt);
    if (rc == AVERROR(ENOMEM)) return om_fail_nomem("a picture");
    bool damaged = rc >= 0 && ((frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags);
    return rc < 0 || damaged ? om_fail(OM_ERR_FORMAT, "the picture is damaged") : OM_OK;
}

static int decode_bytes(const char *data, size_t len, om_frame **out)
{
    enum AVCodecID id = codec_of(data, len);
    if (len == 0) return om_fail(OM_ERR_FORMAT, "empty file");
    if (id == AV_CODEC_ID_NONE)
        return om_fail(OM_ERR_FORMAT, "not a picture: expected JPEG, PNG, BMP, WebP, TIFF or PPM");
    AVCodecContext *ctx = NULL;
    int rc = open_codec(id, &ctx);
    if (rc != OM_OK) return rc;
    AVFrame *frame = av_frame_alloc();
    rc = frame ? decode_one(ctx, data, len, frame) : om_fail_nomem("a picture");
    if (rc == OM_OK) rc = om_frame_from_av(frame, out);
    av_frame_free(&frame);
    avcodec_free_context(&ctx);
    return rc;
}

int om_picture_load(const char *path, om_frame **out)
{
    *out = NULL;
    char *data = NULL;
    size_t len = 0;
    int rc = om_read_file(path, MAX_FILE_BYTES, &data, &len);
    if (rc != OM_OK) return rc;
    rc = decode_bytes(data, len, out);
    om_free(data);
    if (rc != OM_OK) return om_fail_prefix(rc, "%s", path);
    (*out)->key = true;
    return OM_OK;
}

static int encode_frame(AVCodecContext *ctx, const AVFrame *frame, const char *path)
{
    AVPacket *pkt = av_packet_alloc();
    if (!pkt) return om_fail_nomem("a picture");
    int rc = avcodec_send_frame(ctx, frame);
    if (rc >= 0) rc = avcodec_receive_packet(ctx, pkt);
    rc = rc < 0 ? om_fail_av(rc, path) : om_write_file_atomic(path, pkt->data, (size_t)pkt->size);
    av_packet_free(&pkt);
    return rc;
}

/* A picture in the encoder's format, with its own planes. */
static int to_encoder_format(const om_image *img, bool jpeg, om_frame **out)
{
    int rc = om_frame_create(jpeg ? OM_PIX_I420 : OM_PIX_RGB24, img->width, img->height, out);
    if (rc != OM_OK) return rc;
    (*out)->image.range = OM_RANGE_FULL;
    (*out)->image.matrix = OM_MATRIX_BT601; /* what JFIF means */
    struct SwsContext *scaler = NULL;
    rc = om_image_convert(img, &(*out)->image, &scaler);
    sws_freeContext(scaler);
    return rc;
}

static int open_picture_encoder(const om_image *img, bool jpeg, int quality, AVCodecContext **out)
{
    const AVCodec *codec = avcodec_find_encoder(jpeg ? AV_CODEC_ID_MJPEG : AV_CODEC_ID_PNG);
    if (!codec) return om_fail(OM_ERR_UNSUPPORTED, "no %s encoder in this FFmpeg", jpeg ? "JPEG" : "PNG");
    AVCodecContext *ctx = avcodec_alloc_context3(codec);
    if (!ctx) return om_fail_nomem("an encoder");
    ctx->width = img->width;
    ctx->height = img->height;
    ctx->time_base = (AVRational){1, 25};
    ctx->pix_fmt = jpeg ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_RGB24;
    ctx->color_range = AVCOL_RANGE_JPEG;
    ctx->thread_count = 1;
    int q = quality < 1 ? 1 : quality > 100 ? 100 : quality;
    ctx->flags |= AV_CODEC_FLAG_QSCALE;
    ctx->global_quality = FF_QP2LAMBDA * (1 + (100 - q) * 30 / 99);
    int rc = avcodec_open2(ctx, codec, NULL);
    if (rc < 0) {
        avcodec_free_context(&ctx);
        return om_fail_av(rc, "encoder");
    }
    *out = ctx;
    return OM_OK;
}

static bool is_jpeg(const char *path) { return has_suffix(path, ".jpg") || has_suffix(path, ".jpeg"); }

int om_picture_check(const char *path)
{
    if (is_jpeg(path) || has_suffix(path, ".png")) return OM_OK;
    return om_fail(OM_ERR_ARG, "%s: pictures are written as .jpg or .png", path);
}

int om_picture_save(const char *path, const om_image *img, int quality)
{
    bool jpeg = is_jpeg(path);
    AVCodecContext *ctx = NULL;
    om_frame *picture = NULL;
    int rc = om_picture_check(path);
    if (rc != OM_OK) return rc;
    AVFrame *frame = av_frame_alloc();
    rc = frame ? to_encoder_format(img, jpeg, &picture) : om_fail_nomem("a picture");
    if (rc == OM_OK) rc = open_picture_encoder(img, jpeg, quality, &ctx);
    if (rc == OM_OK) {
        frame->width = img->width;
        frame->height = img->height;
        frame->format = ctx->pix_fmt;
        frame->quality = ctx->global_quality;
        for (int i = 0; i < 3; i++) {
            frame->data[i] = picture->image.plane[i];
            frame->linesize[i] = picture->image.stride[i];
        }
        rc = encode_frame(ctx, frame, path);
    }
    av_frame_free(&frame);
    om_frame_unref(picture);
    avcodec_free_context(&ctx);
    return rc;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int fail_glob(int code, const char *pattern)
{
    if (code == GLOB_NOSPACE) return om_fail_nomem("a list of files");
    return om_fail(OM_ERR_IO, "%s: cannot be read", pattern);
}

/* A folder's name may hold characters that a glob would take for its own. */
static char *folder_pattern(const char *folder)
{
    om_str s = {0};
    for (const char *c = folder; *c; c++) {
        if (strchr("*?[\\", *c)) om_str_addc(&s, '\\');
        om_str_addc(&s, *c);
    }
    if (s.len && s.data[s.len - 1] != '/') om_str_addc(&s, '/');
    om_str_addc(&s, '*');
    return om_str_take(&s);
}

int om_picture_list(const char *folder_or_glob, om_strlist *out)
{
    struct stat st;
    glob_t found = {0};
    bool folder = stat(folder_or_glob, &st) == 0 && S_ISDIR(st.st_mode);
    if (folder && access(folder_or_glob, R_OK | X_OK) != 0)
        return om_fail(om_err_from_errno(errno), "%s: %s", folder_or_glob, strerror(errno));
    char *pattern = folder ? folder_pattern(folder_or_glob) : om_strdup(folder_or_glob);
    if (!pattern) return OM_ERR_NOMEM;
    int code = glob(pattern, GLOB_NOSORT, NULL, &found);
    om_free(pattern);
    int rc = code == 0 || code == GLOB_NOMATCH ? OM_OK : fail_glob(code, folder_or_glob);
    size_t before = out->n;
    for (size_t i = 0; rc == OM_OK && i < found.gl_pathc; i++)
        if (om_picture_suffix(found.gl_pathv[i])) rc = om_strlist_add(out, found.gl_pathv[i]);
    globfree(&found);
    if (rc != OM_OK) return rc;
    if (out->n == before)
        return om_fail(OM_ERR_NOT_FOUND, "%s: no pictures %s (.jpg, .png, .bmp, .webp, .tif, .ppm)",
                       folder_or_glob, folder ? "in this folder" : "match");
    qsort(out->items + before, out->n - before, sizeof *out->items, by_name);
    return OM_OK;
}
