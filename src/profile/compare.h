/* Two profiles side by side. */
#ifndef OM_PROFILE_COMPARE_H
#define OM_PROFILE_COMPARE_H

#include "profile/profile.h"

typedef struct om_change {
    const char *name, *type; /* belong to one of the profiles */
    double before, after;    /* us, or ms of a stage; negative: not there */
} om_change;

typedef struct om_comparison {
    om_change *layers, *stages; /* layers: by how much the time changed, largest first */
    size_t n_layers, n_stages;
    double fps_before, fps_after; /* of the runs; 0: there is none */
} om_comparison;

/* Layers and stages are matched by name. The profiles outlive the comparison. OM_ERR_ARG: one has only layers
 * and the other only a run. */
int om_compare(const om_profile *before, const om_profile *after, om_comparison *out);
void om_comparison_fini(om_comparison *c);
void om_comparison_json(const om_profile *before, const om_profile *after, const om_comparison *c,
                        om_json *j);

#endif
