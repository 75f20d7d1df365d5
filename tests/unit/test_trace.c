/* What the trace's export says, read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "trace/ring.h"
#include "trace/trace.h"

static char path[64];

static int make_file(void **state)
{
    strcpy(path, "/tmp/omma-trace-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) { return unlink(path); }

static om_json_value *exported(void)
{
    char *text;
    size_t len;
    om_json_value *v;
    assert_int_equal(om_trace_export(path), OM_OK);
    assert_int_equal(om_read_file(path, 1 << 28, &text, &len), OM_OK);
    if (om_json_parse(text, len, &v) != OM_OK) fail_msg("%s", om_error_message());
    om_free(text);
    return v;
}

static const char *text_of(const om_json_value *event, const char *key)
{
    return om_json_get(event, key)->str;
}
static double number_of(const om_json_value *event, const char *key) { return om_json_get(event, key)->num; }

/* The n-th event of that phase and name. */
static const om_json_value *find(const om_json_value *v, const char *phase, const char *name, int n)
{
    const om_json_value *events = om_json_get(v, "traceEvents");
    for (size_t i = 0; i < events->n; i++) {
        const om_json_value *e = &events->children[i];
        if (!strcmp(text_of(e, "ph"), phase) && !strcmp(text_of(e, "name"), name) && n-- == 0) return e;
    }
    return NULL;
}

static int count(const om_json_value *v, const char *phase, const char *name)
{
    int n = 0;
    while (find(v, phase, name, n)) n++;
    return n;
}

static void nothing_is_recorded_while_off(void **state)
{
    om_trace_begin("off", 1);
    om_trace_end("off");
    om_trace_counter("off", 1);
    assert_int_equal(om_trace_start(1), OM_ERR_ARG);
    assert_false(om_trace_enabled());
    om_json_value *v = exported();
    assert_int_equal(om_json_get(v, "traceEvents")->n, 1);
    assert_string_equal(text_of(om_json_get(find(v, "M", "process_name", 0), "args"), "name"), "omma");
    om_json_free(v);
    om_trace_fini();
}

static void spans_and_counters_are_told(void **state)
{
    assert_int_equal(om_trace_start(100), OM_OK);
    om_trace_begin("outer", 7);
    om_trace_begin("inner", -1);
    om_cancel_sleep_until(NULL, om_now_ns() + 2 * OM_NS_PER_MS);
    om_trace_end("inner");
    om_trace_counter("depth", 3);
    om_trace_end("outer");
    om_trace_begin("open", 2);
    om_trace_stop();
    om_trace_counter("depth", 4);

    om_json_value *v = exported();
    const om_json_value *outer = find(v, "X", "outer", 0), *inner = find(v, "X", "inner", 0);
    assert_true(number_of(om_json_get(outer, "args"), "id") == 7);
    assert_null(om_json_get(inner, "args"));
    assert_true(number_of(inner, "dur") >= 2000);
    assert_true(number_of(inner, "ts") >= number_of(outer, "ts"));
    assert_true(number_of(inner, "ts") + number_of(inner, "dur") <=
                number_of(outer, "ts") + number_of(outer, "dur") + 0.01);
    assert_true(number_of(outer, "pid") == getpid());
    assert_true(number_of(outer, "tid") == gettid());
    assert_true(number_of(om_json_get(find(v, "C", "depth", 0), "args"), "value") == 3);
    assert_int_equal(count(v, "C", "depth"), 1);
    assert_int_equal(count(v, "B", "open"), 1);
    om_json_free(v);
    om_trace_fini();
}

static void ring_keeps_the_last_events(void **state)
{
    assert_int_equal(om_trace_start(1000), OM_OK);
    for (int i = 0; i < 2345; i++) om_trace_counter("n", i);
    om_json_value *v = exported();
    assert_int_equal(count(v, "C", "n"), 1000);
    for (int i = 0; i < 1000; i += 111)
        assert_true(number_of(om_json_get(find(v, "C", "n", i), "args"), "value") == 1345 + i);
    om_json_free(v);
    om_trace_fini();
}

static void a_full_ring_says_how_far_back_it_goes(void **state)
{
    assert_int_equal(om_trace_start(4), OM_OK);
    for (int i = 0; i < 3; i++) om_trace_counter("n", i);
    assert_true(om_trace_kept_ns() == INT64_MAX);
    om_cancel_sleep_until(NULL, om_now_ns() + 20 * OM_NS_PER_MS);
    int64_t begin = om_now_ns();
    for (int i = 0; i < 4; i++) om_trace_counter("n", i);
    int64_t kept = om_trace_kept_ns();
    assert_true(kept >= 0 && kept <= om_now_ns() - begin);
    om_trace_fini();
    assert_true(om_trace_kept_ns() == INT64_MAX);
}

static void odd_ends_are_left_out(void **state)
{
    assert_int_equal(om_trace_start(4), OM_OK);
    om_trace_begin("lost", 1);
    om_trace_begin("a", 1);
    om_trace_begin("b", 1);
    om_trace_end("a"); /* ends b too */
    om_trace_end("lost");
    om_json_value *v = exported();
    assert_int_equal(count(v, "X", "a"), 1);
    assert_int_equal(count(v, "X", "b"), 1);
    assert_int_equal(count(v, "X", "lost") + count(v, "B", "lost"), 0);
    om_json_free(v);
    om_trace_fini();
}

typedef struct work {
    om_thread thread;
    atomic_bool *stop;
    int least;
} work;

static void *trace_much(void *p)
{
    work *w = p;
    for (int i = 0; i < w->least || !atomic_load(w->stop); i++) {
        om_trace_begin("work", i);
        om_trace_counter("done", i);
        om_trace_end("work");
    }
    return NULL;
}

static void threads_keep_their_own_events(void **state)
{
    work workers[4];
    atomic_bool stop = false;
    char name[32];
    assert_int_equal(om_trace_start(3000), OM_OK);
    for (int i = 0; i < 4; i++) {
        workers[i] = (work){.stop = &stop, .least = 500};
        snprintf(name, sizeof name, "worker-%d", i);
        assert_int_equal(om_thread_start(&workers[i].thread, name, trace_much, &workers[i]), OM_OK);
    }
    for (int i = 0; i < 3; i++) om_json_free(exported()); /* while they run */
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++) om_thread_join(&workers[i].thread);
    om_trace_stop();

    om_json_value *v = exported();
    const om_json_value *events = om_json_get(v, "traceEvents");
    assert_int_equal(count(v, "M", "thread_name"), 4);
    for (int i = 0; i < 4; i++) {
        const om_json_value *meta = find(v, "M", "thread_name", i);
        int spans = 0;
        assert_memory_equal(text_of(om_json_get(meta, "args"), "name"), "worker-", 7);
        for (size_t k = 0; k < events->n; k++)
            spans += number_of(&events->children[k], "tid") == number_of(meta, "tid") &&
                     !strcmp(text_of(&events->children[k], "ph"), "X");
        assert_true(spans >= 499);
    }
    om_json_free(v);
    om_trace_fini();
}

static void *label_and_trace(void *arg)
{
    pthread_setname_np(pthread_self(), "fifteen-letters");
    om_trace_label(arg);
    om_trace_begin("work", 1);
    om_trace_end("work");
    return NULL;
}

/* Tracks are told apart by more than a number; of what is too long whole characters are kept. */
static void threads_have_labels(void **state)
{
    char longer[65];
    const char *labels[] = {"gate", longer}, *expected[] = {"fifteen-letters gate", NULL};
    for (size_t i = 0; i < 64; i++) longer[i] = i % 2 ? '\xc3' : i ? '\xa4' : 'x';
    longer[64] = '\0';
    for (int i = 0; i < 2; i++) {
        pthread_t t;
        assert_int_equal(om_trace_start(16), OM_OK);
        assert_int_equal(pthread_create(&t, NULL, label_and_trace, (void *)labels[i]), 0);
        pthread_join(t, NULL);
        om_json_value *v = exported();
        const char *name = text_of(om_json_get(find(v, "M", "thread_name", 0), "args"), "name");
        if (expected[i]) assert_string_equal(name, expected[i]);
        else assert_int_equal(strlen(name), 16 + 63);
        om_json_free(v);
        om_trace_fini();
    }
}

static void tracing_can_start_again(void **state)
{
    for (int round = 0; round < 3; round++) {
        assert_int_equal(om_trace_start(10), OM_OK);
        om_trace_begin("again", round);
        om_trace_end("again");
        om_json_value *v = exported();
        assert_int_equal(count(v, "X", "again"), 1);
        om_json_free(v);
        om_trace_fini();
    }
}

static void lack_of_memory_loses_events_only(void **state)
{
    for (long n = 0; n < 6; n++) {
        assert_int_equal(om_trace_start(1000), OM_OK);
        om_mem_fail_after(n);
        for (int i = 0; i < 600; i++) om_trace_counter("n", i);
        om_mem_fail_after(-1);
        om_json_value *v = exported();
        int kept = count(v, "C", "n");
        assert_int_equal(kept, n < 2 ? 0 : n == 2 ? 256 : n == 3 ? 512 : 600);
        om_json_free(v);
        om_trace_fini();
    }
    assert_int_equal(om_trace_start(1000), OM_OK);
    om_trace_begin("x", 1);
    om_trace_end("x");
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int rc = om_trace_export(path);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(rc, met ? OM_ERR_NOMEM : OM_OK);
        if (!met) break;
    }
    om_trace_fini();
}

static void unwritable_file_is_an_error(void **state)
{
    assert_int_equal(om_trace_start(10), OM_OK);
    om_trace_counter("x", 1);
    assert_int_equal(om_trace_export("/nowhere/trace.json"), OM_ERR_NOT_FOUND);
    assert_int_equal(om_trace_export("/dev/full"), OM_ERR_FULL);
    om_trace_fini();
}

static void flows_and_async_spans_are_told(void **state)
{
    int64_t id = om_trace_frame_id(3, 17);
    assert_int_equal(om_trace_start(100), OM_OK);
    om_trace_begin("read", 3);
    om_trace_flow(OM_FLOW_START, id);
    om_trace_end("read");
    om_trace_async("infer", 5, true);
    om_trace_flow(OM_FLOW_STEP, id);
    om_trace_async("infer", 5, false);
    om_trace_flow(OM_FLOW_END, id);
    om_json_value *v = exported();
    static const char *const phases[] = {"s", "t", "f"};
    for (int i = 0; i < 3; i++) {
        const om_json_value *e = find(v, phases[i], "frame", 0);
        assert_non_null(e);
        assert_true(number_of(e, "id") == (double)id);
        assert_string_equal(text_of(e, "cat"), "frame");
    }
    assert_string_equal(text_of(find(v, "f", "frame", 0), "bp"), "e");
    assert_string_equal(text_of(find(v, "b", "infer", 0), "id"), text_of(find(v, "e", "infer", 0), "id"));
    om_json_free(v);
    om_trace_fini();
}

/* Names that JSON must escape or no line holds, numbers of every length. */
static void odd_names_and_numbers_are_told(void **state)
{
    static char lengthy[600];
    static const int64_t numbers[] = {0, -1, 10, 99, 1000000007, -123456789012};
    memset(lengthy, 'n', sizeof lengthy - 1);
    assert_int_equal(om_trace_start(100), OM_OK);
    for (int i = 0; i < 6; i++) om_trace_counter(lengthy, numbers[i]);
    om_trace_counter("a \"quoted\\ name\n", 1);
    om_trace_counter("gr\xc3\xbc\xc3\x9f \xff", 2);
    om_trace_async("infer", -2, true);
    om_trace_past("past", 1, om_trace_origin_ns() - 1234567, om_trace_origin_ns() + 5);
    om_json_value *v = exported();
    for (int i = 0; i < 6; i++)
        assert_true(number_of(om_json_get(find(v, "C", lengthy, i), "args"), "value") == (double)numbers[i]);
    assert_non_null(find(v, "C", "a \"quoted\\ name\n", 0));
    assert_non_null(find(v, "C", "gr\xc3\xbc\xc3\x9f \xef\xbf\xbd", 0));
    assert_string_equal(text_of(find(v, "b", "infer", 0), "id"), "0xfffffffffffffffe");
    assert_true(number_of(find(v, "b", "past", 0), "ts") == -1234.567);
    assert_true(number_of(find(v, "e", "past", 0), "ts") == 0.005);
    om_json_free(v);
    om_trace_fini();
}

static void only_the_last_is_told_when_asked(void **state)
{
    assert_int_equal(om_trace_start(100), OM_OK);
    om_trace_counter("old", 1);
    om_trace_begin("across", 1);
    om_cancel_sleep_until(NULL, om_now_ns() + 50 * OM_NS_PER_MS);
    om_trace_end("across");
    om_trace_counter("new", 1);
    assert_int_equal(om_trace_export_last(path, 25 * OM_NS_PER_MS), OM_OK);
    char *text;
    size_t len;
    assert_int_equal(om_read_file(path, 1 << 28, &text, &len), OM_OK);
    assert_null(strstr(text, "old"));
    assert_null(strstr(text, "across"));
    assert_non_null(strstr(text, "new"));
    om_free(text);
    om_trace_fini();
}

static int pushed, popped;
static void push(const char *name, int64_t id) { pushed++; }
static void pop(void) { popped++; }

static void a_tool_is_told_of_spans(void **state)
{
    static const om_trace_tool tool = {.push = push, .pop = pop};
    om_trace_set_tool(NULL);
    om_trace_begin("off", 1);
    assert_false(om_trace_enabled());
    assert_int_equal(om_trace_start(100), OM_OK);
    om_trace_set_tool(&tool);
    om_trace_begin("a", 1);
    om_trace_begin("b", 1);
    om_trace_end("b");
    om_trace_set_tool(NULL);
    om_trace_end("a");
    assert_int_equal(pushed, 2);
    assert_int_equal(popped, 1);
    om_trace_fini();
}

/* On a track of its own, at the times that are said. */
static void what_a_device_did_is_told_later(void **state)
{
    assert_int_equal(om_trace_start(100), OM_OK);
    int64_t now = om_now_ns();
    om_trace_past("gpu infer", 5, now - 3000000, now - 1000000);
    om_trace_begin("later", 1);
    om_trace_end("later");
    om_trace_stop();
    om_json_value *v = exported();
    const om_json_value *b = find(v, "b", "gpu infer", 0), *e = find(v, "e", "gpu infer", 0);
    assert_non_null(b);
    assert_non_null(e);
    assert_true(number_of(e, "ts") - number_of(b, "ts") > 1999 &&
                number_of(e, "ts") - number_of(b, "ts") < 2001);
    assert_string_equal(text_of(b, "id"), "0x5");
    om_json_free(v);
    om_trace_fini();
}

/* A tool that watches the process is told whether or not anything is recorded, and nothing is recorded for
 * it. */
static void a_tool_needs_no_recording(void **state)
{
    static const om_trace_tool tool = {.push = push, .pop = pop};
    pushed = popped = 0;
    om_trace_set_tool(&tool);
    assert_true(om_trace_has_tool());
    om_trace_begin("a", 1);
    om_trace_tool_begin("a name that does not stay", 2);
    om_trace_tool_end();
    om_trace_end("a");
    om_trace_counter("count", 1);
    assert_int_equal(pushed, 2);
    assert_int_equal(popped, 2);
    om_json_value *v = exported();
    assert_null(find(v, "B", "a", 0));
    om_json_free(v);
    assert_int_equal(om_trace_start(100), OM_OK);
    om_trace_stop(); /* the recording ends, the tool stays */
    assert_true(om_trace_enabled());
    om_trace_set_tool(NULL);
    assert_false(om_trace_enabled());
    om_trace_tool_begin("nobody", 1);
    om_trace_tool_end();
    assert_int_equal(pushed, 2);
    om_trace_fini();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_recorded_while_off),
        cmocka_unit_test(spans_and_counters_are_told),
        cmocka_unit_test(ring_keeps_the_last_events),
        cmocka_unit_test(a_full_ring_says_how_far_back_it_goes),
        cmocka_unit_test(odd_ends_are_left_out),
        cmocka_unit_test(threads_keep_their_own_events),
        cmocka_unit_test(threads_have_labels),
        cmocka_unit_test(tracing_can_start_again),
        cmocka_unit_test(lack_of_memory_loses_events_only),
        cmocka_unit_test(unwritable_file_is_an_error),
        cmocka_unit_test(flows_and_async_spans_are_told),
        cmocka_unit_test(odd_names_and_numbers_are_told),
        cmocka_unit_test(only_the_last_is_told_when_asked),
        cmocka_unit_test(a_tool_is_told_of_spans),
        cmocka_unit_test(a_tool_needs_no_recording),
        cmocka_unit_test(what_a_device_did_is_told_later),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
