/* Which pictures the model sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/sampler.h"

static om_frame *grey(void)
{
    om_frame *f;
    assert_int_equal(om_frame_create(OM_PIX_GRAY8, 640, 360, &f), OM_OK);
    for (int y = 0; y < 360; y++) memset(f->image.plane[0] + (ptrdiff_t)y * f->image.stride[0], 100, 640);
    return f;
}

static void square(om_frame *f, int x, uint8_t level)
{
    for (int y = 100; y < 160; y++)
        memset(f->image.plane[0] + (ptrdiff_t)y * f->image.stride[0] + x, level, 60);
}

static om_verdict look(om_sampler *s, om_frame *f, double t, uint64_t superseded)
{
    f->pts_ns = (int64_t)(t * 1e9);
    return om_sampling_look(s, f, superseded);
}

/* Of n pictures at `rate` from `from` seconds on, how many are wanted; `moves`: something does. */
static int wanted(om_sampler *s, om_frame *f, double from, int n, double rate, bool moves)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (moves) {
            square(f, i * 4 % 500, 100);
            square(f, (i * 4 + 4) % 500, 220);
        }
        count += look(s, f, from + i / rate, 0) == OM_VERDICT_WANTED;
    }
    return count;
}

static void test_rate_and_number(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    om_sampling_params p = {.every = 3};
    assert_int_equal(om_sampling_init(&s, &p), OM_OK);
    assert_int_equal(wanted(&s, f, 0, 300, 25, false), 100);
    om_sampling_set(&s, 1, -1);
    assert_int_equal(wanted(&s, f, 12, 300, 25, false), 300);
    om_sampling_set(&s, -1, 5);
    assert_in_range(wanted(&s, f, 24, 250, 25, false), 50, 51);
    om_sampling_set(&s, -1, 0.1);
    assert_in_range(wanted(&s, f, 34, 500, 25, false), 2, 3);
    om_sampling_set(&s, -1, 5); /* a higher rate holds at once */
    assert_in_range(wanted(&s, f, 54, 250, 25, false), 49, 51);
    om_sampling_thin(&s, 2);
    assert_in_range(wanted(&s, f, 64, 250, 25, false), 24, 26);
    om_sampling_thin(&s, 1);
    assert_in_range(wanted(&s, f, 74, 250, 25, false), 49, 51);
    om_sampling_fini(&s);
    om_frame_unref(f);
}

typedef struct camera {
    double rate, ahead_s, drift; /* its clock: when it began on ours, and how much slower it goes */
    int n, first;                /* pictures, and from which on the moments are judged */
} camera;

typedef struct moments {
    int n;
    double worst_s;               /* from the place */
    double shortest_s, longest_s; /* from one to the next */
} moments;

/* Arrivals jitter by a fifth of the time between two pictures. */
static moments sample_camera(om_sampler *s, om_frame *f, const camera *c, double place, double period)
{
    moments m = {.shortest_s = 1e9};
    double before = -1;
    for (int i = 0; i < c->n; i++) {
        double t = i / c->rate,
               due = 1000 + c->ahead_s + t * (1 + c->drift) + (i * 7919 % 11) / 55.0 / c->rate;
        f->due_ns = (int64_t)(due * 1e9);
        if (look(s, f, t, 0) != OM_VERDICT_WANTED) continue;
        m.n++;
        if (before >= 0)
            m.shortest_s = fmin(m.shortest_s, t - before), m.longest_s = fmax(m.longest_s, t - before);
        before = t;
        if (i >= c->first) m.worst_s = fmax(m.worst_s, fabs(remainder(due - place * period, period)));
    }
    return m;
}

/* Cameras of which fewer pictures are wanted than come take turns, whenever they began and however their
 * clocks drift, at the rate that is asked for. */
static void test_cameras_take_turns(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    for (int k = 0; k < 40; k++) {
        double place = k / 40.0;
        om_sampling_params p = {.every = 1, .fps = 5, .place = place};
        const camera c = {
            .rate = 25, .ahead_s = k * 0.0317, .drift = k % 2 ? 5e-4 : -5e-4, .n = 15000, .first = 50};
        assert_int_equal(om_sampling_init(&s, &p), OM_OK);
        moments m = sample_camera(&s, f, &c, place, 0.2);
        om_sampling_fini(&s);
        if (m.n < 2990 || m.n > 3010 || m.worst_s > 0.045 || m.shortest_s < 0.07 || m.longest_s > 0.33)
            fail_msg("place %g: %d pictures, up to %g s beside it, %g to %g s apart", place, m.n, m.worst_s,
                     m.shortest_s, m.longest_s);
    }
    om_frame_unref(f);
}

/* Where there is no choice, or nothing was asked for, no picture is passed over for it. */
static void test_places_cost_no_picture(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    const camera slow = {.rate = 5, .ahead_s = 0.07, .n = 500},
                 quick = {.rate = 25, .ahead_s = 0.07, .n = 500};
    for (int k = 0; k < 4; k++) {
        om_sampling_params p = {.every = 1, .fps = k == 1 ? 0 : 5, .place = k == 2 ? -1 : 0.9};
        const camera *c = k == 0 ? &slow : &quick;
        assert_int_equal(om_sampling_init(&s, &p), OM_OK);
        moments m = sample_camera(&s, f, c, 0.9, 0.2);
        om_sampling_fini(&s);
        if (k < 2) assert_int_equal(m.n, 500);
        else assert_in_range(m.n, 99, 101);
        if (k == 2) assert_true(m.shortest_s > 0.2 - 1e-6 && m.longest_s < 0.2 + 1e-6);
    }
    om_frame_unref(f);
}

static void test_motion_opens_and_a_still_scene_beats(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    om_sampling_params p = {
        .mode = OM_SAMPLE_MOTION, .every = 1, .motion = 0.2, .hold_s = 2, .heartbeat_s = 10};
    assert_int_equal(om_sampling_init(&s, &p), OM_OK);
    assert_in_range(wanted(&s, f, 0, 60 * 25, 25, false), 50 + 5,
                    50 + 8); /* what is new moves, then it beats */
    assert_int_equal(wanted(&s, f, 60, 250, 25, true) > 240, true);
    assert_in_range(wanted(&s, f, 70, 100, 25, false), 45, 65); /* the hold */
    assert_int_equal(look(&s, f, 74.1, 0), OM_VERDICT_STILL);
    om_frame *g = NULL; /* another size is another scene */
    assert_int_equal(om_frame_create(OM_PIX_GRAY8, 320, 180, &g), OM_OK);
    for (int y = 0; y < 180; y++) memset(g->image.plane[0] + (ptrdiff_t)y * g->image.stride[0], 100, 320);
    assert_int_equal(look(&s, g, 75, 0), OM_VERDICT_WANTED);
    om_frame_unref(g);
    om_sampling_fini(&s);
    om_frame_unref(f);
}

/* Motion that hovers between half the threshold and the threshold neither starts nor ends it. */
static void test_motion_has_hysteresis(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    om_sampling_params p = {
        .mode = OM_SAMPLE_MOTION, .every = 1, .motion = 2, .hold_s = 0.5, .heartbeat_s = 100};
    assert_int_equal(om_sampling_init(&s, &p), OM_OK);
    wanted(&s, f, 0, 50, 25, false);
    assert_int_equal(look(&s, f, 2.1, 0), OM_VERDICT_STILL);
    /* 36 of 2304 cells, 1.6%, flicker from one comparison to the next. */
    int before = 0, after = 0;
    for (int i = 0; i < 50; i++) {
        square(f, 100, i % 2 ? 100 : 130);
        before += look(&s, f, 3 + i / 4.0, 0) == OM_VERDICT_WANTED;
    }
    assert_int_equal(before, 0);
    for (int x = 0; x < 600; x += 60) square(f, x, 160); /* much more starts it */
    look(&s, f, 16, 0);
    for (int x = 0; x < 600; x += 60) square(f, x, 100);
    for (int i = 0; i < 100; i++) {
        square(f, 100, i % 2 ? 100 : 130);
        after += look(&s, f, 16.25 + i / 4.0, 0) == OM_VERDICT_WANTED;
    }
    assert_true(after > 95);
    om_sampling_fini(&s);
    om_frame_unref(f);
}

static void test_adaptive_slows_down_and_comes_back(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    om_sampling_params p = {
        .mode = OM_SAMPLE_ADAPTIVE, .every = 1, .motion = 0.2, .hold_s = 1, .heartbeat_s = 5};
    assert_int_equal(om_sampling_init(&s, &p), OM_OK);
    wanted(&s, f, 0, 25, 25, false);
    int early = wanted(&s, f, 1, 75, 25, false), late = wanted(&s, f, 60, 250, 25, false);
    assert_true(early > 3 && early < 40 && late >= 1 && late <= 3);
    int moving = wanted(&s, f, 70, 250, 25, true);
    assert_true(moving > 240);
    uint64_t lost = 0, shown = 0; /* half of them come too late */
    int loaded = 0;
    for (int i = 0; i < 500; i++) {
        square(f, i * 4 % 500, 100);
        square(f, (i * 4 + 4) % 500, 220);
        bool w = look(&s, f, 80 + i / 25.0, lost) == OM_VERDICT_WANTED;
        lost += w && ++shown % 2;
        loaded += w && i >= 400;
    }
    assert_true(loaded > 2 && loaded < 30);
    wanted(&s, f, 100, 500, 25, true);
    assert_true(wanted(&s, f, 120, 250, 25, true) > 240);
    om_sampling_fini(&s);
    om_frame_unref(f);
}

static void test_what_cannot_be_compared_counts_as_moving(void **state)
{
    om_sampler s;
    om_frame *f = grey();
    om_sampling_params p = {
        .mode = OM_SAMPLE_MOTION, .every = 1, .motion = 0.2, .hold_s = 1, .heartbeat_s = 10};
    assert_int_equal(om_sampling_init(&s, &p), OM_OK);
    f->memory = OM_MEMORY_CUDA;
    assert_int_equal(wanted(&s, f, 0, 200, 25, false), 200);
    f->memory = OM_MEMORY_HOST;
    om_sampling_fini(&s);
    om_frame_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_and_number),
        cmocka_unit_test(test_cameras_take_turns),
        cmocka_unit_test(test_places_cost_no_picture),
        cmocka_unit_test(test_motion_opens_and_a_still_scene_beats),
        cmocka_unit_test(test_motion_has_hysteresis),
        cmocka_unit_test(test_adaptive_slows_down_and_comes_back),
        cmocka_unit_test(test_what_cannot_be_compared_counts_as_moving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
