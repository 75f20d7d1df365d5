/* When things are due: timestamps made monotone, and the wait for a packet's turn. */
#ifndef OM_MEDIA_PACE_H
#define OM_MEDIA_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "media/source.h"

#define OM_NO_TIME INT64_MIN

/* Turns a container's timestamps into a line that starts at 0 and strictly rises. A missing one is guessed by
 * the frame rate; one a little behind is put just after its forerunner; a jump back, or ahead by more than
 * half a minute, is a break in the line: it goes on one frame later. Thread-safety: one thread. */
typedef struct om_timeline {
    int64_t frame_ns; /* the guess; set by om_timeline_init() */
    int64_t offset;   /* added to what comes in, while anchored */
    int64_t last;
    /* Of a camera: when the line last rose by itself, and the time that came last, which may stand still. */
    int64_t rose_now, last_ts;
    bool started, anchored, stands;
} om_timeline;

void om_timeline_init(om_timeline *t, double fps); /* fps 0: not known, 25 is guessed */
int64_t om_timeline_map(om_timeline *t, int64_t ts_ns);
/* Likewise for a camera, whose picture came at now_ns (om_now_ns() scale): what is missing or breaks is
 * filled by the time that has passed. Its clock may be wrong by leaps, stand still or run backwards; ours
 * does not. */
int64_t om_timeline_map_live(om_timeline *t, int64_t ts_ns, int64_t now_ns);
/* The next timestamp belongs to another line (a file starts again): it goes one frame after the last. */
void om_timeline_break(om_timeline *t);

/* The clock of one source. Thread-safety: one thread. */
typedef struct om_pace {
    const om_source_params *params;
    bool paced; /* a live file: waits; else everything is due when it is there */
    bool started;
    int64_t base_ns; /* live file: when time 0 is due */
    int64_t wall_us; /* wall clock of time 0 */
} om_pace;

void om_pace_init(om_pace *p, const om_source_params *params, bool paced);
/* The wait for the turn of what lies `t_ns` after the first. *due is the schedule, however late it got;
 * unpaced: now. OM_ERR_CANCELLED. */
int om_pace_wait(om_pace *p, int64_t t_ns, int64_t *due);

#endif
