/* What was found, as JSON: one form for all who write it. The names are a contract: docs/results.md. */
#ifndef OM_SINK_RECORD_H
#define OM_SINK_RECORD_H

#include "base/json.h"
#include "frame/result.h"

/* One object with what it has: track, class, score, box, landmarks, quad, text. */
void om_json_detection(om_json *j, const om_detection *d, const om_labels *labels);
/* An object of a result, with what secondary models said of it. */
void om_json_object(om_json *j, const om_result *r, size_t index);
/* The key "second" with what they said of the picture, where they did. */
void om_json_picture_answers(om_json *j, const om_result *r);
/* The key "vector" and its numbers, where there are any. */
void om_json_vector(om_json *j, const om_dets *dets);

#endif
