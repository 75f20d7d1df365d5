#include "pipeline/tracking.h"

#include <string.h>

#include "base/error.h"

int om_tracking_of(const om_run_options *o, float conf, om_tracking *out)
{
    *out = (om_tracking){.conf = conf};
    if (!o->track || !*o->track || !strcmp(o->track, "none")) return OM_OK;
    const om_tracker_ops *ops = om_tracker_ops_for(o->track);
    if (!ops) return om_fail_prefix(OM_ERR_ARG, "--track");
    out->ops = ops;
    out->params = (om_track_params){.high = o->track_high,
                                    .low = o->track_low,
                                    .start = o->track_start,
                                    .match = o->track_match,
                                    .buffer = o->track_buffer,
                                    .min_hits = o->track_min_hits,
                                    .agnostic = o->track_agnostic};
    if (out->params.high < 0 && (double)conf > ops->own.high) out->params.high = (double)conf;
    return om_track_params_resolve(ops, &out->params);
}

int om_tracking_check(const om_tracking *t, const char *model, om_family family)
{
    static const om_family boxless[] = {OM_FAMILY_CLASSIFY, OM_FAMILY_RAW, OM_FAMILY_CTC, OM_FAMILY_SLOTS,
                                        OM_FAMILY_EMBEDDING};
    if (!t->ops) return OM_OK;
    for (size_t i = 0; i < sizeof boxless / sizeof *boxless; i++)
        if (family == boxless[i])
            return om_fail(OM_ERR_ARG, "--track %s: %s (%s) finds no boxes, so there is nothing to track",
                           t->ops->name, model, om_family_name(family));
    return OM_OK;
}
