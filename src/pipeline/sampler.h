/* Which of a stream's pictures the model is to see.
 *
 *   all        every one, at most `fps` a second, of those every n-th
 *   keyframes  the same, and nothing but key pictures is decoded
 *   motion     the same, while something moves and `hold_s` after; a still scene is seen each `heartbeat_s`
 *   adaptive   the same, but the rate falls step by step: in a still scene down to the heartbeat, and while
 *              pictures are superseded because the model does not keep up; it comes back when that is over
 *
 * Something moves when at least `motion` per cent of the picture's cells change, and goes on to move while
 * half as many do. */
#ifndef OM_PIPELINE_SAMPLER_H
#define OM_PIPELINE_SAMPLER_H

#include <stdatomic.h>

#include "frame/frame.h"
#include "kernel/motion.h"
#include "media/source.h"

typedef enum om_sample_mode {
    OM_SAMPLE_ALL,
    OM_SAMPLE_KEYFRAMES,
    OM_SAMPLE_MOTION,
    OM_SAMPLE_ADAPTIVE
} om_sample_mode;

/* Why a picture is not wanted. */
typedef enum om_verdict { OM_VERDICT_WANTED, OM_VERDICT_SAMPLED, OM_VERDICT_STILL } om_verdict;

typedef struct om_sampling_params {
    om_sample_mode mode;
    int every;     /* 1 */
    double fps;    /* 0: all */
    double motion; /* per cent of the cells */
    double hold_s, heartbeat_s;
    double
        place; /* with fps: which moments are wanted where there is a choice, as a part of 1 / fps on the
                  clock of due_ns, so that streams take turns; negative: those that follow from the first */
} om_sampling_params;

/* Thread-safety: one thread looks; set and thin from any thread between init and fini. */
typedef struct om_sampler {
    om_sampling_params params;
    atomic_int every, thin;
    _Atomic double fps;
    double next_s;        /* where fps is set: the next picture wanted */
    double last_s, gap_s; /* the picture before, and how far apart they come */
    double late_s;        /* by how much wanted pictures are due behind their place */
    bool placed;
    uint64_t seen;
    /* motion */
    om_motion level;
    bool moving, blind; /* blind: its pictures cannot be compared */
    double compared_s;  /* when the last two were; likewise the rest, in the stream's time */
    double moved_s, shown_s;
    /* adaptive */
    double load_s; /* beginning of the window in which superseded pictures are counted */
    uint64_t wanted, superseded;
    int slow; /* only each so manieth is wanted under load */
    uint64_t turn;
} om_sampler;

/* OM_ERR_NOMEM. */
int om_sampling_init(om_sampler *s, const om_sampling_params *p);
void om_sampling_fini(om_sampler *s); /* zeroed is valid */
/* The next picture of the stream. `superseded`: how many of those wanted so far were replaced by newer ones.
 */
om_verdict om_sampling_look(om_sampler *s, const om_frame *f, uint64_t superseded);
/* Another rate from the next picture on; `every` below 1 and `fps` below 0 leave it. */
void om_sampling_set(om_sampler *s, int every, double fps);
/* Of the pictures that would be wanted only each `factor`-th is; 1: all of them. */
void om_sampling_thin(om_sampler *s, int factor);
/* What the decoder may leave undone without a picture less being wanted. */
om_economy om_sampling_economy(const om_sampler *s);

#endif
