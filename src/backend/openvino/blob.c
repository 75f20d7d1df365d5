/* A compiled model as bytes, for plan files. */
#include <string.h>
#include <unistd.h>

#include "backend/openvino/openvino.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define BLOB_MAX ((size_t)1 << 35)

int omov_export(om_plan *plan, char **blob, size_t *len)
{
    const omov_plan *p = plan->priv;
    char *path;
    int rc = om_temp_file("plan", "", &path); /* the engine exports to nothing else */
    if (rc != OM_OK) return rc;
    ov_status_e status = ov_compiled_model_export_model(p->model, path);
    rc = status == OK ? om_read_file(path, BLOB_MAX, blob, len)
                      : omov_fail(OM_ERR_UNSUPPORTED, status, "OpenVINO does not export the compiled model");
    unlink(path);
    om_free(path);
    return rc;
}

/* What was exported has to be what the plan says: the engine takes any blob of its own. */
static int check_input(om_plan *plan)
{
    const omov_plan *p = plan->priv;
    ov_output_const_port_t *port = NULL;
    ov_element_type_e type = DYNAMIC;
    ov_shape_t shape = {0};
    om_shape want = omov_input_shape(plan, plan->prep.layout);
    ov_status_e status = ov_compiled_model_input(p->model, &port);
    if (status == OK) status = ov_port_get_element_type(port, &type);
    if (status == OK) status = ov_const_port_get_shape(port, &shape);
    bool same = status == OK && type == omov_type(plan->prep.dtype) && shape.rank == want.rank;
    for (int i = 0; same && i < want.rank; i++) same = shape.dims[i] == want.dim[i];
    ov_shape_free(&shape);
    ov_output_const_port_free(port);
    return same ? OM_OK : om_fail(OM_ERR_FORMAT, "it is of another input");
}

/* The engine asks the core, not the caller, how to run what it imports: so each such plan has a core of its
 * own. */
static ov_status_e set_properties(ov_core_t *core, const om_compile_params *params, const char *device)
{
    omov_properties l = {.n = 0};
    omov_choose_properties(&l, params, device);
    return ov_core_set_properties(core, device, l.n, l.items);
}

int omov_import(om_plan *plan, const om_compile_params *params, const void *blob, size_t len)
{
    omov_plan *p = plan->priv;
    const char *device = params->device ? params->device : "CPU";
    if (plan->memory->ops->memory != OM_MEMORY_HOST)
        return om_fail(OM_ERR_UNSUPPORTED, "OpenVINO reads its input from the host's memory, not from %s",
                       plan->memory->id);
    p->profiling = params->profiling;
    p->means = strcmp(device, "CPU") == 0;
    omov_choose_prep(plan, params->keep_prep);
    ov_status_e status = ov_core_create(&p->own_core);
    if (status == OK) status = set_properties(p->own_core, params, device);
    if (status == OK) status = ov_core_import_model(p->own_core, blob, len, device, &p->model);
    if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "OpenVINO");
    int rc = check_input(plan);
    return rc == OM_OK ? omov_describe(plan, params, device) : rc;
}
