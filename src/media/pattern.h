/* The generated test pattern: solid shapes that move over grey, with known places. docs/pattern.md has the
 * formulas. */
#ifndef OM_MEDIA_PATTERN_H
#define OM_MEDIA_PATTERN_H

#include <stdint.h>

#define OM_PATTERN_MAX_SHAPES 3

typedef struct om_pattern_params {
    int width, height;
    double fps;
    uint64_t frames; /* 0: endless */
    int shapes;      /* 0 red, 1 green, 2 blue, painted in this order */
    int seed;
} om_pattern_params;

/* "pattern:640x480@25:frames=250:shapes=3:seed=1"; every part may be missing. OM_ERR_ARG names the part. */
int om_pattern_parse(const char *uri, om_pattern_params *out);
/* The full rectangle of a shape on picture `n`, hidden or not. */
void om_pattern_truth(const om_pattern_params *p, uint64_t n, int shape, int *x, int *y, int *w, int *h);

#endif
