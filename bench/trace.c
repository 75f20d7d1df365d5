/* What tracing costs. Without arguments: a span, while tracing is off and while it is on, as JSON.
 *
 * With a video, a model, a device, the frames of the video and of a block, and seconds: a first run over the
 * video is traced; its events and what writing them takes are told as JSON. Then one core runs the video
 * again and again, and draws for each block of frames whether it is traced; while it is, each begin and each
 * end is recorded MORE times more, so that the cost stands out of what other programs disturb. A line "BLOCK
 * TRACED NANOSECONDS" of processor time each (the block's place in the video): blocks of one place are the
 * same work. bench/trace_cost.py makes figures of both. */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "omma/omma.h"
#include "trace/ring.h"
#include "trace/trace.h"

#define ROUNDS 5
#define MORE 19
#define LEAST_ROUNDS                                                                                         \
    4 /* of the video, however busy the machine is: each place's blocks have to come in pairs */
#define TRACE_EVENTS 65536 /* as `omma run` has them */

typedef struct work {
    long video_frames, block_frames;
    long frame; /* of the whole run */
    int64_t begin_ns, until_ns;
    bool blocks, traced;
    uint64_t seed;
    om_pipeline *pipeline;
} work;

static double nanoseconds(long spans)
{
    double best = 1e30;
    for (int r = 0; r < ROUNDS; r++) {
        int64_t begin = om_thread_cpu_ns();
        for (long i = 0; i < spans; i++) {
            om_trace_begin("span", i);
            om_trace_end("span");
        }
        double each = (double)(om_thread_cpu_ns() - begin) / (double)spans;
        if (each < best) best = each;
    }
    return best;
}

static int time_spans(void)
{
    double off = nanoseconds(20000000);
    if (om_trace_start(TRACE_EVENTS)) return 1;
    double on = nanoseconds(1000000);
    om_trace_fini();
    printf("{\"off_ns\": %.3f, \"on_ns\": %.2f}\n", off, on);
    return 0;
}

static bool draw(work *w)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return w->seed >> 63;
}

/* All events, and those that a tool is told of. */
static void count_events(size_t *all, size_t *told)
{
    *all = *told = 0;
    for (const om_trace_ring *r = om_trace_rings(); r; r = r->next) {
        *all += r->count;
        for (size_t i = 0; i < r->count; i++)
            *told += r->events[i].kind != OM_TRACE_COUNTER && r->events[i].kind != OM_TRACE_FLOW;
    }
}

static void record_more(void)
{
    for (int i = 0; i < MORE && om_trace_enabled(); i++) om_trace_emit_counter("more", i);
}
static void on_push(const char *name, int64_t id)
{
    (void)name;
    (void)id;
    record_more();
}
static void on_async(const char *name, int64_t id, bool begin)
{
    (void)name;
    (void)id;
    (void)begin;
    record_more();
}
static const om_trace_tool multiplier = {.push = on_push, .pop = record_more, .async = on_async};

static void trace_block(work *w)
{
    w->traced = draw(w);
    om_trace_set_tool(w->traced ? &multiplier : NULL);
    if (w->traced) om_trace_start(TRACE_EVENTS);
    else om_trace_stop();
}

/* All that is done between two blocks' last results is of the second. One core: no thread runs beside this
 * one, whose processor time is not yet counted. */
static void on_result(void *user, const om_frame_result *result)
{
    work *w = user;
    (void)result;
    if (++w->frame % w->block_frames || !w->blocks) return;
    int64_t now = om_process_cpu_ns();
    long at = (w->frame - w->block_frames) % w->video_frames / w->block_frames;
    if (w->frame > w->video_frames) /* the first round warms up */
        printf("%ld %d %lld\n", at, w->traced, (long long)(now - w->begin_ns));
    trace_block(w);
    if (om_now_ns() > w->until_ns && w->frame >= LEAST_ROUNDS * w->video_frames)
        om_pipeline_stop(w->pipeline);
    w->begin_ns = om_process_cpu_ns();
}

static int run_video(work *w, char **argv, const char *frames)
{
    int err = om_pipeline_create(&w->pipeline);
    if (!err) err = om_pipeline_set(w->pipeline, "model", argv[2]);
    if (!err) err = om_pipeline_set(w->pipeline, "device", argv[3]);
    if (!err) err = om_pipeline_set(w->pipeline, "decode-threads", "1");
    if (!err) err = om_pipeline_set(w->pipeline, "loop", "yes");
    if (!err) err = om_pipeline_set(w->pipeline, "max-frames", frames);
    if (!err) err = om_pipeline_add_stream(w->pipeline, argv[1], NULL);
    if (!err) err = om_pipeline_add_sink(w->pipeline, "null:");
    if (!err) err = om_pipeline_on_result(w->pipeline, on_result, w);
    if (!err) err = om_pipeline_start(w->pipeline);
    if (!err) err = om_pipeline_wait(w->pipeline, -1);
    om_pipeline_destroy(w->pipeline);
    om_trace_set_tool(NULL);
    om_trace_stop();
    return err;
}

/* Writing: the least of a few. */
static int time_export(const work *w)
{
    char path[64];
    size_t all, told;
    int64_t best = INT64_MAX;
    int err = OM_OK;
    snprintf(path, sizeof path, "/tmp/omma-trace-cost-%d.json", (int)getpid());
    for (int i = 0; i < ROUNDS && !err; i++) {
        int64_t begin = om_process_cpu_ns();
        err = om_trace_export(path);
        int64_t ns = om_process_cpu_ns() - begin;
        if (ns < best) best = ns;
    }
    unlink(path);
    if (err) return err;
    count_events(&all, &told);
    printf("{\"frames\": %ld, \"events\": %zu, \"events_multiplied\": %zu, \"write_ns\": %lld}\n", w->frame,
           all, all + MORE * told, (long long)best);
    return OM_OK;
}

static int time_blocks(work *w, char **argv, double seconds)
{
    int err = om_trace_start(TRACE_EVENTS);
    if (!err) err = run_video(w, argv, argv[4]);
    if (!err) err = time_export(w);
    om_trace_fini();
    w->frame = 0;
    w->blocks = true;
    w->until_ns = om_now_ns() + (int64_t)(seconds * 1e9);
    return err ? err : run_video(w, argv, "0");
}

static void take_one_core(void)
{
    cpu_set_t mine, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof mine, &mine)) return;
    for (int i = CPU_SETSIZE - 1; i >= 0 && !CPU_COUNT(&one); i--)
        if (CPU_ISSET(i, &mine)) CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
}

int main(int argc, char **argv)
{
    if (argc == 1) return time_spans();
    if (argc != 7) {
        fprintf(stderr, "usage: %s [VIDEO MODEL DEVICE VIDEO-FRAMES BLOCK-FRAMES SECONDS]\n", argv[0]);
        return 2;
    }
    work w = {.video_frames = atol(argv[4]), .block_frames = atol(argv[5]), .seed = (uint64_t)getpid()};
    if (w.block_frames < 1 || w.video_frames < 1 || w.video_frames % w.block_frames) {
        fprintf(stderr, "%s: the video's frames are to be a multiple of a block's\n", argv[0]);
        return 2;
    }
    take_one_core();
    int err = time_blocks(&w, argv, atof(argv[6]));
    if (err) fprintf(stderr, "%s\n", om_error_message());
    om_trace_fini();
    return err ? 1 : 0;
}
