/* A run on several devices: null engines stand for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "live_rig.h"
#include "pipeline/pipeline_priv.h"

static void expect_list(const char *text, const char *const *names)
{
    om_strlist l = {0};
    assert_ok(om_units_parse(text, &l));
    size_t n = 0;
    for (; names[n]; n++) assert_string_equal(l.items[n], names[n]);
    assert_int_equal(l.n, n);
    om_strlist_fini(&l);
}

static void refuse_list(const char *text, int code)
{
    om_strlist l = {0};
    assert_int_equal(om_units_parse(text, &l), code);
    assert_non_null(strstr(om_error_message(), text));
    om_strlist_fini(&l);
}

static void lists_of_devices_are_read(void **state)
{
    expect_list(NULL, (const char *const[]){"auto", NULL});
    expect_list("cuda:0", (const char *const[]){"cuda:0", NULL});
    expect_list("cuda:0,cuda:1,cpu", (const char *const[]){"cuda:0", "cuda:1", "cpu", NULL});
    expect_list("openvino:MULTI:CPU,GPU", (const char *const[]){"openvino:MULTI:CPU,GPU", NULL});
    refuse_list("null,", OM_ERR_ARG);
    refuse_list(",null", OM_ERR_ARG);
    refuse_list("null,,null", OM_ERR_ARG);
    refuse_list("nowhere:all", OM_ERR_NOT_FOUND);
}

/* How many streams each device has. */
static void count_each(om_pipeline *p, int n[3])
{
    memset(n, 0, 3 * sizeof(*n));
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) n[p->streams[i]->unit->index]++;
    pthread_mutex_unlock(&p->roster);
}

static int unit_of(om_pipeline *p, const char *name)
{
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = om_roster_find(p, name);
    int index = s ? s->unit->index : -1;
    pthread_mutex_unlock(&p->roster);
    return index;
}

static void streams_are_spread_and_stay_so(void **state)
{
    seen s;
    int n[3];
    char name[32];
    om_pipeline *p = make(&s, (const char *const[]){"device", "null,null:100,null:200", NULL});
    for (int i = 0; i < 6; i++) assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=40", NULL));
    assert_ok(om_pipeline_start(p));
    assert_int_equal(p->n_units, 3);
    wait_frames(&s, 240);
    count_each(p, n);
    for (int i = 0; i < 3; i++) assert_int_equal(n[i], 2);
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "cam%d", i);
        assert_ok(live(p, name));
        wait_inferred(p, name, 1);
    }
    /* Those that have ended weigh nothing; one of three goes, and the next takes its place. */
    for (int i = 0; i < 9; i += 2) {
        snprintf(name, sizeof name, "cam%d", i);
        int unit = unit_of(p, name);
        size_t before = count_streams(p);
        assert_ok(om_pipeline_remove_stream(p, name));
        wait_streams(p, before - 1);
        snprintf(name, sizeof name, "new%d", i);
        assert_ok(live(p, name));
        assert_int_equal(unit_of(p, name), unit);
        wait_inferred(p, name, 1);
    }
    count_each(p, n);
    for (int i = 0; i < 3; i++) assert_int_equal(n[i], 5);
    stop(p);
    om_pipeline_destroy(p);
}

static void a_large_stream_weighs_more(void **state)
{
    seen s;
    int n[3];
    om_pipeline *p = make(&s, (const char *const[]){"device", "null,null", NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_add_stream_with(p, "pattern:640x480@20:frames=0", "large",
                                          (const char *const[]){"live", "yes", NULL}));
    wait_inferred(p, "large", 1);
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "small%d", i);
        assert_ok(om_pipeline_add_stream_with(p, "pattern:64x48@20:frames=0", name,
                                              (const char *const[]){"live", "yes", NULL}));
        wait_inferred(p, name, 1);
    }
    count_each(p, n);
    assert_int_equal(unit_of(p, "large"), 0);
    assert_int_equal(n[0], 1);
    assert_int_equal(n[1], 8);
    stop(p);
    om_pipeline_destroy(p);
}

/* As if the devices' load had been looked at. */
static void pretend_load(om_pipeline *p, double first, double second)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < 2; i++) {
        p->units[i].gpu.samples++;
        p->units[i].gpu.last.compute_percent = i ? second : first;
        p->units[i].gpu.last.decode_percent = -1;
    }
    pthread_mutex_unlock(&p->lock);
}

/* Of cameras the load tells what one costs. Files that are read as fast as they go take what there is. */
static void load_counts_where_it_tells(void **state)
{
    for (int cameras = 0; cameras < 2; cameras++) {
        seen s;
        int n[3];
        om_pipeline *p = make(&s, (const char *const[]){"device", "null,null", NULL});
        assert_ok(om_pipeline_start(p));
        for (int i = 0; i < 12; i++) {
            char name[32];
            snprintf(name, sizeof name, "s%d", i);
            if (i == 4) pretend_load(p, 90, 31);
            assert_ok(
                om_pipeline_add_stream_with(p, "pattern:64x48@20:frames=0", name,
                                            (const char *const[]){"live", cameras ? "yes" : "no", NULL}));
            wait_inferred(p, name, 1);
        }
        count_each(p, n);
        assert_int_equal(n[0], cameras ? 3 : 6);
        assert_int_equal(n[1], cameras ? 9 : 6);
        stop(p);
        om_pipeline_destroy(p);
    }
}

static void the_report_tells_of_each_device(void **state)
{
    seen s;
    char *text;
    om_json_value *v;
    om_pipeline *p = make(&s, (const char *const[]){"device", "null,null:100", NULL});
    for (int i = 0; i < 5; i++) assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=20", NULL));
    assert_ok(om_pipeline_start(p));
    wait_frames(&s, 100);
    stop(p);
    assert_ok(om_pipeline_report(p, &text));
    assert_ok(om_json_parse(text, strlen(text), &v));
    const om_json_value *devices = om_json_get(v, "devices");
    assert_int_equal(devices->n, 2);
    double streams = 0, inferred = 0;
    for (size_t i = 0; i < 2; i++) {
        streams += om_json_get(&devices->children[i], "streams")->num;
        inferred += om_json_get(&devices->children[i], "inferred")->num;
    }
    assert_true(streams == 5 && inferred == 100);
    assert_string_equal(om_json_get(&devices->children[1], "device")->str, "null:100");
    assert_string_equal(om_json_get(&om_json_get(v, "streams")->children[1], "device")->str, "null:100");
    assert_int_equal(om_json_get(om_json_get(v, "model"), "rectangles")->n, 2);
    om_json_free(v);
    om_free_string(text);
    om_pipeline_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_devices_are_read),       cmocka_unit_test(streams_are_spread_and_stay_so),
        cmocka_unit_test(a_large_stream_weighs_more),      cmocka_unit_test(load_counts_where_it_tells),
        cmocka_unit_test(the_report_tells_of_each_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
