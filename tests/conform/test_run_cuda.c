/* From file to results with pictures that stay on the GPU:   test_run_cuda CLIPS [loss|full]
 * CLIPS holds s_h264.mp4, s_hevc.mp4, ... (scripts/gpu-test makes them); what is missing there is left out
 * and said. Needs the test's own engine omma-gpunull.so. `loss`: a real fault; it ends the GPU's use for the
 * process. `full`: another process (this program again, `fill`) takes all of the GPU's memory but a little;
 * for a GPU that nobody else uses. OMMA_TEST_DATA: tests/data, where that has moved; OMMA_TEST_MODEL: a
 * YOLOv8 of any batch, for `full` and for counting waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cuda_plugin.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"

#define STREAMS 6

static const char *clips;
static om_device *gpu;

static void check(int err)
{
    if (err) fail_msg("%s", om_error_message());
}

static const char *clip(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", clips, name);
    if (access(path, R_OK) == 0) return path;
    printf("left out: no %s\n", path);
    return NULL;
}

/* The largest difference of two pictures' samples. */
static int apart(const om_image *a, const om_image *b)
{
    const om_pixfmt_info *info = om_pixfmt_get(a->fmt);
    int most = 0;
    for (int p = 0; p < info->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(a->fmt, p, a->width, a->height, &bytes, &rows);
        for (int y = 0; y < rows; y++) {
            const uint8_t *s = a->plane[p] + (ptrdiff_t)y * a->stride[p],
                          *t = b->plane[p] + (ptrdiff_t)y * b->stride[p];
            for (int x = 0; x < bytes; x += info->sample_bytes) {
                int u = s[x], v = t[x];
                if (info->sample_bytes == 2) u |= s[x + 1] << 8, v |= t[x + 1] << 8;
                if (abs(u - v) > most) most = abs(u - v);
            }
        }
    }
    return most;
}

/* The CPU's picture in the layout that the GPU's has. */
static om_frame *like_gpu(const om_frame *cpu, om_pixfmt fmt)
{
    om_frame *f;
    check(om_frame_create(fmt, cpu->image.width, cpu->image.height, &f));
    const om_pixfmt_info *info = om_pixfmt_get(fmt);
    int w, h;
    om_pixfmt_plane_size(fmt, 0, cpu->image.width, cpu->image.height, &w, &h);
    for (int y = 0; y < h; y++) {
        uint8_t *to = f->image.plane[0] + (ptrdiff_t)y * f->image.stride[0];
        const uint8_t *from = cpu->image.plane[0] + (ptrdiff_t)y * cpu->image.stride[0];
        for (int x = 0; x < w; x += info->sample_bytes) {
            if (info->sample_bytes == 1) to[x] = from[x];
            else {
                uint16_t v;
                memcpy(&v, from + x, 2);
                v = (uint16_t)(v << 6);
                memcpy(to + x, &v, 2);
            }
        }
    }
    om_pixfmt_plane_size(fmt, 1, cpu->image.width, cpu->image.height, &w, &h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x += 2 * info->sample_bytes)
            for (int c = 0; c < 2; c++) {
                uint8_t *to =
                    f->image.plane[1] + (ptrdiff_t)y * f->image.stride[1] + x + c * info->sample_bytes;
                const uint8_t *from =
                    cpu->image.plane[1 + c] + (ptrdiff_t)y * cpu->image.stride[1 + c] + x / 2;
                if (info->sample_bytes == 1) *to = *from;
                else {
                    uint16_t v;
                    memcpy(&v, from, 2);
                    v = (uint16_t)(v << 6);
                    memcpy(to, &v, 2);
                }
            }
    return f;
}

/* Decodes a clip on both and compares picture by picture. */
static void compare_clip(om_hwaccel *accel, const char *path, bool may_refuse, int bound)
{
    om_source_counts on_gpu = {0}, on_cpu = {0};
    om_source_params params = {.decode_threads = 2}, hw = {.hwaccel = accel, .hold = 3};
    om_source *a, *b;
    check(om_source_open(path, &hw, &on_gpu, &a));
    check(om_source_open(path, &params, &on_cpu, &b));
    int n = 0, most = 0;
    for (om_frame *f, *g;; n++) {
        int ra = om_source_read(a, &f), rb = om_source_read(b, &g);
        if (rb && n == 0) { /* AV1 needs a library on the CPU */
            printf("left out: %s: this FFmpeg does not decode it on the CPU\n", path);
            if (!ra) om_frame_unref(f);
            om_source_close(a);
            om_source_close(b);
            return;
        }
        assert_int_equal(ra, rb);
        if (ra) break;
        bool refused = f->memory == OM_MEMORY_HOST;
        assert_true(may_refuse || !refused);
        assert_int_equal(f->seq, g->seq);
        assert_int_equal(f->packet, g->packet);
        assert_int_equal(f->pts_ns, g->pts_ns);
        assert_int_equal(f->image.width, g->image.width);
        assert_int_equal(f->image.height, g->image.height);
        assert_int_equal(f->image.range, g->image.range);
        if (!refused) {
            om_frame *down;
            check(om_frame_download(f, &down));
            om_frame *same = like_gpu(g, down->image.fmt);
            int d = apart(&down->image, &same->image);
            if (d > most) most = d;
            om_frame_unref(down);
            om_frame_unref(same);
        }
        om_frame_unref(f);
        om_frame_unref(g);
    }
    bool refused = atomic_load(&on_gpu.fallbacks) > 0;
    printf("%s: %d pictures, %s, at most %d apart\n", path, n, refused ? "refused" : "on the GPU", most);
    assert_true(n > 20);
    assert_true(most <= bound);
    assert_int_equal(atomic_load(&on_gpu.decoder), refused ? OM_DECODER_CPU : OM_DECODER_CUDA);
    assert_true(atomic_load(&on_gpu.fallbacks) <= may_refuse);
    assert_int_equal(atomic_load(&on_gpu.received), atomic_load(&on_cpu.received));
    assert_int_equal(atomic_load(&on_gpu.decoded), n);
    om_source_close(a);
    om_source_close(b);
}

static void decodes_as_the_cpu(void **state)
{
    static const struct {
        const char *name;
        bool may_refuse; /* not every GPU decodes it */
        int bound;
    } all[] = {{"s_h264.mp4", false, 0},    {"s_hevc.mp4", false, 0}, {"s_hevc10.mp4", false, 0},
               {"s_vp9.mkv", true, 0},      {"s_av1.mkv", true, 0},   {"s_mjpeg.avi", true, 4},
               {"s_h264_444.mp4", true, 0}, {"hd_h264.mp4", false, 0}};
    char path[512];
    om_hwaccel *accel;
    check(om_hwaccel_create(gpu, &accel));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (clip(all[i].name, path)) compare_clip(accel, path, all[i].may_refuse, all[i].bound);
    om_hwaccel_destroy(accel);
}

/* A crop on the GPU is that of the same picture on the host. */
static void crops_as_the_host(void **state)
{
    char path[512];
    om_hwaccel *accel;
    om_source_counts counts = {0};
    om_source_params params = {.hold = 3};
    om_source *s;
    om_frame *f, *down, *want, *got;
    om_device *host;
    om_stream *stream;
    if (!clip("s_h264.mp4", path)) skip();
    check(om_hwaccel_create(gpu, &accel));
    params.hwaccel = accel;
    check(om_source_open(path, &params, &counts, &s));
    check(om_source_read(s, &f));
    check(om_device_open("cpu", &host));
    check(om_device_stream_create(gpu, 0, &stream));
    check(om_frame_download(f, &down));
    for (int i = 0; i < 8; i++) {
        check(om_device_crop(host, down, 3 + i, 5, 100 + i, 77, NULL, &want));
        check(om_device_crop(gpu, f, 3 + i, 5, 100 + i, 77, i % 2 ? stream : NULL, &got));
        assert_int_equal(got->memory, OM_MEMORY_CUDA);
        om_frame *back;
        check(om_frame_create(want->image.fmt, want->image.width, want->image.height, &back));
        for (int p = 0; p < 2; p++) {
            int bytes, rows;
            om_pixfmt_plane_size(want->image.fmt, p, want->image.width, want->image.height, &bytes, &rows);
            om_event *e; /* a crop on a stream is read in its order */
            check(om_device_event_create(gpu, &e));
            check(om_device_event_record(gpu, e, i % 2 ? stream : NULL));
            check(om_device_event_sync(gpu, e));
            om_device_event_destroy(gpu, e);
            for (int y = 0; y < rows; y++)
                check(om_device_copy(
                    gpu, OM_COPY_TO_HOST, back->image.plane[p] + (ptrdiff_t)y * back->image.stride[p],
                    got->image.plane[p] + (ptrdiff_t)y * got->image.stride[p], (size_t)bytes, NULL));
        }
        assert_int_equal(apart(&back->image, &want->image), 0);
        om_frame_unref(back);
        om_frame_unref(got);
        om_frame_unref(want);
    }
    om_frame_unref(down);
    om_frame_unref(f);
    om_source_close(s);
    om_device_stream_destroy(gpu, stream);
    om_device_close(host);
    om_hwaccel_destroy(accel);
}

typedef struct seen {
    atomic_ullong all;
    unsigned long long frames[STREAMS], last[STREAMS]; /* of one worker at a time */
    atomic_int disorder;
    unsigned long long trap_at; /* 0: never */
    int64_t trapped_ns;
    atomic_llong first_after_ns; /* the first result a while after the fault */
} seen;

static int (*trap)(int index);

static void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    int i = r->stream_index;
    if (s->frames[i]++ && r->seq <= s->last[i]) atomic_fetch_add(&s->disorder, 1);
    s->last[i] = r->seq;
    if (atomic_fetch_add(&s->all, 1) + 1 == s->trap_at) {
        s->trapped_ns = om_now_ns();
        trap(0);
    }
}

static om_pipeline *make_empty(seen *s, const char *const *options)
{
    om_pipeline *p;
    char model[512];
    const char *data = getenv("OMMA_TEST_DATA");
    memset(s, 0, sizeof(*s));
    snprintf(model, sizeof model, "%s/shapes.onnx", data ? data : TEST_DATA);
    check(om_pipeline_create(&p));
    check(om_pipeline_set(p, "model", model));
    check(om_pipeline_set(p, "device", "gpunull:0"));
    check(om_pipeline_set(p, "fallback", "null:500"));
    for (; options && *options; options += 2) check(om_pipeline_set(p, options[0], options[1]));
    return p;
}

static om_pipeline *make(seen *s, const char *path, const char *const *options)
{
    om_pipeline *p = make_empty(s, options);
    check(om_pipeline_on_result(p, on_result, s));
    for (int i = 0; i < STREAMS; i++) check(om_pipeline_add_stream(p, path, NULL));
    return p;
}

static uint64_t check_books(om_pipeline *p, const seen *s)
{
    uint64_t dropped = 0;
    for (int i = 0; i < STREAMS; i++) {
        om_stream_stats st;
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.in_flight, 0);
        assert_int_equal(st.received, st.inferred + st.dropped + st.skipped);
        assert_int_equal(st.inferred, s->frames[i]);
        dropped += st.dropped;
    }
    assert_int_equal(atomic_load(&s->disorder), 0);
    return dropped;
}

/* No frame is missing, none is copied, and nobody waits for the GPU on a frame's way. */
static void frames_stay_on_the_gpu(void **state)
{
    static const char *const names[] = {"s_h264.mp4", "s_hevc.mp4", "hd_h264.mp4"};
    char path[512];
    for (size_t k = 0; k < 3; k++) {
        if (!clip(names[k], path)) continue;
        seen s;
        char *report = NULL;
        om_pipeline *p = make(&s, path, NULL);
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 120000));
        assert_int_equal(check_books(p, &s), 0);
        for (int i = 0; i < STREAMS; i++) {
            assert_int_equal(atomic_load(&p->streams[i]->account.source.decoder), OM_DECODER_CUDA);
            assert_int_equal(atomic_load(&p->streams[i]->account.source.fallbacks), 0);
        }
        uint64_t syncs = om_device_sync_count(p->engine->device);
        printf("%s: %llu frames, %llu waits for the GPU\n", names[k], (unsigned long long)s.all,
               (unsigned long long)syncs);
        assert_true(syncs * 50 <= s.all); /* none a frame: only where all slots of the device are in flight */
        check(om_pipeline_report(p, &report));
        if (k == 2) printf("%s", strstr(report, "\"totals\""));
        om_free_string(report);
        om_pipeline_destroy(p);
    }
}

/* Pictures that sinks want, live streams, copies to the host: the other ways through. */
static void other_ways(void **state)
{
    static const char *const ways[][3] = {{"decode", "cuda-host", NULL}, {"decode", "cpu", NULL},
                                          {"live", "yes", NULL},         {"stream-credits", "1", NULL},
                                          {"batch-max", "1", NULL},      {"every", "3", NULL}};
    char path[512], target[] = "/tmp/omma-run-cuda-XXXXXX", sink[64];
    if (!clip("s_h264.mp4", path)) skip();
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        seen s;
        om_pipeline *p = make(&s, path, ways[i]);
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 60000));
        uint64_t dropped = check_books(p, &s);
        if (strcmp(ways[i][0], "live") != 0) assert_int_equal(dropped, 0);
        om_pipeline_destroy(p);
    }
    assert_non_null(mkdtemp(target));
    snprintf(sink, sizeof sink, "video:%s/%%s.mp4", target);
    seen s;
    om_pipeline *p = make(&s, path, (const char *const[]){"max-frames", "20", NULL});
    check(om_pipeline_add_sink(p, sink));
    check(om_pipeline_start(p));
    int err = om_pipeline_wait(p, 60000);
    if (err) printf("video sink: %s\n", om_error_message()); /* an FFmpeg without an encoder */
    else assert_int_equal(check_books(p, &s), 0);
    om_pipeline_destroy(p);
}

/* totals.gpu_memory.GROUP.KEY of the report; -1: not there or null. */
static double memory_figure(om_pipeline *p, const char *group, const char *key)
{
    char *report;
    om_json_value *v;
    check(om_pipeline_report(p, &report));
    check(om_json_parse(report, strlen(report), &v));
    const om_json_value *memory = om_json_get(om_json_get(v, "totals"), "gpu_memory");
    double n = om_json_get_num(group ? om_json_get(memory, group) : memory, key, -1);
    om_json_free(v);
    om_free_string(report);
    return n;
}

static int64_t held_by_process(void)
{
    om_device_usage u;
    return om_device_usage_get(gpu, &u) ? -1 : u.memory_process;
}

/* What a run takes is told by purpose, what decoders take by their surfaces; all of it is given back. */
static void memory_is_told(void **state)
{
    char path[512], *report = NULL;
    seen s;
    om_device_info before, after;
    if (!clip("hd_h264.mp4", path)) skip();
    check(om_device_info_get(gpu, &before));
    int64_t process = held_by_process();
    om_pipeline *p = make(&s, path, (const char *const[]){"loop", "yes", "max-frames", "150", NULL});
    check(om_pipeline_start(p));
    while (om_pipeline_wait(p, 200) && atomic_load(&s.all) < 300) {
    }
    check(om_device_info_get(gpu, &after));
    double surfaces = memory_figure(p, "now", "surfaces");
    printf(
        "%d streams of 1080p: %.1f MB of surfaces counted, %.1f MB less free on the GPU, this process %.1f -> %.1f MB\n",
        STREAMS, surfaces, (double)(before.memory_free - after.memory_free) / (1 << 20),
        (double)process / (1 << 20), (double)held_by_process() / (1 << 20));
    check(om_pipeline_wait(p, 60000));
    check(om_pipeline_report(p, &report));
    printf("%.1500s\n", strstr(report, "\"gpu_memory\""));
    om_free_string(report);
    assert_true(surfaces >= STREAMS * 1920 * 1080 * 1.5 / (1 << 20) * 4);
    assert_true(memory_figure(p, "peak", "inputs") > 0);
    assert_true(memory_figure(p, "peak", "staging") > 0);
    assert_true(memory_figure(p, "now", "surfaces") == 0);
    assert_true(memory_figure(p, "steps", "cpu_decoders") == 0);
    om_pipeline_destroy(p);
}

/* Streams whose surfaces would go over the cap are decoded on the CPU, the others where they were to be. */
static void a_cap_leaves_streams_to_the_cpu(void **state)
{
    char path[512], cap[32];
    seen s;
    if (!clip("hd_h264.mp4", path)) skip();
    om_pipeline *p = make(&s, path, NULL);
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    double surfaces = memory_figure(p, "peak", "surfaces"), driver = memory_figure(p, "peak", "driver");
    double rest = memory_figure(p, "peak", "counted") - surfaces;
    om_pipeline_destroy(p);
    snprintf(cap, sizeof cap, "%.1f", rest + surfaces / 2 + (driver > 0 ? driver : 0) + 1);
    p = make(&s, path, (const char *const[]){"gpu-memory", cap, NULL});
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    assert_int_equal(check_books(p, &s), 0);
    int on_cpu = 0;
    for (int i = 0; i < STREAMS; i++)
        on_cpu += atomic_load(&p->streams[i]->account.source.decoder) == OM_DECODER_CPU;
    printf(
        "cap %s MB (surfaces %.1f, driver %.1f, rest %.1f): %d of %d streams on the CPU, at most %.1f counted\n",
        cap, surfaces, driver, rest, on_cpu, STREAMS, memory_figure(p, "peak", "counted"));
    assert_in_range(on_cpu, 1, STREAMS);
    assert_true(memory_figure(p, "steps", "cpu_decoders") == on_cpu);
    assert_true(memory_figure(p, "peak", "counted") <= atof(cap));
    om_pipeline_destroy(p);
}

static void wait_for(om_pipeline *p, size_t streams)
{
    for (int i = 0; i < 6000; i++) {
        om_stream_row *rows;
        size_t n, busy = 0;
        check(om_pipeline_list(p, false, &rows, &n));
        for (size_t k = 0; k < n; k++)
            busy += rows[k].status.state == OM_STREAM_OPENING || rows[k].status.state == OM_STREAM_RUNNING;
        om_free(rows);
        if (streams ? busy == 0 : n == 0) return;
        usleep(5000);
    }
    fail_msg("streams are still at work after 30 s");
}

static void come_and_go(om_pipeline *p, const char *path, int from, int to)
{
    enum { WAVE = 20 };
    char name[32];
    for (int i = from; i < to; i += WAVE) {
        for (int k = i; k < i + WAVE; k++) {
            snprintf(name, sizeof name, "cam-%d", k);
            check(om_pipeline_add_stream(p, path, name));
        }
        wait_for(p, WAVE);
        for (int k = i; k < i + WAVE; k++) {
            snprintf(name, sizeof name, "cam-%d", k);
            check(om_pipeline_remove_stream(p, name));
        }
        wait_for(p, 0);
    }
}

/* Decoders of streams that come and go leave nothing on the GPU. */
static void a_thousand_streams_leave_nothing_behind(void **state)
{
    char path[512];
    seen s;
    om_stream_stats st;
    if (!clip("s_h264.mp4", path)) skip();
    om_pipeline *p = make_empty(&s, (const char *const[]){"keep", "yes", "max-frames", "3", NULL});
    check(om_pipeline_start(p));
    come_and_go(p, path, 0, 100);
    double counted = memory_figure(p, "now", "counted"), surfaces = memory_figure(p, "peak", "surfaces");
    int64_t process = held_by_process(), begun = om_now_ns();
    come_and_go(p, path, 100, 1000);
    check(om_pipeline_stats(p, -1, &st));
    printf(
        "900 streams in %.1f s: %.2f -> %.2f MB counted (surfaces: peak %.2f -> %.2f, now %.2f), this process %.1f -> %.1f MB\n",
        (double)(om_now_ns() - begun) / 1e9, counted, memory_figure(p, "now", "counted"), surfaces,
        memory_figure(p, "peak", "surfaces"), memory_figure(p, "now", "surfaces"),
        (double)process / (1 << 20), (double)held_by_process() / (1 << 20));
    assert_int_equal(st.inferred, 3000);
    assert_true(memory_figure(p, "now", "counted") == counted);
    assert_true(memory_figure(p, "now", "surfaces") == 0);
    if (process >= 0) assert_true(held_by_process() <= process + ((int64_t)8 << 20));
    om_pipeline_stop(p);
    check(om_pipeline_wait(p, 30000));
    om_pipeline_destroy(p);
}

/* The same with the engine of the plug-in, boxes decoded on the GPU. */
static void the_engine_waits_for_nothing(void **state)
{
    char path[512];
    const char *model = getenv("OMMA_TEST_MODEL");
    seen s;
    if (!model || !clip("s_h264.mp4", path)) skip();
    om_pipeline *p = make(&s, path,
                          (const char *const[]){"device", "cuda:0", "model", model, "batch-max", "8", "loop",
                                                "yes", "max-frames", "400", NULL});
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 120000));
    assert_int_equal(check_books(p, &s), 0);
    uint64_t syncs = om_device_sync_count(p->engine->device);
    printf("cuda:0: %llu frames, %llu waits for the GPU\n", (unsigned long long)s.all,
           (unsigned long long)syncs);
    assert_true(syncs * 50 <= s.all);
    assert_true(memory_figure(p, "now", "weights") > 0);
    assert_true(memory_figure(p, "now", "work") > 0);
    assert_true(memory_figure(p, "now", "heads") > 0);
    om_pipeline_destroy(p);
}

/* Allocations that fail at work: smaller batches, and no frame missing but those of the failed batches. */
static void short_memory_shrinks_the_batch(void **state)
{
    char path[512];
    const char *model = getenv("OMMA_TEST_MODEL");
    seen s;
    if (!model || !clip("hd_h264.mp4", path)) skip();
    om_device_mem_fail_after(600, 1); /* within the first compilation: many weights go up one by one */
    om_pipeline *p = make(&s, path,
                          (const char *const[]){"device", "cuda:0", "model", model, "batch-max", "8",
                                                "decode", "cpu", "max-frames", "40", NULL});
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 120000));
    om_device_mem_fail_after(-1, 0);
    uint64_t dropped = check_books(p, &s);
    printf("smaller batches %g, fallback %g, %llu dropped\n", memory_figure(p, "steps", "smaller_batches"),
           memory_figure(p, "steps", "fallback"), (unsigned long long)dropped);
    assert_true(memory_figure(p, NULL, "refused") <= 1);
    assert_true(memory_figure(p, "steps", "fallback") == 0);
    om_pipeline_destroy(p);
}

/* Takes all but so many MB of the GPU's memory and keeps them until its standard input ends. */
static int fill(long leave_mb)
{
    om_device_info info;
    void *p;
    while (om_device_info_get(gpu, &info) == OM_OK) {
        int64_t more = info.memory_free - ((int64_t)leave_mb << 20);
        if (more > (int64_t)4 << 30) more = (int64_t)4 << 30;
        if (more < (int64_t)16 << 20 || om_device_mem_alloc(gpu, (size_t)more, &p) != OM_OK) break;
    }
    printf("%.0f MB are free\n", (double)info.memory_free / (1 << 20));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}

static const char *self;

/* One run beside that process. */
static void run_beside(long left_mb, const char *path, const char *const *options)
{
    char command[1100], line[200];
    seen s;
    int to[2];
    assert_int_equal(pipe(to), 0);
    snprintf(command, sizeof command, "exec '%s' '%s' fill %ld <&%d %d>&-", self, clips, left_mb, to[0],
             to[1]);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    close(to[0]);
    assert_non_null(fgets(line, sizeof line, f));
    printf("another process holds the card: %s", line);
    int64_t begun = om_now_ns();
    om_pipeline *p = make(&s, path, options);
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 120000));
    uint64_t dropped = check_books(p, &s);
    int on_cpu = 0;
    for (int k = 0; k < STREAMS; k++)
        on_cpu += atomic_load(&p->streams[k]->account.source.decoder) == OM_DECODER_CPU;
    printf(
        "%ld MB left: %llu frames, %llu dropped, batches made smaller %g times, fewer sessions %g, %d streams on the "
        "CPU, fallback %g, %.1f s\n",
        left_mb, (unsigned long long)s.all, (unsigned long long)dropped,
        memory_figure(p, "steps", "smaller_batches"), memory_figure(p, "steps", "fewer_sessions"), on_cpu,
        memory_figure(p, "steps", "fallback"), (double)(om_now_ns() - begun) / 1e9);
    om_pipeline_destroy(p);
    close(to[1]);
    pclose(f);
    assert_int_equal(s.all + dropped, STREAMS * 60);
    assert_true(dropped <= 256); /* of batches under way when memory was short */
}

/* The card is full but for a little: the run does with smaller batches, with the CPU's decoders, or
 * elsewhere, and loses nothing. */
static void a_full_card(void **state)
{
    char path[512];
    const char *model = getenv("OMMA_TEST_MODEL");
    /* 3 GB a session at first. */
    const char *const large[] = {"batch-max", "128", "input-size", "1920x1088", "max-frames", "60", NULL};
    const char *const engine[] = {"device", "cuda:0",     "model", model, "batch-max",
                                  "16",     "max-frames", "60",    NULL};
    if (!clip("hd_h264.mp4", path)) skip();
    run_beside(3000, path, large);
    run_beside(600, path, large);
    run_beside(60, path, large);
    if (model) run_beside(900, path, engine);
}

/* A real fault in the middle of a run: the streams are decoded on the CPU from their last key pictures on,
 * and the only frames missing are those that were on the GPU. */
static void a_fault_moves_everything(void **state)
{
    char path[512];
    if (!clip("s_h264.mp4", path)) skip();
    cuda_symbol("omma_cuda_trap", &trap);
    seen s;
    char *report = NULL;
    om_pipeline *p = make(&s, path, (const char *const[]){"loop", "yes", "max-frames", "400", NULL});
    s.trap_at = STREAMS * 90;
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    uint64_t lost = check_books(p, &s);
    check(om_pipeline_report(p, &report));
    const char *moved = strstr(report, "\"moved\": {");
    assert_non_null(moved);
    printf("%llu of %llu frames lost with the GPU\n%.400s\n", (unsigned long long)lost,
           (unsigned long long)(lost + s.all), moved);
    double took = atof(strstr(moved, "\"took_s\": ") + 10);
    assert_true(took < 5);
    for (int i = 0; i < STREAMS; i++) {
        om_stream_stats st;
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.inferred + st.dropped, 400);
        assert_int_equal(s.last[i], 399);
        assert_int_equal(atomic_load(&p->streams[i]->account.source.decoder), OM_DECODER_CPU);
        assert_int_equal(atomic_load(&p->streams[i]->account.source.fallbacks), 1);
    }
    om_free_string(report);
    om_pipeline_destroy(p);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    self = argv[0];
    clips = argv[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    int skip_status = open_cuda(&gpu);
    if (skip_status) return skip_status;
    if (!om_device_find("gpunull")) {
        printf("the plug-in omma-gpunull.so is not there, or came before omma-cuda.so: set OMMA_PLUGINS\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_the_cpu),
        cmocka_unit_test(crops_as_the_host),
        cmocka_unit_test(frames_stay_on_the_gpu),
        cmocka_unit_test(other_ways),
        cmocka_unit_test(memory_is_told),
        cmocka_unit_test(a_cap_leaves_streams_to_the_cpu),
        cmocka_unit_test(the_engine_waits_for_nothing),
        cmocka_unit_test(short_memory_shrinks_the_batch),
        cmocka_unit_test(a_thousand_streams_leave_nothing_behind),
    };
    const struct CMUnitTest fault[] = {cmocka_unit_test(a_fault_moves_everything)};
    const struct CMUnitTest full[] = {cmocka_unit_test(a_full_card)};
    const char *part = argc > 2 ? argv[2] : "";
    if (strcmp(part, "fill") == 0) return argc > 3 ? fill(strtol(argv[3], NULL, 10)) : 2;
    int failed = strcmp(part, "loss") == 0   ? cmocka_run_group_tests(fault, NULL, NULL)
                 : strcmp(part, "full") == 0 ? cmocka_run_group_tests(full, NULL, NULL)
                                             : cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
