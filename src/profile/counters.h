/* What NVIDIA's tools counted, folded into a profile's layers: by the ranges that name the engine's steps. */
#ifndef OM_PROFILE_COUNTERS_H
#define OM_PROFILE_COUNTERS_H

#include "profile/profile.h"

typedef enum om_tool { OM_TOOL_NCU, OM_TOOL_NSYS } om_tool;

/* What a run under a tool has to be like to be comparable with the profile: the rest is in it. */
typedef struct om_tool_params {
    om_tool tool;
    om_precision precision;
    om_size size;        /* as the profile was asked for */
    const char *command; /* of omma itself; NULL: this process's own */
    om_cancel *cancel;   /* fired: the tool is asked to end, and killed after a while; NULL: never */
} om_tool_params;

/* Runs a profile of the same model on the same device under the tool, and reads what it counted.
 * OM_ERR_NOT_FOUND: the tool is not installed, and how to get it. OM_ERR_DEVICE: it failed, with its own
 * words. OM_ERR_CANCELLED. Its files are in a folder of their own below $TMPDIR, which is gone afterwards. */
int om_profile_count(om_profile *p, const om_tool_params *params);

/* The tool's CSV: `ncu --csv --page raw --nvtx`, `nsys stats --report nvtx_gpu_proj_trace --format csv`.
 * `from` names it in errors. OM_ERR_FORMAT: it is none, lacks a column, or has no kernel of these layers. */
int om_counters_read_ncu(om_profile *p, char *text, const char *from);
int om_counters_read_nsys(om_profile *p, char *text, const char *from);
/* What ncu is to count, as --metrics wants it. */
int om_counters_ncu_metrics(om_str *out);

#endif
