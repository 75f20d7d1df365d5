#include "worker/worker.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/media.h"
#include "profile/profile.h"
#include "trace/trace.h"
#include "worker/cores.h"
#include "worker/metrics.h"
#include "worker/picture_writer.h"
#include "worker/rig.h"

#define PROGRESS_NS (OM_NS_PER_SEC / 4)
#define LOG_NS (5 * OM_NS_PER_SEC)
#define BAR 24
#define MOST_CLASSES 65536
#define TRACE_EVENTS 65536

static const om_choice modes[] = {{"inference", 0, NULL}, {NULL, 0, NULL}};

#define OPT(field) offsetof(om_worker_options, field)

const om_option om_worker_option_table[] = {
    {"model-name", 'm', OM_OPT_STRING, OPT(model_name), NULL, 0, 0, NULL, "NAME|FILE", "Work",
     "an ONNX file, or a name of 'omma model synth --list': that structure with seeded random weights"},
    {"input-path", 'i', OM_OPT_STRING, OPT(input_path), NULL, 0, 0, NULL, "URI", NULL,
     "file, folder, http(s)://, rtsp:// or pattern:"},
    {"mode", 0, OM_OPT_CHOICE, OPT(mode), "inference", 0, 0, modes, NULL, NULL,
     "what is done with the pictures"},
    {"batch-size", 'b', OM_OPT_INT, OPT(batch_size), "1", 1, OM_RIG_BATCH_MAX, NULL, NULL, NULL,
     "pictures a step"},
    {"prep-level", 0, OM_OPT_CHOICE, OPT(prep_level), "simple", 0, 0, om_prep_level_choices, NULL, NULL,
     "work done on a picture before the model: simple resizes and normalises; medium crops and converts to RGB "
     "before; complex also takes a median, blurs, mirrors and relights"},
    {"labels", 0, OM_OPT_STRING, OPT(labels), NULL, 0, 0, NULL, "FILE", NULL, "class names, one a line"},
    {"seed", 0, OM_OPT_INT64, OPT(seed), "1", 0, 9e15, NULL, NULL, NULL,
     "of random weights and of prep-level complex"},
    {"core-bind", 0, OM_OPT_STRING, OPT(core_bind), "all", 0, 0, NULL, "CORES|all", "Where and how",
     "cores for all threads, as in 0-3 or 0,2"},
    {"threads", 0, OM_OPT_INT, OPT(threads), "0", 0, 1024, NULL, NULL, NULL, "of the engine; 0: one a core"},
    {"device", 'd', OM_OPT_STRING, OPT(device), "auto", 0, 0, NULL, "DEVICE", NULL,
     "engine, where --infer-on-gpu is not given: auto, cpu, null; 'omma info' lists them"},
    {"prep-on-gpu", 0, OM_OPT_BOOL, OPT(prep_on_gpu), "no", 0, 0, NULL, NULL, NULL,
     "resize and normalise on the GPU (what --prep-level adds stays on the CPU)"},
    {"infer-on-gpu", 0, OM_OPT_BOOL, OPT(infer_on_gpu), "no", 0, 0, NULL, NULL, NULL,
     "run the model on the GPU"},
    {"gpu", 0, OM_OPT_STRING, OPT(gpu), "cuda:0", 0, 0, NULL, "DEVICE", NULL, "which GPU these two mean"},
    {"enable-compile", 0, OM_OPT_BOOL, OPT(enable_compile), "no", 0, 0, NULL, NULL, NULL,
     "compile in several ways, measure each, take the fastest"},
    {"use-amp", 0, OM_OPT_BOOL, OPT(use_amp), "no", 0, 0, NULL, NULL, NULL,
     "bf16 or f16 where the device has it, else f32"},
    {"max-steps", 0, OM_OPT_INT64, OPT(max_steps), "0", 0, 9e15, NULL, NULL, "How long",
     "measured steps; a file that is too short starts again. 0: to the input's end"},
    {"warmup", 0, OM_OPT_INT64, OPT(warmup), "2", 0, 1e9, NULL, NULL, NULL, "steps before, without a row"},
    {"output", 'o', OM_OPT_STRING, OPT(output), ".", 0, 0, NULL, "DIR", "Output",
     "folder for M_{model}_P_{pid}_metrics.csv and .log"},
    {"trace", 0, OM_OPT_STRING, OPT(trace), NULL, 0, 0, NULL, "FILE", NULL,
     "write a Chrome/Perfetto trace: read, prep and exec of each step"},
    {"quiet", 'q', OM_OPT_BOOL, OPT(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {"log-level", 0, OM_OPT_STRING, OPT(log_level), "warn", 0, 0, NULL, "error|warn|info|debug", NULL,
     "what else is said"},
    {0},
};

typedef struct worker {
    const om_worker_options *o;
    const om_worker_listener *listener;
    om_cancel *cancel;
    om_metrics metrics;
    om_rig rig;
    om_source *source;
    om_source_counts counts;
    om_preparer preparer;
    om_frame *frames[OM_RIG_BATCH_MAX]; /* of the batch; NULL from n on */
    om_frame *ready[OM_RIG_BATCH_MAX];  /* prepared ones */
    om_geometry geo[OM_RIG_BATCH_MAX];
    om_dets dets[OM_RIG_BATCH_MAX];
    uint64_t *seen; /* how often each class was found */
    int64_t sum_ns[4], next_progress_ns, next_log_ns, begun_ns;
} worker;

static void say(worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(worker *w, const char *fmt, ...)
{
    char text[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    om_metrics_log(&w->metrics, text);
    if (w->listener->line) w->listener->line(w->listener->user, text);
}

int om_worker_check(const om_worker_options *o)
{
    if (!o->model_name)
        return om_fail(OM_ERR_ARG, "no model: name a file or a known model with --model-name");
    if (!o->input_path) return om_fail(OM_ERR_ARG, "no input: name a video with --input-path");
    return OM_OK;
}

/* "resnet50" of "models/resnet50.onnx", without what a file's name had better not hold. */
static void short_name(const char *model, char *out, size_t size)
{
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model, *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base), at = 0;
    for (size_t i = 0; i < n && at + 1 < size; i++)
        out[at++] = isalnum((unsigned char)base[i]) || strchr("._-", base[i]) ? base[i] : '_';
    out[at] = '\0';
}

/* A number alone is a camera of this machine. */
static int check_camera(const char *input)
{
    char path[64];
    if (!*input || input[strspn(input, "0123456789")] || strlen(input) > 4) return OM_OK;
    snprintf(path, sizeof path, "/dev/video%s", input);
    struct stat st;
    if (stat(path, &st)) return om_fail(OM_ERR_NOT_FOUND, "camera %s: there is no %s", input, path);
    return om_fail(OM_ERR_UNSUPPORTED,
                   "camera %s: %s is not read directly; serve it as rtsp:// or http:// and name that address",
                   input, path);
}

static int bind_cores(worker *w, int *n)
{
    cpu_set_t set;
    om_strlist others = {0};
    om_str text = {0};
    int err = om_cores_parse(w->o->core_bind, &set);
    if (!err) err = om_cores_bind(&set);
    if (err) return err;
    *n = CPU_COUNT(&set);
    om_cores_text(&set, &text);
    say(w, "cores: %s", om_str_get(&text));
    om_cores_overlaps(&set, &others);
    for (size_t i = 0; i < others.n; i++) say(w, "warning: %s", others.items[i]);
    om_strlist_fini(&others);
    om_str_fini(&text);
    return OM_OK;
}

static void say_config(worker *w)
{
    om_str line = {0};
    for (const om_option *o = om_worker_option_table; o->name; o++) {
        om_str value = {0};
        if (om_option_get(om_worker_option_table, w->o, o->name, &value)) om_str_clear(&value);
        char *shown = om_uri_redact(om_str_get(&value)); /* addresses without their passwords */
        om_str_addf(&line, "%s%s=%s", line.len ? " " : "", o->name, shown ? shown : "");
        om_free(shown);
        om_str_fini(&value);
    }
    say(w, "config: %s", om_str_get(&line));
    om_str_fini(&line);
}

static void say_system(worker *w)
{
    om_strlist keys = {0}, values = {0};
    if (!om_system_describe(&keys, &values))
        for (size_t i = 0; i < keys.n; i++) say(w, "system: %s: %s", keys.items[i], values.items[i]);
    om_strlist_fini(&keys);
    om_strlist_fini(&values);
}

/* Others that work on the GPU make what is measured here theirs, too. */
static void warn_busy_gpu(worker *w)
{
    om_device_usage u;
    om_device *gpu = w->o->prep_on_gpu ? w->rig.prep : w->rig.infer;
    if (!w->o->prep_on_gpu && !w->o->infer_on_gpu) return;
    if (!om_device_usage_get(gpu, &u) && u.compute_percent >= 10)
        say(w, "warning: %s is busy already: %.0f%%", gpu->id, u.compute_percent);
}

static int make_rig(worker *w, int cores)
{
    const om_worker_options *o = w->o;
    om_rig_params p = {.model = o->model_name,
                       .labels = o->labels,
                       .device = o->device,
                       .gpu = o->gpu,
                       .seed = (uint64_t)o->seed,
                       .batch = o->batch_size,
                       .threads = o->threads ? o->threads : cores,
                       .prep_on_gpu = o->prep_on_gpu,
                       .infer_on_gpu = o->infer_on_gpu,
                       .tuned = o->enable_compile,
                       .amp = o->use_amp};
    int err = om_rig_init(&w->rig, &p);
    if (err) return err;
    const om_rig *r = &w->rig;
    say(w, "model: %s, %s, input %dx%d, batch %d%s", o->model_name, om_family_name(r->desc->family),
        r->plan->width, r->plan->height, r->plan->batch,
        r->random_weights ? "; its weights are random, from the seed: what it finds means nothing" : "");
    say(w, "engine: %s; asked for: %s", r->plan->note, r->precision);
    if (r->tuning[0]) say(w, "tried: %s", r->tuning);
    say(w, "placement: prepares on %s, infers on %s", r->prep->id,
        o->infer_on_gpu ? r->infer->id : o->device);
    warn_busy_gpu(w);
    w->seen = om_calloc(MOST_CLASSES, sizeof *w->seen);
    return w->seen ? OM_OK : OM_ERR_NOMEM;
}

static int open_source(worker *w)
{
    const om_worker_options *o = w->o;
    om_source_params p = {.decode_threads = 1, .loop = o->max_steps > 0, .cancel = w->cancel};
    int err = om_source_open(o->input_path, &p, &w->counts, &w->source);
    if (err) return err;
    const om_source_info *i = &w->source->info;
    say(w, "input: %s, %s %s, %dx%d, %.3f fps, %.3f s", w->source->shown, i->kind, i->codec, i->width,
        i->height, i->fps, i->duration_s);
    return OM_OK;
}

static void drop_frames(worker *w)
{
    for (int i = 0; i < w->o->batch_size; i++) {
        om_frame_unref(w->frames[i]);
        om_frame_unref(w->ready[i]);
        w->frames[i] = w->ready[i] = NULL;
        om_dets_clear(&w->dets[i]);
    }
}

/* OM_ERR_EOF: nothing is left. The input's last batch may be a small one. */
static int read_batch(worker *w, int *n)
{
    int err = OM_OK;
    for (*n = 0; *n < w->o->batch_size && !err;) {
        err = om_source_read(w->source, &w->frames[*n]);
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

static void count_classes(worker *w, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < w->dets[i].n; k++) {
            /* A classifier's best guess, all of a detector's boxes. */
            if (k && w->rig.desc->family == OM_FAMILY_CLASSIFY) break;
            int id = w->dets[i].items[k].class_id;
            if (id >= 0 && id < MOST_CLASSES) w->seen[id]++;
        }
}

/* One batch; *n frames. The clock is read once between two phases: they sum up to the whole. */
static int step(worker *w, om_metrics_row *row, int *n)
{
    int64_t t[4] = {om_now_ns()};
    om_trace_begin("step", row->step);
    om_trace_begin("read", row->step);
    int err = read_batch(w, n);
    om_trace_end("read");
    t[1] = om_now_ns();
    om_trace_begin("prep", row->step);
    if (!err) err = prepare_batch(w, *n);
    om_trace_end("prep");
    t[2] = om_now_ns();
    om_trace_begin("exec", row->step);
    if (!err) err = om_rig_execute(&w->rig, *n, w->geo, w->dets);
    om_trace_end("exec");
    om_trace_end("step");
    t[3] = om_now_ns();
    row->read_ns = t[1] - t[0];
    row->prep_ns = t[2] - t[1];
    row->exec_ns = t[3] - t[2];
    row->total_ns = t[3] - t[0];
    return err;
}

/* Share of the work that is done; negative: not known. */
static double share_done(const worker *w, int64_t steps, int64_t frames)
{
    if (w->o->max_steps > 0) return (double)steps / (double)w->o->max_steps;
    double all = w->source->info.duration_s * w->source->info.fps;
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
    snprintf(text, sizeof text, "%s%s%s%lld steps  %.1f fps  read %.2f  prep %.2f  exec %.2f ms",
             share >= 0 ? "[" : "", bar, share >= 0 ? "]  " : "", (long long)r->steps,
             seconds > 0 ? (double)r->frames / seconds : 0, (double)w->sum_ns[0] / 1e6 / (double)r->steps,
             (double)w->sum_ns[1] / 1e6 / (double)r->steps, (double)w->sum_ns[2] / 1e6 / (double)r->steps);
    if (w->listener->progress) w->listener->progress(w->listener->user, text);
    if (now < w->next_log_ns) return;
    w->next_log_ns = now + LOG_NS;
    om_metrics_log(&w->metrics, text);
}

static int record(worker *w, const om_metrics_row *row, int n, om_worker_result *r)
{
    const int64_t ns[4] = {row->read_ns, row->prep_ns, row->exec_ns, row->total_ns};
    int err = om_metrics_row_add(&w->metrics, row);
    if (err) return err;
    for (int i = 0; i < 4; i++) w->sum_ns[i] += ns[i];
    r->steps++;
    r->frames += n;
    count_classes(w, n);
    show_progress(w, r);
    return OM_OK;
}

static int run_steps(worker *w, om_worker_result *r)
{
    int64_t warm = 0;
    int err = OM_OK;
    w->begun_ns = om_now_ns();
    w->next_log_ns = w->begun_ns + LOG_NS;
    while (!err && !om_cancelled(w->cancel) && (!w->o->max_steps || r->steps < w->o->max_steps)) {
        om_metrics_row row = {.step = r->steps};
        int n = 0;
        err = step(w, &row, &n);
        if (!err && warm < w->o->warmup) {
            if (++warm == w->o->warmup) w->begun_ns = om_now_ns();
        } else if (!err) {
            err = record(w, &row, n, r);
        }
        drop_frames(w);
    }
    r->seconds = (double)(om_now_ns() - w->begun_ns) / 1e9;
    if (om_cancelled(w->cancel) && err == OM_ERR_CANCELLED) return OM_OK;
    return err == OM_ERR_EOF ? OM_OK : err;
}

/* "person 120, car 33": the five most frequent. */
static void say_classes(worker *w)
{
    const om_model_desc *d = w->rig.desc;
    om_str text = {0};
    for (int k = 0; k < 5; k++) {
        int best = 0;
        for (int i = 1; i < MOST_CLASSES; i++)
            if (w->seen[i] > w->seen[best]) best = i;
        if (!w->seen[best]) break;
        if (best < d->n_labels) om_str_addf(&text, "%s%s", k ? ", " : "", d->labels[best]);
        else om_str_addf(&text, "%sclass %d", k ? ", " : "", best);
        om_str_addf(&text, " %llu", (unsigned long long)w->seen[best]);
        w->seen[best] = 0;
    }
    if (text.len) say(w, "found: %s", om_str_get(&text));
    om_str_fini(&text);
}

static void summarise(worker *w, om_worker_result *r)
{
    if (r->steps) {
        for (int i = 0; i < 4; i++) r->mean_ms[i] = (double)w->sum_ns[i] / 1e6 / (double)r->steps;
        r->fps = r->seconds > 0 ? (double)r->frames / r->seconds : 0;
        say_classes(w);
    }
    say(w,
        "summary: %lld steps, %lld frames in %.3f s: %.2f fps; mean a step: read %.3f, prep %.3f, exec %.3f, total %.3f ms",
        (long long)r->steps, (long long)r->frames, r->seconds, r->fps, r->mean_ms[0], r->mean_ms[1],
        r->mean_ms[2], r->mean_ms[3]);
}

static void fini(worker *w)
{
    if (w->listener->progress) w->listener->progress(w->listener->user, NULL);
    drop_frames(w);
    for (int i = 0; i < OM_RIG_BATCH_MAX; i++) om_dets_fini(&w->dets[i]);
    om_source_close(w->source);
    om_rig_fini(&w->rig);
    om_preparer_fini(&w->preparer);
    om_free(w->seen);
    om_metrics_close(&w->metrics);
    om_free(w);
}

static int run_worker(worker *w, om_worker_result *out)
{
    int cores = 0;
    say_config(w);
    int err = bind_cores(w, &cores);
    if (err) return err;
    say_system(w);
    err = make_rig(w, cores);
    if (!err) err = open_source(w);
    if (err) return err;
    err = run_steps(w, out);
    if (!err && !out->steps && !om_cancelled(w->cancel))
        err = om_fail(
            OM_ERR_FORMAT, "%s: ended after %llu frames, before the first measured step (--warmup %lld)",
            w->source->shown, (unsigned long long)atomic_load(&w->counts.decoded), (long long)w->o->warmup);
    summarise(w, out);
    return err;
}

int om_worker_run(const om_worker_options *o, om_cancel *cancel, const om_worker_listener *listener,
                  om_worker_result *out)
{
    char name[128];
    memset(out, 0, sizeof *out);
    int err = om_worker_check(o);
    if (!err) err = check_camera(o->input_path);
    cpu_set_t cores; /* before anything is written */
    if (!err) err = om_cores_parse(o->core_bind, &cores);
    if (!err) err = om_folder_make(o->output);
    if (err) return err;
    worker *w = om_calloc(1, sizeof *w);
    if (!w) return OM_ERR_NOMEM;
    w->o = o;
    w->cancel = cancel;
    w->listener = listener;
    w->preparer = (om_preparer){.level = (om_prep_level)o->prep_level, .seed = (uint64_t)o->seed};
    short_name(o->model_name, name, sizeof name);
    err = om_metrics_open(&w->metrics, o->output, name);
    snprintf(out->csv, sizeof out->csv, "%s", w->metrics.csv_path);
    snprintf(out->log, sizeof out->log, "%s", w->metrics.log_path);
    if (!err && o->trace) err = om_trace_start(TRACE_EVENTS);
    if (!err) err = run_worker(w, out);
    if (err) {
        char message[600];
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
    return err;
}
