/* Before a run: does the machine have room for so many streams? */
#ifndef OM_PIPELINE_PREFLIGHT_H
#define OM_PIPELINE_PREFLIGHT_H

#include "device/device.h"
#include "pipeline/config.h"

/* What a run of these streams needs and what there is; negative: not known. */
typedef struct om_preflight_facts {
    size_t streams, cameras; /* cameras: those that come over the network */
    int64_t handles_needed, handles_soft, handles_hard;
    double memory_needed_mb, memory_free_mb;
    double network_needed_mbit, network_mbit;
} om_preflight_facts;

/* What the network carries: as the options say, else the fastest interface that is up. Negative: not known.
 */
double om_preflight_link_mbit(const om_run_options *o);

void om_preflight_look(const om_config *c, om_preflight_facts *out);

/* Whether a GPU has memory for so many decoders, in words. True: it may not; what it does not take is decoded
 * on the CPU. *out stays empty where the GPU does not tell. */
bool om_preflight_decoders(const om_device_info *gpu, size_t streams, om_str *out);

/* For the command, before threads start: raises the limit of open files as far as it is needed and allowed,
 * and says in a line each what there is; as a warning where that may not suffice. */
void om_preflight(const om_config *c);

#endif
