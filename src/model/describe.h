/* Inside the room: what a family is recognised by and how its pictures are prepared. */
#ifndef OM_MODEL_DESCRIBE_H
#define OM_MODEL_DESCRIBE_H

#include "model/model.h"

typedef struct om_family_finding {
    om_family family;
    om_str why; /* what it was recognised by, or what is near */
} om_family_finding;

/* What the graph says beyond the shapes of its outputs. */
typedef struct om_family_hints {
    bool transposed;  /* the first output comes from a Transpose */
    bool exponential; /* an Exp lies between the last convolutions and the first output */
} om_family_hints;

/* By metadata, then by shapes; `d` has its specs, metadata and labels, the rest is not read. */
int om_family_recognise(const om_model_desc *d, const om_family_hints *hints, om_family_finding *out);
/* Whether the outputs can be this family's: OM_ERR_ARG says what it expects and what there is. */
int om_family_check(const om_model_desc *d, om_family family);
/* How many classes the outputs have under this family; 0 where they do not tell. */
int om_family_classes(const om_model_desc *d, om_family family);
/* Fills what follows from the family: prep but its layout and dtype, fit, native_size. */
void om_family_prepare(const om_model_desc *d, om_family family, om_prep *prep, om_fit *fit,
                       bool *native_size);

/* The spec of the picture among the inputs, NULL if none looks like one; *channel is the dim of its channels.
 */
const om_tensor_spec *om_desc_picture(const om_model_desc *d, int *channel);
/* Appends "name 1x84x8400, ..." */
void om_specs_text(const om_tensor_spec *specs, int n, om_str *out);

#endif
