/* What NVIDIA's tools do to be told of ranges, and nothing else: each begin and end is a line in the file
 * that $OMMA_TEST_NVTX names. */
#include <nvtx3/nvToolsExt.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *out;

static nvtxDomainHandle_t domain_create(const char *name)
{
    fprintf(out, "domain %s\n", name);
    fflush(out);
    return (nvtxDomainHandle_t)(void *)out; /* any handle but NULL */
}

static int push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
    long long id = a->payloadType == NVTX_PAYLOAD_TYPE_INT64 ? (long long)a->payload.llValue : -1;
    fprintf(out, "push %s %lld\n", a->message.ascii, id);
    fflush(out);
    return 0;
}

static int pop(nvtxDomainHandle_t domain)
{
    fprintf(out, "pop\n");
    fflush(out);
    return 0;
}

static nvtxRangeId_t start(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
    static nvtxRangeId_t last = 40;
    fprintf(out, "start %s %llu\n", a->message.ascii, (unsigned long long)++last);
    fflush(out);
    return last;
}

static void end(nvtxDomainHandle_t domain, nvtxRangeId_t id)
{
    fprintf(out, "end %llu\n", (unsigned long long)id);
    fflush(out);
}

static int want(NvtxFunctionTable table, unsigned size, unsigned which, NvtxFunctionPointer function)
{
    if (which >= size) return 0;
    *table[which] = function;
    return 1;
}

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get);
int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get)
{
    unsigned n = 0;
    NvtxFunctionTable table = NULL;
    const NvtxExportTableCallbacks *callbacks = get(NVTX_ETID_CALLBACKS);
    const char *path = getenv("OMMA_TEST_NVTX");
    out = path ? fopen(path, "w") : NULL;
    if (!out || !callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &n)) return 0;
    return want(table, n, NVTX_CBID_CORE2_DomainCreateA, (NvtxFunctionPointer)domain_create) &&
           want(table, n, NVTX_CBID_CORE2_DomainRangePushEx, (NvtxFunctionPointer)push) &&
           want(table, n, NVTX_CBID_CORE2_DomainRangePop, (NvtxFunctionPointer)pop) &&
           want(table, n, NVTX_CBID_CORE2_DomainRangeStartEx, (NvtxFunctionPointer)start) &&
           want(table, n, NVTX_CBID_CORE2_DomainRangeEnd, (NvtxFunctionPointer)end);
}
