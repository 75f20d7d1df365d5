/* WebVTT: captions that say what is to be seen, for a player to show beside the video. A cue lasts while the
 * same is to be seen. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sink/file_out.h"
#include "sink/registry.h"

#define OM_CUE_LINES 12         /* further objects are told by their number */
#define OM_LAST_CUE_NS 40000000 /* how long what the only frame shows is shown */

typedef struct om_webvtt {
    om_file_out file;
    om_str cue, next, text;             /* what is shown, what comes, the lines to write */
    int64_t begin_ns, last_ns, step_ns; /* of the cue; of the last frame; between the last two frames */
    bool showing;
} om_webvtt;

static int vtt_open(om_sink *s)
{
    om_webvtt *v = s->priv;
    v->step_ns = OM_LAST_CUE_NS;
    return om_file_out_open(&v->file, s->target, false, "WEBVTT\n\n");
}

/* Text of a cue is markup: three characters have to be written otherwise, and a line is a line. */
static void escaped(om_str *out, const char *text)
{
    for (size_t n; *text; text += n) {
        size_t len = om_utf8_length((const unsigned char *)text, strnlen(text, 4));
        n = len ? len : 1;
        if (*text == '&') om_str_add(out, "&amp;");
        else if (*text == '<') om_str_add(out, "&lt;");
        else if (*text == '>') om_str_add(out, "&gt;");
        else if (!len) om_str_add(out, "\xef\xbf\xbd"); /* no UTF-8, as the file has to be */
        else if (len == 1) om_str_addc(out, (unsigned char)*text < ' ' ? ' ' : *text);
        else om_str_addn(out, text, len);
    }
}

static void class_name(om_str *out, const om_labels *labels, int class_id)
{
    if (class_id >= 0 && (size_t)class_id < labels->n) escaped(out, labels->names[class_id]);
    else om_str_addf(out, "class %d", class_id);
}

static int by_track(const void *a, const void *b)
{
    const om_detection *x = *(const om_detection *const *)a, *y = *(const om_detection *const *)b;
    if (x->track != y->track) return x->track < y->track ? -1 : 1;
    return x->class_id - y->class_id;
}

/* "#7 car AB123" of what has a number, "2 person" of what has none, always in the same order. */
static void describe(om_str *out, const om_labels *labels, const om_detection **d, size_t n)
{
    size_t lines = 0, i = 0;
    while (i < n && lines < OM_CUE_LINES) {
        size_t alike = 1;
        while (d[i]->track < 0 && i + alike < n && !by_track(&d[i], &d[i + alike]) && !d[i]->text &&
               !d[i + alike]->text)
            alike++;
        if (lines++) om_str_addc(out, '\n');
        if (d[i]->track >= 0) om_str_addf(out, "#%" PRId64 " ", d[i]->track);
        else om_str_addf(out, "%zu ", alike);
        class_name(out, labels, d[i]->class_id);
        if (d[i]->text && *d[i]->text) {
            om_str_addc(out, ' ');
            escaped(out, d[i]->text);
        }
        i += alike;
    }
    if (i < n) om_str_addf(out, "\nand %zu more", n - i);
}

static void time_of(om_str *out, int64_t ns)
{
    int64_t ms = (ns + 500000) / 1000000;
    om_str_addf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64, ms / 3600000, ms / 60000 % 60,
                ms / 1000 % 60, ms % 1000);
}

/* Writes the cue that is shown, up to `end_ns`. */
static int finish_cue(om_webvtt *v, int64_t end_ns)
{
    if (!v->showing || !v->cue.len || end_ns - v->begin_ns < 1000000) return OM_OK;
    om_str_clear(&v->text);
    time_of(&v->text, v->begin_ns);
    om_str_add(&v->text, " --> ");
    time_of(&v->text, end_ns);
    om_str_addc(&v->text, '\n');
    om_str_addn(&v->text, v->cue.data, v->cue.len);
    om_str_add(&v->text, "\n\n");
    if (v->text.failed) return om_fail_nomem("a caption");
    return om_file_out_line(&v->file, v->text.data, v->text.len);
}

static int vtt_write(om_sink *s, const om_result *r)
{
    om_webvtt *v = s->priv;
    const om_detection **sorted = om_calloc(r->dets.n + 1, sizeof(const om_detection *));
    if (!sorted) return OM_ERR_NOMEM;
    for (size_t i = 0; i < r->dets.n; i++) sorted[i] = &r->dets.items[i];
    qsort(sorted, r->dets.n, sizeof(*sorted), by_track);
    om_str_clear(&v->next);
    describe(&v->next, &r->labels, sorted, r->dets.n);
    om_free(sorted);
    if (v->next.failed) return om_fail_nomem("a caption");
    int err = OM_OK;
    if (!v->showing || strcmp(om_str_get(&v->cue), om_str_get(&v->next))) {
        err = finish_cue(v, r->pts_ns);
        om_str shown = v->cue;
        v->cue = v->next;
        v->next = shown;
        v->begin_ns = r->pts_ns;
    }
    if (v->showing && r->pts_ns > v->last_ns) v->step_ns = r->pts_ns - v->last_ns;
    v->last_ns = r->pts_ns;
    v->showing = true;
    return err;
}

static int vtt_flush(om_sink *s)
{
    om_webvtt *v = s->priv;
    return om_file_out_flush(&v->file);
}

static int vtt_close(om_sink *s)
{
    om_webvtt *v = s->priv;
    int err = finish_cue(v, v->last_ns + v->step_ns), closed = om_file_out_close(&v->file);
    om_str_fini(&v->cue);
    om_str_fini(&v->next);
    om_str_fini(&v->text);
    return err ? err : closed;
}

const om_sink_ops om_sink_webvtt = {
    .name = "vtt",
    .target = "FILE.vtt (%s: the stream's name)",
    .help = "WebVTT captions: what is to be seen and when, a file a stream",
    .flags = OM_SINK_PER_STREAM,
    .priv_size = sizeof(om_webvtt),
    .open = vtt_open,
    .write = vtt_write,
    .flush = vtt_flush,
    .close = vtt_close,
};
