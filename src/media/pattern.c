#include "media/pattern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/option.h"
#include "media/pace.h"
#include "media/source_ops.h"

#define MIN_SIDE 16
#define MAX_SIDE 8192

typedef struct pattern_priv {
    om_pattern_params pattern;
    om_pace pace;
    uint64_t seq;
    bool pending; /* a picture was received and its turn has not come */
} pattern_priv;

/* Y, U, V of pure red, green, blue in BT.601, limited range. */
static const uint8_t colours[OM_PATTERN_MAX_SHAPES][3] = {{81, 90, 240}, {145, 54, 34}, {41, 240, 110}};
static const uint8_t grey[3] = {126, 128, 128};

static int parse_size_rate(const char *part, om_pattern_params *out)
{
    char size[64];
    size_t n = strcspn(part, "@");
    if (n >= sizeof size) n = sizeof size - 1;
    memcpy(size, part, n);
    size[n] = '\0';
    om_size s = {out->width, out->height};
    if (n > 0 && (om_parse_size(size, &s) != OM_OK || s.width < MIN_SIDE || s.height < MIN_SIDE ||
                  s.width > MAX_SIDE || s.height > MAX_SIDE))
        return om_fail(OM_ERR_ARG, "pattern: size '%s': expected WIDTHxHEIGHT, %d to %d each", size, MIN_SIDE,
                       MAX_SIDE);
    out->width = s.width;
    out->height = s.height;
    if (part[n] == '@' &&
        (om_parse_double(part + n + 1, &out->fps) != OM_OK || !(out->fps >= 0.01 && out->fps <= 1000)))
        return om_fail(OM_ERR_ARG, "pattern: rate '%s': expected 0.01 to 1000 pictures a second",
                       part + n + 1);
    return OM_OK;
}

static int parse_key(const char *part, om_pattern_params *out)
{
    static const struct {
        const char *key;
        long long min, max;
    } keys[] = {{"frames=", 0, INT64_MAX}, {"shapes=", 1, OM_PATTERN_MAX_SHAPES}, {"seed=", 0, 1000000}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t n = strlen(keys[i].key);
        if (strncmp(part, keys[i].key, n) != 0) continue;
        long long v;
        if (om_parse_int(part + n, &v) != OM_OK || v < keys[i].min || v > keys[i].max)
            return om_fail(OM_ERR_ARG, "pattern: '%s': expected %s%lld to %lld", part, keys[i].key,
                           keys[i].min, keys[i].max);
        if (i == 0) out->frames = (uint64_t)v;
        if (i == 1) out->shapes = (int)v;
        if (i == 2) out->seed = (int)v;
        return OM_OK;
    }
    return om_fail(OM_ERR_ARG, "pattern: '%s': expected WIDTHxHEIGHT@FPS, frames=N, shapes=N or seed=N",
                   part);
}

int om_pattern_parse(const char *uri, om_pattern_params *out)
{
    *out = (om_pattern_params){.width = 640, .height = 480, .fps = 25, .frames = 250, .shapes = 3, .seed = 1};
    const char *part = uri + strlen("pattern:");
    while (*part) {
        char text[128];
        size_t n = strcspn(part, ":");
        if (n >= sizeof text) return om_fail(OM_ERR_ARG, "pattern: '%.40s...' is too long", part);
        memcpy(text, part, n);
        text[n] = '\0';
        bool size = (text[0] >= '0' && text[0] <= '9') || text[0] == '@';
        int rc = size ? parse_size_rate(text, out) : n ? parse_key(text, out) : OM_OK;
        if (rc != OM_OK) return rc;
        part += n + (part[n] == ':');
    }
    return OM_OK;
}

static int even(int64_t v) { return (int)(v & ~(int64_t)1); }

/* A triangle wave between 0 and m. */
static int64_t tri(uint64_t t, int64_t m)
{
    if (m <= 0) return 0;
    int64_t r = (int64_t)(t % (uint64_t)(2 * m));
    return r < m ? r : 2 * m - r;
}

void om_pattern_truth(const om_pattern_params *p, uint64_t n, int i, int *x, int *y, int *w, int *h)
{
    uint64_t step_x = 2 * (1 + (uint64_t)(p->seed + i) % 4),
             step_y = 2 * (1 + (uint64_t)(p->seed + 2 * i) % 3);
    uint64_t phase_x = (uint64_t)(p->seed * 37 + i * p->width / 3),
             phase_y = (uint64_t)(p->seed * 17 + i * p->height / 3);
    *w = even((int64_t)p->width * (10 + 2 * i) / 100);
    *h = even((int64_t)p->height * (12 + 2 * i) / 100);
    *x = even(tri(n * step_x + phase_x, p->width - *w));
    *y = even(tri(n * step_y + phase_y, p->height - *h));
}

static void fill(const om_image *img, int plane, int x, int y, int w, int h, uint8_t value)
{
    for (int row = y; row < y + h; row++)
        memset(img->plane[plane] + (ptrdiff_t)row * img->stride[plane] + x, value, (size_t)w);
}

static void paint(const om_pattern_params *p, uint64_t n, const om_image *img)
{
    int cw = (img->width + 1) / 2, ch = (img->height + 1) / 2;
    fill(img, 0, 0, 0, img->width, img->height, grey[0]);
    fill(img, 1, 0, 0, cw, ch, grey[1]);
    fill(img, 2, 0, 0, cw, ch, grey[2]);
    for (int i = 0; i < p->shapes; i++) {
        int x, y, w, h;
        om_pattern_truth(p, n, i, &x, &y, &w, &h);
        fill(img, 0, x, y, w, h, colours[i][0]);
        fill(img, 1, x / 2, y / 2, w / 2, h / 2, colours[i][1]);
        fill(img, 2, x / 2, y / 2, w / 2, h / 2, colours[i][2]);
    }
}

static bool pattern_accepts(const char *uri) { return strncmp(uri, "pattern:", 8) == 0; }

static int pattern_open(om_source *s)
{
    pattern_priv *p = s->priv;
    int rc = om_pattern_parse(s->uri, &p->pattern);
    if (rc != OM_OK) return rc;
    om_pace_init(&p->pace, &s->params, s->params.live, p->pattern.fps);
    snprintf(s->info.codec, sizeof s->info.codec, "generated");
    s->info.width = p->pattern.width;
    s->info.height = p->pattern.height;
    s->info.fps = p->pattern.fps;
    s->info.duration_s = (double)p->pattern.frames / p->pattern.fps;
    return OM_OK;
}

static int pattern_read(om_source *s, om_frame **out)
{
    pattern_priv *p = s->priv;
    if (p->pattern.frames && p->seq >= p->pattern.frames && !s->params.loop) return OM_ERR_EOF;
    int64_t t = llround((double)p->seq * 1e9 / p->pattern.fps), due;
    if (!p->pending) om_source_count(&s->counts->received);
    p->pending = true;
    int rc = om_pace_wait(&p->pace, t, &due);
    if (rc != OM_OK) return rc;
    om_frame *f = NULL;
    rc = om_frame_create(OM_PIX_I420, p->pattern.width, p->pattern.height, &f);
    if (rc != OM_OK) return rc;
    paint(&p->pattern, p->seq, &f->image);
    f->image.range = OM_RANGE_LIMITED;
    f->image.matrix = OM_MATRIX_BT601;
    f->seq = f->packet = p->seq++;
    f->pts_ns = t;
    f->wall_us = p->pace.wall_us + t / 1000;
    f->due_ns = due;
    f->key = true;
    p->pending = false;
    om_source_count(&s->counts->decoded);
    *out = f;
    return OM_OK;
}

static void pattern_close(om_source *s)
{
    pattern_priv *p = s->priv;
    if (p->pending) om_source_count(&s->counts->unread);
}

const om_source_ops om_source_pattern = {
    "pattern", sizeof(pattern_priv), pattern_accepts, pattern_open, pattern_read, pattern_close, false};
