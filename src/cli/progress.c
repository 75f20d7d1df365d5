#include "cli/progress.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/console.h"

int om_progress_init(om_progress *pr, const om_config *c)
{
    memset(pr, 0, sizeof *pr);
    pr->bounds = om_calloc(c->n_streams ? c->n_streams : 1, sizeof *pr->bounds);
    if (!pr->bounds) return OM_ERR_NOMEM;
    pr->n_bounds = c->n_streams;
    pr->endless = om_config_keeps(c);
    for (size_t i = 0; i < c->n_streams; i++) {
        const om_stream_options *s = &c->streams[i];
        int every = s->every > 0 ? s->every : c->run.every;
        double fps = s->fps >= 0 ? s->fps : c->run.fps;
        pr->bounds[i] = (om_progress_bound){
            .duration_s = s->duration >= 0 ? s->duration : c->run.duration,
            .max_frames = (s->max_frames >= 0 ? s->max_frames : c->run.max_frames) * (fps > 0 ? 1 : every),
            .frames_a_second = fps,
            .endless = s->loop >= 0 ? s->loop : c->run.loop,
        };
    }
    pr->line = c->run.progress && !c->run.quiet && om_console_has_status();
    pr->stats_s = c->run.stats;
    pr->start_ns = pr->stats_ns = om_now_ns();
    pr->next_stats_ns = pr->start_ns + (int64_t)(pr->stats_s * 1e9);
    return OM_OK;
}

void om_progress_fini(om_progress *pr)
{
    om_free(pr->bounds);
    pr->bounds = NULL;
}

/* Seconds of its own time until this stream is over; 0: not known. */
static double expected(const om_progress_bound *b, const om_stream_status *st)
{
    double seconds = b->endless ? 0 : st->duration_s;
    double fps = b->frames_a_second > 0 ? b->frames_a_second : st->source_fps;
    double bounds[] = {b->duration_s, fps > 0 ? (double)b->max_frames / fps : 0};
    for (int i = 0; i < 2; i++)
        if (bounds[i] > 0 && (seconds <= 0 || bounds[i] < seconds)) seconds = bounds[i];
    return seconds;
}

double om_progress_share(const om_progress *pr, om_pipeline *p)
{
    double done = 0, all = 0;
    size_t n = om_pipeline_n_streams(p);
    if (pr->endless || n > pr->n_bounds) return -1;
    for (size_t i = 0; i < n; i++) {
        om_stream_status st;
        om_pipeline_stream_status(p, i, &st);
        double seconds = expected(&pr->bounds[i], &st);
        bool over =
            st.state == OM_STREAM_ENDED || st.state == OM_STREAM_FAILED || st.state == OM_STREAM_REMOVED;
        if (seconds <= 0 && !over) return -1;
        all += seconds;
        done += over ? seconds : fmin(st.position_s, seconds);
    }
    return all > 0 ? done / all : -1;
}

/* How many there are, how many of them are at work, and how many cameras are tried again. */
static size_t count_running(om_pipeline *p, size_t *n, size_t *away)
{
    om_stream_row *rows;
    size_t running = 0;
    *away = 0;
    if (om_pipeline_list(p, false, &rows, n)) return 0;
    for (size_t i = 0; i < *n; i++) {
        om_stream_state s = rows[i].status.state;
        bool absent = s == OM_STREAM_RECONNECTING || (s == OM_STREAM_OPENING && rows[i].status.error[0]);
        running += s == OM_STREAM_RUNNING || (s == OM_STREAM_OPENING && !absent);
        *away += absent;
    }
    om_free(rows);
    return running;
}

/* Frames a second over the last samples. */
static double recent_fps(om_progress *pr, int64_t now, uint64_t inferred)
{
    if (pr->n_samples == OM_PROGRESS_SAMPLES) {
        memmove(pr->samples, pr->samples + 1, sizeof pr->samples - sizeof pr->samples[0]);
        pr->n_samples--;
    }
    pr->samples[pr->n_samples].ns = now;
    pr->samples[pr->n_samples++].inferred = inferred;
    double seconds = (double)(now - pr->samples[0].ns) / 1e9;
    return seconds > 0 ? (double)(inferred - pr->samples[0].inferred) / seconds : 0;
}

static void draw(om_progress *pr, om_pipeline *p, int64_t now, const om_stream_stats *s)
{
    om_str text = {0};
    double fps = recent_fps(pr, now, s->inferred), share = om_progress_share(pr, p);
    size_t n, away, running = count_running(p, &n, &away);
    om_str_addf(&text, "%6.1f s  ", (double)(now - pr->start_ns) / 1e9);
    if (!s->inferred && running) om_str_addf(&text, "opening %zu stream%s", n, n == 1 ? "" : "s");
    else om_str_addf(&text, "%llu frames  %.1f fps", (unsigned long long)s->inferred, fps);
    if (share >= 0 && s->inferred) om_str_addf(&text, "  %.0f%%", 100 * share);
    if (s->inferred) om_str_addf(&text, "  %zu of %zu streams", running, n);
    if (away) om_str_addf(&text, "  %zu away", away);
    if (s->dropped) om_str_addf(&text, "  dropped %llu", (unsigned long long)s->dropped);
    om_console_status(om_str_get(&text));
    om_str_fini(&text);
}

static void print_stats(om_progress *pr, om_pipeline *p, int64_t now, const om_stream_stats *s)
{
    om_str text = {0};
    double seconds = (double)(now - pr->stats_ns) / 1e9;
    size_t n, away, running = count_running(p, &n, &away);
    om_str_addf(&text, "%7.1f s  %llu frames  %.1f fps  latency %.1f ms p50, %.1f ms p99  %zu of %zu streams",
                (double)(now - pr->start_ns) / 1e9, (unsigned long long)s->inferred,
                (double)(s->inferred - pr->stats_inferred) / seconds, s->latency_ms_p50, s->latency_ms_p99,
                running, n);
    if (away) om_str_addf(&text, "  %zu away", away);
    if (s->network_bytes > pr->stats_bytes)
        om_str_addf(&text, "  %.1f Mbit/s", 8e-6 * (double)(s->network_bytes - pr->stats_bytes) / seconds);
    om_str losses = {0};
    om_pipeline_losses(p, -1, &losses);
    if (losses.len) om_str_addf(&text, "  %s", om_str_get(&losses));
    om_str_fini(&losses);
    om_str policy = {0};
    om_pipeline_policy_text(p, &policy);
    if (policy.len) om_str_addf(&text, "  %s", om_str_get(&policy));
    om_str_fini(&policy);
    om_str gpu = {0};
    om_pipeline_gpu_text(p, &gpu);
    if (gpu.len) om_str_addf(&text, "  %s", om_str_get(&gpu));
    om_str_fini(&gpu);
    om_console_line(om_str_get(&text));
    om_str_fini(&text);
    pr->stats_inferred = s->inferred;
    pr->stats_bytes = s->network_bytes;
    pr->stats_ns = now;
    pr->next_stats_ns += (int64_t)(pr->stats_s * 1e9);
    if (pr->next_stats_ns < now) pr->next_stats_ns = now + (int64_t)(pr->stats_s * 1e9);
}

void om_progress_tick(om_progress *pr, om_pipeline *p)
{
    int64_t now = om_now_ns();
    bool due = pr->stats_s > 0 && now >= pr->next_stats_ns;
    om_stream_stats s;
    if ((!pr->line && !due) || om_pipeline_stats(p, -1, &s)) return;
    if (due) print_stats(pr, p, now, &s);
    if (pr->line) draw(pr, p, now, &s);
}
