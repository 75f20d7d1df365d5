/* What compiling found out, as bytes for a plan file: for each rung of batches the way that each product is
 * computed. Constants are not in it: they are made anew from the model that the plan file carries.
 *
 * Lines of text: a head, a line a rung, then a line a product, which may be followed by the library's own
 * form of the engine (cuDNN's JSON). Reading needs no GPU. Thread-safety: none of it is shared. */
#ifndef OM_BACKEND_CUDA_PLAN_IO_H
#define OM_BACKEND_CUDA_PLAN_IO_H

#include "backend/backend.h"

#define OMCU_FORM_RUNGS 8
#define OMCU_FORM_CHOICES 4096 /* of a rung */

/* How one product is computed. The texts are the form's where it was parsed, else the writer's. */
typedef struct omcu_choice {
    const char *key, *tactic;
    double ns;          /* as it was timed */
    const char *engine; /* the library's own form of it; NULL: none */
    size_t engine_len;
} omcu_choice;

typedef struct omcu_form_rung {
    int batch, steps;
    size_t arena, constants, workspace; /* bytes */
    int products[3];                    /* steps by cuDNN, by cuBLASLt, by own kernels */
    omcu_choice *choices;
    int n_choices;
} omcu_form_rung;

typedef struct omcu_form {
    int major, minor; /* the GPU's compute capability */
    omcu_form_rung rungs[OMCU_FORM_RUNGS];
    int n_rungs;
    const char *groups; /* of a quantised model's tensors: '1' for each that lies as 8-bit integers, else '0';
                           NULL or empty: it has none */
    char *text;         /* what the texts point into; NULL: the writer's own */
} omcu_form;

/* The bytes are om_free()'s. */
int omcu_form_write(const omcu_form *f, char **blob, size_t *len);
/* Copies what it needs. OM_ERR_FORMAT says where it is wrong; `f` is empty then. */
int omcu_form_parse(const void *blob, size_t len, omcu_form *f);
void omcu_form_fini(omcu_form *f); /* takes an empty one */
/* NULL: there is none for this key. */
const omcu_choice *omcu_form_find(const omcu_form_rung *r, const char *key);
/* om_backend_ops.plan_parts */
int omcu_form_parts(const void *blob, size_t len, om_plan_part *out, int max);

#endif
