/* The rules of a run on a GPU: what its own counters say, and what to do about it. */
#include <math.h>

#include "base/mem.h"
#include "profile/facts.h"

#define BUSY .85         /* a unit of which more than that is used never rests */
#define UPLOAD_BYTES 1e5 /* a frame: whole pictures, not descriptors */
#define LARGE .25        /* of the device's time: too much for what is around the model */
#define NEAR_LIMIT .97

double om_weigh_decoders(const om_facts *f)
{
    const om_load *l = &f->load;
    return l->there && l->device && l->decoders_busy >= BUSY ? l->decoders_busy : 0;
}

double om_weigh_upload(const om_facts *f)
{
    const om_load *l = &f->load;
    bool large = l->there && l->device && l->up_bytes >= UPLOAD_BYTES && l->device_gather >= LARGE;
    return large ? l->device_gather : 0;
}

double om_weigh_gpu_prepost(const om_facts *f)
{
    const om_load *l = &f->load;
    if (!l->there || !l->device || om_weigh_upload(f) > 0) return 0;
    double share = fmax(0, l->device_gather) + fmax(0, l->device_head);
    return share >= LARGE && f->use[OM_RESOURCE_INFER] >= .5 ? share : 0;
}

/* It says so itself, or draws what it may. */
double om_weigh_gpu_power(const om_facts *f)
{
    const om_load *l = &f->load;
    if (!l->there || !l->device) return 0;
    if (l->held_back >= .3) return fmin(1, .4 + .5 * l->held_back);
    return l->device_limit_w > 0 && l->device_watts >= NEAR_LIMIT * l->device_limit_w ? .5 : 0;
}

void om_say_decoders(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    x->title =
        om_sprintf("the GPU's decoders are %.0f%% busy: they give no more frames", 100 * l->decoders_busy);
    om_evidence(x, "%.1f frames a second of %.0f streams; the rest of the GPU is %.0f%% busy", l->fps,
                l->n_streams, 100 * fmax(0, l->device_busy));
    om_advise(
        x, fmin(4, 1 / fmax(.05, l->device_busy)),
        "take what the model does not need out of the decoders: lower resolutions, or the cameras' second streams");
    if (f->use[OM_RESOURCE_CPU] < .7)
        om_advise(x, 0, "idle cores can decode some of the streams: a second run with --decode cpu");
    om_advise(x, 0, "HEVC instead of H.264, where cameras can: NVDEC gives nearly twice the frames of it");
}

void om_say_upload(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    x->title = om_sprintf("bringing pictures to the GPU is %.0f%% of what it does: %.2f MB a frame",
                          100 * l->device_gather, l->up_bytes / 1e6);
    om_evidence(
        x, "%.2f MB a frame come back; the model is %.0f%% of the GPU's time, its outputs' reading %.0f%%",
        l->down_bytes / 1e6, 100 * fmax(0, l->device_infer), 100 * fmax(0, l->device_head));
    om_advise(x, om_gain(l->device_gather, 10),
              "--decode cuda: pictures that are decoded on the GPU stay there");
    om_advise(x, om_gain(l->device_gather, 4), "smaller pictures: a quarter of the pixels at half the side");
}

void om_say_gpu_prepost(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    bool pre = l->device_gather >= l->device_head;
    x->title = om_sprintf("%.0f%% of what the GPU does is around the model, not in it",
                          100 * (fmax(0, l->device_gather) + fmax(0, l->device_head)));
    om_evidence(x, "writing inputs %.0f%%, the model %.0f%%, reading its outputs %.0f%% of the GPU's time",
                100 * fmax(0, l->device_gather), 100 * fmax(0, l->device_infer),
                100 * fmax(0, l->device_head));
    if (pre) om_advise(x, om_gain(l->device_gather, 4), "smaller pictures: the camera's second stream");
    else om_advise(x, om_gain(l->device_head, 4), "a higher --conf, fewer --classes or --max-boxes");
    om_advise(x, 0, "larger batches: what is launched once a batch is shared by more frames");
}

void om_say_gpu_power(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    if (l->held_back >= .3)
        x->title =
            om_sprintf("the GPU slowed itself down for power or heat %.0f%% of the time", 100 * l->held_back);
    else
        x->title = om_sprintf("the GPU draws all it may: %.0f of %.0f W", l->device_watts, l->device_limit_w);
    om_evidence(x, "%.0f W of %.0f W, %.3f J a frame; the GPU is %.0f%% busy", fmax(0, l->device_watts),
                fmax(0, l->device_limit_w), fmax(0, l->device_watts) / fmax(1e-9, l->fps),
                100 * fmax(0, l->device_busy));
    om_advise(x, 0, "--precision f16 where it computes in f32: fewer joules a product");
    om_advise(x, 0, "better cooling, or a higher limit where the card allows one (nvidia-smi -pl)");
}
