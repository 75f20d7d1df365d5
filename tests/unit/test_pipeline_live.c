/* Streams that come and go while a run goes on, on the null engine and generated pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "live_rig.h"

static void streams_come_and_go(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    assert_int_equal(om_pipeline_wait(p, 0), OM_ERR_TIMEOUT); /* no stream, and it goes on */
    assert_ok(live(p, "a"));
    assert_ok(live(p, "b"));
    assert_int_equal(live(p, "a"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "'a'"));
    wait_inferred(p, "a", 3);
    wait_inferred(p, "b", 3);
    assert_int_equal(om_pipeline_remove_stream(p, "aa"), OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "did you mean 'a'"));
    assert_ok(om_pipeline_remove_stream(p, "a"));
    assert_int_equal(om_pipeline_remove_stream(p, "a"), OM_ERR_NOT_FOUND);
    assert_ok(live(p, "a")); /* its name is free at once */
    wait_inferred(p, "a", 3);
    wait_streams(p, 2);
    assert_ok(om_pipeline_row(p, "a", &row));
    assert_int_equal(row.status.index, 2);
    stop(p);
    om_pipeline_destroy(p);
}

static void what_was_removed_stays_counted(void **state)
{
    seen s;
    char *text;
    om_json_value *v;
    om_stream_stats st;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    for (int i = 0; i < 70; i++) {
        assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=5", NULL));
        wait_frames(&s, 5 * (uint64_t)(i + 1));
        om_stream_row *rows;
        size_t n;
        assert_ok(om_pipeline_list(p, false, &rows, &n));
        assert_ok(om_pipeline_remove_stream(p, rows[n - 1].status.name));
        om_free(rows);
    }
    wait_streams(p, 0);
    assert_ok(om_pipeline_stats(p, -1, &st));
    assert_int_equal(st.inferred, 350);
    assert_ok(om_pipeline_report(p, &text));
    assert_ok(om_json_parse(text, strlen(text), &v));
    assert_int_equal(om_json_get(v, "streams")->n, 64);
    assert_true(om_json_get(om_json_get(v, "removed_earlier"), "streams")->num == 6);
    assert_true(om_json_get(om_json_get(v, "removed_earlier"), "inferred")->num == 30);
    assert_true(om_json_get(om_json_get(v, "totals"), "received")->num == 350);
    om_json_free(v);
    om_free_string(text);
    stop(p);
    om_pipeline_destroy(p);
}

/* A run that videos are sent to for months keeps a list of bounded length. */
static void streams_that_ended_are_listed_up_to_a_bound(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    for (int i = 0; i < 300; i++) assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=1", NULL));
    wait_frames(&s, 300);
    wait_streams(p, 256);
    assert_ok(om_pipeline_stats(p, -1, &st));
    assert_int_equal(st.inferred, 300);
    stop(p);
    om_pipeline_destroy(p);
}

static long count_entries(const char *path)
{
    DIR *d = opendir(path);
    long n = 0;
    for (; d && readdir(d); n++) continue;
    if (d) closedir(d);
    return n;
}

static double resident_mb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

typedef struct footprint {
    long handles, threads;
    double mb;
} footprint;

static footprint look(void)
{
    malloc_trim(0);
    return (footprint){count_entries("/proc/self/fd"), count_entries("/proc/self/task"), resident_mb()};
}

/* n streams, twenty-five at a time. */
static void come_and_go(om_pipeline *p, seen *s, int n)
{
    char name[32];
    for (int i = 0; i < n; i += 25) {
        uint64_t before = atomic_load(&s->frames);
        for (int k = i; k < i + 25; k++) {
            snprintf(name, sizeof(name), "cam-%d", k);
            assert_ok(live(p, name));
        }
        wait_frames(s, before + 5);
        for (int k = i; k < i + 25; k++) {
            snprintf(name, sizeof(name), "cam-%d", k);
            assert_ok(om_pipeline_remove_stream(p, name));
        }
    }
    wait_streams(p, 0);
}

/* With a shared sink and one a stream, and a tracker. */
static void a_thousand_streams_leave_nothing_behind(void **state)
{
    seen s;
    char folder[] = "/tmp/omma-live-XXXXXX", spec[80];
    assert_non_null(mkdtemp(folder));
    om_pipeline *p = make(&s, (const char *const[]){"track", "bytetrack", NULL});
    snprintf(spec, sizeof(spec), "csv:%s/one_%%s.csv", folder);
    assert_ok(om_pipeline_add_sink(p, "null:"));
    assert_ok(om_pipeline_add_sink(p, spec));
    assert_ok(om_pipeline_start(p));
    come_and_go(p, &s, 150); /* more than are listed after their removal */
    footprint before = look();
    come_and_go(p, &s, SANITIZED ? 150 : 850);
    footprint after = look();
    assert_int_equal(after.handles, before.handles);
    assert_int_equal(after.threads, before.threads);
    if (!SANITIZED && after.mb > before.mb + 2) fail_msg("%.1f MB became %.1f", before.mb, after.mb);
    stop(p);
    om_pipeline_destroy(p);
    char command[80];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* In a run that is profiled every thread is counted, and none is kept. */
static void threads_that_have_ended_are_one_sum(void **state)
{
    seen s;
    char *text;
    om_json_value *v;
    om_pipeline *p = make(&s, (const char *const[]){"metrics-file", "/dev/null", NULL});
    assert_ok(om_pipeline_start(p));
    come_and_go(p, &s, 50);
    assert_ok(om_pipeline_report(p, &text));
    assert_ok(om_json_parse(text, strlen(text), &v));
    const om_json_value *threads = om_json_get(om_json_get(v, "profile"), "threads");
    int streams = 0;
    for (size_t i = 0; threads && i < threads->n; i++)
        if (!strcmp(om_json_get(&threads->children[i], "name")->str, "om-s"))
            streams = (int)om_json_get(&threads->children[i], "threads")->num;
    assert_int_equal(streams, 50);
    om_json_free(v);
    om_free_string(text);
    stop(p);
    om_pipeline_destroy(p);
}

static void a_stream_that_returns_gets_a_file_of_its_own(void **state)
{
    seen s;
    char folder[] = "/tmp/omma-live-XXXXXX", spec[80], path[80];
    struct stat st;
    assert_non_null(mkdtemp(folder));
    om_pipeline *p = make(&s, NULL);
    snprintf(spec, sizeof(spec), "jsonl:%s/%%s.jsonl", folder);
    assert_ok(om_pipeline_add_sink(p, spec));
    assert_ok(om_pipeline_start(p));
    for (int i = 0; i < 2; i++) {
        assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=8", "gate"));
        wait_inferred(p, "gate", 8);
        assert_ok(om_pipeline_remove_stream(p, "gate"));
        wait_streams(p, 0);
    }
    static const char *const files[] = {"gate.jsonl", "gate-2.jsonl"};
    for (int i = 0; i < 2; i++) { /* whole already: the run goes on */
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        int lines = 0;
        for (int c; (c = fgetc(f)) != EOF;) lines += c == '\n';
        fclose(f);
        assert_int_equal(lines, 8);
        assert_int_equal(stat(path, &st), 0);
        unlink(path);
    }
    stop(p);
    om_pipeline_destroy(p);
    rmdir(folder);
}

static void a_sink_without_a_stream_name_is_refused(void **state)
{
    seen s;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_add_sink(p, "video:/tmp/never-made.mp4"));
    assert_int_equal(om_pipeline_start(p), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "%s"));
    om_pipeline_destroy(p);
}

/* A reader that does not read: the sink's queue is full, and the lane waits. */
static void removing_and_stopping_do_not_wait_for_a_sink_that_hangs(void **state)
{
    seen s;
    char folder[] = "/tmp/omma-live-XXXXXX", path[64], spec[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/fifo", folder);
    snprintf(spec, sizeof(spec), "jsonl:%s", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_NONBLOCK);
    assert_true(fd >= 0);
    om_pipeline *p = make(&s, (const char *const[]){"sink-queue", "2", NULL});
    assert_ok(om_pipeline_add_sink(p, spec));
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=0", "a"));
    assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=0", "b"));
    uint64_t last;
    do { /* until nothing moves any more */
        last = atomic_load(&s.frames);
        om_cancel_sleep_until(NULL, om_now_ns() + 300 * OM_NS_PER_MS);
    } while (atomic_load(&s.frames) != last);
    int64_t begin = om_now_ns();
    assert_ok(om_pipeline_remove_stream(p, "a"));
    assert_true(om_now_ns() - begin < OM_NS_PER_SEC);
    wait_streams(p, 1);
    assert_true(om_now_ns() - begin < (SANITIZED ? 10 : 3) * OM_NS_PER_SEC);
    begin = om_now_ns();
    om_pipeline_stop(p);
    /* Somebody reads at last, else the hung sink would be left behind, with the memory it uses. */
    char bytes[65536];
    while (om_pipeline_wait(p, 5) == OM_ERR_TIMEOUT)
        if (om_now_ns() - begin > 600 * OM_NS_PER_MS && read(fd, bytes, sizeof(bytes)) < 0) continue;
    assert_true(om_now_ns() - begin < (SANITIZED ? 10 : 2) * OM_NS_PER_SEC);
    om_pipeline_destroy(p);
    close(fd);
    unlink(path);
    rmdir(folder);
}

typedef struct adder {
    om_pipeline *pipeline;
    int number;
    om_thread thread;
} adder;

static void *add_and_remove(void *arg)
{
    adder *a = arg;
    char name[32];
    for (int i = 0;; i++) {
        snprintf(name, sizeof(name), "t%d-%d", a->number, i % 3);
        int err = live(a->pipeline, name);
        if (err == OM_ERR_CANCELLED) return NULL; /* the run is about to end */
        if (i % 2) om_pipeline_pause_stream(a->pipeline, name, true);
        om_pipeline_set_stream(a->pipeline, name, "priority", i % 2 ? "3" : "0");
        snprintf(name, sizeof(name), "t%d-%d", a->number, (i + 1) % 3);
        om_pipeline_remove_stream(a->pipeline, name);
    }
}

static void a_stop_meets_streams_that_come(void **state)
{
    for (int round = 0; round < 3; round++) {
        seen s;
        adder adders[3];
        char *text;
        om_pipeline *p = make(&s, (const char *const[]){"latency-bound-ms", "1", NULL});
        assert_ok(om_pipeline_add_sink(p, "null:"));
        assert_ok(om_pipeline_start(p));
        for (int i = 0; i < 3; i++) {
            adders[i] = (adder){.pipeline = p, .number = i};
            assert_ok(om_thread_start(&adders[i].thread, "adder", add_and_remove, &adders[i]));
        }
        wait_frames(&s, 100);
        assert_ok(om_pipeline_report(p, &text));
        om_free_string(text);
        int64_t begin = om_now_ns();
        stop(p);
        if (!SANITIZED) assert_true(om_now_ns() - begin < 2 * OM_NS_PER_SEC);
        for (int i = 0; i < 3; i++) om_thread_join(&adders[i].thread);
        om_pipeline_destroy(p);
    }
}

static void a_run_without_keep_ends_with_its_last_stream(void **state)
{
    seen s;
    om_pipeline *p = make(&s, (const char *const[]){"keep", "no", NULL});
    assert_ok(om_pipeline_add_stream(p, ENDLESS, "a"));
    assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=4", "b"));
    assert_ok(om_pipeline_start(p));
    wait_frames(&s, 20);
    assert_ok(om_pipeline_remove_stream(p, "a"));
    assert_ok(om_pipeline_wait(p, 30000));
    assert_int_equal(live(p, "c"), OM_ERR_CANCELLED);
    om_pipeline_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_come_and_go),
        cmocka_unit_test(what_was_removed_stays_counted),
        cmocka_unit_test(streams_that_ended_are_listed_up_to_a_bound),
        cmocka_unit_test(a_thousand_streams_leave_nothing_behind),
        cmocka_unit_test(threads_that_have_ended_are_one_sum),
        cmocka_unit_test(a_stream_that_returns_gets_a_file_of_its_own),
        cmocka_unit_test(a_sink_without_a_stream_name_is_refused),
        cmocka_unit_test(removing_and_stopping_do_not_wait_for_a_sink_that_hangs),
        cmocka_unit_test(a_stop_meets_streams_that_come),
        cmocka_unit_test(a_run_without_keep_ends_with_its_last_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
