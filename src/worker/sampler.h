/* Which frames of a video are wanted: a range, a rate, the first of each scene. */
#ifndef OM_WORKER_SAMPLER_H
#define OM_WORKER_SAMPLER_H

#include "kernel/motion.h"

typedef struct om_sampler_params {
    double start_s, end_s; /* of the stream's own time; end 0: its end */
    double fps;            /* the first frame of each 1/fps s since `start`; 0: all */
    bool scenes;           /* of those, the first and each whose score is above the threshold */
    double scene_threshold;
} om_sampler_params;

/* Thread-safety: one thread. */
typedef struct om_sampler {
    om_sampler_params params;
    om_motion motion;
    double last_difference;
    int64_t last_tick;
    bool begun;
} om_sampler;

int om_sampler_init(om_sampler *s, const om_sampler_params *p);
void om_sampler_fini(om_sampler *s);
/* Frames in their order, host memory. OM_ERR_EOF: this one and all behind it are past the end. */
int om_sampler_look(om_sampler *s, const om_frame *f, bool *wanted);

#endif
