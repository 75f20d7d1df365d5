/* Time lines and the wait for a packet's turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "media/pace.h"

static void test_timeline(void **state)
{
    om_timeline t;
    om_timeline_init(&t, 10);
    int64_t s = OM_NS_PER_SEC, frame = s / 10;
    assert_int_equal(om_timeline_map(&t, 5 * s), 0);
    assert_int_equal(om_timeline_map(&t, 5 * s + frame), frame);
    assert_int_equal(om_timeline_map(&t, OM_NO_TIME), 2 * frame);               /* guessed */
    assert_int_equal(om_timeline_map(&t, 5 * s + 3 * frame), 3 * frame);        /* and taken up again */
    assert_int_equal(om_timeline_map(&t, 5 * s + 3 * frame), 3 * frame + 1000); /* twice the same */
    assert_int_equal(om_timeline_map(&t, 5 * s + 2 * frame), 3 * frame + 2000); /* a little back */
    assert_int_equal(om_timeline_map(&t, 1), 4 * frame + 2000);                 /* far back: a break */
    assert_int_equal(om_timeline_map(&t, 1 + frame), 5 * frame + 2000);
    assert_int_equal(om_timeline_map(&t, 1 + 20 * s), 4 * frame + 2000 + 20 * s); /* a gap that may be real */
    assert_int_equal(om_timeline_map(&t, 1 + 100 * s), 5 * frame + 2000 + 20 * s); /* one that is not */
    om_timeline_break(&t);
    assert_int_equal(om_timeline_map(&t, 0), 6 * frame + 2000 + 20 * s);
    assert_int_equal(om_timeline_map(&t, INT64_MAX), 7 * frame + 2000 + 20 * s);
    assert_int_equal(om_timeline_map(&t, INT64_MIN + 1), 8 * frame + 2000 + 20 * s);
}

static void test_timeline_without_any_time(void **state)
{
    om_timeline t;
    om_timeline_init(&t, 0); /* 25 is guessed */
    for (int64_t i = 0; i < 5; i++) assert_int_equal(om_timeline_map(&t, OM_NO_TIME), i * 40 * OM_NS_PER_MS);
    assert_int_equal(om_timeline_map(&t, 77), 200 * OM_NS_PER_MS);
}

static void test_pace_keeps_the_schedule(void **state)
{
    atomic_llong start = om_now_ns() - OM_NS_PER_SEC; /* everything here is late already */
    om_source_params params = {.start_ns = &start, .phase_ns = 1000};
    om_pace p;
    int64_t due;
    om_pace_init(&p, &params, true);
    assert_int_equal(om_pace_wait(&p, 500, &due), OM_OK);
    assert_int_equal(due, start + 1500);
    assert_int_equal(om_pace_wait(&p, OM_NS_PER_MS, &due), OM_OK);
    assert_int_equal(due, start + 1000 + OM_NS_PER_MS);
}

static void test_pace_is_cancelled_at_the_start(void **state)
{
    om_cancel cancel;
    assert_int_equal(om_cancel_init(&cancel), OM_OK);
    atomic_llong start = 0; /* never set */
    om_source_params params = {.start_ns = &start, .cancel = &cancel};
    om_pace p;
    int64_t due;
    om_pace_init(&p, &params, true);
    om_cancel_fire(&cancel);
    assert_int_equal(om_pace_wait(&p, 0, &due), OM_ERR_CANCELLED);
    om_cancel_fini(&cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeline),
        cmocka_unit_test(test_timeline_without_any_time),
        cmocka_unit_test(test_pace_keeps_the_schedule),
        cmocka_unit_test(test_pace_is_cancelled_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
