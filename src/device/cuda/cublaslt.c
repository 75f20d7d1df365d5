#include "device/cuda/cublaslt.h"

#include <pthread.h>
#include <stdio.h>

#include "device/cuda/library.h"

static om_cublaslt functions;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[320];

static void load(void)
{
    static const char *const files[] = {"libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13", NULL};
    om_cublaslt *f = &functions;
    const om_cuda_symbol symbols[] = {
        {"cublasLtCreate", (void **)&f->create},
        {"cublasLtDestroy", (void **)&f->destroy},
        {"cublasLtMatmul", (void **)&f->matmul},
        {"cublasLtMatmulDescCreate", (void **)&f->desc_create},
        {"cublasLtMatmulDescDestroy", (void **)&f->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", (void **)&f->desc_set},
        {"cublasLtMatrixLayoutCreate", (void **)&f->layout_create},
        {"cublasLtMatrixLayoutDestroy", (void **)&f->layout_destroy},
        {"cublasLtMatmulPreferenceCreate", (void **)&f->pref_create},
        {"cublasLtMatmulPreferenceDestroy", (void **)&f->pref_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", (void **)&f->pref_set},
        {"cublasLtMatmulAlgoGetHeuristic", (void **)&f->heuristic},
    };
    const char *why =
        om_cuda_library_load("OMMA_CUBLASLT", files, symbols, sizeof symbols / sizeof symbols[0]);
    if (why) snprintf(missing, sizeof missing, "%.300s", why);
}

const om_cublaslt *om_cublaslt_get(const char **why)
{
    pthread_once(&once, load);
    *why = missing[0] ? missing : NULL;
    return missing[0] ? NULL : &functions;
}
