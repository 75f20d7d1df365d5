/* The same tests for every backend:   test_backends DEVICE
 * Exit status 77, with the reason, where the backend is not there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

static const om_backend_ops *ops;
static const char *device;
static om_device *host;
static bool computes; /* the null backend's outputs are zero */
static bool exact;    /* f32 asked for: what the CUDA engine takes by itself is too coarse for these bounds */

/* images [N,3,H,W] -> the mean of each channel [N,3] */
static om_graph *mean_graph(void)
{
    om_graph *g = NULL;
    assert_int_equal(om_graph_create("mean", &g), OM_OK);
    assert_true(om_graph_set_opset(g, "", 13) >= 0);
    om_shape in = om_shape_make(4, (int64_t)-1, (int64_t)3, (int64_t)-1, (int64_t)-1);
    int x = om_graph_add_input(g, "images", OM_DTYPE_F32, &in);
    int pool = om_graph_add_node(g, "GlobalAveragePool", "pool", &x, 1, 1);
    int pooled = om_node_out(g, pool);
    int flat = om_graph_add_node(g, "Flatten", "flat", &pooled, 1, 1);
    assert_int_equal(om_node_set_int(&g->nodes[flat], "axis", 1), OM_OK);
    assert_true(om_graph_mark_output(g, om_node_out(g, flat)) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    return g;
}

/* images [N,3,H,W] -> what `op` makes of them */
static om_graph *op_graph(const char *op)
{
    om_graph *g = NULL;
    assert_int_equal(om_graph_create("one", &g), OM_OK);
    assert_true(om_graph_set_opset(g, "", 13) >= 0);
    om_shape in = om_shape_make(4, (int64_t)-1, (int64_t)3, (int64_t)-1, (int64_t)-1);
    int x = om_graph_add_input(g, "images", OM_DTYPE_F32, &in);
    int n = om_graph_add_node(g, op, "the_node", &x, 1, 1);
    assert_true(om_graph_mark_output(g, om_node_out(g, n)) >= 0);
    om_graph_infer_shapes(g);
    return g;
}

/* What the tests' models want: v / 255. */
static om_model_desc *describe(const om_graph *g)
{
    om_model_desc *d = NULL;
    assert_int_equal(om_model_describe(g, &d), OM_OK);
    d->prep = (om_prep){.layout = OM_LAYOUT_NCHW, .channels = OM_CHANNELS_RGB, .dtype = OM_DTYPE_F32};
    for (int c = 0; c < 3; c++) d->prep.scale[c] = 1 / 255.0f;
    return d;
}

typedef struct fixture {
    om_graph *g;
    om_model_desc *desc;
    om_plan *plan;
} fixture;

static om_compile_params params_of(const fixture *f, int batch, int width, int height)
{
    return (om_compile_params){.graph = f->g,
                               .desc = f->desc,
                               .device = device,
                               .precision = exact ? OM_PRECISION_F32 : OM_PRECISION_AUTO,
                               .memory = host,
                               .batch = batch,
                               .width = width,
                               .height = height};
}

static fixture make_from(om_graph *g, int batch, int width, int height)
{
    fixture f = {.g = g, .desc = describe(g)};
    om_compile_params p = params_of(&f, batch, width, height);
    int rc = om_plan_compile(ops, &p, &f.plan);
    if (rc != OM_OK) fail_msg("compile: %s", om_error_message());
    return f;
}

static fixture make(int batch, int width, int height)
{
    return make_from(mean_graph(), batch, width, height);
}

static void drop(fixture *f)
{
    om_plan_destroy(f->plan);
    om_model_desc_free(f->desc);
    om_graph_destroy(f->g);
}

static om_session *session(const fixture *f)
{
    om_session *s = NULL;
    if (om_session_create(f->plan, &s) != OM_OK) fail_msg("session: %s", om_error_message());
    return s;
}

/* Fills channel c of item i with the byte value `v`, in whatever form the plan wants it. */
static void fill(om_session *s, int i, int c, int v)
{
    const om_plan *p = s->plan;
    size_t area = (size_t)p->width * (size_t)p->height;
    size_t step = p->prep.layout == OM_LAYOUT_NHWC ? 3 : 1,
           first = p->prep.layout == OM_LAYOUT_NHWC ? 1 : area;
    for (size_t k = 0; k < area; k++) {
        size_t at = (size_t)c * first + k * step;
        if (p->prep.dtype == OM_DTYPE_U8) ((uint8_t *)om_session_item(s, i))[at] = (uint8_t)v;
        else ((float *)om_session_item(s, i))[at] = (float)v / 255.0f;
    }
}

static int value_of(int seed, int item, int channel) { return (seed * 7 + item * 31 + channel * 60) % 256; }

static void fill_all(om_session *s, int n, int seed)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) fill(s, i, c, value_of(seed, i, c));
}

static bool means_right(const om_session *s, int n, int seed)
{
    const float *out = s->outputs[0].data;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            float want = computes ? (float)value_of(seed, i, c) / 255.0f : 0;
            if (!(fabsf(out[i * 3 + c] - want) < 1e-4f)) return false;
        }
    return true;
}

static void count(void *user) { atomic_fetch_add((atomic_int *)user, 1); }

static void test_shapes(void **state)
{
    static const int shapes[][3] = {{1, 64, 64}, {2, 96, 32}, {4, 160, 96}, {1, 33, 17}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int n = shapes[i][0], w = shapes[i][1], h = shapes[i][2];
        fixture f = make(n, w, h);
        assert_true(f.plan->sessions >= 1);
        assert_true(f.plan->note[0] != 0);
        om_session *s = session(&f);
        assert_int_equal(s->n_outputs, 1);
        assert_int_equal(s->outputs[0].dtype, OM_DTYPE_F32);
        om_shape want = om_shape_make(2, (int64_t)n, (int64_t)3);
        assert_true(om_shape_equal(&s->outputs[0].shape, &want));
        assert_int_equal(s->input.dtype, f.plan->prep.dtype);
        assert_int_equal(om_shape_count(&s->input.shape), (int64_t)n * 3 * w * h);
        assert_int_equal(s->item_bytes, (size_t)(3 * w * h) * om_dtype_size(s->input.dtype));
        assert_int_equal((uintptr_t)s->input.data % 64, 0);
        assert_ptr_equal(om_session_item(s, n - 1), (char *)s->input.data + s->item_bytes * (size_t)(n - 1));
        om_session_destroy(s);
        drop(&f);
    }
}

static void test_once(void **state)
{
    fixture f = make(2, 64, 32);
    om_session *s = session(&f);
    assert_int_equal(om_session_wait(s), OM_OK); /* nothing in flight */
    for (int round = 0; round < 20; round++) {
        atomic_int calls = 0;
        fill_all(s, 2, round);
        assert_int_equal(om_session_submit(s, 2, count, &calls), OM_OK);
        assert_int_equal(om_session_wait(s), OM_OK);
        assert_int_equal(atomic_load(&calls), 1);
        assert_int_equal(om_session_wait(s), OM_OK);
        assert_int_equal(atomic_load(&calls), 1);
        assert_true(means_right(s, 2, round));
    }
    om_session_destroy(s);
    drop(&f);
}

static void test_misuse(void **state)
{
    fixture f = make(2, 64, 32);
    om_session *s = session(&f);
    atomic_int calls = 0;
    assert_int_equal(om_session_submit(s, 0, count, &calls), OM_ERR_ARG);
    assert_int_equal(om_session_submit(s, 3, count, &calls), OM_ERR_ARG);
    assert_int_equal(om_session_submit(s, 1, NULL, NULL), OM_ERR_ARG);
    assert_int_equal(om_session_submit(s, 1, count, &calls), OM_OK);
    assert_int_equal(om_session_submit(s, 1, count, &calls), OM_ERR_ARG); /* not collected yet */
    assert_int_equal(om_session_wait(s), OM_OK);
    assert_int_equal(atomic_load(&calls), 1);
    om_session_destroy(s);
    om_session_destroy(NULL);
    om_plan_destroy(NULL);
    drop(&f);
}

/* Fewer items than the plan's batch: those that were written are right. */
static void test_partial_batch(void **state)
{
    fixture f = make(4, 64, 32);
    om_session *s = session(&f);
    for (int n = 1; n <= 4; n++) {
        atomic_int calls = 0;
        fill_all(s, n, n);
        assert_int_equal(om_session_submit(s, n, count, &calls), OM_OK);
        assert_int_equal(om_session_wait(s), OM_OK);
        assert_true(means_right(s, n, n));
    }
    om_session_destroy(s);
    drop(&f);
}

#define THREADS 4
#define ROUNDS 40

typedef struct worker {
    om_thread thread;
    om_session *sessions[2];
    atomic_int calls;
    int index, wrong, refused;
} worker;

/* Two sessions of its own, both in flight, again and again. */
static void *work(void *arg)
{
    worker *w = arg;
    for (int round = 0; round < ROUNDS; round++) {
        int seed = w->index * 50 + round;
        for (int k = 0; k < 2; k++) {
            fill_all(w->sessions[k], 1, seed + k);
            w->refused += om_session_submit(w->sessions[k], 1, count, &w->calls) != OM_OK;
        }
        for (int k = 0; k < 2; k++)
            w->wrong += om_session_wait(w->sessions[k]) != OM_OK || !means_right(w->sessions[k], 1, seed + k);
    }
    return NULL;
}

static void test_threads(void **state)
{
    fixture f = make(1, 96, 64);
    static worker workers[THREADS];
    memset(workers, 0, sizeof workers);
    for (int i = 0; i < THREADS; i++) {
        workers[i].index = i;
        for (int k = 0; k < 2; k++) workers[i].sessions[k] = session(&f);
        assert_int_equal(om_thread_start(&workers[i].thread, "worker", work, &workers[i]), OM_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        om_thread_join(&workers[i].thread);
        for (int k = 0; k < 2; k++) om_session_destroy(workers[i].sessions[k]);
        assert_int_equal(workers[i].refused, 0);
        assert_int_equal(workers[i].wrong, 0);
        assert_int_equal(atomic_load(&workers[i].calls), 2 * ROUNDS);
    }
    drop(&f);
}

static void test_destroy_in_flight(void **state)
{
    fixture f = make(1, 320, 320);
    atomic_int calls = 0;
    for (int i = 0; i < 5; i++) {
        om_session *s[3];
        for (int k = 0; k < 3; k++) s[k] = session(&f);
        for (int k = 0; k < 3; k++) assert_int_equal(om_session_submit(s[k], 1, count, &calls), OM_OK);
        for (int k = 0; k < 3; k++) om_session_destroy(s[k]);
        assert_int_equal(atomic_load(&calls), 3 * (i + 1));
    }
    drop(&f);
}

/* Compiles in the form the model itself declares and in the one the engine likes: the same answer. */
static void test_prep(void **state)
{
    for (int keep = 0; keep < 2; keep++) {
        fixture f = {.g = mean_graph()};
        f.desc = describe(f.g);
        f.desc->prep.mean[1] = 51;
        f.desc->prep.scale[2] = 1 / 127.5f;
        om_compile_params p = params_of(&f, 1, 64, 32);
        p.keep_prep = keep;
        assert_int_equal(om_plan_compile(ops, &p, &f.plan), OM_OK);
        if (keep) assert_memory_equal(&f.plan->prep, &f.desc->prep, sizeof f.plan->prep);
        om_session *s = session(&f);
        static const int bytes[3] = {102, 153, 255};
        static const float prepared[3] = {0.4f, 0.4f, 2.0f};
        for (int c = 0; c < 3; c++) {
            fill(s, 0, c, bytes[c]);
            bool inside = s->plan->prep.layout == OM_LAYOUT_NHWC; /* the channels of a pixel side by side */
            for (size_t k = 0; k < 64 * 32 && s->input.dtype == OM_DTYPE_F32; k++)
                ((float *)s->input.data)[inside ? k * 3 + (size_t)c : (size_t)c * 64 * 32 + k] = prepared[c];
        }
        atomic_int calls = 0;
        assert_int_equal(om_session_submit(s, 1, count, &calls), OM_OK);
        assert_int_equal(om_session_wait(s), OM_OK);
        for (int c = 0; c < 3 && computes; c++)
            assert_float_equal(((float *)s->outputs[0].data)[c], prepared[c], 1e-4);
        om_session_destroy(s);
        drop(&f);
    }
}

/* A count that only the picture decides. */
static void test_dynamic_output(void **state)
{
    if (strcmp(ops->name, "cuda") == 0) skip(); /* it has no operator of that kind, and says so */
    fixture f = make_from(op_graph("NonZero"), 1, 16, 8);
    om_session *s = session(&f);
    static const int lit[] = {3, 0, 1};
    for (int round = 0; round < 3; round++) {
        atomic_int calls = 0;
        for (int c = 0; c < 3; c++) fill(s, 0, c, c < lit[round] ? 255 : 0);
        assert_int_equal(om_session_submit(s, 1, count, &calls), OM_OK);
        assert_int_equal(om_session_wait(s), OM_OK);
        om_shape want = om_shape_make(2, (int64_t)4, (int64_t)(computes ? lit[round] * 16 * 8 : 0));
        assert_int_equal(s->outputs[0].dtype, OM_DTYPE_I64);
        assert_true(om_shape_equal(&s->outputs[0].shape, &want));
        if (computes && lit[round]) /* the last one's column */
            assert_int_equal(((int64_t *)s->outputs[0].data)[4 * lit[round] * 128 - 1], 15);
    }
    om_session_destroy(s);
    drop(&f);
}

static void test_collect(void **state)
{
    fixture f = make(2, 64, 32);
    om_model_desc_set_family(f.desc, OM_FAMILY_CLASSIFY);
    om_head_params hp;
    om_head_params_default(&hp);
    hp.conf = 0.001f;
    hp.top_k = 1;
    om_head *head = NULL;
    if (om_head_create(f.desc, &hp, &head) != OM_OK) fail_msg("head: %s", om_error_message());
    om_session *s = session(&f);
    om_geometry geo[2];
    for (int i = 0; i < 2; i++) om_geometry_fit(OM_FIT_STRETCH, 64, 32, 64, 32, &geo[i]);
    om_dets dets[2] = {{0}};
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < 3; c++) fill(s, i, c, c == i + 1 ? 250 : 5);
    atomic_int calls = 0;
    assert_int_equal(om_session_submit(s, 2, count, &calls), OM_OK);
    assert_int_equal(om_session_collect(s, head, 2, geo, dets), OM_OK);
    for (int i = 0; i < 2 && computes; i++) {
        assert_int_equal(dets[i].n, 1);
        assert_int_equal(dets[i].items[0].class_id, i + 1);
    }
    for (int i = 0; i < 2; i++) om_dets_fini(&dets[i]);
    om_session_destroy(s);
    om_head_destroy(head);
    drop(&f);
}

static void refused(const fixture *f, om_compile_params p, int code, const char *part)
{
    om_plan *plan = (om_plan *)f;
    assert_int_equal(om_plan_compile(ops, &p, &plan), code);
    assert_null(plan);
    if (!strstr(om_error_message(), part)) fail_msg("'%s' does not say '%s'", om_error_message(), part);
    assert_null(strchr(om_error_message(), '\n'));
}

static void test_bad_params(void **state)
{
    fixture f = {.g = mean_graph()};
    f.desc = describe(f.g);
    om_compile_params good = params_of(&f, 1, 64, 64), p = good;
    p.batch = 0;
    refused(&f, p, OM_ERR_ARG, "batch 0");
    p = good;
    p.width = -1;
    refused(&f, p, OM_ERR_ARG, "-1x64");
    p = good;
    p.graph = NULL;
    refused(&f, p, OM_ERR_ARG, "graph");
    p = good;
    p.device = "NOPE";
    refused(&f, p, computes ? OM_ERR_NOT_FOUND : OM_ERR_ARG, "NOPE");
    if (computes) {
        p = good;
        p.precision = OM_PRECISION_INT8;
        refused(&f, p, OM_ERR_ARG, "quantis");
    }
    drop(&f);
}

static void test_bad_models(void **state)
{
    fixture f = {.g = mean_graph()};
    f.desc = describe(f.g);
    om_shape mask = om_shape_make(1, (int64_t)4);
    assert_true(om_graph_add_input(f.g, "mask", OM_DTYPE_F32, &mask) >= 0);
    refused(&f, params_of(&f, 1, 64, 64), OM_ERR_UNSUPPORTED, "'mask'");
    drop(&f);
    f = (fixture){.g = op_graph("NoSuchOperator")};
    f.desc = describe(f.g);
    refused(&f, params_of(&f, 1, 64, 64), OM_ERR_UNSUPPORTED, computes ? "NoSuchOperator" : "output");
    drop(&f);
}

static void test_about(void **state)
{
    om_backend_device devices[8];
    int n = ops->devices(devices, 8);
    assert_true(n >= 1);
    assert_true(devices[0].id[0] && devices[0].name[0] && devices[0].precisions[0]);
    const om_backend_ops *same;
    const char *rest;
    assert_int_equal(om_backend_select(devices[0].id, &same, &rest), OM_OK);
    assert_ptr_equal(same, ops);
    assert_true(ops->version()[0] != 0);

    om_graph *g = mean_graph(), *odd = op_graph("NoSuchOperator");
    const char *why = NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        assert_int_equal(ops->supports(device, g, &g->nodes[i], &why), 1);
        assert_non_null(why);
    }
    assert_int_equal(ops->supports(device, odd, &odd->nodes[0], &why), computes ? 0 : 1);
    if (computes) assert_non_null(strstr(why, "NoSuchOperator"));
    om_graph_destroy(odd);
    om_graph_destroy(g);
}

static void test_layers(void **state)
{
    fixture f = {.g = mean_graph()};
    f.desc = describe(f.g);
    om_compile_params p = params_of(&f, 1, 64, 64);
    for (int profiling = 0; profiling < 2; profiling++) {
        p.profiling = profiling;
        assert_int_equal(om_plan_compile(ops, &p, &f.plan), OM_OK);
        om_session *s = session(&f);
        atomic_int calls = 0;
        static om_layer_time layers[64];
        assert_int_equal(om_session_submit(s, 1, count, &calls), OM_OK);
        assert_int_equal(om_session_wait(s), OM_OK);
        int n = om_session_layers(s, layers, 64);
        if (!ops->layers) assert_int_equal(n, OM_ERR_UNSUPPORTED);
        else if (!profiling) assert_int_equal(n, OM_ERR_ARG);
        else assert_true(n > 0 && layers[0].name[0] && layers[0].type[0]);
        om_session_destroy(s);
        om_plan_destroy(f.plan);
        f.plan = NULL;
    }
    drop(&f);
}

/* Each allocation of plan and sessions fails once: an error, nothing left behind, and the next attempt works.
 */
static void test_out_of_memory(void **state)
{
    fixture f = {.g = mean_graph()};
    f.desc = describe(f.g);
    om_compile_params p = params_of(&f, 1, 64, 64);
    bool met = true;
    for (long n = 0; met; n++) {
        om_session *s = (om_session *)&f;
        om_mem_fail_after(n);
        int rc = om_plan_compile(ops, &p, &f.plan);
        if (rc == OM_OK) rc = om_session_create(f.plan, &s);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        if (rc != OM_OK) {
            assert_true(met);
            assert_int_equal(rc, OM_ERR_NOMEM);
            if (f.plan) assert_null(s);
        } else {
            om_session_destroy(s);
        }
        om_plan_destroy(f.plan);
        f.plan = NULL;
        assert_true(n < 2000);
    }
    drop(&f);
}

static void test_modes(void **state)
{
    fixture f = {.g = mean_graph()};
    f.desc = describe(f.g);
    for (int mode = OM_MODE_THROUGHPUT; mode <= OM_MODE_LATENCY; mode++)
        for (int sessions = 1; sessions <= 2; sessions++) {
            om_compile_params p = params_of(&f, 1, 64, 64);
            p.mode = mode;
            p.sessions = sessions;
            p.threads = 2;
            p.precision = OM_PRECISION_F32;
            assert_int_equal(om_plan_compile(ops, &p, &f.plan), OM_OK);
            assert_int_equal(f.plan->sessions, sessions);
            om_plan_destroy(f.plan);
        }
    f.plan = NULL;
    drop(&f);
}

static void test_select(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *part;
    } bad[] = {
        {"nul", OM_ERR_ARG, "did you mean 'null'"}, {"quantum:0", OM_ERR_ARG, "there are: auto, cpu, null"},
        {"null:", OM_ERR_ARG, "BACKEND:DEVICE"},    {":0", OM_ERR_ARG, "BACKEND:DEVICE"},
        {"cpu:1", OM_ERR_ARG, "takes no device"},
    };
    const om_backend_ops *got;
    const char *rest;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(om_backend_select(bad[i].text, &got, &rest), bad[i].code);
        assert_null(got);
        if (!strstr(om_error_message(), bad[i].part))
            fail_msg("'%s' does not say '%s'", om_error_message(), bad[i].part);
    }
    assert_int_equal(om_backend_select("null:500", &got, &rest), OM_OK);
    assert_string_equal(got->name, "null");
    assert_string_equal(rest, "500");
    assert_int_equal(om_backend_select("null", &got, &rest), OM_OK);
    assert_null(rest);
    bool listed = false;
    for (const om_backend_ops *const *b = om_backend_list(); *b; b++) listed |= *b == ops;
    assert_true(listed);
    assert_int_equal(om_backend_register(ops), OM_ERR_ARG);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_backends DEVICE\n");
        return 2;
    }
    if (om_backend_select(argv[1], &ops, &device) != OM_OK) {
        printf("skipped: %s\n", om_error_message());
        return 77;
    }
    computes = strcmp(ops->name, "null") != 0;
    exact = strcmp(ops->name, "cuda") == 0;
    if (om_device_open("cpu", &host) != OM_OK) {
        fprintf(stderr, "%s\n", om_error_message());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select),        cmocka_unit_test(test_about),
        cmocka_unit_test(test_shapes),        cmocka_unit_test(test_once),
        cmocka_unit_test(test_misuse),        cmocka_unit_test(test_partial_batch),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_destroy_in_flight),
        cmocka_unit_test(test_prep),          cmocka_unit_test(test_dynamic_output),
        cmocka_unit_test(test_collect),       cmocka_unit_test(test_bad_params),
        cmocka_unit_test(test_bad_models),    cmocka_unit_test(test_layers),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_modes),
    };
    int failed = cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
    om_device_close(host);
    return failed ? 1 : 0;
}
