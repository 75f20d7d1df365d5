#include "seen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum likeness { SAME, NEAR, OTHER } likeness;

int seen_run_init(seen_run *r, int streams)
{
    r->n = streams;
    r->streams = calloc((size_t)streams, sizeof *r->streams);
    return r->streams ? 0 : -1;
}

void seen_run_fini(seen_run *r)
{
    for (int i = 0; r->streams && i < r->n; i++) {
        for (size_t k = 0; k < r->streams[i].n; k++) free(r->streams[i].frames[k].boxes);
        free(r->streams[i].frames);
    }
    free(r->streams);
    *r = (seen_run){0};
}

int seen_add(seen_run *r, int stream, uint64_t seq, const om_detection *objects, size_t n)
{
    seen_stream *s = &r->streams[stream];
    if (seq >= s->n) {
        size_t room = (size_t)seq + 1;
        seen_frame *more = realloc(s->frames, room * sizeof *more);
        if (!more) return -1;
        memset(more + s->n, 0, (room - s->n) * sizeof *more);
        s->frames = more;
        s->n = room;
    }
    seen_frame *f = &s->frames[seq];
    f->times++;
    if (f->times > 1) return 0;
    f->boxes = malloc((n + 1) * sizeof *f->boxes);
    if (!f->boxes) return -1;
    f->n = n;
    for (size_t i = 0; i < n; i++)
        f->boxes[i] = (seen_box){.x = objects[i].x,
                                 .y = objects[i].y,
                                 .w = objects[i].w,
                                 .h = objects[i].h,
                                 .score = objects[i].score,
                                 .class_id = objects[i].class_id};
    return 0;
}

static float overlap(const seen_box *a, const seen_box *b)
{
    float w = fminf(a->x + a->w, b->x + b->w) - fmaxf(a->x, b->x);
    float h = fminf(a->y + a->h, b->y + b->h) - fmaxf(a->y, b->y);
    float both = (w > 0 ? w : 0) * (h > 0 ? h : 0), either = a->w * a->h + b->w * b->h - both;
    return either > 0 ? both / either : 0;
}

/* How many boxes of `a` that have to have their like in `b` have none; *must: how many have to. */
static size_t without_like(const seen_frame *a, const seen_frame *b, const seen_limits *l, size_t *must)
{
    size_t lonely = 0;
    bool *taken = calloc(b->n + 1, sizeof *taken);
    *must = 0;
    for (size_t i = 0; i < a->n; i++) {
        const seen_box *x = &a->boxes[i];
        size_t best = b->n;
        float most = l->overlap;
        for (size_t k = 0; k < b->n; k++) {
            const seen_box *y = &b->boxes[k];
            if ((taken && taken[k]) || y->class_id != x->class_id || fabsf(y->score - x->score) > l->score)
                continue;
            float o = overlap(x, y);
            if (!(o >= most)) continue;
            most = o;
            best = k;
        }
        if (best < b->n && taken) taken[best] = true;
        bool sure = x->score > l->conf + l->score;
        *must += sure || best < b->n;
        lonely += sure && best == b->n;
    }
    free(taken);
    return lonely;
}

static likeness compare(const seen_frame *a, const seen_frame *b, const seen_limits *l)
{
    size_t of_a, of_b, lonely = without_like(a, b, l, &of_a);
    lonely += without_like(b, a, l, &of_b);
    if (!lonely) return SAME;
    return lonely * 2 <= of_a + of_b ? NEAR : OTHER;
}

static void note(seen_verdict *v, const char *what, int stream, size_t frame)
{
    if (!v->first[0]) snprintf(v->first, sizeof v->first, "stream %d, frame %zu: %s", stream, frame, what);
}

static void compare_streams(const seen_stream *a, const seen_stream *b, int stream, const seen_limits *l,
                            seen_verdict *v)
{
    for (size_t k = 0; k < a->n || k < b->n; k++) {
        const seen_frame *x = k < a->n ? &a->frames[k] : NULL, *y = k < b->n ? &b->frames[k] : NULL;
        bool there = y && y->times;
        if (!x || !x->times) {
            v->extra += there;
            if (there) note(v, "not of the reference", stream, k);
            continue;
        }
        v->frames++;
        v->boxes += x->n;
        if (!there) {
            v->missing++;
            note(v, "missing", stream, k);
            continue;
        }
        if (y->times > 1) {
            v->twice++;
            note(v, "seen more than once", stream, k);
        }
        likeness is = compare(x, y, l);
        v->same += is == SAME;
        v->near += is == NEAR;
        v->other += is == OTHER;
        if (is == NEAR) note(v, "some boxes differ", stream, k);
        if (is == OTHER) note(v, "another picture", stream, k);
    }
}

void seen_compare(const seen_run *expected, const seen_run *got, const seen_limits *limits, seen_verdict *out)
{
    *out = (seen_verdict){0};
    for (int i = 0; i < got->n; i++)
        compare_streams(&expected->streams[i % expected->n], &got->streams[i], i, limits, out);
    bool whole = got->n >= expected->n && out->frames > 0 && out->boxes > 0;
    out->right = whole && !out->other && !out->missing && !out->twice && !out->extra &&
                 (double)out->near <= limits->near * (double)out->frames;
}

static void count_told(const seen_frame *a, const seen_frame *b, const seen_limits *l, size_t *told,
                       size_t *all)
{
    if (!a->times || !b->times || !(a->n + b->n)) return;
    ++*all;
    *told += compare(a, b, l) == OTHER;
}

void seen_sharpness(const seen_run *r, const seen_limits *limits, double *next_frame, double *next_stream)
{
    size_t told[2] = {0}, all[2] = {0};
    for (int i = 0; i < r->n; i++) {
        const seen_stream *s = &r->streams[i], *t = &r->streams[(i + 1) % r->n];
        for (size_t k = 0; k < s->n; k++) {
            if (k + 1 < s->n) count_told(&s->frames[k], &s->frames[k + 1], limits, &told[0], &all[0]);
            if (r->n > 1 && k < t->n) count_told(&s->frames[k], &t->frames[k], limits, &told[1], &all[1]);
        }
    }
    *next_frame = all[0] ? (double)told[0] / (double)all[0] : 0;
    *next_stream = all[1] ? (double)told[1] / (double)all[1] : 0;
}

static unsigned sample(const om_image *img, const om_pixfmt_info *info, int plane, int x, int y)
{
    const uint8_t *at = img->plane[plane] + (ptrdiff_t)y * img->stride[plane];
    if (info->sample_bytes == 1) return at[x];
    uint16_t v;
    memcpy(&v, at + (ptrdiff_t)x * 2, 2);
    return info->chroma_interleaved ? v >> 6 : v; /* P010 has its bits in the high end */
}

uint64_t seen_picture(const om_image *img)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    uint64_t sum = 14695981039346656037u;
    int planes = info->yuv && info->planes > 1 ? 3 : 1;
    for (int c = 0; c < planes; c++) {
        int plane = info->chroma_interleaved && c > 0 ? 1 : c, bytes, rows;
        int step = info->chroma_interleaved && c > 0 ? 2 : 1;
        om_pixfmt_plane_size(img->fmt, plane, img->width, img->height, &bytes, &rows);
        int columns = bytes / info->sample_bytes / step;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++)
                sum =
                    (sum ^ sample(img, info, plane, x * step + (step == 2 ? c - 1 : 0), y)) * 1099511628211u;
    }
    return sum;
}
