/* The index of a graph's names: open addressing, linear probing, a table of value numbers. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"

#define EMPTY (-1)
#define REMOVED (-2)

struct om_name_index {
    int *slots;
    size_t n_slots; /* a power of two */
    size_t filled;  /* slots that are not EMPTY */
};

static uint64_t hash(const char *s)
{
    uint64_t h = 1469598103934665603ull;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211ull;
    return h ^ (h >> 29);
}

static int resize(struct om_name_index *x, size_t n_slots)
{
    int *slots = om_alloc(n_slots * sizeof *slots);
    if (!slots) return OM_ERR_NOMEM;
    for (size_t i = 0; i < n_slots; i++) slots[i] = EMPTY;
    om_free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    x->filled = 0;
    return OM_OK;
}

int om_names_create(struct om_name_index **out)
{
    struct om_name_index *x = om_calloc(1, sizeof *x);
    *out = NULL;
    if (!x) return OM_ERR_NOMEM;
    if (resize(x, 64) < 0) {
        om_free(x);
        return OM_ERR_NOMEM;
    }
    *out = x;
    return OM_OK;
}

void om_names_destroy(struct om_name_index *x)
{
    if (!x) return;
    om_free(x->slots);
    om_free(x);
}

int om_names_find(const struct om_name_index *x, const om_graph *g, const char *name)
{
    size_t mask = x->n_slots - 1;
    for (size_t i = hash(name) & mask; x->slots[i] != EMPTY; i = (i + 1) & mask)
        if (x->slots[i] >= 0 && !strcmp(g->values[x->slots[i]].name, name)) return x->slots[i];
    return OM_ERR_NOT_FOUND;
}

static void put(struct om_name_index *x, const om_graph *g, int value)
{
    size_t mask = x->n_slots - 1, i = hash(g->values[value].name) & mask;
    while (x->slots[i] >= 0) i = (i + 1) & mask;
    if (x->slots[i] == EMPTY) x->filled++;
    x->slots[i] = value;
}

int om_names_rebuild(struct om_name_index *x, const om_graph *g)
{
    size_t n = x->n_slots;
    while (n < (size_t)g->n_values * 2 + 2) n *= 2;
    if (resize(x, n) < 0) return OM_ERR_NOMEM;
    for (int v = 0; v < g->n_values; v++) put(x, g, v);
    return OM_OK;
}

int om_names_reserve(struct om_name_index *x, const om_graph *g)
{
    return (x->filled + 1) * 4 > x->n_slots * 3 ? om_names_rebuild(x, g) : OM_OK;
}

int om_names_insert(struct om_name_index *x, const om_graph *g, int value)
{
    if ((x->filled + 1) * 4 > x->n_slots * 3) return om_names_rebuild(x, g);
    put(x, g, value);
    return OM_OK;
}

static int *slot_of(const struct om_name_index *x, const om_graph *g, int value)
{
    size_t mask = x->n_slots - 1;
    for (size_t i = hash(g->values[value].name) & mask; x->slots[i] != EMPTY; i = (i + 1) & mask)
        if (x->slots[i] == value) return &x->slots[i];
    return NULL;
}

void om_names_remove(struct om_name_index *x, const om_graph *g, int value)
{
    int *slot = slot_of(x, g, value);
    if (slot) *slot = REMOVED;
}

void om_names_swap(struct om_name_index *x, om_graph *g, int a, int b)
{
    int *of_a = slot_of(x, g, a), *of_b = slot_of(x, g, b);
    char *name = g->values[a].name;
    g->values[a].name = g->values[b].name;
    g->values[b].name = name;
    if (of_a) *of_a = b;
    if (of_b) *of_b = a;
}
