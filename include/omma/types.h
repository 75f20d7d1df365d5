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
    double latency_ms; /* due time of the packet that completed the frame -> hand-over to the sinks */
} om_frame_result;

#ifdef __cplusplus
}
#endif
#endif
