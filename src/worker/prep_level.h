/* How much is done with a picture before it is resized and normalised for the model: work of the kinds and
 * amounts that training and research code does, to be measured.
 *
 *   simple    nothing: the planes go straight into the input
 *   medium    the middle 7/8 of width and height, converted to RGB
 *   complex   medium; then a 3x3 median against noise, a 5x5 Gaussian blur, a mirroring of every second
 * picture at random, and a seeded change of brightness and contrast of up to a fifth */
#ifndef OM_WORKER_PREP_LEVEL_H
#define OM_WORKER_PREP_LEVEL_H

#include "base/option.h"
#include "frame/frame.h"

typedef enum om_prep_level { OM_PREP_SIMPLE, OM_PREP_MEDIUM, OM_PREP_COMPLEX } om_prep_level;
extern const om_choice om_prep_level_choices[];

/* Thread-safety: one thread. Zeroed but for level and seed is valid. */
typedef struct om_preparer {
    om_prep_level level;
    uint64_t seed;
    uint8_t *work; /* owned */
    size_t cap;
} om_preparer;

/* A frame of the caller's: `f` itself with another reference, or a new RGB24 one. Host memory. */
int om_preparer_apply(om_preparer *p, om_frame *f, om_frame **out);
void om_preparer_fini(om_preparer *p);

/* The steps of `complex`, on RGB24. `work` holds as many bytes as the picture has rows times 3 * width. */
void om_median3(const om_image *img, uint8_t *work);
void om_blur5(const om_image *img, uint8_t *work);

#endif
