/* An engine that computes nothing, with its tensors on the GPU: everything around an engine can be tested and
 * timed there (decoders, gather, ordering, loss). Its device is that of the plug-in omma-cuda.so, which is
 * loaded before it, or named by OMMA_TEST_CUDA. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"
#include "base/mem.h"

#define POLL_US 50

static const om_backend_ops *null_ops;

typedef struct session {
    om_event *done;
} session;

static int compile(om_plan *plan, const om_compile_params *params)
{
    om_compile_params own = *params;
    own.device = NULL;
    int rc = null_ops->compile(plan, &own);
    if (rc == OM_OK) snprintf(plan->note, sizeof plan->note, "nothing, on the GPU");
    return rc;
}

static void session_fini(om_session *s)
{
    session *p = s->priv;
    om_device *d = s->plan->memory;
    om_device_event_destroy(d, p->done);
    om_device_stream_destroy(d, s->stream);
    om_device_mem_free(d, s->input.data);
    for (int i = 0; i < s->n_outputs; i++) om_free(s->outputs[i].data);
    om_free(s->outputs);
}

/* Outputs are empty: the head sees no anchors. */
static int session_init(om_session *s)
{
    session *p = s->priv;
    om_device *d = s->plan->memory;
    const om_plan *plan = s->plan;
    s->input.dtype = plan->prep.dtype;
    s->input.shape =
        om_shape_make(4, (int64_t)plan->batch, (int64_t)3, (int64_t)plan->height, (int64_t)plan->width);
    s->item_bytes = (size_t)3 * (size_t)plan->height * (size_t)plan->width * om_dtype_size(plan->prep.dtype);
    int rc =
        om_device_mem_alloc_for(d, OM_PURPOSE_INPUTS, s->item_bytes * (size_t)plan->batch, &s->input.data);
    if (rc == OM_OK) rc = om_device_stream_create(d, 0, &s->stream);
    if (rc == OM_OK) rc = om_device_event_create(d, &p->done);
    if (rc != OM_OK) return rc;
    s->n_outputs = plan->desc->n_outputs;
    s->outputs = om_calloc((size_t)s->n_outputs, sizeof *s->outputs);
    if (!s->outputs) return OM_ERR_NOMEM;
    for (int i = 0; i < s->n_outputs; i++) {
        const om_tensor_spec *o = &plan->desc->outputs[i];
        om_tensor *t = &s->outputs[i];
        *t = (om_tensor){.dtype = o->dtype, .shape = o->shape};
        for (int k = 0; k < t->shape.rank; k++)
            if (t->shape.dim[k] < 0) t->shape.dim[k] = k ? 0 : plan->batch;
        size_t size = (size_t)om_shape_count(&t->shape) * om_dtype_size(t->dtype);
        t->data = om_calloc(size ? size : 1, 1);
        if (!t->data) return OM_ERR_NOMEM;
    }
    return OM_OK;
}

/* OMMA_TEST_TRAP="N FILE": a real fault at the N-th submit of a process, once: then FILE is there. */
static void trap_once(void)
{
    static atomic_int submits;
    const char *text = getenv("OMMA_TEST_TRAP"), *path = text ? strchr(text, ' ') : NULL;
    const om_plugin_state *plugins;
    int (*trap)(int index) = NULL;
    if (!path || atomic_fetch_add(&submits, 1) + 1 != atoi(text)) return;
    int fd = open(path + 1, O_CREAT | O_EXCL | O_WRONLY, 0666);
    if (fd < 0) return;
    close(fd);
    for (size_t i = 0, all = om_plugins(&plugins); i < all; i++) {
        if (strcmp(plugins[i].name, "cuda") != 0) continue;
        void *handle = dlopen(plugins[i].path, RTLD_NOW | RTLD_NOLOAD),
             *symbol = handle ? dlsym(handle, "omma_cuda_trap") : NULL;
        memcpy(&trap, &symbol, sizeof trap);
    }
    if (trap) trap(0);
}

static int submit(om_session *s, int n)
{
    trap_once();
    session *p = s->priv;
    int rc = om_device_event_record(s->plan->memory, p->done, s->stream);
    if (rc == OM_OK) s->done(s->user);
    return rc;
}

static int wait_session(om_session *s)
{
    session *p = s->priv;
    int rc;
    while ((rc = om_device_event_query(s->plan->memory, p->done)) == OM_ERR_AGAIN) usleep(POLL_US);
    return rc;
}

static const om_device_ops *find_cuda(void)
{
    const om_device_ops *found = om_device_find("cuda");
    const char *path = getenv("OMMA_TEST_CUDA");
    om_plugin_fn fn = NULL;
    if (found || !path) return found;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL),
         *symbol = handle ? dlsym(handle, "omma_plugin") : NULL;
    memcpy(&fn, &symbol, sizeof fn);
    return fn ? fn()->device : NULL;
}

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static om_device_ops device;
    static om_backend_ops backend;
    static const om_plugin both = {.api_version = OM_BACKEND_API_VERSION,
                                   .backend = &backend,
                                   .device = &device},
                           alone = {.api_version = OM_BACKEND_API_VERSION, .backend = &backend};
    const om_device_ops *cuda = find_cuda();
    null_ops = om_backend_lookup("null");
    backend = *null_ops;
    backend.name = "gpunull";
    backend.session_priv_size = sizeof(session);
    backend.compile = compile;
    backend.session_init = session_init;
    backend.session_fini = session_fini;
    backend.submit = submit;
    backend.wait = wait_session;
    if (!cuda) return &alone;
    device = *cuda;
    device.name = "gpunull";
    return &both;
}
