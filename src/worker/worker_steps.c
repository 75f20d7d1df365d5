/* A worker's steps: read, prepare, execute, in one part or two. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "trace/trace.h"
#include "worker/worker_priv.h"

#define PROGRESS_NS (OM_NS_PER_SEC / 4)
#define LOG_NS (5 * OM_NS_PER_SEC)
#define CHECKPOINT_NS (5 * OM_NS_PER_SEC)
#define BAR 24

void om_worker_drop_frames(worker *w)
{
    for (int i = 0; i < w->o->batch_size; i++) {
        om_frame_unref(w->frames[i]);
        om_frame_unref(w->ready[i]);
        w->frames[i] = w->ready[i] = NULL;
        om_dets_clear(&w->dets[i]);
    }
}

int om_worker_read_batch(worker *w, int *n)
{
    int err = OM_OK;
    for (*n = 0; *n < w->o->batch_size && !err;) {
        err = om_feed_read(w->feed, &w->frames[*n], &w->labels[*n]);
        *n += !err;
    }
    return err == OM_ERR_EOF && *n ? OM_OK : err;
}

static int prepare_batch(worker *w, int n)
{
    int err = OM_OK;
    for (int i = 0; i < n && !err; i++) err = om_preparer_apply(&w->preparer, w->frames[i], &w->ready[i]);
    return err ? err : om_rig_prepare(&w->rig, w->ready, n, w->geo);
}

static void count_classes(worker *w, const om_dets *dets, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < dets[i].n; k++) {
            /* A classifier's best guess, all of a detector's boxes. */
            if (k && w->rig.desc->family == OM_FAMILY_CLASSIFY) break;
            int id = dets[i].items[k].class_id;
            if (id >= 0 && id < OM_WORKER_CLASSES) w->seen[id]++;
        }
}

/* One batch; *n frames. The clock is read once between two phases: they sum up to the whole. */
static int step(worker *w, om_metrics_row *row, int *n)
{
    int64_t t[4] = {om_now_ns()};
    om_trace_begin("step", row->step);
    om_trace_begin("read", row->step);
    int err = om_worker_read_batch(w, n);
    om_trace_end("read");
    t[1] = om_now_ns();
    om_trace_begin("prep", row->step);
    if (!err) err = prepare_batch(w, *n);
    om_trace_end("prep");
    t[2] = om_now_ns();
    om_trace_begin("exec", row->step);
    if (!err) err = om_rig_execute(&w->rig, *n, w->geo, w->dets);
    if (!err && w->learns) err = om_retrain_step(&w->retrain, &w->rig, w->labels, *n);
    om_trace_end("exec");
    om_trace_end("step");
    t[3] = om_now_ns();
    row->read_ns = t[1] - t[0];
    row->prep_ns = t[2] - t[1];
    row->exec_ns = t[3] - t[2];
    row->total_ns = t[3] - t[0];
    row->has_loss = w->learns;
    row->loss = w->retrain.loss;
    return err;
}

/* Share of the work that is done; negative: not known. */
static double share_done(const worker *w, int64_t steps, int64_t frames)
{
    if (w->o->max_steps > 0) return (double)steps / (double)w->o->max_steps;
    double all = om_feed_info(w->feed)->duration_s * om_feed_info(w->feed)->fps;
    return all > 0 ? fmin((double)(frames + w->o->warmup * w->o->batch_size) / all, 1) : -1;
}

static void show_progress(worker *w, const om_worker_result *r)
{
    int64_t now = om_now_ns();
    char text[200], bar[BAR + 1] = "";
    if (now < w->next_progress_ns) return;
    w->next_progress_ns = now + PROGRESS_NS;
    double share = share_done(w, r->steps, r->frames), seconds = (double)(now - w->begun_ns) / 1e9;
    for (int i = 0; i < BAR && share >= 0; i++) bar[i] = i < (int)(share * BAR) ? '#' : '.';
    int n = snprintf(
        text, sizeof text, "%s%s%s%lld steps  %.1f fps  read %.2f  prep %.2f  exec %.2f ms",
        share >= 0 ? "[" : "", bar, share >= 0 ? "]  " : "", (long long)r->steps,
        seconds > 0 ? (double)r->frames / seconds : 0, (double)w->sum_ns[0] / 1e6 / (double)r->steps,
        (double)w->sum_ns[1] / 1e6 / (double)r->steps, (double)w->sum_ns[2] / 1e6 / (double)r->steps);
    if (w->learns && n > 0 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, "  loss %.4f", w->retrain.loss);
    if (w->listener->progress) w->listener->progress(w->listener->user, text);
    if (now < w->next_log_ns) return;
    w->next_log_ns = now + LOG_NS;
    om_metrics_log(&w->metrics, text);
}

static int record(worker *w, const om_metrics_row *row, const om_dets *dets, int n)
{
    om_worker_result *r = w->result;
    const int64_t ns[4] = {row->read_ns, row->prep_ns, row->exec_ns, row->total_ns};
    int err = om_metrics_row_add(&w->metrics, row);
    if (err) return err;
    for (int i = 0; i < 4; i++) w->sum_ns[i] += ns[i];
    r->steps++;
    r->frames += n;
    count_classes(w, dets, n);
    show_progress(w, r);
    return OM_OK;
}

/* After a step: a row, unless it was one of those before the measurement. */
static int count_step(worker *w, om_metrics_row *row, const om_dets *dets, int n)
{
    row->step = w->result->steps;
    if (w->warm == w->o->warmup) return record(w, row, dets, n);
    if (++w->warm == w->o->warmup) w->begun_ns = om_now_ns();
    return OM_OK;
}

static bool wants_more(const worker *w)
{
    bool enough = w->o->max_steps && w->submitted >= w->o->max_steps + w->o->warmup;
    return !om_cancelled(w->cancel) && !enough;
}

int om_worker_save_checkpoint(worker *w, bool now)
{
    if (!w->learns || (!now && om_now_ns() < w->next_checkpoint_ns)) return OM_OK;
    w->next_checkpoint_ns = om_now_ns() + CHECKPOINT_NS;
    return om_retrain_checkpoint(&w->retrain);
}

static int run_steps(worker *w)
{
    int err = OM_OK;
    w->next_checkpoint_ns = om_now_ns() + CHECKPOINT_NS;
    while (!err && wants_more(w)) {
        om_metrics_row row = {.step = w->submitted};
        int n = 0;
        err = step(w, &row, &n);
        w->submitted += !err;
        if (!err) err = count_step(w, &row, w->dets, n);
        if (!err) err = om_worker_save_checkpoint(w, false);
        om_worker_drop_frames(w);
    }
    return err;
}

int om_worker_finish_second(void *user, om_split_job *job, om_dets *dets)
{
    worker *w = user;
    om_metrics_row row = {.read_ns = job->read_ns - job->begun_ns,
                          .prep_ns = job->prepared_ns - job->read_ns,
                          .exec_ns = job->second_ns - job->prepared_ns,
                          .total_ns = job->second_ns - job->begun_ns,
                          .first_ns = job->first_ns - job->prepared_ns,
                          .transfer_ns = job->sent_ns - job->slot_ns,
                          .second_ns = job->second_ns - job->second_begin_ns,
                          .bytes = (int64_t)w->split_bytes};
    row.wait_ns = row.exec_ns - row.first_ns - row.transfer_ns - row.second_ns;
    return count_step(w, &row, dets, job->n);
}

/* Up to the hand-over: read, prep and the first part. */
static int first_step(worker *w, om_split_job *job)
{
    job->step = w->submitted;
    job->begun_ns = om_now_ns();
    om_trace_begin("read", job->step);
    int err = om_worker_read_batch(w, &job->n);
    om_trace_end("read");
    job->read_ns = om_now_ns();
    om_trace_begin("prep", job->step);
    if (!err) err = prepare_batch(w, job->n);
    om_trace_end("prep");
    memcpy(job->geo, w->geo, sizeof job->geo);
    job->prepared_ns = om_now_ns();
    om_trace_begin("first", job->step);
    if (!err) err = om_rig_execute(&w->rig, job->n, w->geo, w->dets);
    om_trace_end("first");
    job->first_ns = om_now_ns();
    return err;
}

static int run_split(worker *w)
{
    int err = OM_OK;
    while (!err && wants_more(w)) {
        om_split_job *job = NULL;
        err = om_split_job_get(w->split, &job);
        if (err) break;
        err = first_step(w, job);
        if (err) om_split_job_put(w->split, job);
        else err = om_split_submit(w->split, job, &w->rig);
        w->submitted += !err;
        om_worker_drop_frames(w);
    }
    int second = om_split_drain(w->split);
    return second ? second : err;
}

int om_worker_run_all(worker *w)
{
    w->begun_ns = om_now_ns();
    w->next_log_ns = w->begun_ns + LOG_NS;
    int err = w->split ? run_split(w) : run_steps(w);
    w->result->seconds = (double)(om_now_ns() - w->begun_ns) / 1e9;
    if (err == OM_ERR_EOF || (err == OM_ERR_CANCELLED && om_cancelled(w->cancel))) err = OM_OK;
    return err;
}
