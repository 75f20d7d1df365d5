#include "track/assign.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* One problem with n <= m: the rows are the lesser side. */
typedef struct om_problem {
    int n, m;
    const float *cost;
    size_t row_stride, col_stride;
    float gate;
    double forbidden; /* what a pair that cannot be made costs where every row has to have one: more than any
                         path of others */
    double *u, *v;    /* potentials of rows and columns */
    double *distance; /* of each column in the running search */
    int *row_of;      /* of each column; -1: free */
    int *col_of;      /* of each row */
    int *before;      /* the row from which the search came to a column */
    int *todo;        /* columns that the search has not settled */
} om_problem;

void om_assign_fini(om_assign_work *w)
{
    om_free(w->memory);
    *w = (om_assign_work){0};
}

static inline double cost_at(const om_problem *p, int i, int j)
{
    float c = p->cost[(size_t)i * p->row_stride + (size_t)j * p->col_stride];
    if (!isinf(p->gate)) return c < p->gate ? (double)c - (double)p->gate : 0;
    return isfinite(c) ? (double)c : p->forbidden;
}

static int prepare(om_assign_work *w, om_problem *p)
{
    size_t n = (size_t)p->n, m = (size_t)p->m;
    size_t need = (n + 2 * m) * sizeof(double) + (n + 3 * m) * sizeof(int);
    if (need > w->size) {
        void *memory = om_realloc(w->memory, need);
        if (!memory) return OM_ERR_NOMEM;
        *w = (om_assign_work){memory, need};
    }
    p->u = w->memory;
    p->v = p->u + n;
    p->distance = p->v + m;
    p->col_of = (int *)(p->distance + m);
    p->row_of = p->col_of + n;
    p->before = p->row_of + m;
    p->todo = p->before + m;
    return OM_OK;
}

/* Each row takes its cheapest column while that is free: most are settled by this alone. Columns keep the
 * potential 0, as free columns of a rectangular problem must. */
static void reduce_rows(om_problem *p)
{
    memset(p->v, 0, (size_t)p->m * sizeof(*p->v));
    for (int j = 0; j < p->m; j++) p->row_of[j] = -1;
    for (int i = 0; i < p->n; i++) {
        int best = 0;
        p->u[i] = cost_at(p, i, 0);
        for (int j = 1; j < p->m; j++) {
            double c = cost_at(p, i, j);
            bool better = c < p->u[i] || (c == p->u[i] && p->row_of[best] >= 0 && p->row_of[j] < 0);
            if (!better) continue;
            p->u[i] = c;
            best = j;
        }
        bool free_col = p->row_of[best] < 0;
        p->col_of[i] = free_col ? best : -1;
        if (free_col) p->row_of[best] = i;
    }
}

/* Dijkstra over reduced costs from `start` to the nearest free column, which it returns. p->todo holds the
 * columns it settled behind the first *open ones. */
static int search(om_problem *p, int start, double *length, int *open)
{
    int left = p->m, sink = -1;
    double low = 0;
    for (int j = 0; j < p->m; j++) {
        p->todo[j] = j;
        p->distance[j] = INFINITY;
    }
    for (int i = start; sink < 0;) {
        double next = INFINITY;
        int at = 0;
        for (int k = 0; k < left; k++) {
            int j = p->todo[k];
            double d = low + cost_at(p, i, j) - p->u[i] - p->v[j];
            if (d < p->distance[j]) {
                p->distance[j] = d;
                p->before[j] = i;
            }
            if (p->distance[j] > next || (p->distance[j] == next && p->row_of[j] >= 0)) continue;
            next = p->distance[j];
            at = k;
        }
        int j = p->todo[at];
        low = p->distance[j];
        p->todo[at] = p->todo[--left];
        p->todo[left] = j;
        if (p->row_of[j] < 0) sink = j;
        else i = p->row_of[j];
    }
    *length = low;
    *open = left;
    return sink;
}

static void augment(om_problem *p, int start)
{
    double length;
    int open;
    int j = search(p, start, &length, &open);
    p->u[start] += length;
    for (int k = open; k < p->m;
         k++) { /* those that the search went through; a sink's distance is the length */
        int c = p->todo[k];
        p->v[c] += p->distance[c] - length;
        if (p->row_of[c] >= 0) p->u[p->row_of[c]] += length - p->distance[c];
    }
    for (int i = -1; i != start;) {
        i = p->before[j];
        p->row_of[j] = i;
        int old = p->col_of[i];
        p->col_of[i] = j;
        j = old;
    }
}

static double beyond_all(const float *cost, size_t cells, int rows)
{
    double most = 0;
    for (size_t k = 0; k < cells; k++)
        if (isfinite(cost[k]) && fabs((double)cost[k]) > most) most = fabs((double)cost[k]);
    return 4 * (most + 1) * (rows + 1);
}

static bool allowed(const om_problem *p, int i, int j)
{
    double c = cost_at(p, i, j);
    return isinf(p->gate) ? c < p->forbidden : c < 0;
}

int om_assign(om_assign_work *w, const float *cost, int rows, int cols, float gate, int *row_col)
{
    bool turned = rows > cols;
    om_problem p = {.n = turned ? cols : rows, .m = turned ? rows : cols, .cost = cost, .gate = gate};
    p.row_stride = turned ? 1 : (size_t)cols;
    p.col_stride = turned ? (size_t)cols : 1;
    for (int i = 0; i < rows; i++) row_col[i] = -1;
    if (p.n <= 0) return OM_OK;
    int err = prepare(w, &p);
    if (err) return err;
    if (isinf(gate)) p.forbidden = beyond_all(cost, (size_t)rows * (size_t)cols, p.n);
    reduce_rows(&p);
    for (int i = 0; i < p.n; i++)
        if (p.col_of[i] < 0) augment(&p, i);
    for (int i = 0; i < p.n; i++) {
        if (!allowed(&p, i, p.col_of[i])) continue;
        if (turned) row_col[p.col_of[i]] = i;
        else row_col[i] = p.col_of[i];
    }
    return OM_OK;
}
