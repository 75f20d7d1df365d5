#include "media/camera.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

/* A connection that held so long was a good one: the next pause is a short one again. */
#define GOOD_NS (10 * OM_NS_PER_SEC)
#define MOST_DOUBLINGS 20

int64_t om_camera_pause_ns(int base_ms, int max_ms, int failures, uint32_t random)
{
    int doublings = failures < 1 ? 0 : failures - 1 < MOST_DOUBLINGS ? failures - 1 : MOST_DOUBLINGS;
    int64_t pause = (int64_t)base_ms << doublings;
    if (pause > max_ms) pause = max_ms;
    return pause * OM_NS_PER_MS / 2 + (int64_t)((double)pause * 1e6 / 2 * ((double)random / UINT32_MAX));
}

static uint32_t next_random(om_camera *c)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 17;
    c->random ^= c->random << 5;
    return c->random;
}

static void tell(om_source *s, om_source_state state, const char *why)
{
    atomic_store_explicit(&s->counts->state, (int)state, memory_order_relaxed);
    if (s->params.on_state) s->params.on_state(s->params.user, state, why);
}

/* Whether the same call may do later what it did not now. */
static bool may_pass(const om_source *s, int code)
{
    bool never = code == OM_ERR_CANCELLED || code == OM_ERR_NOMEM || code == OM_ERR_ARG;
    if (never) return false;
    /* An HTTP address that was never a camera: what answers, and answers with something else, is none. */
    bool answered = code == OM_ERR_FORMAT || code == OM_ERR_NOT_FOUND || code == OM_ERR_UNSUPPORTED;
    bool sure = s->connection->ever || strcmp(s->ops->name, "http") != 0;
    return sure || !answered;
}

/* After a failure with `code`, whose message stays. */
static int disconnect(om_source *s, int code)
{
    char why[400];
    snprintf(why, sizeof why, "%s", om_error_message());
    s->ops->close(s);
    memset(s->priv, 0, s->ops->priv_size);
    s->connection->open = false;
    return om_fail(code, "%s", why);
}

/* After a failure with `code` and its message: the pause before the next attempt. OM_OK: now is the time for
 * it. */
static int wait_turn(om_source *s, int code)
{
    om_camera *c = s->connection;
    char why[400];
    snprintf(why, sizeof why, "%s", om_error_message());
    if (!may_pass(s, code)) return om_fail(code, "%s", why);
    int64_t now = om_now_ns(), until = s->params.until_ns;
    if (until && now >= until) return OM_ERR_EOF;
    tell(s, c->ever ? OM_SOURCE_RECONNECTING : OM_SOURCE_CONNECTING, why);
    int64_t turn = now + om_camera_pause_ns(s->params.backoff_ms, s->params.backoff_max_ms, ++c->failures,
                                            next_random(c));
    om_log(OM_LOG_DEBUG, "%s: attempt %d in %.2f s", s->shown, c->failures + 1, (double)(turn - now) / 1e9);
    bool over = until && turn >= until;
    int rc = om_cancel_sleep_until(s->params.cancel, over ? until : turn);
    if (rc != OM_OK) return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
    return over ? OM_ERR_EOF : OM_OK;
}

/* Tries until it stands. */
static int connect_again(om_source *s, int code)
{
    om_camera *c = s->connection;
    for (;;) {
        int rc = wait_turn(s, code);
        if (rc != OM_OK) return rc;
        code = s->ops->open(s);
        if (code == OM_OK) break;
        disconnect(s, code);
    }
    c->open = c->fresh = true;
    c->connected_ns = om_now_ns();
    if (c->ever) {
        c->epoch++;
        atomic_fetch_add_explicit(&s->counts->reconnects, 1, memory_order_relaxed);
    }
    c->ever = true;
    tell(s, OM_SOURCE_RUNNING, NULL);
    return OM_OK;
}

int om_camera_open(om_source *s)
{
    om_camera *c = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    s->connection = c;
    c->random = (uint32_t)(om_now_ns() ^ (int64_t)(uintptr_t)s) | 1;
    atomic_store_explicit(&s->counts->state, OM_SOURCE_CONNECTING, memory_order_relaxed);
    int rc = s->ops->open(s);
    if (rc != OM_OK) {
        rc = connect_again(s, disconnect(s, rc));
        return rc == OM_ERR_EOF ? OM_OK : rc; /* its time is over: the first read says so */
    }
    c->open = c->ever = c->fresh = true;
    c->connected_ns = om_now_ns();
    atomic_store_explicit(&s->counts->state, OM_SOURCE_RUNNING, memory_order_relaxed);
    return OM_OK;
}

/* Numbers and times go on where the connection before ended. */
static void stamp(om_camera *c, om_frame *f)
{
    int64_t now = om_now_ns();
    if (c->fresh && c->seq) {
        int64_t pts = c->last_pts_ns + (now - c->last_ns);
        c->offset_ns = (pts > c->last_pts_ns ? pts : c->last_pts_ns + 1) - f->pts_ns;
    }
    c->fresh = false;
    f->seq = c->seq++;
    f->epoch = c->epoch;
    f->pts_ns += c->offset_ns;
    c->last_pts_ns = f->pts_ns;
    c->last_ns = now;
}

int om_camera_read(om_source *s, om_frame **out)
{
    om_camera *c = s->connection;
    for (;;) {
        int rc = c->open ? s->ops->read(s, out) : OM_ERR_EOF;
        if (rc == OM_OK) {
            stamp(c, *out);
            return OM_OK;
        }
        if (!s->camera || rc == OM_ERR_CANCELLED || rc == OM_ERR_NOMEM || !c->open) return rc;
        if (rc == OM_ERR_EOF && s->finite) return rc;
        if (rc == OM_ERR_EOF) om_fail(rc, "%s: the camera ended the stream", s->shown);
        if (!c->fresh && om_now_ns() - c->connected_ns > GOOD_NS) c->failures = 0;
        rc = connect_again(s, disconnect(s, rc));
        if (rc != OM_OK) return rc;
    }
}
