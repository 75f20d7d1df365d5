/* How fast a float model would be in int8: of its own int8 form. What the numbers in it are does not change
 * how fast it is; which layers become int8, which formats come between them and what is fused does, and no
 * peak tells that. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "profile/profile.h"
#include "quant/quant.h"

/* Enough to see which tensors fall below zero. */
#define PICTURES 2
#define TEST_PICTURES "pattern:640x480:frames=2"

static int quantise(const om_profile_params *q, om_graph **out)
{
    om_strlist pictures = {0};
    om_quant_report report;
    int err = om_strlist_add(&pictures, TEST_PICTURES);
    om_quant_job job = {.model = q->model,
                        .sources = &pictures,
                        .frames = PICTURES,
                        .min_frames = 1,
                        .device = q->device,
                        .input_size = q->size,
                        .normalize = OM_NORMALIZE_OWN,
                        .channels = -1,
                        .fit = -1,
                        .check_frames = 1,
                        .params = {.method = OM_QUANT_MINMAX,
                                   .target = !strncmp(q->device, "cuda", 4) ? OM_QUANT_CUDA : OM_QUANT_CPU}};
    memset(&report, 0, sizeof report);
    if (q->progress) q->progress(q->user, "a form in int8", 0);
    if (!err) err = om_quantize(&job, out, &report);
    om_quant_report_fini(&report);
    om_strlist_fini(&pictures);
    return err;
}

int om_profile_measure_int8(const om_profile_params *params, double *latency_us)
{
    om_profile_params q = *params;
    om_profile p;
    om_graph *g = NULL;
    char *path = NULL;
    memset(&p, 0, sizeof p);
    *latency_us = 0;
    int err = quantise(params, &g);
    if (!err && om_cancelled(params->cancel)) err = om_fail(OM_ERR_CANCELLED, "stopped");
    if (!err) err = om_temp_file("int8", "", &path);
    if (!err) err = om_model_save(g, path);
    om_graph_destroy(g);
    q.model = path;
    q.precision = OM_PRECISION_AUTO;
    q.fresh_peaks = q.keep_outputs = false;
    if (!err) err = om_profile_measure(&q, &p);
    if (!err) *latency_us = p.latency_us;
    om_profile_fini(&p);
    if (path) unlink(path);
    om_free(path);
    return err;
}
