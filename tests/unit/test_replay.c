/* The packets that another decoder would start from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "media/replay.h"

#define KEY true

static void keep(om_replay *r, uint64_t number, bool key, int size)
{
    AVPacket *pkt = av_packet_alloc();
    assert_non_null(pkt);
    assert_int_equal(av_new_packet(pkt, size), 0);
    if (key) pkt->flags |= AV_PKT_FLAG_KEY;
    om_replay_keep(r, pkt, number);
    av_packet_free(&pkt);
}

static void expect(om_replay *r, uint64_t first, uint64_t last)
{
    uint64_t number;
    for (uint64_t n = first; n <= last; n++) {
        const AVPacket *pkt = om_replay_next(r, &number);
        assert_non_null(pkt);
        assert_int_equal(number, n);
        assert_int_equal(pkt->size, 10 + n);
    }
    assert_null(om_replay_next(r, &number));
    assert_int_equal(r->n, 0);
}

static void starts_with_a_key_picture(void **state)
{
    om_replay r = {0};
    for (uint64_t n = 0; n < 20; n++) keep(&r, n, n == 7 || n == 15, 10 + (int)n);
    expect(&r, 7, 19);
    om_replay_drop(&r);
}

/* What came before a key picture is needed until that picture is out. */
static void forgets_what_is_out(void **state)
{
    om_replay r = {0};
    for (uint64_t n = 0; n < 12; n++) keep(&r, n, n == 0 || n == 8, 10 + (int)n);
    om_replay_reached(&r, 0);
    assert_int_equal(r.n, 12);
    om_replay_reached(&r, 8);
    assert_int_equal(r.n, 4);
    assert_int_equal(r.bytes, 18 + 19 + 20 + 21);
    keep(&r, 12, false, 22);
    expect(&r, 8, 12);
    om_replay_drop(&r);
}

static void gives_up_what_has_no_bound(void **state)
{
    om_replay r = {0};
    keep(&r, 0, KEY, 10);
    for (uint64_t n = 1; n < 3000; n++) keep(&r, n, false, 10);
    assert_int_equal(r.n, 0);
    keep(&r, 3000, KEY, 10 + 3000);
    keep(&r, 3001, false, 10 + 3001);
    expect(&r, 3000, 3001);
    keep(&r, 3002, KEY, 9 << 20);
    keep(&r, 3003, false, 9 << 20);
    assert_int_equal(r.n, 0);
    om_replay_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_a_key_picture),
        cmocka_unit_test(forgets_what_is_out),
        cmocka_unit_test(gives_up_what_has_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
