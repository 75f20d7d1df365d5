/* The tiled convolutions' forms, listed by the files that compile them. C++. */
#ifndef OM_BACKEND_CUDA_FORMS_H
#define OM_BACKEND_CUDA_FORMS_H

struct omcu_form {
    const char *name;
    const void *kernel;
    int bm, bn, threads, bytes;
    /* Of some: the kernel for windows of one pixel; bytes and depth of a stage, of which a product that is
     * not deep needs fewer. */
    const void *points = nullptr;
    int stage = 0, depth = 0;
};

/* By the width of their tiles. */
const omcu_form *omcu_forms_narrow(int *n);
const omcu_form *omcu_forms_middle(int *n);
const omcu_form *omcu_forms_wide(int *n);
/* By their numbers. */
const omcu_form *omcu_forms_int8(int *n);
const omcu_form *omcu_forms_tf32(int *n);
const omcu_form *omcu_forms_float(int *n);

#endif
