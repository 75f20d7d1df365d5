/* What omma says about a frame: boxes, landmarks, text; all in pixels of the source picture. */
#ifndef OMMA_TYPES_H
#define OMMA_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OM_MAX_LANDMARKS 5

typedef struct om_detection {
    float x, y, w, h; /* left, top, width, height */
    float score;
    int32_t class_id;
    int64_t track; /* -1: not tracked */
    int32_t n_landmarks;
    float landmarks[OM_MAX_LANDMARKS][2];
    const char *text; /* NULL: none; owned by the list that holds the detection */
    float text_score;
    int32_t has_quad; /* 1: `quad` holds the corners of a box that may stand askew, else 0 */
    float quad[4][2];
} om_detection;

/* What a secondary model said of an object, of a part of it that another answer found, or of the picture. */
typedef struct om_answer {
    int32_t object;    /* its place among the frame's objects; -1: it is about the picture */
    int32_t parent;    /* its place among the answers, of the one it is about; -1: about the object itself */
    const char *model; /* the secondary model's name */
    const char *missing; /* NULL, or why there is no answer ("pending", "queue", "failed", ...): the rest is
                            empty then */
    om_detection det;    /* class_id -1: it has no class; w 0: no box */
    const char *label;   /* the class's name; NULL: none */
    uint64_t seq;        /* of the picture it was seen in */
    int32_t votes;       /* answers behind a text or class that was voted over a track; 0: not voted */
    const char *crop;    /* the file that the track's best crop goes to; NULL: none */
    const float *vector; /* an embedding; NULL: none */
    size_t n_vector;
} om_answer;

/* One inferred frame, as a sink or a callback sees it. Everything here lives until the callback returns. */
typedef struct om_frame_result {
    const char *stream;   /* the stream's name */
    int32_t stream_index; /* in the order in which streams were added */
    uint64_t seq;    /* number of the decoded picture in its stream, from 0; gaps are frames not inferred */
    double pts;      /* seconds since the stream's first picture */
    int64_t time_us; /* wall clock, microseconds since 1970 UTC */
    int32_t width, height; /* of the source picture */
    const om_detection *objects;
    size_t n_objects;
    const char *const *labels; /* names by class_id; NULL where the model has none */
    size_t n_labels;
    const float *vector; /* embedding or raw output where the head yields one, else NULL */
    size_t n_vector;
    const om_answer *answers; /* of secondary models; each stands behind the one it is about */
    size_t n_answers;
    double latency_ms; /* due time of the packet that completed the frame -> hand-over to the sinks */
} om_frame_result;

#ifdef __cplusplus
}
#endif
#endif
