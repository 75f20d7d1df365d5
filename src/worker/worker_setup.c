/* What a worker needs before its first step: cores, input, model, and what is said about them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/profile.h"
#include "worker/cores.h"
#include "worker/worker_priv.h"

void om_worker_say(worker *w, const char *fmt, ...)
{
    char text[8192]; /* paths are long */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    om_metrics_log(&w->metrics, text);
    if (w->listener->line) w->listener->line(w->listener->user, text);
}

static void say_cores(worker *w, const char *what, const cpu_set_t *set)
{
    om_strlist others = {0};
    om_str text = {0};
    om_cores_text(set, &text);
    om_worker_say(w, "%s: %s", what, om_str_get(&text));
    om_cores_overlaps(set, &others);
    for (size_t i = 0; i < others.n; i++) om_worker_say(w, "warning: %s", others.items[i]);
    om_strlist_fini(&others);
    om_str_fini(&text);
}

static bool is_split(const worker *w) { return w->o->split_point || w->o->split_sweep; }

/* The first part's cores and the second's, apart where there are enough. */
static int choose_cores(worker *w)
{
    cpu_set_t all, shared;
    int err = om_cores_parse(w->o->core_bind, &all);
    w->cores = all;
    if (err || !is_split(w)) return err;
    if (!w->o->split_cores) {
        om_cores_halve(&all, &w->cores, &w->second);
    } else {
        err = om_cores_parse(w->o->split_cores, &w->second);
        if (err) return om_fail_prefix(err, "--split-cores");
        CPU_XOR(&shared, &all, &w->second); /* without --core-bind the first part has what is left */
        CPU_AND(&shared, &shared, &all);
        if (!strcmp(w->o->core_bind, "all") && CPU_COUNT(&shared)) w->cores = shared;
    }
    CPU_AND(&shared, &w->cores, &w->second);
    if (CPU_COUNT(&shared)) om_worker_say(w, "warning: both parts may run on the same cores");
    return OM_OK;
}

int om_worker_bind_cores(worker *w)
{
    int err = choose_cores(w);
    if (!err) err = om_cores_bind(&w->cores);
    if (err) return err;
    say_cores(w, is_split(w) ? "cores of the first part" : "cores", &w->cores);
    if (is_split(w)) say_cores(w, "cores of the second part", &w->second);
    return OM_OK;
}

static void add_options(const om_option *table, const void *obj, om_str *line)
{
    for (const om_option *o = table; o->name; o++) {
        om_str value = {0};
        if (om_option_get(table, obj, o->name, &value)) om_str_clear(&value);
        char *shown = om_uri_redact(om_str_get(&value)); /* addresses without their passwords */
        om_str_addf(line, "%s%s=%s", line->len ? " " : "", o->name, shown ? shown : "");
        om_free(shown);
        om_str_fini(&value);
    }
}

void om_worker_say_config(worker *w)
{
    om_str line = {0};
    add_options(om_worker_option_table, w->o, &line);
    if (w->o->mode == OM_WORKER_RETRAIN) add_options(om_learning_option_table, w->l, &line);
    om_worker_say(w, "config: %s", om_str_get(&line));
    om_str_fini(&line);
}

void om_worker_say_system(worker *w)
{
    om_strlist keys = {0}, values = {0};
    if (!om_system_describe(&keys, &values))
        for (size_t i = 0; i < keys.n; i++)
            om_worker_say(w, "system: %s: %s", keys.items[i], values.items[i]);
    om_strlist_fini(&keys);
    om_strlist_fini(&values);
}

/* Others that work on the GPU make what is measured here theirs, too. Asked before this worker does anything
 * there. */
static void warn_busy_gpu(worker *w)
{
    om_device_usage u;
    om_device *gpu = NULL;
    if (!w->o->prep_on_gpu && !w->o->infer_on_gpu) return;
    om_backend_list(); /* the device comes with a plug-in */
    if (!om_device_open(w->o->gpu, &gpu) && !om_device_usage_get(gpu, &u) && u.compute_percent >= 10)
        om_worker_say(w, "warning: %s is busy already: %.0f%%", gpu->id, u.compute_percent);
    om_device_close(gpu);
    om_error_clear(); /* what is wrong with it is said when it is needed */
}

om_rig_params om_worker_rig_params(const worker *w)
{
    const om_worker_options *o = w->o;
    return (om_rig_params){.model = o->model_name,
                           .labels = w->learns ? NULL : o->labels, /* else the new head's */
                           .device = o->device,
                           .gpu = o->gpu,
                           .seed = (uint64_t)o->seed,
                           .batch = o->batch_size,
                           .threads = o->threads ? o->threads : CPU_COUNT(&w->cores),
                           .prep_on_gpu = o->prep_on_gpu,
                           .infer_on_gpu = o->infer_on_gpu,
                           .tuned = o->enable_compile,
                           .amp = o->use_amp};
}

static int make_learner(worker *w)
{
    const om_worker_options *o = w->o;
    om_retrain_params p = {.learning = *w->l,
                           .batch = o->batch_size,
                           .steps = o->max_steps ? o->max_steps + o->warmup : 0,
                           .seed = (uint64_t)o->seed,
                           .checkpoint = o->checkpoint,
                           .resume = o->resume};
    int classes = (int)om_feed_classes(w->feed)->n;
    int err = om_retrain_init(&w->retrain, &w->rig, o->cut, om_feed_classes(w->feed), &p);
    if (err) return om_fail_prefix(err, "%s", o->model_name);
    om_worker_say(w, "labels: %s", om_feed_origin(w->feed));
    om_worker_say(w, "head: %d features at '%s', %d classes, %zu numbers%s", w->retrain.features,
                  w->retrain.point, classes, w->retrain.trainer.classifier.n_params,
                  w->retrain.trainer.resumed ? "; resumed from the checkpoint" : "");
    if (!o->max_steps && p.learning.schedule == OM_SCHEDULE_COSINE)
        om_worker_say(w, "warning: without --max-steps a cosine has no end; the learning rate stays");
    return OM_OK;
}

static int make_split(worker *w)
{
    const om_worker_options *o = w->o;
    om_split_graphs graphs;
    om_split_params p = {.device = o->split_device ? o->split_device : o->device,
                         .batch = o->batch_size,
                         .threads = CPU_COUNT(&w->second),
                         .amp = o->use_amp,
                         .cores = &w->second,
                         .head = w->rig.head,
                         .done = om_worker_finish_second,
                         .user = w};
    int err = om_split_prepare(w->rig.graph, w->rig.desc, o->batch_size);
    if (!err) err = om_split_at(w->rig.graph, o->model_name, o->split_point, &graphs);
    if (err) return err;
    om_str live = {0};
    for (int i = 0; i < graphs.n_live; i++) {
        char shape[OM_SHAPE_TEXT];
        om_shape_text(&graphs.live[i].shape, shape);
        om_str_addf(&live, "%s'%s' %s", i ? ", " : "", graphs.live[i].name, shape);
    }
    w->split_bytes = graphs.count * sizeof(float);
    om_worker_say(w, "split: %.0f%% of the work is the first part's; %.3f MB a batch pass: %s",
                  100 * (double)graphs.first_macs / (double)(graphs.first_macs + graphs.second_macs),
                  (double)w->split_bytes / 1e6, om_str_get(&live));
    om_str_fini(&live);
    om_graph_destroy(w->rig.graph);
    w->rig.graph = graphs.first;
    graphs.first = NULL;
    w->head = w->rig.head;
    w->rig.head = NULL;
    err = om_split_create(&graphs, &p, &w->split);
    om_split_graphs_fini(&graphs);
    if (!err) om_worker_say(w, "second part: %s", om_split_note(w->split));
    return err;
}

static void say_rig(worker *w)
{
    const om_worker_options *o = w->o;
    const om_rig *r = &w->rig;
    const char *random = w->learns ? "; its weights are random, from the seed: features of chance"
                                   : "; its weights are random, from the seed: what it finds means nothing";
    om_worker_say(w, "model: %s, %s, input %dx%d, batch %d%s", o->model_name, om_family_name(r->desc->family),
                  r->plan->width, r->plan->height, r->plan->batch, r->random_weights ? random : "");
    om_worker_say(w, "engine: %s; asked for: %s", r->plan->note, r->precision);
    if (r->tuning[0]) om_worker_say(w, "tried: %s", r->tuning);
    om_worker_say(w, "placement: prepares on %s, infers on %s", r->prep->id,
                  o->infer_on_gpu ? r->infer->id : o->device);
}

int om_worker_make_rig(worker *w)
{
    om_rig_params p = om_worker_rig_params(w);
    warn_busy_gpu(w);
    int err = om_rig_load(&w->rig, &p);
    if (!err && w->learns) err = make_learner(w);
    if (!err && w->o->split_point) err = make_split(w);
    if (!err) err = om_rig_compile(&w->rig, &p);
    if (err) return err;
    say_rig(w);
    w->seen = om_calloc(OM_WORKER_CLASSES, sizeof *w->seen);
    return w->seen ? OM_OK : OM_ERR_NOMEM;
}

int om_worker_open_feed(worker *w)
{
    const om_worker_options *o = w->o;
    om_feed_params p = {.loop = o->max_steps > 0,
                        .labelled = w->learns,
                        .targets = o->targets,
                        .labels = o->labels,
                        .dummy_classes = o->classes,
                        .seed = (uint64_t)o->seed,
                        .cancel = w->cancel};
    int err = om_feed_open(w->input, &p, &w->feed);
    if (err) return err;
    const om_source_info *i = om_feed_info(w->feed);
    om_worker_say(w, "input: %s, %s %s, %dx%d, %.3f fps, %.3f s", om_feed_shown(w->feed), i->kind, i->codec,
                  i->width, i->height, i->fps, i->duration_s);
    return OM_OK;
}
