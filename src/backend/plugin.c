#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "trace/trace.h"

#define MAX_PLUGINS 32

static const struct known_plugin {
    const char *name, *how;
} known[] = {
    {"openvino", "`make` builds it once scripts/setup has fetched OpenVINO"},
    {"cuda", "`make` builds it where CUDA's nvcc is installed"},
};

static om_plugin_state states[MAX_PLUGINS]; /* guarded by lock; texts live as long as the process */
static size_t n_states;                     /* guarded by lock */
static om_strlist folders;                  /* guarded by lock; where to look, in order */
static bool have_folders, loaded_all;       /* guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool file_exists(const char *path) { return access(path, R_OK) == 0; }

static void add_folder(const char *base, size_t base_len, const char *below)
{
    char *path = om_sprintf("%.*s%s", (int)base_len, base, below);
    if (!path) return;
    for (size_t i = 0; i < folders.n; i++)
        if (strcmp(folders.items[i], path) == 0) goto done;
    om_strlist_add(&folders, path);
done:
    om_free(path);
}

/* The folders around a running binary: beside it, the build tree's place below it, and an installation's. */
static void add_around(const char *binary)
{
    static const char *const below[] = {"", "/backend/openvino", "/device/cuda", "/omma/plugins",
                                        "/../lib/omma/plugins"};
    const char *slash = strrchr(binary, '/');
    if (!slash) return;
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++)
        add_folder(binary, (size_t)(slash - binary), below[i]);
}

static void find_folders(void)
{
    if (have_folders) return;
    have_folders = true;
    const char *env = secure_getenv("OMMA_PLUGINS");
    while (env && *env) {
        size_t n = strcspn(env, ":");
        if (n) add_folder(env, n, "");
        env += n + (env[n] == ':');
    }
    Dl_info self;
    char *real =
        dladdr((const void *)om_plugin_load, &self) && self.dli_fname ? realpath(self.dli_fname, NULL) : NULL;
    if (real) add_around(real);
    free(real);
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = 0;
        add_around(exe);
    }
    add_folder(OMMA_PLUGIN_DIR, strlen(OMMA_PLUGIN_DIR), "");
}

static const char *plugin_problem(const om_plugin *p, const char *name)
{
    if (!p) return "omma_plugin() gave nothing";
    if (p->api_version != OM_BACKEND_API_VERSION) return "built for another version of omma";
    if (!p->backend && !p->device) return "holds neither a backend nor a device";
    if (p->backend && (!p->backend->name || strcmp(p->backend->name, name) != 0))
        return "its backend's name is not the file's";
    if (p->device && p->device->api_version != OM_DEVICE_API_VERSION)
        return "its device was built for another version of omma";
    if (!p->backend && (!p->device->name || strcmp(p->device->name, name) != 0))
        return "its device's name is not the file's";
    return NULL;
}

static bool failed(char **why, const char *text)
{
    *why = om_strdup(text);
    return false;
}

/* False: *why says it, owned by the caller, NULL where memory is short. */
static bool load_file(const char *path, const char *name, char **why)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *text = dlerror();
        return failed(why, text ? text : "dlopen failed");
    }
    /* ISO C has no conversion from void * to a function pointer; POSIX promises that the bytes are the same.
     */
    om_plugin_fn fn = NULL;
    void *symbol = dlsym(handle, "omma_plugin");
    memcpy(&fn, &symbol, sizeof fn);
    if (!fn) return failed(why, "exports no omma_plugin()");
    const om_plugin *plugin = fn();
    const char *problem = plugin_problem(plugin, name);
    if (problem) return failed(why, problem);
    if (plugin->device && om_device_register(plugin->device) != OM_OK) return failed(why, om_error_message());
    if (plugin->backend && om_backend_register(plugin->backend) != OM_OK)
        return failed(why, om_error_message());
    return true;
}

static bool is_loaded(const char *name)
{
    for (size_t i = 0; i < n_states; i++)
        if (states[i].loaded && strcmp(states[i].name, name) == 0) return true;
    return false;
}

static bool was_tried(const char *path)
{
    for (size_t i = 0; i < n_states; i++)
        if (strcmp(states[i].path, path) == 0) return true;
    return false;
}

/* Takes over `path`; a plug-in that is already there, or a file that was tried, is left alone. */
static void try_file(char *path, const char *name)
{
    char *kept = NULL;
    if (!path || n_states == MAX_PLUGINS || is_loaded(name) || was_tried(path) || !(kept = om_strdup(name))) {
        om_free(path);
        return;
    }
    om_trace_begin("plugin_load", -1);
    char *why = NULL;
    bool loaded = load_file(path, name, &why);
    om_trace_end("plugin_load");
    states[n_states++] = (om_plugin_state){.name = kept,
                                           .path = path,
                                           .loaded = loaded,
                                           .state = loaded ? "loaded"
                                                    : why  ? why
                                                           : "out of memory"};
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_plugin_file(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 8 && strncmp(e->d_name, "omma-", 5) == 0 && strcmp(e->d_name + n - 3, ".so") == 0;
}

static void load_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, is_plugin_file, by_name);
    for (int i = 0; i < n; i++) {
        const char *file = entries[i]->d_name;
        char *name = om_strndup(file + 5, strlen(file) - 8);
        if (name) try_file(om_sprintf("%s/%s", folder, file), name);
        om_free(name);
        free(entries[i]);
    }
    free(entries);
}

void om_plugin_load(const char *name)
{
    pthread_mutex_lock(&lock);
    find_folders();
    for (size_t i = 0; i < folders.n; i++) {
        char *path = om_sprintf("%s/omma-%s.so", folders.items[i], name);
        if (path && file_exists(path)) try_file(path, name);
        else om_free(path);
    }
    pthread_mutex_unlock(&lock);
}

void om_plugin_load_all(void)
{
    pthread_mutex_lock(&lock);
    find_folders();
    for (size_t i = 0; i < folders.n && !loaded_all; i++) load_folder(folders.items[i]);
    loaded_all = true;
    pthread_mutex_unlock(&lock);
}

size_t om_plugins(const om_plugin_state **out)
{
    om_plugin_load_all();
    pthread_mutex_lock(&lock);
    size_t n = n_states;
    pthread_mutex_unlock(&lock);
    *out = states;
    return n;
}

bool om_plugin_known(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) return true;
    return false;
}

int om_plugin_missing(const char *name, const char *text)
{
    const char *how = "";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) how = known[i].how;
    int rc = OM_OK;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_states && rc == OM_OK; i++)
        if (!states[i].loaded && strcmp(states[i].name, name) == 0)
            rc = om_fail(OM_ERR_NOT_FOUND, "device '%s' needs the plug-in %s, which does not load: %s", text,
                         states[i].path, states[i].state);
    bool has_device = is_loaded(name);
    pthread_mutex_unlock(&lock);
    if (rc != OM_OK) return rc;
    if (has_device)
        return om_fail(OM_ERR_NOT_FOUND, "device '%s': the plug-in omma-%s.so brings no engine to run models",
                       text, name);
    return om_fail(
        OM_ERR_NOT_FOUND,
        "device '%s' needs the plug-in omma-%s.so, which is neither beside omma nor in $OMMA_PLUGINS nor in "
        "%s; %s",
        text, name, OMMA_PLUGIN_DIR, how);
}
