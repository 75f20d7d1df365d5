/* The tracks of one stream, and one round of matching them with boxes: what all trackers share. */
#ifndef OM_TRACK_TARGETS_H
#define OM_TRACK_TARGETS_H

#include "track/kalman.h"
#include "track/track.h"

#define OM_PAST 8 /* observations that a track remembers */

typedef struct om_target {
    om_kalman motion;
    om_box expected; /* where it should be now */
    om_box last;     /* its last box */
    int class_id;
    int64_t id; /* -1 until it counts */
    int hits;   /* frames in a row with a box, until it counts */
    float lost; /* frames since its last box; 0: it has one in this frame */
    /* OC-SORT: boxes of the latest frames, the filter as it was at the last, the direction of its way (a unit
     * vector or 0). */
    om_box past[OM_PAST];
    double past_at[OM_PAST];
    int n_past;
    om_kalman frozen;
    float way_x, way_y;
} om_target;

typedef struct om_targets {
    om_target *items; /* room for OM_TRACK_MAX_TRACKS, taken as needed */
    size_t n, cap;
    bool first; /* no frame yet */
    om_matcher matcher;
    om_match_item *rows, *cols; /* what takes part in a round */
    int *row_col, *used;        /* used: of each box, whether it has a track */
    size_t cap_rows, cap_cols, cap_row_col, cap_used;
    int n_boxes;
} om_targets;

/* Which tracks and boxes take part in a round. */
typedef struct om_round {
    bool (*wants)(const om_target *g); /* NULL: all */
    float score_from, score_below;
    bool by_last; /* compare with the last box, not with the expected one */
    bool partial; /* boxes may show parts only: they keep a track alive and tell nothing else */
    om_match_rule rule;
} om_round;

void om_targets_fini(om_targets *s);
void om_targets_clear(om_targets *s);
/* A new frame: all tracks are one further from their last box; no box has a track. */
int om_targets_begin(om_targets *s, float steps, int n_boxes);
/* Matches what is left; calls found() for each pair, which sets lost to 0. */
typedef void (*om_found_fn)(om_tracker *t, om_target *g, const om_track_box *b);
int om_targets_round(om_targets *s, om_tracker *t, const om_round *round, const om_track_box *boxes, int n,
                     int64_t *ids, om_found_fn found);
/* A further frame with a box: gives the track its number when it has enough of them. */
/* What is left over, for tracks that count and boxes that score `high`: by the last box, as things turn; then
 * by what lies mostly in where it is expected, as things half hidden have smaller boxes: those do not tell
 * where the whole is, so the track just goes on as expected. */
int om_targets_rescue(om_targets *s, om_tracker *t, const om_track_box *boxes, int n, int64_t *ids,
                      om_found_fn found);
void om_target_hit(om_tracker *t, om_target *g);
/* A new track from a box; NULL when out of memory. */
om_target *om_targets_add(om_targets *s, om_tracker *t, const om_track_box *b);
/* Takes out tracks that are lost for too long; those that do not count yet after `patience` frames. */
void om_targets_expire(om_targets *s, const om_tracker *t, float patience);

#endif
