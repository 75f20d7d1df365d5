#include "worker/sampler.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

#define COLUMNS 64
#define ROWS 36
#define THRESHOLD 8

int om_sampler_init(om_sampler *s, const om_sampler_params *p)
{
    memset(s, 0, sizeof *s);
    s->params = *p;
    s->last_tick = -1;
    if (p->end_s > 0 && p->end_s <= p->start_s)
        return om_fail(OM_ERR_ARG, "the range ends at %g s, before its start at %g s", p->end_s, p->start_s);
    return p->scenes ? om_motion_init(&s->motion, COLUMNS, ROWS, THRESHOLD) : OM_OK;
}

void om_sampler_fini(om_sampler *s) { om_motion_fini(&s->motion); }

/* A cut differs much from the frame before while that one did not from its own: fast motion and noise differ
 * steadily. The rule of FFmpeg's filter `select`, on a coarse grid instead of pixels. */
static int new_scene(om_sampler *s, const om_frame *f, bool *is)
{
    om_motion_level level;
    int err = om_motion_update(&s->motion, &f->image, &level);
    if (err) return err;
    double difference = (double)level.mean;
    double score = fmin(difference, fabs(difference - s->last_difference)) / 100;
    *is = level.fresh || score > s->params.scene_threshold;
    s->last_difference = difference;
    return OM_OK;
}

/* Whether it is the first frame of its 1/fps s. A millionth of a frame's time is forgiven: timestamps are
 * rounded. */
static bool on_time(om_sampler *s, double t)
{
    if (s->params.fps <= 0) return true;
    int64_t tick = (int64_t)floor((t - s->params.start_s) * s->params.fps + 1e-6);
    if (tick <= s->last_tick) return false;
    s->last_tick = tick;
    return true;
}

int om_sampler_look(om_sampler *s, const om_frame *f, bool *wanted)
{
    /* Half a microsecond: names and --start say microseconds. */
    double t = (double)f->pts_ns / 1e9 + 5e-7;
    *wanted = false;
    if (s->params.end_s > 0 && t >= s->params.end_s) return OM_ERR_EOF;
    if (t < s->params.start_s || !on_time(s, t - 5e-7)) return OM_OK;
    *wanted = true;
    return s->params.scenes ? new_scene(s, f, wanted) : OM_OK;
}
