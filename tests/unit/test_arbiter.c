/* The arbiter's order and the books' identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "pipeline/account.h"
#include "pipeline/arbiter.h"

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void grants_up_to_the_limit(void **state)
{
    om_arbiter a = {.limit = 2};
    om_claim c[3] = {{.cond = &cond}, {.cond = &cond}, {.cond = &cond}};
    for (int i = 0; i < 3; i++) om_arbiter_request(&a, &c[i], 0);
    assert_true(c[0].granted && c[1].granted);
    assert_false(c[2].granted);
    om_arbiter_release(&a);
    assert_true(c[2].granted);
    assert_int_equal(a.in_use, 2);
}

static void priority_goes_before_waiting_time(void **state)
{
    om_arbiter a = {.limit = 1};
    om_claim c[4] = {{.cond = &cond}, {.cond = &cond}, {.cond = &cond}, {.cond = &cond}};
    om_arbiter_request(&a, &c[0], 0);
    om_arbiter_request(&a, &c[1], 1);
    om_arbiter_request(&a, &c[2], 5);
    om_arbiter_request(&a, &c[3], 5);
    om_arbiter_release(&a);
    assert_true(c[2].granted);
    om_arbiter_request(&a, &c[1], 9); /* asked again: more urgent now */
    om_arbiter_release(&a);
    assert_true(c[1].granted);
    om_arbiter_release(&a);
    assert_true(c[3].granted);
}

static void withdrawing_gives_room_on(void **state)
{
    om_arbiter a = {.limit = 1};
    om_claim c[3] = {{.cond = &cond}, {.cond = &cond}, {.cond = &cond}};
    for (int i = 0; i < 3; i++) om_arbiter_request(&a, &c[i], 0);
    om_arbiter_withdraw(&a, &c[1]); /* while waiting */
    om_arbiter_withdraw(&a, &c[0]); /* while granted */
    assert_true(c[2].granted);
    assert_false(c[1].granted);
    assert_int_equal(a.in_use, 1);
    om_arbiter_set_limit(&a, 2);
    om_arbiter_request(&a, &c[1], 0);
    assert_true(c[1].granted);
}

static void every_packet_is_in_one_column(void **state)
{
    om_account a;
    om_tally t;
    assert_int_equal(om_account_init(&a), OM_OK);
    atomic_store(&a.source.received, 12);
    atomic_store(&a.source.decoded, 8);
    atomic_store(&a.source.no_output, 2);
    atomic_store(&a.source.corrupt, 1);
    for (int i = 0; i < 8; i++) om_account_enter(&a);
    for (int i = 1; i <= 4; i++) om_account_inferred(&a, i * 1000000, i * 1000000000LL);
    om_account_skip(&a, OM_SKIP_SAMPLED);
    om_account_drop(&a, OM_DROP_SUPERSEDED);
    om_account_tally(&a, &t);
    assert_int_equal(t.in_flight, 3); /* two in the pipeline, one in the decoder */
    assert_int_equal(t.received, t.inferred + om_tally_skipped(&t) + om_tally_dropped(&t) + t.in_flight);
    assert_true(om_tally_fps(&t) > 0.999 && om_tally_fps(&t) < 1.001);
    om_str s = {0};
    om_tally_losses(&t, &s);
    assert_string_equal(om_str_get(&s),
                        "skipped 3 (no_output 2, sampled 1), dropped 2 (corrupt 1, superseded 1)");
    om_str_fini(&s);
    om_account_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_up_to_the_limit),
        cmocka_unit_test(priority_goes_before_waiting_time),
        cmocka_unit_test(withdrawing_gives_room_on),
        cmocka_unit_test(every_packet_is_in_one_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
