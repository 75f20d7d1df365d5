/* One self-contained page. */
#ifndef OM_PROFILE_HTML_H
#define OM_PROFILE_HTML_H

#include "profile/diagnose.h"

/* Appends the whole page: findings, treemap, roofline, layers, stages where there is a run. */
void om_profile_html(const om_profile *p, const om_findings *f, om_str *out);

#endif
