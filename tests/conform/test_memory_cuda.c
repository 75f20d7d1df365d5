/* What runs hold of a GPU's memory, and what they do when it is short:   test_memory_cuda CLIPS [full|TEST]
 * `full`: another process (this program again, `fill`) takes all of the GPU's memory but a little; for a GPU
 * that nobody else uses. OMMA_TEST_MODEL: a YOLOv8 of any batch, for the tests of the engine; without it they
 * are left out. The rest as test_run_cuda has it. */
#include "run_cuda.h"

#include <sys/wait.h>

#include "base/mem.h"

#define SETTLE_TRIES 400 /* of 5 ms: the last pictures' surfaces go back when the GPU has read them */

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

/* The last surfaces go back a moment after the last result. */
static double surfaces_left(om_pipeline *p)
{
    double now = -1;
    for (int i = 0; i < SETTLE_TRIES && now != 0; i++) {
        if (i) usleep(5000);
        now = memory_figure(p, "now", "surfaces");
    }
    return now;
}

static int64_t held_by_process(void)
{
    om_device_usage u;
    return om_device_usage_get(gpu, &u) ? -1 : u.memory_process;
}

static double mb_of_process(void) { return (double)held_by_process() / (1 << 20); }

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
    printf("%.700s\n", strstr(report, "\"gpu_memory\""));
    om_free_string(report);
    assert_true(surfaces >= STREAMS * 1920 * 1080 * 1.5 / (1 << 20) * 4);
    assert_true(memory_figure(p, "peak", "inputs") > 0);
    assert_true(memory_figure(p, "peak", "staging") > 0);
    assert_true(surfaces_left(p) == 0);
    assert_true(memory_figure(p, "steps", "cpu_decoders") == 0);
    om_pipeline_destroy(p);
}

/* Streams whose surfaces would go over the cap are decoded on the CPU, the others where they were to be. */
static void a_cap_leaves_streams_to_the_cpu(void **state)
{
    char path[512], cap[32];
    seen s;
    if (!clip("hd_h264.mp4", path)) skip();
    double before = mb_of_process();
    om_pipeline *p = make(&s, path, NULL);
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    double surfaces = memory_figure(p, "peak", "surfaces"),
           rest = memory_figure(p, "peak", "counted") - surfaces;
    om_pipeline_destroy(p);
    double driver = mb_of_process(); /* of which the first run has left a part */
    printf("this process held %.1f MB, then %.1f; surfaces %.1f MB, the rest %.1f\n", before, driver,
           surfaces, rest);
    snprintf(cap, sizeof cap, "%.1f", rest + surfaces / 2 + (driver > 0 ? driver : 0));
    p = make(&s, path, (const char *const[]){"gpu-memory", cap, NULL});
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    assert_int_equal(check_books(p, &s), 0);
    int on_cpu = 0;
    for (int i = 0; i < STREAMS; i++)
        on_cpu += atomic_load(&p->streams[i]->account.source.decoder) == OM_DECODER_CPU;
    printf("cap %s MB: %d of %d streams on the CPU, at most %.1f counted, driver %.1f\n", cap, on_cpu,
           STREAMS, memory_figure(p, "peak", "counted"), memory_figure(p, "peak", "driver"));
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
    assert_true(surfaces_left(p) == 0);
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
    om_device_mem_fail_after(100, 1); /* within the first compilation: many weights go up one by one */
    om_pipeline *p = make(&s, path,
                          (const char *const[]){"device", "cuda:0", "model", model, "batch-max", "8",
                                                "decode", "cpu", "max-frames", "40", NULL});
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 120000));
    om_device_mem_fail_after(-1, 0);
    uint64_t dropped = check_books(p, &s);
    printf("smaller batches %g, fallback %g, %llu dropped\n", memory_figure(p, "steps", "smaller_batches"),
           memory_figure(p, "steps", "fallback"), (unsigned long long)dropped);
    assert_true(memory_figure(p, NULL, "refused") == 1);
    assert_true(memory_figure(p, "steps", "smaller_batches") == 1);
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

/* That process; it has filled the card when this returns, and ends with end_filler(). */
typedef struct filler {
    pid_t pid;
    int in;
} filler;

static filler start_filler(long leave_mb)
{
    char mb[24], line[200];
    int to[2], from[2];
    snprintf(mb, sizeof mb, "%ld", leave_mb);
    assert_int_equal(pipe(to) | pipe(from), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        execl(self, self, clips, "fill", mb, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    FILE *said = fdopen(from[0], "r");
    assert_true(pid > 0 && said && fgets(line, sizeof line, said));
    printf("another process holds the card: %s", line);
    fclose(said);
    return (filler){pid, to[1]};
}

static void end_filler(filler f)
{
    close(f.in);
    waitpid(f.pid, NULL, 0);
}

/* One run beside that process. */
static void run_beside(long left_mb, const char *path, const char *const *options)
{
    seen s;
    filler f = start_filler(left_mb);
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
    end_filler(f);
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

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    self = argv[0];
    clips = argv[1];
    int status = open_both();
    if (status) return status;
    const char *part = argc > 2 ? argv[2] : "";
    if (strcmp(part, "fill") == 0) return argc > 3 ? fill(strtol(argv[3], NULL, 10)) : 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_told),
        cmocka_unit_test(a_cap_leaves_streams_to_the_cpu),
        cmocka_unit_test(the_engine_waits_for_nothing),
        cmocka_unit_test(short_memory_shrinks_the_batch),
        cmocka_unit_test(a_thousand_streams_leave_nothing_behind),
    };
    const struct CMUnitTest full[] = {cmocka_unit_test(a_full_card)};
    bool alone = strcmp(part, "full") == 0;
    if (*part && !alone) cmocka_set_test_filter(part);
    int failed = alone ? cmocka_run_group_tests(full, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
