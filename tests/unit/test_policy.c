/* The latency policy's ladder: its order, and how it goes down and up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/policy.h"

static const om_look late = {.any = true, .share_over = .5, .share_near = .9};
static const om_look fair = {.any = true, .share_over = .02, .share_near = .2};
static const om_look calm = {.any = true};

static void the_least_important_goes_first(void **state)
{
    static const struct {
        int class_index;
        om_step step;
    } order[] = {
        {0, OM_STEP_LOOP_FILTER}, {1, OM_STEP_LOOP_FILTER}, {0, OM_STEP_REFERENCES}, {1, OM_STEP_REFERENCES},
        {0, OM_STEP_HALF},        {0, OM_STEP_QUARTER},     {0, OM_STEP_KEYFRAMES},  {1, OM_STEP_HALF},
        {1, OM_STEP_QUARTER},     {1, OM_STEP_KEYFRAMES},
    };
    for (int n = 0; n < 10; n++) {
        int c;
        om_step step;
        om_ladder_rung(n + 1, 2, &c, &step);
        assert_int_equal(c, order[n].class_index);
        assert_int_equal(step, order[n].step);
    }
    int c;
    om_step step;
    om_ladder_rung(5, 1, &c, &step);
    assert_int_equal(step, OM_STEP_KEYFRAMES);
}

static void one_late_look_is_no_reason(void **state)
{
    om_ladder l = {.rungs = 5};
    assert_int_equal(om_ladder_look(&l, &late), 0);
    assert_int_equal(om_ladder_look(&l, &fair), 0);
    assert_int_equal(om_ladder_look(&l, &late), 0);
    assert_int_equal(om_ladder_look(&l, &late), 1);
    assert_int_equal(l.rung, 1);
}

static void it_ends_at_the_bottom_and_at_the_top(void **state)
{
    om_ladder l = {.rungs = 5};
    for (int i = 0; i < 100; i++) om_ladder_look(&l, &late);
    assert_int_equal(l.rung, 5);
    for (int i = 0; i < 10000; i++) om_ladder_look(&l, &calm);
    assert_int_equal(l.rung, 0);
}

static int looks_until_up(om_ladder *l)
{
    for (int n = 1; n < 10000; n++)
        if (om_ladder_look(l, &calm) < 0) return n;
    return -1;
}

static void between_the_bounds_it_stays_where_it_is(void **state)
{
    om_ladder l = {.rungs = 5};
    om_ladder_look(&l, &late);
    om_ladder_look(&l, &late);
    for (int i = 0; i < 1000; i++) assert_int_equal(om_ladder_look(&l, &fair), 0);
    assert_int_equal(l.rung, 1);
    assert_int_equal(looks_until_up(&l), 20); /* five seconds of calm */
}

static void who_comes_back_too_early_waits_longer(void **state)
{
    om_ladder l = {.rungs = 5};
    int last = 0;
    for (int i = 0; i < 4; i++) om_ladder_look(&l, &late); /* two rungs: the way up does not end at the top */
    for (int i = 0; i < 6; i++) {
        int waited = looks_until_up(&l);
        assert_true(waited >= last && waited <= 240);
        last = waited;
        om_ladder_look(&l, &late);
        om_ladder_look(&l, &late);
    }
    assert_int_equal(last, 240);
}

static void a_decoder_that_lags_counts_too(void **state)
{
    const om_look lag = {.late = true, .behind = true}, behind = {.behind = true};
    om_ladder l = {.rungs = 5};
    om_ladder_look(&l, &lag);
    assert_int_equal(om_ladder_look(&l, &lag), 1);
    for (int i = 0; i < 100; i++) assert_int_equal(om_ladder_look(&l, &behind), 0);
    assert_int_equal(looks_until_up(&l), 20); /* no frames at all: nothing is late */
}

static void one_slow_picture_now_and_then_keeps_nobody_down(void **state)
{
    om_ladder l = {.rungs = 5, .rung = 2};
    int n = 0;
    for (; l.rung == 2 && n < 100; n++) om_ladder_look(&l, n % 10 ? &calm : &fair);
    assert_int_equal(l.rung, 1);
    assert_in_range(n, 21, 45);
    for (n = 0; n < 1000; n++) om_ladder_look(&l, n % 4 ? &calm : &fair); /* a quarter of them is too much */
    assert_int_equal(l.rung, 1);
}

static void silence_between_late_pictures_is_no_recovery(void **state)
{
    static const om_look silent = {.any = false};
    om_ladder l = {.rungs = 5};
    for (int i = 0; i < 8; i++) om_ladder_look(&l, i % 4 ? &silent : &late); /* a picture a second */
    assert_int_equal(l.rung, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_important_goes_first),
        cmocka_unit_test(one_late_look_is_no_reason),
        cmocka_unit_test(one_slow_picture_now_and_then_keeps_nobody_down),
        cmocka_unit_test(silence_between_late_pictures_is_no_recovery),
        cmocka_unit_test(it_ends_at_the_bottom_and_at_the_top),
        cmocka_unit_test(between_the_bounds_it_stays_where_it_is),
        cmocka_unit_test(who_comes_back_too_early_waits_longer),
        cmocka_unit_test(a_decoder_that_lags_counts_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
