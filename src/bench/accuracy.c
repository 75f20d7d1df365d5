/* How much of what a reference model finds the model finds too, on frames sampled from the clips. Both see
 * the same pictures: files are read as fast as it goes, and none of their frames is ever dropped. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/collect.h"
#include "media/source.h"

#define OWN_SCORE 0.25 /* where --conf is not given */

/* Every how manyth frame, so that `wanted` of them are spread over the shortest of the clips. */
static int stride(const om_strlist *clips, int wanted, int *out)
{
    double shortest = INFINITY;
    for (size_t i = 0; i < clips->n; i++) {
        om_source_counts counts;
        om_source *source = NULL;
        om_source_params params = {.decode_threads = 1};
        memset(&counts, 0, sizeof counts);
        int err = om_source_open(clips->items[i], &params, &counts, &source);
        if (err) return err;
        double frames = source->info.duration_s * source->info.fps;
        om_source_close(source);
        if (frames > 0) shortest = fmin(shortest, frames);
    }
    *out = isfinite(shortest) && shortest > wanted ? (int)(shortest / wanted) : 1;
    return OM_OK;
}

static int compare(om_accuracy *a, const om_finds *reference, const om_finds *own)
{
    if (own->images != reference->images || !own->images)
        return om_fail(OM_ERR_INTERNAL, "--reference: it gave %d pictures, the model %d", reference->images,
                       own->images);
    if (own->n_labels && reference->n_labels && own->n_labels != reference->n_labels)
        return om_fail(OM_ERR_ARG,
                       "--reference: it knows %d classes, the model %d: their boxes cannot be compared",
                       reference->n_labels, own->n_labels);
    int classes = 1 + (own->most_class > reference->most_class ? own->most_class : reference->most_class);
    int err = om_eval_agree(&reference->boxes, &own->boxes, own->n_streams * own->frames_a_stream, classes,
                            a->threshold, &a->agreement);
    if (err) return err;
    a->agreement.images = (size_t)own->images;
    a->measured = !isnan(a->agreement.ap50);
    if (!a->measured)
        snprintf(a->why, sizeof a->why, "the reference finds nothing above %g on %d frames", a->threshold,
                 own->images);
    return OM_OK;
}

static int threshold(om_bench *b, double *out)
{
    om_config c;
    int err = om_config_init(&c);
    if (err) return err;
    err = b->caller->configure(b->caller->user, &c.run);
    *out = c.run.conf > 0 ? c.run.conf : OWN_SCORE;
    om_config_fini(&c);
    return err;
}

/* The inputs that both models can be shown alike: files. */
static int choose_clips(const om_bench_options *o, om_strlist *out)
{
    if (o->sample) return om_strlist_add(out, o->sample);
    int err = OM_OK;
    for (size_t i = 0; i < o->inputs.n && !err; i++)
        if (!om_bench_is_remote(o->inputs.items[i])) err = om_strlist_add(out, o->inputs.items[i]);
    return err;
}

int om_bench_accuracy(om_bench *b)
{
    const om_bench_options *o = b->options;
    om_accuracy *a = &b->result->accuracy;
    om_finds reference = {0}, own = {0};
    om_strlist clips = {0};
    int every = 1, err = OM_OK;
    if (o->truth) return om_bench_labels(b);
    if (!o->reference) {
        snprintf(a->why, sizeof a->why, "no --reference");
        return OM_OK;
    }
    if (!(err = choose_clips(o, &clips)) && !clips.n) {
        snprintf(a->why, sizeof a->why, "the inputs are cameras; --sample CLIP names pictures for it");
        return OM_OK;
    }
    int frames = clips.n ? (o->sample_frames + (int)clips.n - 1) / (int)clips.n : 1;
    if (!err) err = stride(&clips, frames, &every);
    if (!err) err = threshold(b, &a->threshold);
    if (!err) err = om_finds_init(&reference, (int)clips.n, frames);
    if (!err) err = om_finds_init(&own, (int)clips.n, frames);
    if (!err) {
        err = om_finds_run(b, &clips, o->reference, every, "accuracy: the reference", &reference);
        if (err) om_fail_prefix(err, "--reference");
    }
    if (!err) err = om_finds_run(b, &clips, NULL, every, "accuracy: the model", &own);
    if (!err) err = compare(a, &reference, &own);
    om_finds_fini(&reference);
    om_finds_fini(&own);
    om_strlist_fini(&clips);
    return err;
}
