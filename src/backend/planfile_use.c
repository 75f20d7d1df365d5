/* What a plan file is good for: the model inside, and whether its compiled forms fit here. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/planfile.h"
#include "base/error.h"
#include "omma/version.h"

#define MAX_DEVICES 32

static bool is_plan(const char *path)
{
    char head[8];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    return om_plan_file_is(head, n);
}

int om_plan_file_open(const char *path, om_graph **graph, om_plan_file **file)
{
    om_plan_file *f = NULL;
    *graph = NULL;
    if (file) *file = NULL;
    if (!is_plan(path)) return om_model_load(path, graph);
    int err = om_plan_file_load(path, &f);
    if (!err) err = om_model_load_memory(f->model, f->model_len, path, NULL, graph);
    if (!err && file) *file = f;
    else om_plan_file_free(f);
    return err;
}

void om_plan_file_describe(const om_plan_file *f, om_model_desc *desc)
{
    if (f) om_model_desc_set_input(desc, (om_normalize)f->info.normalize, f->info.channels, f->info.fit);
}

const char *om_plan_file_device(const om_plan_file *f, const char *device)
{
    bool asked = device && device[0] && strcmp(device, "auto");
    return f && !asked ? f->info.device : device;
}

int om_plan_file_batch(const om_plan_file *f, bool gpu)
{
    return !f ? 0 : gpu ? f->info.max_batch : f->info.opt_batch;
}

bool om_plan_file_size(const om_plan_file *f, int width, int height, om_size *out)
{
    double best = 0;
    for (int i = 0; f && i < f->n_blobs; i++) {
        const om_plan_blob *b = &f->blobs[i];
        double scale = fmin((double)b->width / width, (double)b->height / height);
        bool smaller = (double)b->width * b->height < (double)out->width * out->height;
        if (i && (scale < best || (scale == best && !smaller))) continue;
        best = scale;
        *out = (om_size){b->width, b->height};
    }
    return f != NULL;
}

/* "openvino:GPU.0" for the backend's "GPU.0"; its CPU goes by "cpu". */
static bool is_device(const char *id, const char *backend, const char *device)
{
    char full[96];
    if (!device || !strcmp(device, "CPU")) {
        if (!strcmp(id, "cpu")) return true;
        device = device ? device : "0";
    }
    snprintf(full, sizeof full, "%s:%s", backend, device);
    return !strcmp(id, full) || !strcmp(id, backend);
}

void om_plan_machine(const om_backend_ops *ops, const char *device, char *out, size_t size)
{
    om_backend_device list[MAX_DEVICES];
    int n = ops->devices(list, MAX_DEVICES);
    snprintf(out, size, "%s", device ? device : ops->name);
    for (int i = 0; i < n && i < MAX_DEVICES; i++)
        if (is_device(list[i].id, ops->name, device)) {
            snprintf(out, size, "%s", list[i].name);
            return;
        }
}

const char *om_plan_file_misfit(const om_plan_file *f, const om_backend_ops *ops, const char *device,
                                char why[512])
{
    const om_plan_info *p = &f->info;
    const char *version = ops->version(), *own = om_version();
    char machine[sizeof p->machine];
    if (strcmp(p->backend, ops->name)) {
        snprintf(why, 512, "was built for %s, this is %s", p->backend, ops->name);
        return why;
    }
    if (strcmp(p->engine, version) || strcmp(p->omma, own)) {
        snprintf(why, 512, "was built by omma %s with %s %s, this is omma %s with %s", p->omma, p->backend,
                 p->engine, own, version);
        return why;
    }
    om_plan_machine(ops, device, machine, sizeof machine);
    if (!strcmp(p->machine, machine)) return NULL;
    snprintf(why, 512, "was built for %s, this is %s", p->machine, machine);
    return why;
}
