/* Whether what cameras show is still what was collected to calibrate with. */
#ifndef OM_QUANT_DRIFT_H
#define OM_QUANT_DRIFT_H

#include "base/json.h"
#include "frame/result.h"

/* Thread-safety: any thread; one at a time for a stream. */
typedef struct om_drift om_drift;

/* Reads a manifest (or a folder with one) of omma collect. Warns at once where it is older than `max_age_s`.
 */
int om_drift_create(const char *manifest, double max_age_s, om_drift **out);
void om_drift_destroy(om_drift *d);
/* A picture of a stream, by its number and name: looks at one every two seconds of its time, of those in host
 * memory, and warns once for each way in which the stream is no longer covered. */
void om_drift_look(om_drift *d, int stream, const char *name, const om_frame *f);
/* What the model found in a picture of it: likewise one every two seconds. */
void om_drift_found(om_drift *d, int stream, const char *name, int64_t pts_ns, size_t objects);
/* As an object's members: the set's age, and for each stream how many pictures were looked at and which share
 * of them the set does not cover, by what. */
void om_drift_json(om_drift *d, om_json *j);

#endif
