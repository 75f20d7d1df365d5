/* What two runs over the same clips saw, and whether it is the same: boxes of every frame of every stream,
 * and sums over pictures. For tests of whole runs; nothing here knows of a GPU.
 *
 * Numbers of two engines differ a little, so a frame is "same" where every box has its like in the other run
 * (of its class, overlapping, of about that score; those that score next to the threshold need none), "near"
 * where most have, and "other" where most have not: another picture was looked at, or none. No frame may be
 * "other", missing or seen twice, and as many as `near` says may be "near": where two boxes score about
 * alike, the other of them may suppress its neighbours. */
#ifndef OM_TEST_SEEN_H
#define OM_TEST_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "omma/types.h"

typedef struct seen_box {
    float x, y, w, h, score;
    int class_id;
} seen_box;

typedef struct seen_frame {
    int times; /* 0: not at all */
    seen_box *boxes;
    size_t n;
} seen_frame;

typedef struct seen_stream {
    seen_frame *frames; /* by number */
    size_t n;
} seen_stream;

/* Thread-safety: one thread at a time a stream, and nobody else meanwhile. */
typedef struct seen_run {
    seen_stream *streams;
    int n;
} seen_run;

/* 0, or -1 for want of memory. */
int seen_run_init(seen_run *r, int streams);
void seen_run_fini(seen_run *r);
int seen_add(seen_run *r, int stream, uint64_t seq, const om_detection *objects, size_t n);

typedef struct seen_limits {
    float overlap; /* least, of two boxes that are the same */
    float score;   /* most that their scores may be apart */
    float conf;    /* the runs' threshold */
    double near;   /* share of all frames that may be "near" */
} seen_limits;

typedef struct seen_verdict {
    size_t frames, same, near, other, missing, twice, extra;
    size_t boxes; /* of the reference, in all these frames */
    bool right;
    char first[160]; /* the first frame that is not "same"; "" */
} seen_verdict;

/* Stream i of `got` shows what stream i % expected->n of `expected` does. */
void seen_compare(const seen_run *expected, const seen_run *got, const seen_limits *limits,
                  seen_verdict *out);

/* Whether the comparison could tell: the share of frames with boxes that would be "other" if they were the
 * next of their stream, and of those that would be if they were those of the next stream. A run whose shares
 * are low is no witness. */
void seen_sharpness(const seen_run *r, const seen_limits *limits, double *next_frame, double *next_stream);

/* Of all samples of a picture in host memory, the same for the same picture in planes or interleaved (I420,
 * NV12; I010, P010). */
uint64_t seen_picture(const om_image *img);

#endif
