/* What cameras need beside a network: pauses, clocks, passwords, lost pictures, less to decode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/camera.h"
#include "media/credentials.h"
#include "media/nal.h"
#include "media/pace.h"

#include "folder.h"

static void test_pauses_double_up_to_a_bound(void **state)
{
    for (int failures = 0; failures < 100; failures++) {
        int64_t least = om_camera_pause_ns(500, 30000, failures, 0),
                most = om_camera_pause_ns(500, 30000, failures, UINT32_MAX);
        int64_t whole = 500;
        for (int i = 1; i < failures && whole < 30000; i++) whole *= 2;
        if (whole > 30000) whole = 30000;
        assert_int_equal(least, whole * OM_NS_PER_MS / 2);
        assert_true(most >= whole * OM_NS_PER_MS - 1 && most <= whole * OM_NS_PER_MS);
        assert_in_range(om_camera_pause_ns(500, 30000, failures, 1U << 31), least, most);
    }
    assert_int_equal(om_camera_pause_ns(500, 100, 1, UINT32_MAX), 100 * OM_NS_PER_MS);
    assert_true(om_camera_pause_ns(INT32_MAX, INT32_MAX, 1000, UINT32_MAX) > 0);
}

/* A camera's clock leaps, stops, wraps and is missing; ours goes on at the pace of the arrivals. */
static void test_live_line_follows_arrivals_over_leaps(void **state)
{
    om_timeline t;
    om_timeline_init(&t, 25);
    int64_t s = OM_NS_PER_SEC, f = 40 * OM_NS_PER_MS, now = 1000 * s;
    assert_int_equal(om_timeline_map_live(&t, 77 * s, now), 0);
    assert_int_equal(om_timeline_map_live(&t, 77 * s + f, now += f), f);
    assert_int_equal(om_timeline_map_live(&t, 77 * s + 2 * f, now += 3 * f),
                     2 * f);                                                 /* late: its own time counts */
    assert_int_equal(om_timeline_map_live(&t, OM_NO_TIME, now += f), 3 * f); /* missing */
    assert_int_equal(om_timeline_map_live(&t, 77 * s + 4 * f, now += f), 4 * f); /* and there again */
    assert_int_equal(om_timeline_map_live(&t, 5 * s, now += f), 5 * f); /* far back: a wrap, a restart */
    assert_int_equal(om_timeline_map_live(&t, 5 * s + f, now += f), 6 * f);
    assert_int_equal(om_timeline_map_live(&t, 500 * s, now += f),
                     7 * f); /* far ahead, and no time has passed */
    assert_int_equal(om_timeline_map_live(&t, 500 * s + f, now += f), 8 * f);
    assert_int_equal(om_timeline_map_live(&t, 560 * s + f, now += 60 * s),
                     8 * f + 60 * s); /* ahead, as time is */
    assert_int_equal(om_timeline_map_live(&t, 560 * s + f, now += f),
                     8 * f + 60 * s + 1000); /* twice the same */
    int64_t last = 8 * f + 60 * s + 1000;
    uint32_t random = 1;
    for (int i = 0; i < 10000; i++) { /* whatever comes, it rises */
        random = random * 1664525 + 1013904223;
        int64_t ts = (int64_t)((uint64_t)random << 31) * (random & 4 ? 1 : -1), next;
        next = om_timeline_map_live(&t, random % 7 ? ts : OM_NO_TIME, now += random % 100000000);
        assert_true(next > last);
        last = next;
    }
}

/* A clock that stands, or runs backwards: after half a second the time that passes counts, and the camera's
 * own again once it rises. One that is set back a little is waited for. */
static void test_live_line_over_clocks_that_stand(void **state)
{
    int64_t s = OM_NS_PER_SEC, f = 40 * OM_NS_PER_MS;
    for (int64_t step = -f; step <= 0; step += f) {
        om_timeline t;
        om_timeline_init(&t, 25);
        int64_t now = 1000 * s, ts = 77 * s, last = om_timeline_map_live(&t, ts, now), at = 0;
        for (int i = 1; i <= 250; i++) {
            int64_t next = om_timeline_map_live(&t, ts += step, now += f);
            assert_true(next > last);
            if (i > 25) assert_in_range(next - i * f, 0, 20000);
            last = next;
        }
        at = last;
        for (int i = 1; i <= 50; i++)
            assert_int_equal(om_timeline_map_live(&t, ts += 2 * f, now += f), at + 2 * i * f);
    }
    om_timeline t;
    om_timeline_init(&t, 25);
    int64_t now = 1000 * s;
    for (int i = 0; i < 10; i++) om_timeline_map_live(&t, i * f, now += f);
    assert_int_equal(om_timeline_map_live(&t, 7 * f, now += f), 9 * f + 1000);
    assert_int_equal(om_timeline_map_live(&t, 8 * f, now += f), 9 * f + 2000);
    assert_int_equal(om_timeline_map_live(&t, 10 * f, now += 2 * f), 10 * f);
}

static void test_live_line_without_any_time(void **state)
{
    om_timeline t;
    om_timeline_init(&t, 0);
    int64_t now = 5;
    assert_int_equal(om_timeline_map_live(&t, OM_NO_TIME, now), 0);
    assert_int_equal(om_timeline_map_live(&t, OM_NO_TIME, now += 200), 200);
    assert_int_equal(om_timeline_map_live(&t, OM_NO_TIME, now), 1200); /* a burst */
    assert_int_equal(om_timeline_map_live(&t, OM_NO_TIME, now += 1000), 2200);
}

static void expect_login(const char *uri, const char *expected)
{
    char *out;
    assert_int_equal(om_credentials_apply(folder_path("list"), uri, &out), OM_OK);
    assert_string_equal(out, expected);
    om_credentials_wipe(out);
}

static void test_credentials_fit_hosts(void **state)
{
    folder_file(
        "list",
        "# cameras\n\n10.0.0.7:8554 port p\n10.0.0.7\tuser  p@ss/w:rd ?\r\n[fe80::1] six s\n* any one\n");
    expect_login("rtsp://10.0.0.7/a", "rtsp://user:p%40ss%2Fw%3Ard%20%3F@10.0.0.7/a");
    expect_login("rtsp://10.0.0.7:554/a?b=c", "rtsp://user:p%40ss%2Fw%3Ard%20%3F@10.0.0.7:554/a?b=c");
    expect_login("RTSP://10.0.0.7:8554", "RTSP://port:p@10.0.0.7:8554");
    expect_login("http://[fe80::1]:80/x", "http://six:s@[fe80::1]:80/x");
    expect_login("http://[FE80::1]/x", "http://six:s@[FE80::1]/x");
    expect_login("rtsp://gate", "rtsp://any:one@gate");
    expect_login("rtsp://own:one@10.0.0.7/a", "rtsp://own:one@10.0.0.7/a");
    folder_file("list", "\xef\xbb\xbf"
                        "10.0.0.7 marked p\n");
    expect_login("rtsp://10.0.0.7/a", "rtsp://marked:p@10.0.0.7/a");
    folder_file("list", "10.0.0.8 a b");
    expect_login("rtsp://10.0.0.7/a", "rtsp://10.0.0.7/a");
}

static void test_bad_credentials_are_named_and_not_shown(void **state)
{
    static const char *const bad[] = {"* user\n", "*\n", "# x\nhost secret\n"};
    char *out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        folder_file("list", bad[i]);
        assert_int_equal(om_credentials_apply(folder_path("list"), "rtsp://host/a", &out), OM_ERR_FORMAT);
        assert_null(out);
        assert_non_null(strstr(om_error_message(), i == 2 ? "list:2" : "list:1"));
        assert_null(strstr(om_error_message(), "secret"));
    }
    char line[400] = "* u ";
    memset(line + 4, 'x', 300);
    folder_file("list", line);
    assert_int_equal(om_credentials_apply(folder_path("list"), "rtsp://host/a", &out), OM_ERR_FORMAT);
    assert_int_equal(om_credentials_apply("/nowhere/list", "rtsp://host/a", &out), OM_ERR_NOT_FOUND);
    assert_int_equal(om_credentials_apply(NULL, "rtsp://host/a", &out), OM_OK);
    assert_string_equal(out, "rtsp://host/a");
    om_credentials_wipe(out);
}

/* An SPS of the baseline profile with 4-bit frame numbers, and slices by hand. */
static const uint8_t sps[] = {0, 0, 0, 1, 0x67, 66, 0, 30, 0xf8, 0x00, 0xff};

typedef struct picture {
    int frame_num, idr, reference;
} picture;

/* first_mb ue(0)=1, type ue(0)=1, pps ue(0)=1, then 4 bits. */
static bool gap_at(om_h264_order *o, picture p, bool with_sps)
{
    AVCodecParameters par = {.codec_id = AV_CODEC_ID_H264};
    uint8_t data[64];
    size_t n = 0;
    if (with_sps) {
        memcpy(data, sps, sizeof sps);
        n = sizeof sps;
    }
    uint8_t slice[] = {
        0, 0, 1, (uint8_t)(p.reference << 5 | (p.idr ? 5 : 1)), (uint8_t)(0xe0 | p.frame_num << 1), 0x80};
    memcpy(data + n, slice, sizeof slice);
    AVPacket pkt = {.data = data, .size = (int)(n + sizeof slice)};
    assert_int_equal(om_nal_disposable(&par, &pkt), !p.reference);
    return om_h264_gap(o, &par, &pkt);
}

static void test_lost_pictures_are_noticed(void **state)
{
    om_h264_order o = {0};
    assert_false(gap_at(&o, (picture){0, 1, 3}, true));
    assert_int_equal(o.bits, 4);
    assert_false(gap_at(&o, (picture){1, 0, 2}, false));
    assert_false(
        gap_at(&o, (picture){2, 0, 0}, false)); /* disposable ones take the next number, and leave it */
    assert_false(gap_at(&o, (picture){2, 0, 2}, false));
    assert_true(gap_at(&o, (picture){4, 0, 2}, false)); /* 3 is missing */
    assert_false(gap_at(&o, (picture){5, 0, 2}, false));
    for (int i = 6; i < 40; i++) assert_false(gap_at(&o, (picture){i & 15, 0, 2}, false)); /* it wraps */
    assert_true(gap_at(&o, (picture){9, 0, 0}, false));                                    /* 8 is missing */
    assert_false(gap_at(&o, (picture){0, 1, 3}, true));
    assert_false(gap_at(&o, (picture){1, 0, 2}, false));
}

static void test_damaged_units_are_survived(void **state)
{
    uint32_t random = 7;
    uint8_t data[96], extra[40];
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < sizeof data; k++) {
            random = random * 1664525 + 1013904223;
            data[k] = random >> 24 < 100 ? 0 : (uint8_t)(random >> 16 & (k % 5 ? 255 : 1));
        }
        memcpy(extra, data + 40, sizeof extra);
        if (i % 2) extra[0] = 1;
        AVCodecParameters par = {.codec_id = i % 3 ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC,
                                 .extradata = extra,
                                 .extradata_size = (int)(random >> 8) % (int)sizeof extra};
        AVPacket pkt = {.data = data, .size = i % (int)sizeof data};
        om_h264_order o = {0};
        for (int k = 0; k < 2; k++) om_h264_gap(&o, &par, &pkt);
        om_nal_disposable(&par, &pkt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses_double_up_to_a_bound),
        cmocka_unit_test(test_live_line_follows_arrivals_over_leaps),
        cmocka_unit_test(test_live_line_over_clocks_that_stand),
        cmocka_unit_test(test_live_line_without_any_time),
        cmocka_unit_test(test_credentials_fit_hosts),
        cmocka_unit_test(test_bad_credentials_are_named_and_not_shown),
        cmocka_unit_test(test_lost_pictures_are_noticed),
        cmocka_unit_test(test_damaged_units_are_survived),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
