/* Whole runs with secondary models on the null engine: every object answered, files the same whatever the
 * threads, live streams never waiting, books that add up, stops, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"
#include "pipeline/pipeline.h"

#include "check.h"

#define CLASSIFY TEST_DATA "/classify.onnx"
#define FRAMES 12

/* Zeroes from the null engine become boxes in every cell of this one's grids. */
static char primary[64];

typedef struct seen {
    atomic_ullong frames, objects, answers, missing, pending;
    om_str log[4]; /* of each stream: what was said of its objects */
} seen;

static void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    om_str *log = &s->log[r->stream_index % 4];
    atomic_fetch_add(&s->frames, 1);
    atomic_fetch_add(&s->objects, r->n_objects);
    om_str_addf(log, "%llu:", (unsigned long long)r->seq);
    for (size_t i = 0; i < r->n_answers; i++) {
        const om_answer *a = &r->answers[i];
        assert_true(a->object >= -1 && a->object < (int)r->n_objects);
        assert_true(a->parent < (int)i);
        if (a->parent >= 0) assert_int_equal(r->answers[a->parent].object, a->object);
        if (i) assert_true(a->object >= r->answers[i - 1].object);
        if (!a->missing) atomic_fetch_add(&s->answers, 1);
        else if (!strcmp(a->missing, "pending")) atomic_fetch_add(&s->pending, 1);
        else atomic_fetch_add(&s->missing, 1);
        om_str_addf(log, " %d/%d %s %s %d %.4f %s %llu", a->object, a->parent, a->model,
                    a->missing ? a->missing : "-", a->det.class_id, (double)a->det.score,
                    a->det.text ? a->det.text : "", (unsigned long long)a->seq);
    }
    om_str_addc(log, '\n');
}

static void seen_fini(seen *s)
{
    for (int i = 0; i < 4; i++) om_str_fini(&s->log[i]);
}

/* `options`: name, value, ... NULL */
static om_pipeline *make(seen *s, const char *uri, int streams, const char *const *options)
{
    om_pipeline *p;
    memset(s, 0, sizeof(*s));
    assert_ok(om_pipeline_create(&p));
    assert_ok(om_pipeline_set(p, "model", primary));
    assert_ok(om_pipeline_set(p, "device", "null"));
    assert_ok(om_pipeline_set(p, "conf", "0.2"));
    assert_ok(om_pipeline_set(p, "max-boxes", "5"));
    for (; options && *options; options += 2) assert_ok(om_pipeline_set(p, options[0], options[1]));
    assert_ok(om_pipeline_on_result(p, on_result, s));
    for (int i = 0; i < streams; i++) assert_ok(om_pipeline_add_stream(p, uri, NULL));
    return p;
}

static uint64_t number(const om_json_value *v, const char *key)
{
    const om_json_value *m = om_json_get(v, key);
    return m ? (uint64_t)m->num : 0;
}

typedef struct books {
    uint64_t asked, answered, empty, missing, left_out, in_flight, batches;
} books;

/* What the report says of secondary `index`. */
static books books_of(om_pipeline *p, size_t index)
{
    static const char *const out[] = {"budget", "queue", "outside", "untracked"};
    static const char *const lost[] = {"failed", "device_lost", "no_memory", "stopped"};
    char *text;
    om_json_value *v;
    assert_ok(om_pipeline_report(p, &text));
    assert_ok(om_json_parse(text, strlen(text), &v));
    const om_json_value *list = om_json_get(v, "secondary");
    assert_non_null(list);
    assert_true(index < list->n);
    const om_json_value *one = &list->children[index], *missing = om_json_get(one, "missing");
    books b = {.asked = number(one, "asked"),
               .answered = number(one, "answered"),
               .empty = number(one, "empty"),
               .in_flight = number(one, "in_flight"),
               .batches = number(one, "batches")};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) b.left_out += number(missing, out[i]);
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) b.missing += number(missing, lost[i]);
    om_json_free(v);
    om_free_string(text);
    assert_int_equal(b.asked, b.answered + b.empty + b.missing + b.in_flight);
    return b;
}

static void finish(om_pipeline *p, seen *s)
{
    om_pipeline_destroy(p);
    seen_fini(s);
}

static void every_object_is_answered(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:320x240:frames=12", 3,
                          (const char *const[]){"secondary", CLASSIFY, "secondary",
                                                "model=" CLASSIFY ",name=inner,parent=classify", NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_int_equal(atomic_load(&s.frames), 3 * FRAMES);
    assert_int_equal(atomic_load(&s.objects), 3 * FRAMES * 5);
    assert_int_equal(atomic_load(&s.answers), 2 * 3 * FRAMES * 5);
    for (size_t i = 0; i < 2; i++) {
        books b = books_of(p, i);
        assert_int_equal(b.answered, 3 * FRAMES * 5);
        assert_int_equal(b.left_out + b.missing + b.in_flight, 0);
    }
    finish(p, &s);
}

static void a_file_gives_the_same_whatever_the_threads(void **state)
{
    static const char *const second[] = {"model=" CLASSIFY ",name=a,confident=1,every=2",
                                         "model=" CLASSIFY ",name=b,parent=a,each=frame",
                                         "model=" CLASSIFY ",name=c,each=frame,budget=3"};
    static const char *const delays[] = {"null", "null:300", "null:4000"};
    char *first = NULL;
    for (int run = 0; run < 6; run++) {
        seen s;
        char spec[3][256];
        om_pipeline *p = make(&s, "pattern:320x240:frames=12", 2,
                              (const char *const[]){"track", "iou", "device", delays[(run + 1) % 3], NULL});
        for (int i = 0; i < 3; i++) {
            snprintf(spec[i], sizeof spec[i], "%s,device=%s,batch=%d,in-flight=%d", second[i],
                     delays[(run + i) % 3], run % 2 ? 4 : 1, 1 + run % 3);
            assert_ok(om_pipeline_set(p, "secondary", spec[i]));
        }
        assert_ok(om_pipeline_start(p));
        assert_ok(om_pipeline_wait(p, 60000));
        char *text = om_sprintf("%s%s", om_str_get(&s.log[0]), om_str_get(&s.log[1]));
        assert_non_null(text);
        if (first) assert_string_equal(text, first);
        else first = om_strdup(text);
        om_free(text);
        finish(p, &s);
    }
    assert_non_null(strstr(first, "budget"));
    om_free(first);
}

static void answers_are_remembered_by_track(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:320x240:frames=40", 1,
                          (const char *const[]){"track", "iou", "secondary",
                                                "model=" CLASSIFY ",confident=0,agree=3,better=0", NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_int_equal(books_of(p, 0).asked, 3 * 5); /* five tracks, three answers that agree */
    assert_int_equal(atomic_load(&s.answers), 40 * 5);
    finish(p, &s);
}

/* Records leave while a secondary that takes ten times as long as a frame lasts still thinks. */
static void live_never_waits(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p =
        make(&s, "pattern:320x240@25:frames=40", 1,
             (const char *const[]){"live", "yes", "track", "iou", "secondary",
                                   "model=" CLASSIFY ",device=null:400000,confident=1,every=1", NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_ok(om_pipeline_stats(p, 0, &st));
    assert_int_equal(st.received, st.inferred + st.skipped + st.dropped);
    assert_true(atomic_load(&s.pending) >= 5);
    books b = books_of(p, 0);
    /* One question a track at a time: as many as there are tracks times the answers there was time for. */
    assert_true(b.asked < atomic_load(&s.objects));
    finish(p, &s);
}

static void live_without_a_tracker_is_not_asked(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:320x240@100:frames=10", 1,
                          (const char *const[]){"live", "yes", "secondary", CLASSIFY, NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    books b = books_of(p, 0);
    assert_int_equal(b.asked, 0);
    assert_int_equal(b.left_out, atomic_load(&s.objects));
    finish(p, &s);
}

/* Thousands of objects a frame: the budget holds, and the record says of each that it was left out. */
static void a_flood_of_objects_stays_within_the_budget(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:640x640:frames=3", 1,
                          (const char *const[]){"max-boxes", "10000", "iou", "1", "input-size", "832x832",
                                                "secondary", "model=" CLASSIFY ",budget=7", NULL});
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_true(atomic_load(&s.objects) > 3 * 9000);
    books b = books_of(p, 0);
    assert_int_equal(b.answered, 3 * 7);
    assert_int_equal(b.left_out, atomic_load(&s.objects) - 3 * 7);
    assert_int_equal(atomic_load(&s.missing), b.left_out);
    finish(p, &s);
}

static void a_stop_does_not_wait_for_answers(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, "pattern:320x240:frames=0", 2,
                          (const char *const[]){"secondary", "model=" CLASSIFY ",device=null:300000", NULL});
    assert_ok(om_pipeline_start(p));
    assert_int_equal(om_pipeline_wait(p, 200), OM_ERR_TIMEOUT);
    int64_t begin = om_now_ns();
    om_pipeline_stop(p);
    assert_ok(om_pipeline_wait(p, 60000));
    assert_true(om_now_ns() - begin < 2 * OM_NS_PER_SEC);
    assert_ok(om_pipeline_stats(p, -1, &st));
    assert_int_equal(st.received, st.inferred + st.skipped + st.dropped);
    books_of(p, 0);
    finish(p, &s);
}

/* Its questions are in the queue and in the engine when it goes; their answers find nobody. */
static void a_stream_that_goes_leaves_its_questions(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:160x120@50:frames=30", 3,
                          (const char *const[]){"live", "yes", "track", "iou", "keep", "yes", "secondary",
                                                "model=" CLASSIFY ",device=null:150000,confident=1", NULL});
    assert_ok(om_pipeline_start(p));
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        assert_ok(om_pipeline_add_stream(p, "pattern:160x120@50:frames=0", name));
        assert_int_equal(om_pipeline_wait(p, 120), OM_ERR_TIMEOUT);
        assert_ok(om_pipeline_remove_stream(p, name));
    }
    assert_int_equal(om_pipeline_wait(p, 500), OM_ERR_TIMEOUT);
    om_pipeline_stop(p);
    assert_ok(om_pipeline_wait(p, 60000));
    books_of(p, 0);
    finish(p, &s);
}

static void a_frame_is_looked_at_when_there_is_doubt(void **state)
{
    static const struct {
        const char *rule;
        uint64_t asked;
    } all[] = {
        {"", FRAMES}, {",min-score=0.2,max-score=0.3", FRAMES}, {",min-score=0.5", 0}, {",every=4", 3}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        seen s;
        char spec[256];
        snprintf(spec, sizeof spec,
                 "model=%s,name=check,parent=frame,conf=0.2,input-size=96x96,max-boxes=2%s", primary,
                 all[i].rule);
        om_pipeline *p =
            make(&s, "pattern:320x240:frames=12", 1, (const char *const[]){"secondary", spec, NULL});
        assert_ok(om_pipeline_start(p));
        assert_ok(om_pipeline_wait(p, 60000));
        assert_int_equal(books_of(p, 0).answered, all[i].asked);
        assert_int_equal(atomic_load(&s.answers), 2 * all[i].asked);
        finish(p, &s);
    }
}

static void refuse(const char *const *options, const char *word)
{
    seen s;
    om_pipeline *p = make(&s, "pattern:320x240:frames=2", 1, options);
    int err = om_pipeline_start(p);
    assert_int_equal(err, OM_ERR_ARG);
    if (!strstr(om_error_message(), word)) print_error("'%s' is not in: %s\n", word, om_error_message());
    assert_non_null(strstr(om_error_message(), word));
    finish(p, &s);
}

static void what_cannot_be_is_said_at_the_start(void **state)
{
    static const struct {
        const char *spec, *word;
    } all[] = {
        {"model=" CLASSIFY ",parent=plates", "no model is named 'plates'"},
        {"model=" CLASSIFY ",modle=x", "did you mean 'model'"},
        {"name=x", "needs a file"},
        {"model=" CLASSIFY ",parent-classes=lorry", "has no class 'lorry'"},
        {"model=" CLASSIFY ",crop=landmarks", "gives no points"},
        {"model=" CLASSIFY ",each=track", "needs a tracker"},
        {"model=" CLASSIFY ",turn-classes=red", "no classifier"},
        {"model=" CLASSIFY ",gallery=x", "makes no embeddings"},
        {"model=" CLASSIFY ",corners=0122", "corners '0122'"},
        {"model=" CLASSIFY ",min-score=0.6,max-score=0.5", "above max-score"},
        {"model=" CLASSIFY ",parent=frame,each=track", "no track"},
        {"model=" CLASSIFY ",head=yolov8", "secondary 'classify'"},
        {"model=" CLASSIFY ",name=primary", "name of another parent"},
        {"model=" CLASSIFY ",budget=0", "budget"},
        {"model=/nowhere.onnx", "nowhere.onnx"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        seen s;
        om_pipeline *p =
            make(&s, "pattern:320x240:frames=2", 1, (const char *const[]){"secondary", all[i].spec, NULL});
        assert_int_not_equal(om_pipeline_start(p), OM_OK);
        if (!strstr(om_error_message(), all[i].word))
            print_error("%s: %s\n", all[i].spec, om_error_message());
        assert_non_null(strstr(om_error_message(), all[i].word));
        finish(p, &s);
    }
    refuse((const char *const[]){"secondary", "model=" CLASSIFY ",name=a,parent=b", "secondary",
                                 "model=" CLASSIFY ",name=b,parent=a", NULL},
           "circle");
    refuse((const char *const[]){"secondary", CLASSIFY, "secondary", CLASSIFY, NULL}, "differ");
}

/* Whatever allocation fails: an error, or a run whose books add up. */
static void memory_that_runs_out_is_survived(void **state)
{
    for (long n = 0; n < 3000; n += 41 + n / 3) {
        seen s;
        om_pipeline *p =
            make(&s, "pattern:160x120:frames=4", 1,
                 (const char *const[]){"track", "iou", "secondary", CLASSIFY, "secondary",
                                       "model=" CLASSIFY ",name=in,parent=classify,each=frame", NULL});
        om_mem_fail_after(n);
        int err = om_pipeline_start(p);
        if (!err) err = om_pipeline_wait(p, 60000);
        om_mem_fail_after(-1);
        assert_int_not_equal(err, OM_ERR_TIMEOUT);
        finish(p, &s);
    }
}

static int setup(void **state)
{
    om_graph *g;
    om_synth_params params = {.seed = 1, .dynamic = true, .classes = 2};
    snprintf(primary, sizeof primary, "/tmp/omma-second-%d.onnx", (int)getpid());
    int err = om_model_synth("yolov3-tiny", &params, &g);
    if (!err) {
        err = om_model_save(g, primary);
        om_graph_destroy(g);
    }
    if (err) print_error("%s\n", om_error_message());
    return err;
}

static int teardown(void **state)
{
    unlink(primary);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_object_is_answered),
        cmocka_unit_test(a_file_gives_the_same_whatever_the_threads),
        cmocka_unit_test(answers_are_remembered_by_track),
        cmocka_unit_test(live_never_waits),
        cmocka_unit_test(live_without_a_tracker_is_not_asked),
        cmocka_unit_test(a_flood_of_objects_stays_within_the_budget),
        cmocka_unit_test(a_stop_does_not_wait_for_answers),
        cmocka_unit_test(a_stream_that_goes_leaves_its_questions),
        cmocka_unit_test(a_frame_is_looked_at_when_there_is_doubt),
        cmocka_unit_test(what_cannot_be_is_said_at_the_start),
        cmocka_unit_test(memory_that_runs_out_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
