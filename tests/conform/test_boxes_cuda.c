/* Many different streams at once: every picture that the GPU's decoders make is the CPU's, and every frame's
 * boxes are those of the CPU's engine on the CPU's pictures.   test_boxes_cuda CLIPS [MODEL [PLAN]] CLIPS: of
 * scripts/gpu-clips. MODEL: a detector whose boxes move with what is seen, in f32 and f16 (`omma model synth
 * yolov8n --boxes 30 --dynamic` will do); PLAN: the same model as `omma build --precision f16` compiles it.
 * Without them pictures alone are compared. OMMA_TEST_DEVICE: another device than cuda:0, as in openvino:CPU,
 * to try the test itself; OMMA_TEST_COPIES: streams a clip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "cuda_plugin.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"
#include "seen.h"

#define MAX_CLIPS 8
#define MAX_COPIES 16
#define HELD 3 /* pictures that are looked at late, as a batch does */
#define CONF 0.25f
#define WAIT_MS 240000

/* f32 agrees to rounding. f16 keeps 11 bits: boxes move by pixels and scores by hundredths, and where two
 * neighbours score alike the other one may stay. */
static const seen_limits f32_limits = {.overlap = 0.9f, .score = 0.01f, .conf = CONF, .near = 0.02};
static const seen_limits f16_limits = {.overlap = 0.7f, .score = 0.04f, .conf = CONF, .near = 0.25};
#define SHARP 0.95 /* share of frames that a mix-up would show in */

static struct {
    char path[MAX_CLIPS][512];
    int n;
} clips;
static int copies = 4;
static const char *device = "cuda:0", *model, *plan;
static om_device *gpu; /* NULL: another device stands for it */
static om_hwaccel *accel;
static seen_run expected;

static void check(int err)
{
    if (err) fail_msg("%s", om_error_message());
}

/* ---- pictures ---- */

typedef struct sums {
    uint64_t *of;
    size_t n;
} sums;

static sums on_cpu[MAX_CLIPS];

/* One stream that is decoded on the GPU, its pictures compared late. */
typedef struct viewer {
    const char *path;
    const sums *expected;
    om_source *source;
    om_source_counts counts;
    om_frame *held[HELD];
    size_t n, wrong, host;
    bool ended, failed;
    char why[160];
} viewer;

static void sum_clip(const char *path, sums *out)
{
    om_source_params params = {.decode_threads = 2};
    om_source_counts counts = {0};
    om_source *s;
    om_frame *f;
    int err;
    check(om_source_open(path, &params, &counts, &s));
    while ((err = om_source_read(s, &f)) == OM_OK) {
        assert_int_equal(f->seq, out->n);
        out->of = realloc(out->of, (out->n + 1) * sizeof *out->of);
        assert_non_null(out->of);
        out->of[out->n++] = seen_picture(&f->image);
        om_frame_unref(f);
    }
    assert_int_equal(err, OM_ERR_EOF);
    om_source_close(s);
    assert_true(out->n > 20);
}

static void fail_viewer(viewer *v)
{
    v->failed = v->ended = true;
    snprintf(v->why, sizeof v->why, "%s", om_error_message());
}

static void look(viewer *v, om_frame *f)
{
    om_frame *down = NULL;
    if (f->memory == OM_MEMORY_HOST) v->host++;
    else if (om_frame_download(f, &down) != OM_OK) {
        fail_viewer(v);
        om_frame_unref(f);
        return;
    }
    bool right =
        f->seq < v->expected->n && seen_picture(down ? &down->image : &f->image) == v->expected->of[f->seq];
    if (!right && !v->wrong++)
        snprintf(v->why, sizeof v->why, "picture %llu first", (unsigned long long)f->seq);
    om_frame_unref(down);
    om_frame_unref(f);
}

static void open_viewer(viewer *v, int clip)
{
    om_source_params params = {.hwaccel = accel, .hold = HELD + 1, .decode_threads = 1};
    *v = (viewer){.path = clips.path[clip], .expected = &on_cpu[clip]};
    if (om_source_open(v->path, &params, &v->counts, &v->source) != OM_OK) fail_viewer(v);
}

/* One picture further; the last ones are looked at when there is no other. */
static void step(viewer *v)
{
    om_frame *f, **slot = &v->held[v->n % HELD];
    if (v->ended) return;
    if (*slot) look(v, *slot);
    *slot = NULL;
    int err = v->failed ? OM_OK : om_source_read(v->source, &f);
    if (v->failed) return;
    if (err == OM_OK) {
        *slot = f;
        v->n++;
    } else if (err == OM_ERR_EOF) {
        v->ended = true;
    } else {
        fail_viewer(v);
    }
}

static void close_viewer(viewer *v)
{
    for (int i = 0; i < HELD; i++) {
        om_frame *f = v->held[(v->n + (size_t)i) % HELD];
        if (f && v->failed) om_frame_unref(f);
        else if (f) look(v, f);
    }
    om_source_close(v->source);
    v->source = NULL;
}

/* How many streams were not as they have to be, each said. */
static int judge(const char *what, const viewer *v, int n)
{
    int bad = 0;
    size_t pictures = 0;
    for (int i = 0; i < n; i++) {
        bool right = !v[i].failed && !v[i].wrong && v[i].n == v[i].expected->n && (!gpu || !v[i].host);
        pictures += v[i].n;
        bad += !right;
        if (right) continue;
        printf("%s, stream %d, %s: %zu of %zu pictures, %zu wrong, %zu from the CPU; %s\n", what, i,
               v[i].path, v[i].n, v[i].expected->n, v[i].wrong, v[i].host, v[i].why);
    }
    printf("%s: %d streams, %zu pictures, %d streams wrong\n", what, n, pictures, bad);
    return bad;
}

/* One thread has all decoders, and each picture is followed by one of another stream: what depends on threads
 * cannot go wrong here. */
static void pictures_in_turn(void **state)
{
    static viewer all[MAX_CLIPS * 2];
    int n = clips.n * 2;
    bool going = true;
    for (int i = 0; i < n; i++) open_viewer(&all[i], i % clips.n);
    while (going) {
        going = false;
        for (int i = 0; i < n; i++) {
            step(&all[i]);
            going |= !all[i].ended;
        }
    }
    for (int i = 0; i < n; i++) close_viewer(&all[i]);
    assert_int_equal(judge("in turn", all, n), 0);
}

static void *view(void *arg)
{
    viewer *v = arg;
    while (!v->ended) step(v);
    close_viewer(v);
    return NULL;
}

static void pictures_side_by_side(void **state)
{
    static viewer all[MAX_CLIPS * MAX_COPIES];
    pthread_t thread[MAX_CLIPS * MAX_COPIES];
    int n = clips.n * copies;
    for (int i = 0; i < n; i++) open_viewer(&all[i], i % clips.n);
    for (int i = 0; i < n; i++) assert_int_equal(pthread_create(&thread[i], NULL, view, &all[i]), 0);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    assert_int_equal(judge("side by side", all, n), 0);
}

/* ---- boxes ---- */

typedef struct collector {
    seen_run run;
    atomic_int failed;
} collector;

static void on_result(void *user, const om_frame_result *r)
{
    collector *c = user;
    if (seen_add(&c->run, r->stream_index, r->seq, r->objects, r->n_objects)) atomic_store(&c->failed, 1);
}

static om_pipeline *make_run(const char *file, const char *on, const char *precision, const char *decode,
                             int streams, collector *c)
{
    om_pipeline *p;
    memset(c, 0, sizeof *c);
    assert_int_equal(seen_run_init(&c->run, streams), 0);
    check(om_pipeline_create(&p));
    check(om_pipeline_set(p, "model", file));
    check(om_pipeline_set(p, "device", on));
    check(om_pipeline_set(p, "fallback", "none"));
    check(om_pipeline_set(p, "decode", decode));
    check(om_pipeline_set(p, "batch-max", "16"));
    if (precision) check(om_pipeline_set(p, "precision", precision));
    check(om_pipeline_on_result(p, on_result, c));
    for (int i = 0; i < streams; i++) check(om_pipeline_add_stream(p, clips.path[i % clips.n], NULL));
    return p;
}

static void run(om_pipeline *p, const collector *c)
{
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, WAIT_MS));
    assert_int_equal(atomic_load(&c->failed), 0);
}

static double mean_batch(om_pipeline *p)
{
    char *report;
    check(om_pipeline_report(p, &report));
    const char *at = strstr(report, "\"mean_batch\": ");
    double n = at ? atof(at + 14) : 0;
    om_free_string(report);
    return n;
}

static void compare_run(const char *what, const char *file, const char *precision, const seen_limits *limits)
{
    collector c;
    seen_verdict v;
    om_pipeline *p = make_run(file, device, precision, gpu ? "cuda" : "cpu", clips.n * copies, &c);
    run(p, &c);
    double batch = mean_batch(p);
    for (int i = 0; gpu && i < c.run.n; i++)
        assert_int_equal(atomic_load(&p->streams[i]->account.source.decoder), OM_DECODER_CUDA);
    om_pipeline_destroy(p);
    seen_compare(&expected, &c.run, limits, &v);
    printf(
        "%s: %zu frames of %d streams, %zu boxes, batches of %.1f: %zu the same, %zu with some boxes else (at most "
        "%.0f), %zu of another picture, %zu missing, %zu twice, %zu too many%s%s\n",
        what, v.frames, c.run.n, v.boxes, batch, v.same, v.near, limits->near * (double)v.frames, v.other,
        v.missing, v.twice, v.extra, v.first[0] ? "; first: " : "", v.first);
    seen_run_fini(&c.run);
    assert_true(v.right);
    if (gpu) assert_true(batch > 1.5);
}

static int look_on_cpu(void **state)
{
    collector c;
    double frame, stream;
    if (!model) return 0;
    om_pipeline *p = make_run(model, "cpu", "f32", "cpu", clips.n, &c);
    run(p, &c);
    om_pipeline_destroy(p);
    expected = c.run;
    /* By what f16 is judged by: the bounds that tell least. */
    seen_sharpness(&expected, &f16_limits, &frame, &stream);
    printf("the CPU's run tells frames from the next in %.1f %%, streams from each other in %.1f %%\n",
           100 * frame, 100 * stream);
    if (frame >= SHARP && stream >= SHARP) return 0;
    printf("too few: another model or other clips are needed\n");
    return -1;
}

static int forget(void **state)
{
    seen_run_fini(&expected);
    return 0;
}

static void boxes_in_f32(void **state) { compare_run("f32", model, "f32", &f32_limits); }
static void boxes_in_f16(void **state) { compare_run("f16", model, gpu ? "f16" : NULL, &f16_limits); }
static void boxes_of_a_plan(void **state)
{
    if (!plan) skip();
    compare_run("plan", plan, NULL, &f16_limits);
}

static void find_clips(const char *folder)
{
    static const char *const names[MAX_CLIPS] = {"b0_h264.mp4", "b1_h264.mp4", "b2_h264.mp4", "b0_hevc.mp4",
                                                 "b1_hevc.mp4", "b2_hevc.mp4", "b3_h264.mp4", "b3_hevc.mp4"};
    for (int i = 0; i < MAX_CLIPS; i++) {
        char *path = clips.path[clips.n];
        snprintf(path, sizeof clips.path[0], "%s/%s", folder, names[i]);
        if (access(path, R_OK) == 0) clips.n++;
        else printf("left out: no %s\n", path);
    }
}

int main(int argc, char **argv)
{
    const char *wish = getenv("OMMA_TEST_DEVICE"), *many = getenv("OMMA_TEST_COPIES");
    if (argc < 2) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (wish) device = wish;
    if (many && atoi(many) > 0 && atoi(many) <= MAX_COPIES) copies = atoi(many);
    int status = strncmp(device, "cuda", 4) ? 0 : open_cuda(&gpu);
    if (status) return status;
    find_clips(argv[1]);
    if (clips.n < 2) return skipped("no clips of scripts/gpu-clips");
    if (argc > 2) model = argv[2];
    if (argc > 3) plan = argv[3];
    if (gpu && om_hwaccel_create(gpu, &accel) != OM_OK) {
        printf("%s\n", om_error_message());
        return 1;
    }
    for (int i = 0; i < clips.n; i++) sum_clip(clips.path[i], &on_cpu[i]);
    const struct CMUnitTest pictures[] = {cmocka_unit_test(pictures_in_turn),
                                          cmocka_unit_test(pictures_side_by_side)};
    const struct CMUnitTest boxes[] = {cmocka_unit_test(boxes_in_f32), cmocka_unit_test(boxes_in_f16),
                                       cmocka_unit_test(boxes_of_a_plan)};
    int failed = cmocka_run_group_tests(pictures, NULL, NULL);
    if (model) failed += cmocka_run_group_tests(boxes, look_on_cpu, forget);
    else printf("boxes: skipped, no model\n");
    for (int i = 0; i < clips.n; i++) free(on_cpu[i].of);
    om_hwaccel_destroy(accel);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
