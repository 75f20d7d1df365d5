/* The prior boxes of SSD's grids, computed from a text. Private to the room. */
#ifndef OM_HEAD_PRIOR_H
#define OM_HEAD_PRIOR_H

#include "head/head.h"

#define OM_PRIOR_GRIDS 8
#define OM_PRIOR_RATIOS 6

/* A grid for each group of the text: step, smallest and largest size in pixels, then aspect ratios. A cell
 * has a square of the smallest size, one of the geometric mean, and for each ratio a lying and a standing
 * box. */
typedef struct om_priors {
    int n;
    struct om_prior_grid {
        float step, smallest, largest, ratio[OM_PRIOR_RATIOS];
        int n_ratios;
    } grid[OM_PRIOR_GRIDS];
} om_priors;

/* OM_ERR_ARG: `text` is no such list. */
int om_priors_parse(om_priors *p, const char *head, const char *text);
/* The original's list for so many priors, or NULL: SSD300 (8732), MobileNet-SSD (3000). */
const char *om_priors_known(size_t count);
size_t om_priors_count(const om_priors *p, const om_geometry *g);
/* Prior i as centre and size in input pixels, cut to the input as the original does. */
void om_priors_at(const om_priors *p, const om_geometry *g, size_t i, float box[4]);

#endif
