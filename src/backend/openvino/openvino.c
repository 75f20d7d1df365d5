/* The plug-in's table, the core, devices and errors. */
#include "backend/openvino/openvino.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ov_core_t *core; /* guarded by lock */
static int core_users;  /* guarded by lock */

int omov_core_get(ov_core_t **out)
{
    int rc = OM_OK;
    pthread_mutex_lock(&lock);
    if (!core) {
        ov_status_e status = ov_core_create(&core);
        if (status != OK) rc = omov_fail(OM_ERR_DEVICE, status, "OpenVINO does not start");
    }
    if (rc == OM_OK) core_users++;
    *out = core;
    pthread_mutex_unlock(&lock);
    return rc;
}

void omov_core_put(void)
{
    pthread_mutex_lock(&lock);
    if (--core_users == 0) {
        ov_core_free(core);
        core = NULL;
    }
    pthread_mutex_unlock(&lock);
}

/* The engine's messages are several lines, most of which name its own source files. */
static bool says_nothing(const char *line, size_t n)
{
    static const char *const noise[] = {"Exception from ", "Check '", "[ GENERAL_ERROR ]"};
    while (n && *line == ' ') line++, n--;
    if (n == 0) return true;
    for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++)
        if (n >= strlen(noise[i]) && strncmp(line, noise[i], strlen(noise[i])) == 0) return true;
    return false;
}

static void add_reason(om_str *out, const char *message)
{
    while (*message) {
        size_t n = strcspn(message, "\r\n");
        if (!says_nothing(message, n)) {
            const char *from = message + strspn(message, " \t");
            om_str_add(out, out->len ? " " : "");
            om_str_addn(out, from, (size_t)(message + n - from));
        }
        message += n + (message[n] != 0);
    }
}

int omov_fail(int code, ov_status_e status, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    om_str reason = {0};
    const char *message = ov_get_last_err_msg();
    if (message) {
        add_reason(&reason, message);
        if (!reason.len) om_str_addn(&reason, message, strcspn(message, "\r\n"));
        ov_free(message);
    }
    om_fail(code, "%s: %s", what, reason.len ? om_str_get(&reason) : ov_get_error_info(status));
    om_str_fini(&reason);
    return code;
}

static const struct type_pair {
    om_dtype dtype;
    ov_element_type_e type;
} types[] = {
    {OM_DTYPE_F32, F32},      {OM_DTYPE_F16, F16}, {OM_DTYPE_BF16, BF16}, {OM_DTYPE_F64, F64},
    {OM_DTYPE_U8, U8},        {OM_DTYPE_I8, I8},   {OM_DTYPE_U16, U16},   {OM_DTYPE_I16, I16},
    {OM_DTYPE_U32, U32},      {OM_DTYPE_I32, I32}, {OM_DTYPE_U64, U64},   {OM_DTYPE_I64, I64},
    {OM_DTYPE_BOOL, BOOLEAN},
};

ov_element_type_e omov_type(om_dtype t)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].dtype == t) return types[i].type;
    return DYNAMIC;
}

om_dtype omov_dtype(ov_element_type_e t)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == t) return types[i].dtype;
    return OM_DTYPE_NONE;
}

/* "FP32 BIN INT8 EXPORT_IMPORT" as precisions that --precision takes. */
static void list_precisions(const char *capabilities, char *out, size_t size)
{
    static const struct {
        const char *theirs, *ours;
    } names[] = {{"FP32", "f32"}, {"FP16", "f16"}, {"BF16", "bf16"}, {"INT8", "int8"}};
    out[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(out);
        if (strstr(capabilities, names[i].theirs))
            snprintf(out + len, size - len, "%s%s", len ? " " : "", names[i].ours);
    }
}

static void describe_device(const ov_core_t *c, const char *id, om_backend_device *out)
{
    memset(out, 0, sizeof *out);
    if (strcmp(id, "CPU") == 0) snprintf(out->id, sizeof out->id, "cpu");
    else snprintf(out->id, sizeof out->id, "openvino:%.20s", id);
    char *text = NULL;
    if (ov_core_get_property(c, id, ov_property_key_device_full_name, &text) == OK)
        snprintf(out->name, sizeof out->name, "%s", text);
    ov_free(text);
    text = NULL;
    if (ov_core_get_property(c, id, ov_property_key_device_capabilities, &text) == OK)
        list_precisions(text, out->precisions, sizeof out->precisions);
    ov_free(text);
}

static int list_devices(om_backend_device *out, int max)
{
    ov_core_t *c;
    int rc = omov_core_get(&c);
    if (rc != OM_OK) return rc;
    ov_available_devices_t list = {0};
    ov_status_e status = ov_core_get_available_devices(c, &list);
    if (status == OK) {
        rc = (int)list.size;
        for (int i = 0; i < rc && i < max; i++) describe_device(c, list.devices[i], &out[i]);
        ov_available_devices_free(&list);
    } else {
        rc = omov_fail(OM_ERR_DEVICE, status, "OpenVINO's devices");
    }
    omov_core_put();
    return rc;
}

static const char *engine_version(void)
{
    static char text[64];
    pthread_mutex_lock(&lock);
    if (!text[0]) {
        ov_version_t v = {0};
        if (ov_get_openvino_version(&v) == OK) {
            snprintf(text, sizeof text, "%.*s", (int)strcspn(v.buildNumber, "-"), v.buildNumber);
            ov_version_free(&v);
        } else {
            snprintf(text, sizeof text, "unknown");
        }
    }
    pthread_mutex_unlock(&lock);
    return text;
}

static const om_backend_ops ops = {
    .api_version = OM_BACKEND_API_VERSION,
    .name = "openvino",
    .title = "OpenVINO: CPUs, and Intel GPUs and NPUs by their names",
    .plan_priv_size = sizeof(omov_plan),
    .session_priv_size = sizeof(omov_session),
    .devices = list_devices,
    .version = engine_version,
    .supports = omov_supports,
    .compile = omov_compile,
    .plan_fini = omov_plan_fini,
    .session_init = omov_session_init,
    .session_fini = omov_session_fini,
    .submit = omov_submit,
    .wait = omov_wait,
    .layers = omov_layers,
    .plan_export = omov_export,
    .plan_import = omov_import,
    .parts = &omov_parts,
};

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static const om_plugin plugin = {.api_version = OM_BACKEND_API_VERSION, .backend = &ops};
    return &plugin;
}
