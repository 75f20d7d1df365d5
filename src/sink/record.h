/* What was found, as JSON: one form for all who write it. The names are a contract: docs/results.md. */
#ifndef OM_SINK_RECORD_H
#define OM_SINK_RECORD_H

#include "base/json.h"
#include "frame/result.h"

/* One object with what it has: track, class, score, box, landmarks, quad, text. */
void om_json_detection(om_json *j, const om_detection *d, const om_labels *labels);
/* The key "vector" and its numbers, where there are any. */
void om_json_vector(om_json *j, const om_dets *dets);

#endif
