#include "worker/worker.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "trace/trace.h"
#include "worker/cores.h"
#include "worker/picture_writer.h"
#include "worker/sweep.h"
#include "worker/worker_priv.h"

#define TRACE_EVENTS 65536

/* "resnet50" of "models/resnet50.onnx", without what a file's name had better not hold. */
static void short_name(const char *model, char *out, size_t size)
{
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model, *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base), at = 0;
    for (size_t i = 0; i < n && at + 1 < size; i++)
        out[at++] = isalnum((unsigned char)base[i]) || strchr("._-", base[i]) ? base[i] : '_';
    out[at] = '\0';
}

static bool is_camera(const char *input)
{
    return *input && !input[strspn(input, "0123456789")] && strlen(input) <= 4;
}

/* A number alone is a camera of this machine. */
static int check_camera(const char *input)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/dev/video%.8s", input);
    if (!is_camera(input) || !stat(path, &st)) return OM_OK;
    return om_fail(OM_ERR_NOT_FOUND, "camera %s: there is no %s", input, path);
}

/* What was learnt is kept, also of a run that was stopped. */
static int keep_learnt(worker *w)
{
    if (!w->learns || !w->submitted) return OM_OK;
    w->result->loss = w->retrain.loss;
    om_worker_say(w, "learnt: %lld steps in all, last loss %.6f, %.2f%% of %lld pictures right as they came",
                  (long long)w->retrain.trainer.step, w->retrain.loss,
                  100 * (double)w->retrain.right / (double)w->retrain.seen, (long long)w->retrain.seen);
    int err = om_worker_save_checkpoint(w, true);
    if (!err && w->o->save) err = om_retrain_save(&w->retrain, &w->rig, om_feed_classes(w->feed), w->o->save);
    return err;
}

/* "person 120, car 33": the five most frequent. */
static void say_classes(worker *w)
{
    const om_model_desc *d = w->rig.desc;
    om_str text = {0};
    for (int k = 0; k < 5; k++) {
        int best = 0;
        for (int i = 1; i < OM_WORKER_CLASSES; i++)
            if (w->seen[i] > w->seen[best]) best = i;
        if (!w->seen[best]) break;
        if (best < d->n_labels) om_str_addf(&text, "%s%s", k ? ", " : "", d->labels[best]);
        else om_str_addf(&text, "%sclass %d", k ? ", " : "", best);
        om_str_addf(&text, " %llu", (unsigned long long)w->seen[best]);
        w->seen[best] = 0;
    }
    if (text.len) om_worker_say(w, "found: %s", om_str_get(&text));
    om_str_fini(&text);
}

static void summarise(worker *w, om_worker_result *r)
{
    if (r->steps) {
        for (int i = 0; i < 4; i++) r->mean_ms[i] = (double)w->sum_ns[i] / 1e6 / (double)r->steps;
        r->fps = r->seconds > 0 ? (double)r->frames / r->seconds : 0;
        say_classes(w);
    }
    om_worker_say(
        w,
        "summary: %lld steps, %lld frames in %.3f s: %.2f fps; mean a step: read %.3f, prep %.3f, exec %.3f, total %.3f ms",
        (long long)r->steps, (long long)r->frames, r->seconds, r->fps, r->mean_ms[0], r->mean_ms[1],
        r->mean_ms[2], r->mean_ms[3]);
}

static void fini(worker *w)
{
    if (w->listener->progress) w->listener->progress(w->listener->user, NULL);
    om_worker_drop_frames(w);
    for (int i = 0; i < OM_RIG_BATCH_MAX; i++) om_dets_fini(&w->dets[i]);
    om_split_destroy(w->split);
    om_head_destroy(w->head);
    om_feed_close(w->feed);
    om_retrain_fini(&w->retrain);
    om_rig_fini(&w->rig);
    om_preparer_fini(&w->preparer);
    om_free(w->seen);
    om_metrics_close(&w->metrics);
    om_free(w);
}

static void sweep_line(void *user, const char *text) { om_worker_say(user, "%s", text); }

/* Not rows of steps but a table of splits. */
static int sweep(worker *w)
{
    om_rig_params rp = om_worker_rig_params(w);
    om_sweep_params p = {.rig = &rp,
                         .device = w->o->split_device ? w->o->split_device : w->o->device,
                         .first = &w->cores,
                         .second = &w->second,
                         .max = w->o->split_max,
                         .steps = w->o->max_steps ? w->o->max_steps : 10,
                         .amp = w->o->use_amp,
                         .dir = w->o->output,
                         .cancel = w->cancel,
                         .line = sweep_line,
                         .user = w};
    int n = 0, err = om_worker_read_batch(w, &n);
    for (int i = 0; i < n && !err; i++) err = om_preparer_apply(&w->preparer, w->frames[i], &w->ready[i]);
    if (!err) err = om_sweep_run(&p, w->ready, n);
    om_worker_drop_frames(w);
    return err;
}

/* A wish to stop is no error, wherever it comes. */
static int unless_stopped(const worker *w, int err)
{
    return err == OM_ERR_CANCELLED && om_cancelled(w->cancel) ? OM_OK : err;
}

static int run_worker(worker *w)
{
    om_worker_result *out = w->result;
    om_worker_say_config(w);
    int err = om_worker_bind_cores(w);
    if (err) return err;
    om_worker_say_system(w);
    w->learns = w->o->mode == OM_WORKER_RETRAIN;
    if (w->learns || w->o->split_sweep) err = om_worker_open_feed(w); /* it tells the classes */
    if (!err && w->o->split_sweep) return unless_stopped(w, sweep(w));
    if (!err) err = om_worker_make_rig(w);
    if (!err && !w->feed) err = om_worker_open_feed(w);
    err = unless_stopped(w, err);
    if (err) return err;
    if (!om_cancelled(w->cancel)) err = om_worker_run_all(w);
    if (!err && !out->steps && !om_cancelled(w->cancel))
        err = om_fail(
            OM_ERR_FORMAT, "%s: ended after %llu frames, before the first measured step (--warmup %lld)",
            om_feed_shown(w->feed), (unsigned long long)om_feed_pictures(w->feed), (long long)w->o->warmup);
    if (!err) err = keep_learnt(w);
    summarise(w, out);
    return err;
}

int om_worker_run(const om_worker_options *o, const om_learning *l, om_cancel *cancel,
                  const om_worker_listener *listener, om_worker_result *out)
{
    char name[128];
    memset(out, 0, sizeof *out);
    out->loss = NAN;
    int err = om_worker_check(o);
    if (!err) err = check_camera(o->input_path);
    cpu_set_t cores; /* before anything is written */
    if (!err) err = om_cores_parse(o->core_bind, &cores);
    if (!err) err = om_folder_make(o->output);
    if (err) return err;
    worker *w = om_calloc(1, sizeof *w);
    if (!w) return OM_ERR_NOMEM;
    w->o = o;
    w->l = l;
    w->result = out;
    w->cancel = cancel;
    w->listener = listener;
    w->preparer = (om_preparer){.level = (om_prep_level)o->prep_level, .seed = (uint64_t)o->seed};
    if (is_camera(o->input_path)) snprintf(w->input, sizeof w->input, "v4l2:///dev/video%s", o->input_path);
    else snprintf(w->input, sizeof w->input, "%s", o->input_path);
    short_name(o->model_name, name, sizeof name);
    err = om_metrics_open(&w->metrics, o->output, name, o->split_point != NULL);
    snprintf(out->csv, sizeof out->csv, "%s", w->metrics.csv_path);
    snprintf(out->log, sizeof out->log, "%s", w->metrics.log_path);
    if (!err && o->trace) err = om_trace_start(TRACE_EVENTS);
    if (!err) err = run_worker(w);
    char message[600] = ""; /* what went wrong first is what is told */
    if (err) {
        snprintf(message, sizeof message, "%s", om_error_message());
        om_metrics_log(&w->metrics, message);
    }
    fini(w);
    if (o->trace) {
        om_trace_stop();
        int written = om_trace_export(o->trace);
        if (!err) err = written;
        om_trace_fini();
    }
    return *message ? om_fail(err, "%s", message) : err;
}
