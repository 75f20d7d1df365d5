/* From file to results with pictures that stay on the GPU:   test_run_cuda CLIPS [loss|TEST]
 * CLIPS holds s_h264.mp4, s_hevc.mp4, ... (scripts/gpu-clips makes them); what is missing there is left out
 * and said. Needs the test's own engine omma-gpunull.so. `loss`: a real fault; it ends the GPU's use for the
 * process. OMMA_TEST_DATA: tests/data, where that has moved. */
#include "run_cuda.h"

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

/* Decodes a clip on both and compares picture by picture; each `turn` pictures (0: never) the stream that
 * began on the GPU is wished to the CPU or back. */
static void compare_clip(om_hwaccel *accel, const char *path, bool may_refuse, int bound, int turn)
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
        assert_true(may_refuse || turn || !refused);
        if (turn && n % turn == turn - 1) om_source_decode_on_cpu(a, n / turn % 2 == 0);
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
    printf("%s: %d pictures, %s, %d changes, at most %d apart\n", path, n, refused ? "refused" : "on the GPU",
           atomic_load(&on_gpu.changes), most);
    assert_true(n > 20);
    assert_true(most <= bound);
    if (turn) assert_true(atomic_load(&on_gpu.changes) >= 1);
    else assert_int_equal(atomic_load(&on_gpu.decoder), refused ? OM_DECODER_CPU : OM_DECODER_CUDA);
    assert_int_equal(atomic_load(&on_gpu.refused), refused);
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
    } all[] = {{"s_h264.mp4", false, 0}, {"s_hevc.mp4", false, 0}, {"s_hevc10.mp4", false, 0},
               {"s_vp9.mkv", true, 0},   {"s_av1.mkv", true, 0},   {"s_h264_444.mp4", true, 0},
               {"hd_h264.mp4", false, 0}};
    char path[512];
    om_hwaccel *accel;
    check(om_hwaccel_create(gpu, &accel));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (clip(all[i].name, path)) compare_clip(accel, path, all[i].may_refuse, all[i].bound, 0);
    om_hwaccel_destroy(accel);
}

/* A stream that goes to the CPU and back loses no picture on its way. */
static void goes_to_the_cpu_and_back(void **state)
{
    char path[512];
    om_hwaccel *accel;
    check(om_hwaccel_create(gpu, &accel));
    /* Key pictures lie 25 and 50 apart: each turn, with what a decoder holds back, meets one with another
     * wish. */
    static const struct {
        const char *name;
        int turn;
    } all[] = {{"s_h264.mp4", 13}, {"s_h264.mp4", 20}, {"hd_h264.mp4", 40}, {"hd_h264.mp4", 45}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (clip(all[i].name, path)) compare_clip(accel, path, false, 0, all[i].turn);
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
        assert_non_null(f->written); /* the decoder's, which a crop may outlive */
        assert_null(got->written);
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
                                          {"batch-max", "1", NULL},      {"every", "3", NULL},
                                          {"decode", "hybrid", NULL}};
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
        /* Twice where the GPU did not take it at first, and did when it looped. */
        assert_in_range(atomic_load(&p->streams[i]->account.source.fallbacks), 1, 2);
    }
    om_free_string(report);
    om_pipeline_destroy(p);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    clips = argv[1];
    int status = open_both();
    if (status) return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_the_cpu), cmocka_unit_test(goes_to_the_cpu_and_back),
        cmocka_unit_test(crops_as_the_host),  cmocka_unit_test(frames_stay_on_the_gpu),
        cmocka_unit_test(other_ways),
    };
    const struct CMUnitTest fault[] = {cmocka_unit_test(a_fault_moves_everything)};
    bool loss = argc > 2 && strcmp(argv[2], "loss") == 0;
    if (argc > 2 && !loss) cmocka_set_test_filter(argv[2]);
    int failed = loss ? cmocka_run_group_tests(fault, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
