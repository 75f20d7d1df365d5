/* Trackers: the same object keeps its number from frame to frame. A file a tracker; the room's public header.
 */
#ifndef OM_TRACK_TRACK_H
#define OM_TRACK_TRACK_H

#include "frame/result.h"
#include "track/match.h"

/* Boxes of a frame that a tracker looks at, the best first; further ones get no number. */
#define OM_TRACK_MAX_BOXES 1000
/* Tracks that are kept; beyond, those lost for longest go first. */
#define OM_TRACK_MAX_TRACKS 2000

/* Negative: the tracker's own. */
typedef struct om_track_params {
    double high;   /* boxes that score so much are followed before others */
    double low;    /* boxes below are not looked at */
    double start;  /* least score that begins a track */
    double match;  /* least overlap (IoU) of a box with where its track is expected */
    int buffer;    /* frames that a track outlives its last box */
    int min_hits;  /* frames in a row that make a track count; at once in a stream's first frame */
    bool agnostic; /* a track may change its class */
} om_track_params;

/* A box to be followed: valid, and scored `low` at least. */
typedef struct om_track_box {
    om_box box;
    float score;
    int class_id;
} om_track_box;

typedef struct om_tracker om_tracker;

typedef struct om_tracker_ops {
    const char *name; /* "bytetrack" */
    om_track_params own;
    size_t priv_size;
    int (*create)(om_tracker *t); /* `priv` is zeroed; on failure destroy() is called */
    void (*destroy)(om_tracker *t);
    void (*reset)(om_tracker *t); /* forgets all tracks */
    /* n boxes, `steps` frames after the last; ids[i]: the track of box i, or -1. */
    int (*update)(om_tracker *t, float steps, const om_track_box *boxes, int n, int64_t *ids);
} om_tracker_ops;

/* One stream's. Thread-safety: one thread at a time. */
struct om_tracker {
    const om_tracker_ops *ops;
    om_track_params params; /* none negative */
    int64_t next_id;        /* from 1; never given twice, whatever is reset */
    bool begun;             /* a frame came since the last reset */
    uint64_t last_seq;
    double stride; /* how far sequence numbers of frames usually are apart */
    int gaps;      /* in a row that were much wider */
    int width, height;
    om_track_box *boxes; /* room for OM_TRACK_MAX_BOXES */
    int64_t *ids;
    int *places; /* of the boxes in the list they came from */
    void *priv;
};

/* NULL-terminated registry. */
const om_tracker_ops *const *om_tracker_registry(void);
/* NULL with OM_ERR_ARG's message, which suggests a near name. */
const om_tracker_ops *om_tracker_ops_for(const char *name);
void om_track_params_default(om_track_params *p); /* all the tracker's own */
/* The tracker's own where `p` leaves it open. OM_ERR_ARG where bounds contradict each other. */
int om_track_params_resolve(const om_tracker_ops *ops, om_track_params *p);

int om_tracker_create(const om_tracker_ops *ops, const om_track_params *params, om_tracker **out);
void om_tracker_destroy(om_tracker *t);
void om_tracker_reset(om_tracker *t);
/* Sets `track` of the detections that belong to one. Boxes that are not numbers, are empty or lie beyond a
 * million pixels are left alone. Forgets its tracks where `seq` does not grow or the picture changes its
 * size: the source has begun anew. OM_ERR_NOMEM: some tracks may be lost; the next call is sound. */
int om_tracker_update(om_tracker *t, uint64_t seq, int width, int height, om_dets *dets);
/* What a result reports: detections that are tracked or score above `conf`; others are taken out. */
void om_tracker_report(om_dets *dets, float conf);

#endif
