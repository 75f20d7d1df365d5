/* What sharing an engine costs and gains: a camera alone, cameras with an engine each, cameras on one engine.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/trial.h"

#define DEFAULT_CAMERAS 4
#define MAX_ROUNDS 99 /* as the option has it */

/* One round of one way. */
typedef struct om_round {
    double camera_fps, combined_fps, memory_mb, mean_batch;
} om_round;

typedef enum om_way { OM_WAY_ONE, OM_WAY_OWN, OM_WAY_SHARED, OM_WAYS } om_way;

/* All trials side by side; each is measured over the same time as the others, but for the snapshots' own. */
static int measure_together(om_bench *b, om_trial *trials, int n, const char *what, om_round *out)
{
    const om_bench_options *o = b->options;
    double *fps = om_calloc((size_t)n, sizeof *fps), combined = 0, memory = 0;
    int err = fps ? om_trial_wait(&trials[0], o->warmup, what) : OM_ERR_NOMEM;
    for (int i = 0; i < n && !err; i++) err = om_snapshot_take(trials[i].pipeline, &trials[i].first);
    trials[0].memory_mb = 0;
    if (!err) err = om_trial_wait(&trials[0], o->duration, what);
    for (int i = 0; i < n && !err; i++) err = om_snapshot_take(trials[i].pipeline, &trials[i].last);
    if (err == OM_ERR_EOF) err = om_fail(OM_ERR_IO, "the run ended early: %s", om_error_message());
    om_rung r = {0};
    for (int i = 0; i < n && !err; i++) {
        err = om_trial_rung(&trials[i], 0, &r);
        if (!err && r.failed) err = om_fail(OM_ERR_IO, "%s", r.error);
        fps[i] = n > 1 ? r.fps_total : r.fps_median;
        combined += r.fps_total;
        memory = fmax(memory, trials[i].memory_mb);
    }
    if (!err) *out = (om_round){om_median(fps, (size_t)n), combined, memory, n > 1 ? 1 : r.mean_batch};
    om_free(fps);
    return err;
}

static int run_way(om_bench *b, om_way way, int cameras, const char *what, om_round *out)
{
    const om_bench_options *o = b->options;
    int n = way == OM_WAY_OWN ? cameras : 1, err = OM_OK, started = 0;
    om_trial *trials = om_calloc((size_t)n, sizeof *trials);
    if (!trials) return OM_ERR_NOMEM;
    for (; started < n && !err; started++) {
        om_strlist one = {.items = &o->inputs.items[(size_t)started % o->inputs.n], .n = 1};
        om_trial_params p = {.inputs = way == OM_WAY_SHARED ? &o->inputs : &one,
                             .streams = way == OM_WAY_SHARED ? cameras : 1,
                             .seed = o->seed,
                             .conf = -1};
        err = om_trial_start(b, &p, &trials[started]);
        if (err) break;
    }
    if (!err) om_bench_describe(&trials[0]);
    if (!err) err = measure_together(b, trials, n, what, out);
    for (int i = 0; i < started; i++)
        if (trials[i].pipeline) om_pipeline_stop(trials[i].pipeline);
    for (int i = 0; i < started; i++) om_trial_fini(&trials[i]);
    om_free(trials);
    return err;
}

static double median_of(const om_round *rounds, int n, size_t offset)
{
    double values[MAX_ROUNDS];
    for (int i = 0; i < n; i++) memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(double));
    return om_median(values, (size_t)n);
}

/* `alone`: the rounds of one camera. */
static void summarize(const om_round *rounds, const om_round *alone, int n, om_batching_way *out)
{
    double drops[MAX_ROUNDS];
    size_t known = 0;
    for (int i = 0; i < n; i++)
        if (alone[i].combined_fps > 0)
            drops[known++] = 100 * (1 - rounds[i].combined_fps / alone[i].combined_fps);
    *out = (om_batching_way){
        .camera_fps = median_of(rounds, n, offsetof(om_round, camera_fps)),
        .combined_fps = median_of(rounds, n, offsetof(om_round, combined_fps)),
        .memory_mb = median_of(rounds, n, offsetof(om_round, memory_mb)),
        .mean_batch = median_of(rounds, n, offsetof(om_round, mean_batch)),
        .drop_percent = om_median(drops, known),
    };
}

/* A round takes all ways one after the other, so that a change of the machine's mood touches all alike. */
int om_bench_batching(om_bench *b)
{
    static const char *const names[OM_WAYS] = {"one camera alone", "an engine each", "one engine for all"};
    const om_bench_options *o = b->options;
    om_batching *res = &b->result->batching;
    om_round rounds[OM_WAYS][MAX_ROUNDS];
    int cameras = o->streams ? o->streams : DEFAULT_CAMERAS, done = 0, err = OM_OK;
    res->cameras = cameras;
    for (; done < o->rounds && !err; done += !err) {
        for (int w = 0; w < OM_WAYS && !err; w++) {
            char what[96];
            snprintf(what, sizeof what, "round %d of %d, %s", done + 1, o->rounds, names[w]);
            err = run_way(b, (om_way)w, cameras, what, &rounds[w][done]);
        }
        if (!err && b->caller->line) {
            char text[160];
            snprintf(
                text, sizeof text,
                "round %d: one camera %.1f fps; %d cameras: an engine each %.1f fps, one engine for all %.1f fps",
                done + 1, rounds[0][done].combined_fps, cameras, rounds[1][done].combined_fps,
                rounds[2][done].combined_fps);
            if (b->caller->progress) b->caller->progress(b->caller->user, NULL);
            b->caller->line(b->caller->user, text);
        }
    }
    res->rounds = done;
    if (!done) return err;
    summarize(rounds[OM_WAY_ONE], rounds[OM_WAY_ONE], done, &res->one);
    summarize(rounds[OM_WAY_OWN], rounds[OM_WAY_ONE], done, &res->own);
    summarize(rounds[OM_WAY_SHARED], rounds[OM_WAY_ONE], done, &res->shared);
    res->measured = true;
    res->within = res->shared.drop_percent <= o->max_batching_loss;
    return err;
}
