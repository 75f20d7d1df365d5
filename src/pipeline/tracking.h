/* What a run's options say about tracking. */
#ifndef OM_PIPELINE_TRACKING_H
#define OM_PIPELINE_TRACKING_H

#include "model/model.h"
#include "pipeline/config.h"
#include "track/track.h"

typedef struct om_tracking {
    const om_tracker_ops *ops; /* NULL: no tracker */
    om_track_params params;    /* none negative */
    float conf;                /* an untracked detection is reported when its score is above */
} om_tracking;

/* `conf`: above what score the model's detections count; what --track-high and --track-start leave open never
 * lies below. OM_ERR_ARG names the option. */
int om_tracking_of(const om_run_options *o, float conf, om_tracking *out);
/* OM_ERR_ARG where the model finds no boxes. */
int om_tracking_check(const om_tracking *t, const char *model, om_family family);

#endif
