/* Inside the room: the page's drawings, each an <svg> of its own. */
#ifndef OM_PROFILE_SVG_H
#define OM_PROFILE_SVG_H

#include "base/html.h"
#include "profile/profile.h"

/* The colour of an operator type: a CSS class, "t0" for the one with the most time. */
const char *om_type_class(const om_type_sum *types, size_t n, const char *type);

void om_svg_treemap(const om_profile *p, om_str *out);
void om_svg_roofline(const om_profile *p, om_str *out);
/* Of a run (see docs/profiling.md). */
void om_svg_stages(const om_json_value *run, om_str *out);
void om_svg_histograms(const om_json_value *run, om_str *out);
void om_svg_timeline(const om_json_value *run, om_str *out);

#endif
