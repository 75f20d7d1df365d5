/* What a picture looks like, in numbers small enough to keep of thousands. */
#ifndef OM_QUANT_SIGHT_H
#define OM_QUANT_SIGHT_H

#include "frame/result.h"
#include "kernel/motion.h"

#define OM_SIGHT_WORDS 4
#define OM_SIGHT_BITS (64 * OM_SIGHT_WORDS)

typedef struct om_sight {
    uint64_t hash[OM_SIGHT_WORDS]; /* which cells of a coarse grid are brighter than the one beside: alike
                                      pictures differ in few bits */
    float luma;                    /* mean, 0..255 */
    float contrast;                /* deviation of the luma */
    float sharpness;               /* mean difference of neighbours, in levels */
    float motion; /* share of the picture that changed since the one looked at before; 0 for the first */
    int objects;  /* -1: no model looked */
    int unsure;   /* boxes of a middling score; -1 likewise */
} om_sight;

/* Of one stream. Zeroed is valid to fini. Thread-safety: one thread. */
typedef struct om_sighter {
    om_motion motion;
    uint16_t *cells, *work;
    size_t work_cap;
} om_sighter;

int om_sighter_init(om_sighter *s);
void om_sighter_fini(om_sighter *s);
/* A host picture; objects are -1. OM_ERR_UNSUPPORTED for one without a format or of less than 32x32. */
int om_sighter_look(om_sighter *s, const om_image *img, om_sight *out);
/* Bits that differ, 0..OM_SIGHT_BITS. */
int om_sight_distance(const om_sight *a, const om_sight *b);
/* Counts what a model found: boxes from `conf` on are objects, those between half of it and half again are
 * unsure. */
void om_sight_objects(om_sight *s, const om_dets *d, double conf);

#endif
