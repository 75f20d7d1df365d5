#include "model/operators.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

#define MAX_OPERATORS 256
#define ALL_FUSES                                                                                            \
    (1 << OM_OPERATOR_NONE | 1 << OM_OPERATOR_RELU | 1 << OM_OPERATOR_CLIP | 1 << OM_OPERATOR_SILU)

/* Append-only: readers look at the first n of them. */
static const om_operator *all[MAX_OPERATORS];
static char *from[MAX_OPERATORS]; /* guarded by lock: the file of each */
static int n_all;                 /* guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *own_domain(const char *domain)
{
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static int find(const char *domain, const char *type)
{
    for (int i = 0; i < n_all; i++)
        if (strcmp(all[i]->type, type) == 0 && strcmp(own_domain(all[i]->domain), own_domain(domain)) == 0)
            return i;
    return -1;
}

const om_operator *om_operators_find(const char *domain, const char *type)
{
    pthread_mutex_lock(&lock);
    int i = find(domain, type);
    pthread_mutex_unlock(&lock);
    return i < 0 ? NULL : all[i];
}

static int check_one(const om_operator_list *l, int i, const char *path)
{
    const om_operator *o = l->operators[i];
    const char *lacks = !o                      ? "the operator itself"
                        : !o->name || !*o->name ? "a name"
                        : !o->type || !*o->type ? "the type of its nodes"
                        : !o->domain            ? "a domain"
                        : !o->launch            ? "launch"
                                                : NULL;
    if (lacks) return om_fail(OM_ERR_FORMAT, "%s: operator %d of '%s' lacks %s", path, i, l->name, lacks);
    if (o->layout != OM_OPERATOR_DENSE && o->layout != OM_OPERATOR_CHANNELS_LAST)
        return om_fail(OM_ERR_FORMAT, "%s: operator '%s' has layout %d; expected %d or %d", path, o->name,
                       o->layout, OM_OPERATOR_DENSE, OM_OPERATOR_CHANNELS_LAST);
    if (o->fuses & ~ALL_FUSES)
        return om_fail(OM_ERR_FORMAT, "%s: operator '%s' fuses 0x%x; this omma knows 0x%x", path, o->name,
                       (unsigned)o->fuses, (unsigned)ALL_FUSES);
    int there = find(o->domain, o->type);
    if (there >= 0)
        return om_fail(OM_ERR_ARG, "%s: operator '%s' is for %s%s%s, which '%s' of %s is for already", path,
                       o->name, o->domain, *o->domain ? ":" : "", o->type, all[there]->name, from[there]);
    for (int k = 0; k < i; k++)
        if (strcmp(l->operators[k]->type, o->type) == 0 &&
            strcmp(own_domain(l->operators[k]->domain), own_domain(o->domain)) == 0)
            return om_fail(OM_ERR_FORMAT, "%s: operators '%s' and '%s' are both for %s%s%s", path,
                           l->operators[k]->name, o->name, o->domain, *o->domain ? ":" : "", o->type);
    return OM_OK;
}

static int check_list(const om_operator_list *l, const char *path)
{
    if (!l) return om_fail(OM_ERR_FORMAT, "%s: omma_operators() returned nothing", path);
    if (l->api_version != OM_OPERATOR_API)
        return om_fail(OM_ERR_FORMAT,
                       "%s: built for version %u of the interface of operators; this omma has %u", path,
                       l->api_version, OM_OPERATOR_API);
    if (!l->name || !*l->name) return om_fail(OM_ERR_FORMAT, "%s: its list of operators has no name", path);
    if (!l->operators || l->n_operators < 1)
        return om_fail(OM_ERR_FORMAT, "%s: '%s' has no operators", path, l->name);
    if (n_all + l->n_operators > MAX_OPERATORS)
        return om_fail(OM_ERR_FULL, "%s: more than %d operators", path, MAX_OPERATORS);
    int err = OM_OK;
    for (int i = 0; i < l->n_operators && !err; i++) err = check_one(l, i, path);
    return err;
}

static bool is_loaded(const om_operator_list *l)
{
    for (int i = 0; l && l->operators && i < n_all; i++)
        if (l->n_operators > 0 && all[i] == l->operators[0]) return true;
    return false;
}

int om_operators_add(const om_operator_list *list, const char *path)
{
    pthread_mutex_lock(&lock);
    int err = is_loaded(list) ? OM_OK : check_list(list, path);
    bool add = !err && !is_loaded(list);
    char *names[MAX_OPERATORS] = {NULL};
    for (int i = 0; add && i < list->n_operators && !err; i++)
        if (!(names[i] = om_strdup(path))) err = OM_ERR_NOMEM;
    for (int i = 0; add && i < list->n_operators; i++) {
        if (err) {
            om_free(names[i]);
            continue;
        }
        from[n_all] = names[i];
        all[n_all++] = list->operators[i];
    }
    pthread_mutex_unlock(&lock);
    return err;
}

int om_operators_load(const char *path)
{
    if (access(path, R_OK) != 0)
        return om_fail(OM_ERR_NOT_FOUND, "%s: no such file of operators, or it cannot be read", path);
    /* A name without a folder would be looked for among the system's libraries. */
    char *place = om_sprintf("%s%s", strchr(path, '/') ? "" : "./", path);
    if (!place) return OM_ERR_NOMEM;
    void *lib = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    om_free(place);
    if (!lib) return om_fail(OM_ERR_FORMAT, "%s: does not load: %s", path, dlerror());
    om_operators_fn get;
    void *symbol = dlsym(lib, "omma_operators");
    if (!symbol) {
        dlclose(lib);
        return om_fail(OM_ERR_FORMAT, "%s: exports no omma_operators(); expected a file of operators", path);
    }
    memcpy(&get, &symbol, sizeof get);
    return om_operators_add(get(), path);
}

int om_operators_load_list(const om_strlist *paths)
{
    int err = OM_OK;
    for (size_t i = 0; i < paths->n && !err; i++) err = om_operators_load(paths->items[i]);
    return err;
}

int om_operators_load_env(void)
{
    static bool done; /* guarded by env_lock */
    static pthread_mutex_t env_lock = PTHREAD_MUTEX_INITIALIZER;
    int err = OM_OK;
    pthread_mutex_lock(&env_lock);
    const char *env = done ? NULL : secure_getenv("OMMA_OPERATORS");
    while (env && *env && !err) {
        size_t n = strcspn(env, ":");
        char *path = n ? om_strndup(env, n) : NULL;
        if (n) err = path ? om_operators_load(path) : OM_ERR_NOMEM;
        if (err && path) err = om_fail_prefix(err, "OMMA_OPERATORS");
        om_free(path);
        env += n + (env[n] == ':');
    }
    done = !err;
    pthread_mutex_unlock(&env_lock);
    return err;
}

/* ---- attributes ---- */

typedef struct copied {
    char *name, *s;
    om_attr_type type;
    int64_t i, *ints;
    float f;
    size_t n;
} copied;

struct om_operator_node {
    copied *attrs;
    int n;
};

void om_operator_node_destroy(om_operator_node *n)
{
    if (!n) return;
    for (int i = 0; i < n->n; i++) {
        om_free(n->attrs[i].name);
        om_free(n->attrs[i].s);
        om_free(n->attrs[i].ints);
    }
    om_free(n->attrs);
    om_free(n);
}

int om_operator_node_create(const om_node *n, om_operator_node **out)
{
    om_operator_node *c = om_calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return OM_ERR_NOMEM;
    c->attrs = om_calloc((size_t)n->n_attrs + 1, sizeof *c->attrs);
    bool whole = c->attrs;
    for (int i = 0; i < n->n_attrs && whole; i++) {
        const om_attr *a = &n->attrs[i];
        copied *to = &c->attrs[c->n++];
        *to = (copied){.name = om_strdup(a->name), .type = a->type, .i = a->i, .f = a->f, .n = a->n};
        if (a->type == OM_ATTR_STRING) to->s = om_strndup(a->s ? a->s : "", a->s_len);
        if (a->type == OM_ATTR_INTS) to->ints = om_calloc(a->n + 1, sizeof *to->ints);
        whole = to->name && (to->s || a->type != OM_ATTR_STRING) && (to->ints || a->type != OM_ATTR_INTS);
        if (whole && a->type == OM_ATTR_INTS && a->n) memcpy(to->ints, a->ints, a->n * sizeof *to->ints);
    }
    if (!whole) {
        om_operator_node_destroy(c);
        return OM_ERR_NOMEM;
    }
    *out = c;
    return OM_OK;
}

static const copied *attribute(const om_operator_call *c, const char *name, om_attr_type type)
{
    const om_operator_node *n = c->inside;
    for (int i = 0; i < n->n; i++)
        if (n->attrs[i].type == type && strcmp(n->attrs[i].name, name) == 0) return &n->attrs[i];
    return NULL;
}

static int64_t attr_int(const om_operator_call *c, const char *name, int64_t fallback)
{
    const copied *a = attribute(c, name, OM_ATTR_INT);
    return a ? a->i : fallback;
}

static float attr_float(const om_operator_call *c, const char *name, float fallback)
{
    const copied *a = attribute(c, name, OM_ATTR_FLOAT);
    return a ? a->f : fallback;
}

static int32_t attr_ints(const om_operator_call *c, const char *name, int64_t *out, int32_t max)
{
    const copied *a = attribute(c, name, OM_ATTR_INTS);
    for (int32_t i = 0; a && i < max && (size_t)i < a->n; i++) out[i] = a->ints[i];
    return a ? (int32_t)a->n : 0;
}

static const char *attr_string(const om_operator_call *c, const char *name, const char *fallback)
{
    const copied *a = attribute(c, name, OM_ATTR_STRING);
    return a ? a->s : fallback;
}

void om_operator_call_attach(om_operator_call *c, const om_operator_node *n)
{
    c->inside = n;
    c->attr_int = attr_int;
    c->attr_float = attr_float;
    c->attr_ints = attr_ints;
    c->attr_string = attr_string;
}
