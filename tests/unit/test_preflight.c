/* What is said of a machine before a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "pipeline/preflight.h"

static void a_gpu_is_asked_for_room(void **state)
{
    const om_device_info gpu = {.memory_free = 24000000000, .decoders = 3};
    om_str text = {0};
    assert_false(om_preflight_decoders(&gpu, 70, &text));
    assert_string_equal(om_str_get(&text),
                        "decoders: 70 streams need about 7980 MB of the GPU's memory if they are 1080p; "
                        "24000 MB are free, 3 decoders");
    om_str_clear(&text);
    assert_true(om_preflight_decoders(&gpu, 300, &text));
    assert_non_null(strstr(om_str_get(&text), "300 streams need about 34200 MB"));
    assert_non_null(strstr(om_str_get(&text), "decoded on the CPU"));
    om_str_fini(&text);
}

static void a_gpu_that_does_not_tell_is_not_warned_of(void **state)
{
    const om_device_info silent = {.decoders = 1}, full = {.memory_free = 1};
    om_str text = {0};
    assert_false(om_preflight_decoders(&silent, 5000, &text));
    assert_false(om_preflight_decoders(&full, 0, &text));
    assert_int_equal(text.len, 0);
    assert_true(om_preflight_decoders(&full, 1, &text));
    om_str_fini(&text);
}

static void the_facts_are_the_streams(void **state)
{
    static const char *const uris[] = {"rtsp://h/a", "http://h/b",    "file:///c.mp4",
                                       "d.mp4",      "pattern:64x48", "v4l2:///dev/video0"};
    om_config c;
    om_preflight_facts f;
    assert_int_equal(om_config_init(&c), 0);
    for (size_t i = 0; i < 6; i++) assert_int_equal(om_config_add_stream(&c, uris[i], NULL), 0);
    assert_int_equal(om_option_set(om_run_option_table, &c.run, "link-mbit", "7"), 0);
    om_preflight_look(&c, &f);
    assert_int_equal(f.streams, 6);
    assert_int_equal(f.cameras, 2);
    assert_true(f.network_mbit == 7 && f.network_needed_mbit == 8);
    assert_true(om_preflight_link_mbit(&c.run) == 7);
    assert_true(f.handles_needed > 5 && f.handles_soft > 0 && f.handles_hard >= f.handles_soft);
    assert_true(f.memory_needed_mb > 150);
    om_config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpu_is_asked_for_room),
        cmocka_unit_test(a_gpu_that_does_not_tell_is_not_warned_of),
        cmocka_unit_test(the_facts_are_the_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
