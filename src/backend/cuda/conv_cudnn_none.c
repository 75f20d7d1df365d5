/* In the place of conv_cudnn.c where cuDNN's headers were not there: no candidates, and why. */
#include "backend/cuda/tune.h"
#include "base/error.h"

const char *omcu_cudnn_missing(void) { return "this build of the plug-in knows no cuDNN"; }
const char *omcu_cudnn_version(void) { return "none"; }

int omcu_cudnn_candidates(const omcu_program *p, const omcu_step *s, omcu_cudnn_plan **out, int max)
{
    return 0;
}

int omcu_cudnn_build(omcu_cudnn_plan *plan)
{
    return om_fail(OM_ERR_UNSUPPORTED, "%s", omcu_cudnn_missing());
}
void omcu_cudnn_recall(omcu_cudnn_plan *plan, const char *json, size_t len) {}

int omcu_cudnn_text(const omcu_cudnn_plan *plan, char **out, size_t *len)
{
    *out = NULL;
    *len = 0;
    return OM_OK;
}

void omcu_cudnn_destroy(omcu_cudnn_plan *plan) {}
size_t omcu_cudnn_workspace(const omcu_cudnn_plan *plan) { return 0; }
const char *omcu_cudnn_name(const omcu_cudnn_plan *plan) { return "none"; }

int omcu_cudnn_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *workspace,
                   struct CUstream_st *stream)
{
    return 1;
}
