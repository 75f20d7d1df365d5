/* Tracks from files: MOTChallenge's comma-separated rows, or results in JSONL. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "eval/mot.h"

#define OM_MOT_FILE_MAX ((size_t)1 << 31)
#define OM_MOT_FRAME_MAX 2000000000.0

#define BOX_MAX 1e9 /* areas, and sums of them, stay exact enough and finite */

typedef struct om_reader {
    const char *path, *stream;
    int line;
    char *only; /* the stream that JSONL has told of so far */
    bool stream_seen;
    om_mot_boxes *out;
} om_reader;

static int add(om_reader *r, double frame, double id, const double box[4])
{
    om_mot_boxes *b = r->out;
    for (int i = 0; i < 4; i++)
        if (!(fabs(box[i]) <= BOX_MAX))
            return om_fail(OM_ERR_FORMAT, "%s:%d: a box of numbers that are not finite, or beyond 1e9",
                           r->path, r->line);
    if (!(frame >= 0 && frame <= OM_MOT_FRAME_MAX && frame == floor(frame)) || !(fabs(id) <= 9e15) ||
        id != floor(id))
        return om_fail(OM_ERR_FORMAT, "%s:%d: frame and id have to be whole numbers", r->path, r->line);
    if (om_grow((void **)&b->items, &b->cap, b->n + 1, sizeof(*b->items))) return OM_ERR_NOMEM;
    b->items[b->n++] =
        (om_mot_box){(int)frame, (int64_t)id, box[0], box[1], fmax(box[2], 0), fmax(box[3], 0)};
    return OM_OK;
}

/* "frame,id,x,y,w,h[,confidence,...]"; blanks may stand for commas. */
static int read_row(om_reader *r, const char *line, bool truth)
{
    double v[7] = {[6] = 1};
    int n = 0;
    for (const char *p = line + strspn(line, " \t"); *p && n < 7; n++) {
        char *end;
        v[n] = strtod(p, &end);
        if (end == p || (*end && !strchr(", \t", *end))) break;
        p = end + strspn(end, " \t");
        if (*p == ',') p += 1 + strspn(p + 1, " \t");
    }
    if (n < 6)
        return om_fail(OM_ERR_FORMAT, "%s:%d: expected frame,id,x,y,w,h and more numbers, got '%.40s'",
                       r->path, r->line, line);
    if (truth && n > 6 && v[6] == 0) return OM_OK;
    return add(r, v[0], v[1], v + 2);
}

static int check_stream(om_reader *r, const om_json_value *stream, bool *wanted)
{
    const char *name = stream && stream->type == OM_JSON_STR ? stream->str : "";
    *wanted = !r->stream || !strcmp(name, r->stream);
    if (*wanted) r->stream_seen = true;
    if (r->stream) return OM_OK;
    if (!r->only && !(r->only = om_strdup(name))) return OM_ERR_NOMEM;
    if (strcmp(r->only, name))
        return om_fail(OM_ERR_ARG, "%s holds several streams ('%s', '%s'): choose one with --stream", r->path,
                       r->only, name);
    return OM_OK;
}

static bool number(const om_json_value *v) { return v && v->type == OM_JSON_NUM; }

static int add_object(om_reader *r, double seq, const om_json_value *object)
{
    const om_json_value *track = om_json_get(object, "track"), *box = om_json_get(object, "box");
    double b[4];
    if (!track) return OM_OK;
    bool sound = number(track) && box && box->type == OM_JSON_ARR && box->n == 4;
    for (size_t i = 0; i < 4 && sound; i++) {
        sound = number(&box->children[i]);
        b[i] = sound ? box->children[i].num : 0;
    }
    if (!sound)
        return om_fail(OM_ERR_FORMAT, "%s:%d: a tracked object without a box of four numbers", r->path,
                       r->line);
    return add(r, seq + 1, track->num, b);
}

static int read_record(om_reader *r, const char *line)
{
    om_json_value *v = NULL;
    bool wanted = false;
    int err = om_json_parse(line, strlen(line), &v);
    if (err) return err == OM_ERR_NOMEM ? err : om_fail_prefix(err, "%s:%d", r->path, r->line);
    const om_json_value *seq = om_json_get(v, "seq"), *objects = om_json_get(v, "objects");
    if (!number(seq) || !objects || objects->type != OM_JSON_ARR)
        err = om_fail(OM_ERR_FORMAT, "%s:%d: expected a result with 'seq' and 'objects'", r->path, r->line);
    if (!err) err = check_stream(r, om_json_get(v, "stream"), &wanted);
    for (size_t i = 0; !err && wanted && i < objects->n; i++)
        err = add_object(r, seq->num, &objects->children[i]);
    om_json_free(v);
    return err;
}

static int by_frame(const void *a, const void *b)
{
    const om_mot_box *x = a, *y = b;
    return x->frame != y->frame ? (x->frame < y->frame ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

static int put_in_order(om_reader *r)
{
    om_mot_boxes *b = r->out;
    if (!b->n) return OM_OK;
    qsort(b->items, b->n, sizeof(*b->items), by_frame);
    for (size_t i = 1; i < b->n; i++)
        if (!by_frame(&b->items[i - 1], &b->items[i]))
            return om_fail(OM_ERR_FORMAT, "%s: frame %d has two boxes of track %lld", r->path,
                           b->items[i].frame, (long long)b->items[i].id);
    return OM_OK;
}

static int read_lines(om_reader *r, char *text, bool truth)
{
    bool json = text[strspn(text, " \t\r\n")] == '{';
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        r->line++;
        line[strcspn(line, "\r")] = '\0';
        if (!line[strspn(line, " \t")]) continue;
        int err = json ? read_record(r, line) : read_row(r, line, truth);
        if (err) return err;
    }
    if (r->stream && json && !r->stream_seen)
        return om_fail(OM_ERR_ARG, "%s has no stream '%s'", r->path, r->stream);
    return put_in_order(r);
}

int om_mot_read(const char *path, const char *stream, bool truth, om_mot_boxes *out)
{
    om_reader r = {.path = path, .stream = stream, .out = out};
    char *text;
    size_t len;
    *out = (om_mot_boxes){0};
    int err = om_read_file(path, OM_MOT_FILE_MAX, &text, &len);
    if (err) return err;
    err = strlen(text) == len ? read_lines(&r, text, truth) : om_fail(OM_ERR_FORMAT, "%s: not a text", path);
    om_free(text);
    om_free(r.only);
    if (err) om_mot_boxes_fini(out);
    return err;
}
