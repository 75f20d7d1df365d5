/* Where a model may be split with sense: behind whole layers, where little is live. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "worker/split.h"

#define MOST_LIVE 4

/* Operators that an engine runs within the one before: no split between them. */
static bool joins(const char *op)
{
    static const char *const ops[] = {"Relu",      "Clip",      "Sigmoid", "LeakyRelu", "HardSwish",
                                      "Mul",       "Add",       "Sub",     "Div",       "BatchNormalization",
                                      "Erf",       "Softmax",   "Flatten", "Reshape",   "Squeeze",
                                      "Unsqueeze", "Transpose", "Cast",    NULL};
    for (const char *const *o = ops; *o; o++)
        if (!strcmp(*o, op)) return true;
    return false;
}

void om_split_points_free(om_split_point *points, int n)
{
    for (int i = 0; points && i < n; i++) om_free(points[i].name);
    om_free(points);
}

typedef struct finding {
    const om_graph *g;
    int *last; /* of each value: the last node that reads it; n_nodes for outputs */
    om_split_point *points;
    int n;
} finding;

static void find_readers(finding *f)
{
    const om_graph *g = f->g;
    for (int i = 0; i < g->n_values; i++) f->last[i] = -1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_inputs && !g->nodes[i].dead; k++)
            if (g->nodes[i].inputs[k] >= 0) f->last[g->nodes[i].inputs[k]] = i;
    for (int i = 0; i < g->n_outputs; i++) f->last[g->outputs[i]] = g->n_nodes;
}

/* What is made up to node `at` and read behind it; false: no place for a split. */
static bool look(const finding *f, int at, om_split_point *p, int *named)
{
    const om_graph *g = f->g;
    for (int v = 0; v < g->n_values; v++) {
        const om_value *value = &g->values[v];
        bool made = value->is_input || (value->producer >= 0 && value->producer <= at);
        if (value->constant || !made || f->last[v] <= at) continue;
        int64_t count = om_shape_count(&value->shape);
        if (value->is_input || value->is_output || count < 1 || value->dtype == OM_DTYPE_STRING) return false;
        if (*named < 0 || value->producer == at) *named = v;
        p->bytes += (size_t)count * sizeof(float);
        if (++p->n_live > MOST_LIVE) return false;
    }
    return p->n_live > 0;
}

/* Whether somebody reads it who would not run within it. */
static bool is_layer_end(const finding *f, int at)
{
    const om_graph *g = f->g;
    for (int i = at + 1; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_inputs; k++)
            if (g->nodes[i].inputs[k] == om_node_out(g, at) && !joins(g->nodes[i].op)) return true;
    return false;
}

static int find(finding *f)
{
    const om_graph *g = f->g;
    int64_t macs = 0;
    for (int i = 0; i + 1 < g->n_nodes; i++) {
        om_split_point p = {.position = i};
        int named = -1;
        if (g->nodes[i].dead) continue;
        int64_t own = om_node_macs(g, &g->nodes[i]);
        macs += own > 0 ? own : 0;
        if (!is_layer_end(f, i) || !look(f, i, &p, &named)) continue;
        p.macs = macs;
        p.name = om_strdup(g->values[named].name);
        if (!p.name) return OM_ERR_NOMEM;
        f->points[f->n++] = p;
    }
    return OM_OK;
}

/* The share of the work before a point; where that is not known, its place in the list. */
static double share_of(const finding *f, int at, int64_t all)
{
    return all > 0 ? (double)f->points[at].macs / (double)all : (double)(at + 1) / (f->n + 1);
}

/* Of more than `max` those nearest behind even shares of the work. */
static int thin(finding *f, int max)
{
    int64_t all = om_graph_macs(f->g);
    int kept = 0, at = 0, n = f->n;
    if (n <= max) return OM_OK;
    double *share = om_alloc((size_t)n * sizeof *share);
    if (!share) return OM_ERR_NOMEM;
    for (int i = 0; i < n; i++) share[i] = share_of(f, i, all);
    for (int k = 1; k <= max && at < n; k++) {
        while (at + 1 < n && share[at] < (double)k / (max + 1)) om_free(f->points[at++].name);
        f->points[kept++] = f->points[at++];
    }
    for (; at < n; at++) om_free(f->points[at].name);
    f->n = kept;
    om_free(share);
    return OM_OK;
}

int om_split_points(const om_graph *g, int max, om_split_point **out, int *n)
{
    finding f = {.g = g};
    *out = NULL;
    *n = 0;
    f.last = om_alloc(((size_t)g->n_values + 1) * sizeof *f.last);
    f.points = om_calloc((size_t)g->n_nodes + 1, sizeof *f.points);
    int err = f.last && f.points ? OM_OK : OM_ERR_NOMEM;
    if (!err) {
        find_readers(&f);
        err = find(&f);
    }
    om_free(f.last);
    if (!err) err = thin(&f, max);
    if (!err && !f.n)
        err = om_fail(OM_ERR_ARG,
                      "no place to split the model: more than %d tensors are live everywhere, or their sizes "
                      "depend on the picture",
                      MOST_LIVE);
    if (err) {
        om_split_points_free(f.points, f.n);
        return err;
    }
    *out = f.points;
    *n = f.n;
    return OM_OK;
}
