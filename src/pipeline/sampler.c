#include "pipeline/sampler.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

#define GRID_COLUMNS 64
#define GRID_ROWS 36
#define GRID_LEVELS 8.0F
/* Pictures this far apart are compared: slow things have moved by then, and it costs next to nothing. */
#define COMPARE_S 0.2
#define LOAD_WINDOW_S 2.0
#define LOAD_LOST 0.1 /* share of superseded pictures that slows down */
#define SLOWEST 16
#define EPSILON_S 1e-6
#define PLACE_SHARE 16 /* of a mean: arrivals jitter */

int om_sampling_init(om_sampler *s, const om_sampling_params *p)
{
    memset(s, 0, sizeof(*s));
    s->params = *p;
    s->slow = 1;
    atomic_init(&s->every, p->every > 1 ? p->every : 1);
    atomic_init(&s->thin, 1);
    atomic_init(&s->fps, p->fps);
    s->compared_s = s->moved_s = s->shown_s = s->load_s = -INFINITY;
    if (p->mode != OM_SAMPLE_MOTION && p->mode != OM_SAMPLE_ADAPTIVE) return OM_OK;
    return om_motion_init(&s->level, GRID_COLUMNS, GRID_ROWS, GRID_LEVELS);
}

void om_sampling_fini(om_sampler *s) { om_motion_fini(&s->level); }

void om_sampling_set(om_sampler *s, int every, double fps)
{
    if (every >= 1) atomic_store_explicit(&s->every, every, memory_order_relaxed);
    if (fps >= 0) atomic_store_explicit(&s->fps, fps, memory_order_relaxed);
}

void om_sampling_thin(om_sampler *s, int factor)
{
    atomic_store_explicit(&s->thin, factor > 1 ? factor : 1, memory_order_relaxed);
}

om_economy om_sampling_economy(const om_sampler *s)
{
    return s->params.mode == OM_SAMPLE_KEYFRAMES ? OM_ECONOMY_KEYFRAMES : OM_ECONOMY_NONE;
}

/* Compares a picture now and then with the one before. */
static void compare(om_sampler *s, const om_frame *f, double now)
{
    om_motion_level level;
    if (s->blind || now + EPSILON_S < s->compared_s + COMPARE_S) return;
    s->compared_s = now;
    if (f->memory != OM_MEMORY_HOST || om_motion_update(&s->level, &f->image, &level)) {
        om_log(OM_LOG_WARN, "sampling: pictures that lie on a GPU or have no format cannot be compared; the "
                            "stream counts as moving (--decode cpu compares them)");
        s->blind = true;
        return;
    }
    double changed = 100.0 * (double)level.changed;
    s->moving = level.fresh || changed >= (s->moving ? s->params.motion / 2 : s->params.motion);
    if (s->moving) s->moved_s = now;
}

static bool still(const om_sampler *s, double now)
{
    return !s->blind && now > s->moved_s + s->params.hold_s;
}

/* How far apart pictures of a still scene are wanted: adaptive sampling doubles it with each hold_s. */
static double still_pause(const om_sampler *s, double now)
{
    if (s->params.mode == OM_SAMPLE_MOTION) return s->params.heartbeat_s;
    double steps = s->params.hold_s > 0 ? floor((now - s->moved_s) / s->params.hold_s) : 30;
    return fmin(s->params.heartbeat_s, ldexp(COMPARE_S, (int)fmin(steps, 30)));
}

/* Slower by half where many pictures come too late, faster when none did for a while. */
static void weigh_load(om_sampler *s, uint64_t superseded, double now)
{
    if (now < s->load_s + LOAD_WINDOW_S) return;
    uint64_t lost = superseded - s->superseded;
    if (s->load_s > 0 && s->wanted) {
        if ((double)lost > LOAD_LOST * (double)s->wanted && s->slow < SLOWEST) s->slow *= 2;
        else if (!lost && s->slow > 1) s->slow /= 2;
    }
    s->load_s = now;
    s->superseded = superseded;
    s->wanted = 0;
}

static void note_gap(om_sampler *s, double now)
{
    double gap = now - s->last_s;
    s->last_s = now;
    if (gap <= 0 || gap > 1) return;
    s->gap_s = s->gap_s > 0 ? s->gap_s + (gap - s->gap_s) / PLACE_SHARE : gap;
}

/* Clocks of cameras drift, and what they were when the first picture came is chance: where pictures come at
 * least twice as often as they are wanted, the next one is sought earlier or later. */
static void keep_place(om_sampler *s, double period, double now, double due)
{
    if (s->params.place < 0 || s->gap_s <= 0 || s->gap_s > period / 2 + EPSILON_S) return;
    double late = remainder(due - s->params.place * period, period);
    s->late_s = s->placed ? s->late_s + (late - s->late_s) / PLACE_SHARE : late;
    s->placed = true;
    if (fabs(s->late_s) < fmax(0.75 * s->gap_s, period / 8)) return;
    s->next_s = now + period - s->late_s - s->gap_s / 2; /* half a gap before the picture that is meant */
    s->late_s = 0;
}

/* By number and rate alone. */
static bool in_turn(om_sampler *s, double now, double due)
{
    uint64_t n = s->seen++;
    int every = atomic_load_explicit(&s->every, memory_order_relaxed);
    double fps = atomic_load_explicit(&s->fps, memory_order_relaxed);
    if (every > 1 && n % (uint64_t)every) return false;
    note_gap(s, now);
    if (fps > 0) {
        if (now + EPSILON_S < s->next_s && s->next_s <= now + 1.5 / fps + EPSILON_S) return false;
        s->next_s += 1.0 / fps;
        /* Slower than asked for, or the rate is another: no catching up in bursts. */
        if (s->next_s <= now || s->next_s > now + 1.0 / fps) s->next_s = now + 1.0 / fps;
        keep_place(s, 1.0 / fps, now, due);
    }
    int factor = atomic_load_explicit(&s->thin, memory_order_relaxed) * s->slow;
    return factor <= 1 || s->turn++ % (uint64_t)factor == 0;
}

om_verdict om_sampling_look(om_sampler *s, const om_frame *f, uint64_t superseded)
{
    double now = (double)f->pts_ns / 1e9;
    bool watches = s->params.mode == OM_SAMPLE_MOTION || s->params.mode == OM_SAMPLE_ADAPTIVE;
    if (watches) compare(s, f, now);
    if (s->params.mode == OM_SAMPLE_ADAPTIVE) weigh_load(s, superseded, now);
    if (!in_turn(s, now, (double)f->due_ns / 1e9)) return OM_VERDICT_SAMPLED;
    if (watches && still(s, now) && now + EPSILON_S < s->shown_s + still_pause(s, now))
        return OM_VERDICT_STILL;
    s->shown_s = now;
    s->wanted++;
    return OM_VERDICT_WANTED;
}
