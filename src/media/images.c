/* Pictures of a folder or glob, or one picture, as a stream: "folder", a glob, "images:folder@5". */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "media/pace.h"
#include "media/source_ops.h"

#define PREFIX "images:"

typedef struct images_priv {
    om_strlist files;
    size_t next;
    double fps;
    om_pace pace;
    uint64_t number, seq; /* pictures taken, pictures returned */
    uint64_t round_seq;   /* returned before this round of a loop */
    bool pending;         /* one was taken and has not found its end */
} images_priv;

static bool prefixed(const char *uri) { return strncmp(uri, PREFIX, strlen(PREFIX)) == 0; }

static bool images_accepts(const char *uri)
{
    if (prefixed(uri)) return true;
    return !strstr(uri, "://") && (om_picture_suffix(uri) || om_is_folder_or_glob(uri));
}

/* Cuts "@FPS" off a text that starts with "images:". */
static int parse_rate(char *text, double *fps)
{
    char *at = strrchr(text, '@');
    *fps = 1;
    if (!at) return OM_OK;
    if (om_parse_double(at + 1, fps) != OM_OK || !(*fps >= 0.001 && *fps <= 1000))
        return om_fail(OM_ERR_ARG, "%s: rate '%s': expected 0.001 to 1000 pictures a second", text, at + 1);
    *at = '\0';
    return OM_OK;
}

static int list_files(const char *path, om_strlist *files)
{
    if (om_is_folder_or_glob(path)) return om_picture_list(path, files);
    return om_strlist_add(files, path);
}

/* The first picture tells the size, and that there is one at all. */
static int probe(om_source *s)
{
    images_priv *p = s->priv;
    om_frame *f = NULL;
    int rc = om_picture_load(p->files.items[0], &f);
    if (rc != OM_OK && (p->files.n == 1 || rc == OM_ERR_NOMEM)) return rc;
    if (f) {
        s->info.width = f->image.width;
        s->info.height = f->image.height;
    }
    om_frame_unref(f);
    return OM_OK;
}

static int images_open(om_source *s)
{
    images_priv *p = s->priv;
    char *path = om_strdup(prefixed(s->uri) ? s->uri + strlen(PREFIX) : s->uri);
    if (!path) return OM_ERR_NOMEM;
    p->fps = 1;
    int rc = prefixed(s->uri) ? parse_rate(path, &p->fps) : OM_OK;
    if (rc == OM_OK) rc = list_files(path, &p->files);
    om_free(path);
    if (rc == OM_OK) rc = probe(s);
    if (rc != OM_OK) return rc;
    om_pace_init(&p->pace, &s->params, s->params.live, p->fps);
    snprintf(s->info.codec, sizeof s->info.codec, "pictures");
    s->info.fps = p->fps;
    s->info.duration_s = (double)p->files.n / p->fps;
    return OM_OK;
}

/* The next picture, or NULL if it was damaged. */
static int take(om_source *s, om_frame **out)
{
    images_priv *p = s->priv;
    int64_t t = llround((double)p->number * 1e9 / p->fps), due;
    if (!p->pending) om_source_count(&s->counts->received);
    p->pending = true;
    int rc = om_pace_wait(&p->pace, t, &due);
    if (rc != OM_OK) return rc;
    om_frame *f = NULL;
    rc = om_picture_load(p->files.items[p->next], &f);
    if (rc == OM_ERR_NOMEM) return rc;
    p->pending = false;
    p->next++;
    p->number++;
    if (rc != OM_OK) {
        om_log(OM_LOG_WARN, "%s", om_error_message());
        om_source_count(&s->counts->corrupt);
        return OM_OK;
    }
    f->packet = p->number - 1;
    f->seq = p->seq++;
    f->pts_ns = t;
    f->wall_us = p->pace.wall_us + t / 1000;
    f->due_ns = due;
    om_source_count(&s->counts->decoded);
    *out = f;
    return OM_OK;
}

static int images_read(om_source *s, om_frame **out)
{
    images_priv *p = s->priv;
    for (;;) {
        if (p->next == p->files.n) {
            if (!s->params.loop || p->seq == p->round_seq) return OM_ERR_EOF;
            p->round_seq = p->seq;
            p->next = 0;
        }
        int rc = take(s, out);
        if (rc != OM_OK || *out) return rc;
    }
}

static void images_close(om_source *s)
{
    images_priv *p = s->priv;
    if (p->pending) om_source_count(&s->counts->unread);
    om_strlist_fini(&p->files);
}

const om_source_ops om_source_images = {"images",    sizeof(images_priv), images_accepts, images_open,
                                        images_read, images_close,        false};
