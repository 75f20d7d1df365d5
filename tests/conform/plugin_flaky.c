/* A device that is lost, or short of memory, and an engine on it that computes nothing: what a failing GPU
 * looks like to the pipeline.   flaky:N   is lost at submit N;   flaky:1000+B   has memory for batches of B
 * at most. It holds 2 MB of its memory a plan, and of each session and gather a megabyte and 16 kB an item.
 * OMMA_TEST_FLAKY names a file: a device that is lost writes "1" into it; while it holds a number above 0,
 * opening the device fails and takes one away; at 0 the device works for good. With OMMA_TEST_BUSY=N it says
 * that others keep it N percent busy. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"
#include "base/str.h"
#include "device/host.h"

#define SMALL 1000 /* from here on the number means memory */
#define PLAN_BYTES ((size_t)2 << 20)
#define ITEM_BYTES ((size_t)1 << 20)
#define UPLOAD_BYTES ((size_t)16 << 10)

static atomic_int submits_left;
static atomic_bool is_lost, worked;
static int largest_batch;
static const om_backend_ops *null_ops;

static int lost(void) { return om_fail(OM_ERR_DEVICE_LOST, "device flaky: it fell off the bus"); }

static int count(void) { return 2 * SMALL; }

/* The number in the file; -1: there is none. */
static int trouble(void)
{
    int n = -1;
    const char *path = getenv("OMMA_TEST_FLAKY");
    FILE *f = path ? fopen(path, "r") : NULL;
    if (f && fscanf(f, "%d", &n) != 1) n = -1;
    if (f) fclose(f);
    return n;
}

static void set_trouble(int n)
{
    const char *path = getenv("OMMA_TEST_FLAKY");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%d", n);
    fclose(f);
}

static int open_device(om_device *d, int index)
{
    int n = trouble();
    if (n > 0) {
        set_trouble(n - 1);
        return lost();
    }
    if (n == 0) index = SMALL - 1;
    atomic_store(&is_lost, false);
    atomic_store(&submits_left, index < SMALL - 1 ? index : 1 << 30);
    largest_batch = index < SMALL ? 1 << 30 : index - SMALL;
    return OM_OK;
}

static bool device_lost(om_device *d, bool probe) { return atomic_load(&is_lost); }

static int gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s)
{
    if (atomic_load(&is_lost)) return lost();
    int rc = om_device_mem_claim(d, OM_PURPOSE_STAGING, n * UPLOAD_BYTES);
    if (rc != OM_OK) return rc;
    rc = om_device_host.gather(d, items, n, prep, s);
    om_device_mem_release(d, OM_PURPOSE_STAGING, n * UPLOAD_BYTES);
    return rc;
}

/* Behind null's own state: whether the memory was claimed. */
static bool *claimed_of(void *priv, size_t null_size) { return (bool *)((char *)priv + null_size); }

static int compile(om_plan *plan, const om_compile_params *params)
{
    om_compile_params own = *params;
    own.device = "2000";
    if (params->batch > largest_batch) return om_fail(OM_ERR_NOMEM, "device flaky: out of memory");
    if (atomic_load(&is_lost)) return lost();
    int rc = om_device_mem_claim(params->memory, OM_PURPOSE_WEIGHTS, PLAN_BYTES);
    if (rc != OM_OK) return rc;
    *claimed_of(plan->priv, null_ops->plan_priv_size) = true;
    return null_ops->compile(plan, &own);
}

static void plan_fini(om_plan *plan)
{
    if (*claimed_of(plan->priv, null_ops->plan_priv_size))
        om_device_mem_release(plan->memory, OM_PURPOSE_WEIGHTS, PLAN_BYTES);
    null_ops->plan_fini(plan);
}

/* As an engine whose compiled forms cannot all be kept. */
static int plan_export(om_plan *plan, char **blob, size_t *len)
{
    return om_fail(OM_ERR_UNSUPPORTED, "flaky keeps no form of this model");
}

static int plan_import(om_plan *plan, const om_compile_params *params, const void *blob, size_t len)
{
    return om_fail(OM_ERR_UNSUPPORTED, "flaky exports no forms");
}

static int session_init(om_session *s)
{
    int rc = null_ops->session_init(s);
    if (rc == OM_OK)
        rc = om_device_mem_claim(s->plan->memory, OM_PURPOSE_WORK, (size_t)s->plan->batch * ITEM_BYTES);
    *claimed_of(s->priv, null_ops->session_priv_size) = rc == OM_OK;
    return rc;
}

static void session_fini(om_session *s)
{
    if (*claimed_of(s->priv, null_ops->session_priv_size))
        om_device_mem_release(s->plan->memory, OM_PURPOSE_WORK, (size_t)s->plan->batch * ITEM_BYTES);
    null_ops->session_fini(s);
}

static int submit(om_session *s, int n)
{
    atomic_store(&worked, true);
    if (atomic_fetch_sub(&submits_left, 1) <= 1 && !atomic_exchange(&is_lost, true)) set_trouble(1);
    return atomic_load(&is_lost) ? lost() : null_ops->submit(s, n);
}

/* OMMA_TEST_BUSY percent by others; all of it once something was submitted. */
static int usage(om_device *d, om_device_usage *out)
{
    out->compute_percent = atomic_load(&worked) ? 100 : atof(getenv("OMMA_TEST_BUSY"));
    return OM_OK;
}

/* What was in flight goes down with it. */
static int wait_session(om_session *s)
{
    int rc = null_ops->wait(s);
    return atomic_load(&is_lost) ? lost() : rc;
}

/* Null's sessions and plans know each other by their plan's ops, which are these. */
const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static om_device_ops device;
    static om_backend_ops backend;
    static const om_plugin plugin = {
        .api_version = OM_BACKEND_API_VERSION, .backend = &backend, .device = &device};
    null_ops = om_backend_lookup("null");
    device = om_device_host;
    device.name = "flaky";
    device.memory =
        OM_MEMORY_CUDA; /* so that it counts as a GPU; pictures in host memory it reads all the same */
    device.count = count;
    device.open = open_device;
    device.lost = device_lost;
    device.gather = gather;
    if (getenv("OMMA_TEST_BUSY")) device.usage = usage;
    backend = *null_ops;
    backend.name = "flaky";
    backend.plan_priv_size += sizeof(bool);
    backend.session_priv_size += sizeof(bool);
    backend.compile = compile;
    backend.plan_fini = plan_fini;
    backend.plan_export = plan_export;
    backend.plan_import = plan_import;
    backend.session_init = session_init;
    backend.session_fini = session_fini;
    backend.submit = submit;
    backend.wait = wait_session;
    return &plugin;
}
