/* H.264 in MP4 with boxes, labels and the tails of tracks drawn, one file a stream. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "kernel/draw.h"
#include "media/media.h"
#include "sink/registry.h"
#include "sink/trails.h"

typedef struct om_video {
    om_encoder *encoder; /* opened with the first picture, whose size it needs */
    int width, height;
    int64_t first_pts_ns;
    bool told; /* that the size has changed */
    om_trails trails;
} om_video;

/* The file itself is opened with the first picture; whether it can be written is known now. */
static int video_open(om_sink *s)
{
    if (!*s->target) return om_fail(OM_ERR_ARG, "a file name is missing behind 'video:'");
    struct stat st;
    if (!stat(s->target, &st) && S_ISFIFO(st.st_mode)) return OM_OK; /* its open waits for a reader */
    int fd = open(s->target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return om_fail(om_err_from_errno(errno), "%s: cannot write: %s", s->target, strerror(errno));
    close(fd);
    return OM_OK;
}

static int start(om_sink *s, const om_result *r)
{
    om_video *v = s->priv;
    v->width = r->width;
    v->height = r->height;
    v->first_pts_ns = r->pts_ns;
    return om_encoder_open(s->target, r->width, r->height, 25, &v->encoder);
}

static int video_write(om_sink *s, const om_result *r)
{
    om_video *v = s->priv;
    if (!r->frame) return OM_OK;
    int err = v->encoder ? OM_OK : start(s, r);
    if (err) return err;
    bool changed = r->width != v->width || r->height != v->height;
    if (changed && !v->told)
        om_log(OM_LOG_WARN,
               "%s: the picture is now %dx%d; it is fitted into the %dx%d that the video began with",
               s->target, r->width, r->height, v->width, v->height);
    v->told |= changed;
    om_frame *copy;
    err = om_trails_add(&v->trails, &r->dets);
    if (!err) err = om_frame_copy_drawable(r->frame, &copy);
    if (err == OM_ERR_DEVICE_LOST)
        return OM_OK; /* that picture went with its GPU; the next ones come from the CPU */
    if (err) return err;
    om_trails_draw(&v->trails, &copy->image);
    om_draw_answers(&copy->image, &r->answers, r->seq);
    om_draw_dets(&copy->image, &r->dets, &r->labels, s->params.font);
    err = om_encoder_write(v->encoder, &copy->image, r->pts_ns - v->first_pts_ns);
    om_frame_unref(copy);
    return err;
}

static int video_close(om_sink *s)
{
    om_video *v = s->priv;
    om_encoder *e = v->encoder;
    v->encoder = NULL;
    om_trails_fini(&v->trails);
    if (e) return om_encoder_close(e);
    struct stat st; /* no picture came: an empty file would only look like a damaged one */
    if (!lstat(s->target, &st) && S_ISREG(st.st_mode) && !st.st_size) unlink(s->target);
    return OM_OK;
}

const om_sink_ops om_sink_video = {
    .name = "video",
    .target = "FILE.mp4 (%s: the stream's name)",
    .help = "H.264 with boxes, labels and tracks drawn, a file a stream",
    .flags = OM_SINK_WANTS_FRAMES | OM_SINK_PER_STREAM,
    .priv_size = sizeof(om_video),
    .open = video_open,
    .write = video_write,
    .close = video_close,
};
