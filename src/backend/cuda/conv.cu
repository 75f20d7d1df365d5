/* The tiled convolutions' forms as one list, and their launch. */
#include <algorithm>

#include <cuda_runtime.h>

#include "backend/cuda/forms.h"
#include "backend/cuda/kernels.h"

namespace
{

const struct {
    const omcu_form *(*list)(int *n);
    omcu_numbers numbers;
} lists[] = {{omcu_forms_narrow, OMCU_NUMBERS_F16}, {omcu_forms_middle, OMCU_NUMBERS_F16},
             {omcu_forms_wide, OMCU_NUMBERS_F16},   {omcu_forms_int8, OMCU_NUMBERS_INT8},
             {omcu_forms_tf32, OMCU_NUMBERS_TF32},  {omcu_forms_float, OMCU_NUMBERS_F32}};

const omcu_form *form_at(int number, omcu_numbers *numbers = nullptr)
{
    int n;
    for (const auto &l : lists) {
        const omcu_form *forms = l.list(&n);
        if (numbers) *numbers = l.numbers;
        if (number < n) return &forms[number];
        number -= n;
    }
    return nullptr;
}

} // namespace

int omcu_conv_forms(void)
{
    int n, all = 0;
    for (const auto &l : lists) {
        l.list(&n);
        all += n;
    }
    return all;
}

omcu_numbers omcu_conv_form_numbers(int form)
{
    omcu_numbers numbers;
    (void)form_at(form, &numbers);
    return numbers;
}

const char *omcu_conv_form_name(int form) { return form_at(form)->name; }

int64_t omcu_conv_form_blocks(int form, const omcu_conv *c)
{
    const omcu_form *f = form_at(form);
    int64_t m = static_cast<int64_t>(c->n) * c->ho * c->wo;
    return (m + f->bm - 1) / f->bm * ((c->k + f->bn - 1) / f->bn);
}

/* Windows of one pixel, all inside the picture. */
static bool is_points(const omcu_conv *c)
{
    return c->r * c->s == 1 && !c->pad_y && !c->pad_x && (c->ho - 1) * c->stride_y < c->h &&
           (c->wo - 1) * c->stride_x < c->wd;
}

int omcu_conv_launch(int form, const omcu_conv *c, CUstream_st *stream)
{
    const omcu_form *f = form_at(form);
    const void *kernel = f->points && is_points(c) ? f->points : f->kernel;
    int bytes = f->bytes;
    if (f->depth) bytes = std::min(bytes, (c->r * c->s * c->c + f->depth - 1) / f->depth * f->stage);
    cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e != cudaSuccess) return e;
    omcu_conv copy = *c;
    void *args[] = {&copy};
    return cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(omcu_conv_form_blocks(form, c))),
                            dim3(f->threads), args, bytes, stream);
}
