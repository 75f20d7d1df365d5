#include "backend/backend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/registry.h"
#include "base/error.h"
#include "base/str.h"

#define MAX_BACKENDS 15

const om_choice om_precision_choices[] = {
    {"auto", OM_PRECISION_AUTO, "what model and device do best without losing accuracy to speak of"},
    {"f32", OM_PRECISION_F32, "32-bit floats"},
    {"tf32", OM_PRECISION_TF32, "32-bit floats, multiplied with 10 bits behind the point (NVIDIA GPUs)"},
    {"f16", OM_PRECISION_F16, "16-bit floats"},
    {"bf16", OM_PRECISION_BF16, "16-bit floats with the range of 32-bit ones"},
    {"int8", OM_PRECISION_INT8, "8-bit integers, for a model that carries its own quantisation"},
    {NULL, 0, NULL},
};

const om_choice om_mode_choices[] = {
    {"throughput", OM_MODE_THROUGHPUT, "most pictures a second"},
    {"latency", OM_MODE_LATENCY, "the shortest wait for one picture"},
    {NULL, 0, NULL},
};

/* Append-only and always NULL-terminated, so that readers need no lock. */
static _Atomic(const om_backend_ops *) slots[MAX_BACKENDS + 1] = {&om_backend_null};
static const om_backend_ops *listed[MAX_BACKENDS + 1]; /* guarded by lock until the last plug-in is loaded */
static int n_backends = 1;                             /* guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *ops_problem(const om_backend_ops *ops)
{
    if (ops->api_version != OM_BACKEND_API_VERSION) return "was built for another version of omma";
    if (!ops->name || !ops->name[0] || strpbrk(ops->name, ": \t/")) return "has no usable name";
    if (!ops->title || !ops->devices || !ops->version || !ops->supports || !ops->compile || !ops->plan_fini ||
        !ops->session_init || !ops->session_fini || !ops->submit || !ops->wait)
        return "lacks an entry that every backend must have";
    if (!ops->plan_export != !ops->plan_import)
        return "has one of plan_export and plan_import without the other";
    if (ops->plan_parts && !ops->plan_export) return "has plan_parts without plan_export";
    const om_part_ops *p = ops->parts;
    if (p && (!p->compile || !p->destroy || !p->open || !p->close || !p->run))
        return "takes parts of models but lacks an entry for them";
    return NULL;
}

int om_backend_register(const om_backend_ops *ops)
{
    if (!ops) return om_fail(OM_ERR_ARG, "no backend to register");
    const char *problem = ops_problem(ops);
    if (problem) return om_fail(OM_ERR_ARG, "backend '%s' %s", ops->name ? ops->name : "", problem);
    int rc = OM_OK;
    pthread_mutex_lock(&lock);
    if (om_backend_lookup(ops->name))
        rc = om_fail(OM_ERR_ARG, "a backend named '%s' is already there", ops->name);
    else if (n_backends == MAX_BACKENDS)
        rc = om_fail(OM_ERR_FULL, "backend '%s': more than %d backends", ops->name, MAX_BACKENDS);
    else atomic_store_explicit(&slots[n_backends++], ops, memory_order_release);
    pthread_mutex_unlock(&lock);
    return rc;
}

const om_backend_ops *om_backend_lookup(const char *name)
{
    for (int i = 0;; i++) {
        const om_backend_ops *ops = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (!ops || strcmp(ops->name, name) == 0) return ops;
    }
}

const om_backend_ops *const *om_backend_list(void)
{
    om_plugin_load_all();
    pthread_mutex_lock(&lock);
    for (int i = 0; i < n_backends; i++) {
        const om_backend_ops *ops = atomic_load_explicit(&slots[i], memory_order_relaxed);
        if (listed[i] != ops) listed[i] = ops;
    }
    pthread_mutex_unlock(&lock);
    return listed;
}

/* There is no such backend, and none of omma's plug-ins brings one of that name. */
static int select_unknown(const char *text, const char *name)
{
    const om_backend_ops *const *all = om_backend_list();
    const char *names[MAX_BACKENDS + 2] = {"auto", "cpu"};
    size_t n = 2;
    om_str list = {0};
    om_str_add(&list, "auto, cpu");
    for (; all[n - 2]; n++) {
        names[n] = all[n - 2]->name;
        om_str_addf(&list, ", %s", names[n]);
    }
    const char *near = om_suggest(name, names, n);
    int rc = near ? om_fail(OM_ERR_ARG, "unknown device '%s'; did you mean '%s'? (there are: %s)", text, near,
                            om_str_get(&list))
                  : om_fail(OM_ERR_ARG, "unknown device '%s'; there are: %s", text, om_str_get(&list));
    om_str_fini(&list);
    return rc;
}

int om_backend_select(const char *text, const om_backend_ops **out, const char **device)
{
    *out = NULL;
    *device = NULL;
    if (!text || !text[0]) text = "auto";
    const char *colon = strchr(text, ':');
    char name[32];
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len == 0 || len >= sizeof name || (colon && !colon[1]))
        return om_fail(OM_ERR_ARG, "device '%s': expected BACKEND or BACKEND:DEVICE", text);
    memcpy(name, text, len);
    name[len] = 0;

    bool is_auto = strcmp(name, "auto") == 0, is_cpu = strcmp(name, "cpu") == 0;
    if ((is_auto || is_cpu) && colon)
        return om_fail(OM_ERR_ARG, "device '%s': '%s' takes no device name", text, name);
    const char *wanted = is_auto || is_cpu ? "openvino" : name;
    const om_backend_ops *ops = om_backend_lookup(wanted);
    if (!ops) {
        om_plugin_load(wanted);
        ops = om_backend_lookup(wanted);
    }
    if (!ops && om_plugin_known(wanted)) return om_plugin_missing(wanted, text);
    if (!ops) return select_unknown(text, name);
    *out = ops;
    *device = is_cpu ? "CPU" : colon ? colon + 1 : NULL;
    return OM_OK;
}
