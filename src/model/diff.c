#include "model/diff.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/infer.h"

#define MAX_SHOWN 6 /* numbers of a list */

const char *const om_diff_part_names[OM_DIFF_PARTS] = {"header", "metadata", "input",
                                                       "output", "operator", "weight"};
const char *const om_diff_change_names[] = {"added", "removed", "changed"};

typedef struct differ {
    const om_graph *a, *b;
    om_diff *out;
    int *partner; /* of each node of a: a node of b, or -1 */
    bool *taken;  /* of each node of b */
} differ;

void om_diff_free(om_diff *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->n; i++) {
        om_free(d->items[i].name);
        om_free(d->items[i].a);
        om_free(d->items[i].b);
    }
    om_free(d->items);
    om_free(d);
}

/* NULL: it is not there. */
static int add(differ *d, om_diff_part part, const char *name, const char *a, const char *b,
               double difference)
{
    om_diff *o = d->out;
    int err = om_grow((void **)&o->items, &o->cap, o->n + 1, sizeof *o->items);
    if (err < 0) return err;
    om_diff_item *item = &o->items[o->n];
    *item = (om_diff_item){.part = part,
                           .change = !a   ? OM_DIFF_ADDED
                                     : !b ? OM_DIFF_REMOVED
                                          : OM_DIFF_CHANGED,
                           .name = om_strdup(name),
                           .a = om_strdup(a ? a : ""),
                           .b = om_strdup(b ? b : ""),
                           .max_difference = difference};
    o->n++;
    return item->name && item->a && item->b ? OM_OK : OM_ERR_NOMEM;
}

static int add_if_other(differ *d, om_diff_part part, const char *name, const char *a, const char *b)
{
    return a && b && !strcmp(a, b) ? OM_OK : a || b ? add(d, part, name, a, b, -1) : OM_OK;
}

static const char *text_or_empty(const char *s) { return s ? s : ""; }

static int diff_opsets(differ *d)
{
    int err = OM_OK;
    for (int side = 0; side < 2; side++) {
        const om_graph *g = side ? d->b : d->a;
        for (int i = 0; i < g->n_opsets && err >= 0; i++) {
            const char *domain = g->opsets[i].domain;
            int64_t x = om_graph_opset(d->a, domain), y = om_graph_opset(d->b, domain);
            char name[128], a[32], b[32];
            if (x == y || (side && x)) continue; /* said already */
            snprintf(name, sizeof name, "opset %.100s", *domain ? domain : "onnx");
            snprintf(a, sizeof a, "%" PRId64, x);
            snprintf(b, sizeof b, "%" PRId64, y);
            err = add(d, OM_DIFF_HEADER, name, x ? a : NULL, y ? b : NULL, -1);
        }
    }
    return err;
}

static int diff_header(differ *d)
{
    char a[32], b[32];
    snprintf(a, sizeof a, "%" PRId64, d->a->ir_version);
    snprintf(b, sizeof b, "%" PRId64, d->b->ir_version);
    int err = add_if_other(d, OM_DIFF_HEADER, "ir version", a, b);
    if (err >= 0) err = diff_opsets(d);
    if (err >= 0)
        err = add_if_other(d, OM_DIFF_HEADER, "producer", text_or_empty(d->a->producer),
                           text_or_empty(d->b->producer));
    for (int i = 0; i < d->a->n_metas && err >= 0; i++)
        err = add_if_other(d, OM_DIFF_META, d->a->metas[i].key, d->a->metas[i].value,
                           om_graph_meta(d->b, d->a->metas[i].key));
    for (int i = 0; i < d->b->n_metas && err >= 0; i++)
        if (!om_graph_meta(d->a, d->b->metas[i].key))
            err = add(d, OM_DIFF_META, d->b->metas[i].key, NULL, d->b->metas[i].value, -1);
    return err;
}

/* "f32 1x3x640x640" */
static void value_text(const om_graph *g, int v, char out[OM_SHAPE_TEXT + 16])
{
    char shape[OM_SHAPE_TEXT] = "?";
    if (g->values[v].shape.rank >= 0) om_shape_text(&g->values[v].shape, shape);
    snprintf(out, OM_SHAPE_TEXT + 16, "%s %s", om_dtype_name(g->values[v].dtype), shape);
}

static int find_end(const om_graph *g, const int *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(g->values[list[i]].name, name)) return list[i];
    return -1;
}

static int diff_ends(differ *d, om_diff_part part)
{
    bool in = part == OM_DIFF_INPUT;
    const int *la = in ? d->a->inputs : d->a->outputs, *lb = in ? d->b->inputs : d->b->outputs;
    int na = in ? d->a->n_inputs : d->a->n_outputs, nb = in ? d->b->n_inputs : d->b->n_outputs, err = OM_OK;
    char x[OM_SHAPE_TEXT + 16], y[OM_SHAPE_TEXT + 16];
    for (int i = 0; i < na && err >= 0; i++) {
        const char *name = d->a->values[la[i]].name;
        int other = find_end(d->b, lb, nb, name);
        value_text(d->a, la[i], x);
        if (other >= 0) value_text(d->b, other, y);
        err = add_if_other(d, part, name, x, other < 0 ? NULL : y);
    }
    for (int i = 0; i < nb && err >= 0; i++) {
        const char *name = d->b->values[lb[i]].name;
        if (find_end(d->a, la, na, name) >= 0) continue;
        value_text(d->b, lb[i], y);
        err = add(d, part, name, NULL, y, -1);
    }
    return err;
}

static int maker_of(const om_graph *g, const char *value)
{
    int v = om_graph_find(g, value);
    return v < 0 ? -1 : g->values[v].producer;
}

static int named(const om_graph *g, const char *name, const char *op)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && !strcmp(g->nodes[i].name, name) && !strcmp(g->nodes[i].op, op)) return i;
    return -1;
}

static void match_nodes(differ *d)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < d->a->n_nodes; i++) {
            const om_node *n = &d->a->nodes[i];
            int other = -1;
            if (n->dead || d->partner[i] >= 0) continue;
            for (int k = 0; k < n->n_outputs && other < 0 && pass == 0; k++)
                if (n->outputs[k] >= 0) other = maker_of(d->b, d->a->values[n->outputs[k]].name);
            if (pass && *n->name) other = named(d->b, n->name, n->op);
            if (other < 0 || d->taken[other]) continue;
            d->partner[i] = other;
            d->taken[other] = true;
        }
}

static void attr_text(const om_attr *a, om_str *out)
{
    size_t shown = a->n < MAX_SHOWN ? a->n : MAX_SHOWN;
    om_str_addf(out, "%s=", a->name);
    switch (a->type) {
    case OM_ATTR_FLOAT: om_str_addf(out, "%.9g", (double)a->f); break;
    case OM_ATTR_INT: om_str_addf(out, "%" PRId64, a->i); break;
    case OM_ATTR_STRING: om_str_add(out, a->s); break;
    case OM_ATTR_FLOATS:
        for (size_t i = 0; i < shown; i++) om_str_addf(out, "%s%.9g", i ? "," : "", (double)a->floats[i]);
        break;
    case OM_ATTR_INTS:
        for (size_t i = 0; i < shown; i++) om_str_addf(out, "%s%" PRId64, i ? "," : "", a->ints[i]);
        break;
    case OM_ATTR_STRINGS:
        for (size_t i = 0; i < shown; i++) om_str_addf(out, "%s%s", i ? "," : "", a->strings[i]);
        break;
    case OM_ATTR_TENSOR:
    case OM_ATTR_TENSORS: om_str_add(out, "tensor"); break;
    case OM_ATTR_GRAPH:
    case OM_ATTR_GRAPHS: om_str_add(out, "graph"); break;
    default: om_str_add(out, "..."); break;
    }
    if (a->n > shown && shown) om_str_add(out, ",...");
}

static void inputs_text(const om_graph *g, const om_node *n, om_str *out)
{
    for (int i = 0; i < n->n_inputs; i++)
        om_str_addf(out, "%s%s", i ? "," : "", n->inputs[i] < 0 ? "" : g->values[n->inputs[i]].name);
}

static void node_text(const om_graph *g, const om_node *n, om_str *out)
{
    om_str_addf(out, "%s(", n->op);
    inputs_text(g, n, out);
    om_str_addc(out, ')');
    for (int i = 0; i < n->n_attrs; i++) {
        om_str_addc(out, ' ');
        attr_text(&n->attrs[i], out);
    }
}

static bool same_tensor(const om_const *a, const om_const *b)
{
    return a->dtype == b->dtype && a->size == b->size && om_shape_equal(&a->shape, &b->shape) &&
           (!a->size || !a->data || !b->data || !memcmp(a->data, b->data, a->size));
}

static bool same_attr(const om_attr *a, const om_attr *b)
{
    om_str x = {0}, y = {0};
    attr_text(a, &x);
    attr_text(b, &y);
    bool same = a->type == b->type && a->n == b->n && !strcmp(om_str_get(&x), om_str_get(&y));
    om_str_fini(&x);
    om_str_fini(&y);
    if (!same) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->floats && memcmp(&a->floats[i], &b->floats[i], sizeof(float))) return false;
        if (a->ints && a->ints[i] != b->ints[i]) return false;
        if (a->strings && strcmp(a->strings[i], b->strings[i])) return false;
        if (a->tensors && !same_tensor(a->tensors[i], b->tensors[i])) return false;
        om_diff *inner;
        if (!a->graphs || om_graph_diff(a->graphs[i], b->graphs[i], &inner) < 0) continue;
        same = same && !inner->n;
        om_diff_free(inner);
    }
    return same;
}

static bool same_node(const differ *d, const om_node *a, const om_node *b)
{
    if (strcmp(a->op, b->op) || strcmp(a->domain, b->domain) || a->n_inputs != b->n_inputs ||
        a->n_outputs != b->n_outputs || a->n_attrs != b->n_attrs)
        return false;
    for (int i = 0; i < a->n_inputs; i++) {
        const char *x = a->inputs[i] < 0 ? "" : d->a->values[a->inputs[i]].name;
        const char *y = b->inputs[i] < 0 ? "" : d->b->values[b->inputs[i]].name;
        if (strcmp(x, y)) return false;
    }
    for (int i = 0; i < a->n_attrs; i++) {
        const om_attr *other = om_node_attr(b, a->attrs[i].name);
        if (!other || !same_attr(&a->attrs[i], other)) return false;
    }
    return true;
}

static const char *node_name(const om_graph *g, const om_node *n)
{
    return *n->name || !n->n_outputs || n->outputs[0] < 0 ? n->name : g->values[n->outputs[0]].name;
}

static int add_node(differ *d, const om_node *a, const om_node *b)
{
    om_str x = {0}, y = {0};
    if (a) node_text(d->a, a, &x);
    if (b) node_text(d->b, b, &y);
    int err = x.failed || y.failed ? OM_ERR_NOMEM
                                   : add(d, OM_DIFF_NODE, a ? node_name(d->a, a) : node_name(d->b, b),
                                         a ? om_str_get(&x) : NULL, b ? om_str_get(&y) : NULL, -1);
    om_str_fini(&x);
    om_str_fini(&y);
    return err;
}

static int diff_nodes(differ *d)
{
    int err = OM_OK;
    match_nodes(d);
    for (int i = 0; i < d->a->n_nodes && err >= 0; i++) {
        const om_node *n = &d->a->nodes[i];
        const om_node *other = d->partner[i] < 0 ? NULL : &d->b->nodes[d->partner[i]];
        if (n->dead) continue;
        if (other && same_node(d, n, other)) d->out->same_nodes++;
        else err = add_node(d, n, other);
    }
    for (int i = 0; i < d->b->n_nodes && err >= 0; i++)
        if (!d->b->nodes[i].dead && !d->taken[i]) err = add_node(d, NULL, &d->b->nodes[i]);
    return err;
}

/* Largest difference of two elements; infinity where one of them is no number. */
static int max_difference(const om_const *a, const om_const *b, double *out)
{
    om_part *x = NULL, *y = NULL;
    int err = om_part_from_const(a, INT32_MAX, &x);
    if (err >= 0) err = om_part_from_const(b, INT32_MAX, &y);
    *out = -1;
    if (err >= 0 && x && y) {
        bool real = om_dtype_is_float(a->dtype);
        *out = 0;
        for (int64_t i = 0; i < x->n; i++) {
            double d = real ? fabs(x->v[i].f - y->v[i].f) : fabs((double)x->v[i].i - (double)y->v[i].i);
            if (real && isnan(x->v[i].f) && isnan(y->v[i].f)) d = 0;
            if (!(d <= *out)) *out = isnan(d) ? INFINITY : d;
        }
    }
    om_part_destroy(x);
    om_part_destroy(y);
    return err;
}

static int diff_weight(differ *d, int va, int vb)
{
    const om_const *a = d->a->values[va].constant, *b = d->b->values[vb].constant;
    char x[OM_SHAPE_TEXT + 16], y[OM_SHAPE_TEXT + 16];
    double difference = -1;
    if (same_tensor(a, b)) {
        d->out->same_weights++;
        return OM_OK;
    }
    value_text(d->a, va, x);
    value_text(d->b, vb, y);
    int err = OM_OK;
    if (a->dtype == b->dtype && om_shape_equal(&a->shape, &b->shape)) err = max_difference(a, b, &difference);
    return err < 0 ? err : add(d, OM_DIFF_WEIGHT, d->a->values[va].name, x, y, difference);
}

static int diff_weights(differ *d)
{
    char text[OM_SHAPE_TEXT + 16];
    int err = OM_OK;
    for (int i = 0; i < d->a->n_values && err >= 0; i++) {
        if (!d->a->values[i].constant) continue;
        int other = om_graph_find(d->b, d->a->values[i].name);
        if (other >= 0 && d->b->values[other].constant) {
            err = diff_weight(d, i, other);
            continue;
        }
        value_text(d->a, i, text);
        err = add(d, OM_DIFF_WEIGHT, d->a->values[i].name, text, NULL, -1);
    }
    for (int i = 0; i < d->b->n_values && err >= 0; i++) {
        if (!d->b->values[i].constant) continue;
        int other = om_graph_find(d->a, d->b->values[i].name);
        if (other >= 0 && d->a->values[other].constant) continue;
        value_text(d->b, i, text);
        err = add(d, OM_DIFF_WEIGHT, d->b->values[i].name, NULL, text, -1);
    }
    return err;
}

int om_graph_diff(const om_graph *a, const om_graph *b, om_diff **out)
{
    differ d = {.a = a, .b = b};
    int err = OM_ERR_NOMEM;
    *out = NULL;
    d.out = om_calloc(1, sizeof *d.out);
    d.partner = om_alloc(((size_t)a->n_nodes + 1) * sizeof *d.partner);
    d.taken = om_calloc((size_t)b->n_nodes + 1, sizeof *d.taken);
    if (!d.out || !d.partner || !d.taken) goto fail;
    for (int i = 0; i < a->n_nodes; i++) d.partner[i] = -1;
    err = diff_header(&d);
    if (err >= 0) err = diff_ends(&d, OM_DIFF_INPUT);
    if (err >= 0) err = diff_ends(&d, OM_DIFF_OUTPUT);
    if (err >= 0) err = diff_nodes(&d);
    if (err >= 0) err = diff_weights(&d);
    if (err >= 0) {
        *out = d.out;
        d.out = NULL;
    }
fail:
    om_diff_free(d.out);
    om_free(d.partner);
    om_free(d.taken);
    return err;
}
