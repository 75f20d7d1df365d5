/* What the files of secondary models share. */
#ifndef OM_PIPELINE_SECOND_PRIV_H
#define OM_PIPELINE_SECOND_PRIV_H

#include "base/hist.h"
#include "gallery/gallery.h"
#include "pipeline/second.h"
#include "pipeline/second_vote.h"

#define OM_SECOND_BUCKETS 8 /* input sizes of one model */
#define OM_SECOND_RUNGS 2   /* batches of a size: one crop, many */

typedef struct om_second om_second;
typedef struct om_question om_question;

/* Why there is no answer. */
typedef enum om_absence {
    OM_ABSENCE_NONE,
    OM_ABSENCE_PENDING,
    OM_ABSENCE_BUDGET,
    OM_ABSENCE_QUEUE,
    OM_ABSENCE_OUTSIDE,
    OM_ABSENCE_UNTRACKED, /* live: there is no track to remember the answer by */
    OM_ABSENCE_FAILED,
    OM_ABSENCE_DEVICE_LOST,
    OM_ABSENCE_NO_MEMORY,
    OM_ABSENCE_STOPPED,
    OM_ABSENCE_COUNT
} om_absence;

/* A piece of a picture, and where it lay. */
typedef struct om_region {
    om_frame *pixels; /* a reference */
    int x, y, w, h;   /* the part of them that is meant */
    double map[9];    /* from their pixels (edges at whole numbers) to the source's: a perspective, by rows */
    bool upright;     /* the map only shifts */
} om_region;

/* second_crop.c */
/* The whole picture; takes no reference. */
void om_region_of_frame(om_frame *f, om_region *out);
/* What `s` is to see of `base` (`d` in base's pixels; NULL: all of it), in pixels of its own. OM_ERR_ARG: it
 * lies outside, or has no such shape. */
int om_region_cut(const om_second *s, const om_region *base, const om_detection *d, bool turn,
                  om_region *out);
void om_region_fini(om_region *r);
/* Answers found in the region, from its pixels to the source's. */
void om_region_map_dets(const om_region *r, om_dets *dets, bool boxes);
/* How sharp the box is in the picture: the mean difference of neighbours' luma; 1 where that cannot be seen.
 */
double om_region_sharpness(const om_frame *f, const om_detection *d);
/* A copy in host memory, of a picture on `d`. */
int om_region_download(om_device *d, const om_frame *f, om_frame **out);

/* One crop on its way through a model. The asking stream's, but for the time it is in the queue or engine. */
struct om_question {
    om_second *second;
    om_second_frame *frame;
    om_question *above; /* whose answer it is about; NULL: an object's or the picture's */
    int above_det;      /* which of its detections; -1: all of it */
    int object;         /* of the frame; -1: the picture */
    int64_t track;      /* -1: none */
    uint32_t wants;     /* models below, to be asked about the answer */
    om_region region;
    double quality;
    int64_t asked_ns;
    uint64_t seq; /* of its picture, once that has left */
    bool retried;
    om_absence cause;
    om_dets dets;         /* the answer: in the region's pixels, in the source's once `settled` */
    bool settled;         /* its consequences have been drawn */
    int entry;            /* its place among the record's answers; -1: none */
    om_question *next;    /* in a queue or inbox */
    om_question *sibling; /* in its frame */
};

typedef struct om_second_flight {
    om_second *second;
    struct om_second_rung *rung;
    om_session *session;
    int n;
    om_question **questions; /* plan->batch of each */
    om_geometry *geo;
    om_gather_item *items;
    om_dets *dets;
    int64_t submitted_ns, done_ns;
    struct om_second_flight *next;
} om_second_flight;

typedef struct om_second_rung {
    int batch;
    om_plan *plan; /* NULL: not compiled yet. The batcher's */
    om_second_flight *idle;
    int n_flights;
} om_second_rung;

/* Questions that go into the same input size. */
typedef struct om_second_bucket {
    int width, height;
    om_question *first, *last;
    int n;
    bool broken; /* it could not be compiled */
    om_second_rung rungs[OM_SECOND_RUNGS];
    int n_rungs;
} om_second_bucket;

/* What happened to a model's questions. */
typedef struct om_second_stats {
    pthread_mutex_t lock; /* guards the rest */
    /* asked = answered + empty + those missing for what came after + those under way. What was left out
     * (budget, queue, outside, untracked) was not asked. `late`: answers that no record took. */
    uint64_t asked, answered, empty, late, missing[OM_ABSENCE_COUNT];
    uint64_t batches, items, sizes[OM_BATCH_SIZES], queue_sum;
    int queue_max;
    om_hist wait, infer;
} om_second_stats;

/* One model. Constant after the start but for what is said to be guarded. */
struct om_second {
    om_seconds *all;
    const om_second_options *options;
    const char *name;
    int index, parent; /* parent: a place in `all`, OM_PARENT_PRIMARY or OM_PARENT_FRAME */
    uint32_t below;    /* its children */
    uint32_t under;    /* all below it, at any depth */
    bool by_track;
    bool weighs;                       /* it, or one below, asks about better crops */
    bool boxes, text, classes, vector; /* what it answers */
    int agree;
    bool *parent_class, *turn_class; /* by number; NULL: all; none */
    int n_parent_class, n_turn_class;
    om_engine *engine;
    om_run_options run; /* the engine's: some are the run's */
    om_gallery *gallery;
    bool shares; /* the primary's device: it enters by the arbiter. The batcher's */

    /* Guarded by the primary engine's lock. */
    pthread_cond_t wake;
    int batch;
    bool host; /* its device's memory is the host's */
    om_second_bucket buckets[OM_SECOND_BUCKETS];
    int n_buckets;
    int waiting, in_flight;
    om_claim claim;
    bool stopping, cancelled;
    bool want_move, dead; /* its device is lost; and there is no other */
    char cause[256];

    om_thread batcher, finisher;
    om_queue done; /* of om_second_flight * */
    atomic_int failures_in_a_row;
    om_second_stats stats;
};

struct om_seconds {
    const om_config *config;
    om_engine *primary;
    om_device *host; /* for pictures in host memory */
    om_second *items;
    int n;
    bool any_track;           /* some remember by tracks */
    int keep_records;         /* how many records a track is remembered after its last */
    uint32_t top, of_frame;   /* those whose parent is the primary, the picture */
    int order[OM_SECOND_MAX]; /* all, parents before children */
};

/* second_model.c */
bool om_second_finds_boxes(om_family f);
int om_second_load(om_seconds *all, int index);
void om_second_unload(om_second *s);
/* The input size for a crop of w x h. */
om_size om_second_size_for(const om_second *s, int w, int h);
const char *om_second_label(const om_second *s, int32_t class_id);

/* second_batch.c */
/* The bucket of that size, a new one, or where there are too many the nearest. With the lock held. */
om_second_bucket *om_second_bucket_for(om_second *s, om_size size);
int om_second_start(om_second *s);
void om_second_stop(om_second *s); /* joins; what waits is given up */
/* The question goes into the queue; false: it does not, and its cause says why. `bounded`: as many as the
 * queue option says, at most. */
bool om_second_submit(om_question *q, bool bounded);

/* second_inbox.c */
const char *om_absence_name(om_absence a);
/* From the engine's side: an answer, or the lack of one. */
void om_second_post(om_question *q);
void om_second_count(om_second *s, uint64_t *counter);
void om_second_count_missing(om_second *s, om_absence cause);
int om_second_outstanding(om_second_frame *f);
void om_second_frame_free(om_second_frame *f);

/* second_memory.c */
typedef struct om_recall { /* of one track and model */
    int asks, empty_run, n_answers;
    bool pending, known; /* a question is under way; there is an answer */
    bool fresh;          /* ... that no record had yet */
    om_absence cause;    /* of the last lack of one */
    uint64_t asked_at;   /* the record's number */
    int64_t answered_pts_ns;
    double best_quality; /* of all asked about */
    float score;         /* of what it says now */
    int n_agree;
    om_votes votes;
    char *text; /* voted; with class_id, `score`'s */
    int32_t class_id;
    om_dets dets;   /* the last answer, in the source's pixels */
    uint64_t seq;   /* of its picture */
    int entry;      /* its place among the answers of the record that is being made; -1: none */
    om_frame *crop; /* the best answer's, with save-crops: in host memory */
    float crop_score;
} om_recall;

typedef struct om_track_memory {
    int64_t id;
    uint64_t last;     /* record in which it was seen last */
    om_recall *models; /* one for each */
    struct om_track_memory *next;
} om_track_memory;

#define OM_MEMORY_CHAINS 64

typedef struct om_memories {
    om_seconds *all;
    const char *stream;
    om_track_memory *chains[OM_MEMORY_CHAINS];
} om_memories;

void om_memories_fini(om_memories *m); /* writes crops that are to be kept */
/* NULL: unknown, or with `make` out of memory. */
om_track_memory *om_memories_get(om_memories *m, int64_t id, bool make);
/* Forgets tracks that were seen before record `before` for the last time. */
void om_memories_sweep(om_memories *m, uint64_t before);
/* A question is worth asking now. */
bool om_recall_wants(const om_second *s, const om_recall *m, double quality, uint64_t number, int64_t pts_ns);
bool om_recall_settled(const om_second *s, const om_recall *m);
/* Takes the answer over, or the lack of one; q->dets is empty afterwards. */
void om_recall_learn(om_recall *m, om_question *q, uint64_t seq, int64_t pts_ns);
/* A question would have followed, and there was nothing to ask about; `above`: why the one above has no
 * answer. */
void om_recall_learn_nothing(om_recall *m, om_absence above);
/* The file of a track's best crop; to be freed; NULL out of memory. */
char *om_recall_crop_path(const om_second *s, const char *stream, int64_t track);

/* second_stream.c, second_attach.c */
typedef struct om_inbox {
    om_ref ref;
    pthread_mutex_t lock; /* guards the rest, and the frames' `outstanding` once `closed` */
    om_question *first, *last;
    bool closed; /* `answered` is not called any more */
    bool orphan; /* its stream is gone */
    void (*answered)(void *user);
    void *user;
} om_inbox;

struct om_second_frame {
    om_inbox *inbox; /* a reference */
    om_second_stream *stream;
    uint64_t seq, number;
    int64_t pts_ns;
    int width, height;
    om_question *first, *last;
    om_question *round; /* the first of those that are not settled */
    int outstanding;    /* in queues, engines and the inbox */
    bool held;          /* by the lane */
    int asked[OM_SECOND_MAX];
};

struct om_second_stream {
    om_seconds *all;
    om_inbox *inbox;
    bool wait;
    uint64_t number; /* of records begun */
    om_memories memories;
    om_question *late;      /* answers about pictures whose records have left */
    uint32_t frame_pending; /* live: models that are being asked about a picture */
};

void om_question_free(om_question *q);
void om_second_attach(om_second_stream *st, om_second_frame *f, om_result *r);

#endif
