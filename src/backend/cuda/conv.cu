/* The tensor-core convolutions' forms as one list, and their launch. */
#include <cuda_runtime.h>

#include <initializer_list>

#include "backend/cuda/forms.h"
#include "backend/cuda/kernels.h"

namespace
{

const omcu_form *form_at(int number)
{
    int n;
    for (auto list : {omcu_forms_narrow, omcu_forms_middle, omcu_forms_wide}) {
        const omcu_form *forms = list(&n);
        if (number < n) return &forms[number];
        number -= n;
    }
    return nullptr;
}

} // namespace

int omcu_conv_forms(void)
{
    int n, all = 0;
    for (auto list : {omcu_forms_narrow, omcu_forms_middle, omcu_forms_wide}) {
        list(&n);
        all += n;
    }
    return all;
}

const char *omcu_conv_form_name(int form) { return form_at(form)->name; }

int64_t omcu_conv_form_blocks(int form, const omcu_conv *c)
{
    const omcu_form *f = form_at(form);
    int64_t m = static_cast<int64_t>(c->n) * c->ho * c->wo;
    return (m + f->bm - 1) / f->bm * ((c->k + f->bn - 1) / f->bn);
}

int omcu_conv_launch(int form, const omcu_conv *c, CUstream_st *stream)
{
    const omcu_form *f = form_at(form);
    cudaError_t e = cudaFuncSetAttribute(f->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, f->bytes);
    if (e != cudaSuccess) return e;
    omcu_conv copy = *c;
    void *args[] = {&copy};
    return cudaLaunchKernel(f->kernel, dim3(static_cast<unsigned>(omcu_conv_form_blocks(form, c))),
                            dim3(f->threads), args, f->bytes, stream);
}
