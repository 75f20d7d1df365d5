#include "track/match.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* Larger groups are matched greedily. */
#define OM_GROUP_CELLS (512 * 512)

typedef struct om_left_edge {
    float x0;
    int col;
} om_left_edge;

/* Boxes that overlap each other, directly or through others: one assignment problem. */
typedef struct om_group {
    int rows, cols, pairs;
    int first_row, first_col, first_pair; /* into the lists by group */
} om_group;

void om_matcher_fini(om_matcher *m)
{
    om_assign_fini(&m->assign);
    om_free(m->pairs);
    om_free(m->sorted);
    om_free(m->group);
    om_free(m->cost);
    om_free(m->numbers);
    memset(m, 0, sizeof(*m));
}

float om_box_iou(om_box a, om_box b)
{
    float w = fminf(a.x1, b.x1) - fmaxf(a.x0, b.x0), h = fminf(a.y1, b.y1) - fmaxf(a.y0, b.y0);
    if (!(w > 0 && h > 0)) return 0;
    float inter = w * h;
    return inter / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - inter);
}

/* The part of the smaller box that lies in the other. */
static float part_within(om_box a, om_box b)
{
    float w = fminf(a.x1, b.x1) - fmaxf(a.x0, b.x0), h = fminf(a.y1, b.y1) - fmaxf(a.y0, b.y0);
    return w > 0 && h > 0 ? w * h / fminf((a.x1 - a.x0) * (a.y1 - a.y0), (b.x1 - b.x0) * (b.y1 - b.y0)) : 0;
}

static int by_left(const void *a, const void *b)
{
    const om_left_edge *x = a, *y = b;
    return x->x0 != y->x0 ? (x->x0 < y->x0 ? -1 : 1) : x->col - y->col;
}

/* The first of the sorted columns whose left edge is at or beyond `x`. */
static int first_from(const om_left_edge *e, int n, float x)
{
    int low = 0;
    while (low < n) {
        int mid = (low + n) / 2;
        if (e[mid].x0 < x) low = mid + 1;
        else n = mid;
    }
    return low;
}

static int add_pair(om_matcher *m, int row, int col, float worth)
{
    if (om_grow((void **)&m->pairs, &m->cap_pairs, m->n_pairs + 1, sizeof(*m->pairs))) return OM_ERR_NOMEM;
    m->pairs[m->n_pairs++] = (om_match_pair){row, col, worth};
    return OM_OK;
}

/* A column's left edge is never further from a row's than the widest column. */
static int find_pairs(om_matcher *m, const om_match_item *rows, int n_rows, const om_match_item *cols,
                      int n_cols, const om_match_rule *rule)
{
    m->n_pairs = 0;
    if (om_grow(&m->sorted, &m->cap_sorted, (size_t)n_cols, sizeof(om_left_edge))) return OM_ERR_NOMEM;
    om_left_edge *e = m->sorted;
    float widest = 0;
    for (int j = 0; j < n_cols; j++) {
        e[j] = (om_left_edge){cols[j].box.x0, j};
        widest = fmaxf(widest, cols[j].box.x1 - cols[j].box.x0);
    }
    qsort(e, (size_t)n_cols, sizeof(*e), by_left);
    for (int i = 0; i < n_rows; i++) {
        om_box a = rows[i].box;
        for (int k = first_from(e, n_cols, a.x0 - widest); k < n_cols && e[k].x0 < a.x1; k++) {
            const om_match_item *c = &cols[e[k].col];
            if (c->box.y0 >= a.y1 || c->box.y1 <= a.y0 || c->box.x1 <= a.x0) continue;
            if (!rule->agnostic && c->class_id != rows[i].class_id) continue;
            float iou = rule->within ? part_within(a, c->box) : om_box_iou(a, c->box);
            if (!(iou >= rule->min_iou)) continue;
            float worth = rule->worth ? rule->worth(rule->user, rows[i].index, c->index, iou) : iou;
            int err = worth > 0 ? add_pair(m, i, e[k].col, worth) : OM_OK;
            if (err) return err;
        }
    }
    return OM_OK;
}

static int root_of(int *parent, int i)
{
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

static int by_worth(const void *a, const void *b)
{
    const om_match_pair *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->row != y->row ? x->row - y->row : x->col - y->col;
}

static void match_greedily(om_match_pair *pairs, int n, int *row_col, int *col_row)
{
    qsort(pairs, (size_t)n, sizeof(*pairs), by_worth);
    for (int i = 0; i < n; i++) {
        const om_match_pair *p = &pairs[i];
        if (row_col[p->row] >= 0 || col_row[p->col] >= 0) continue;
        row_col[p->row] = p->col;
        col_row[p->col] = p->row;
    }
}

/* The lists by group, all in one block of numbers. */
typedef struct om_lists {
    int *group_of;    /* of rows, then columns */
    int *place;       /* of rows, then columns, in their group */
    int *rows, *cols; /* by group */
    int *answer, *col_row;
} om_lists;

static int match_exactly(om_matcher *m, const om_lists *l, const om_group *g, const om_match_pair *pairs,
                         int n_rows, int *row_col)
{
    size_t cells = (size_t)g->rows * (size_t)g->cols;
    if (om_grow((void **)&m->cost, &m->cap_cost, cells, sizeof(*m->cost))) return OM_ERR_NOMEM;
    memset(m->cost, 0, cells * sizeof(*m->cost));
    for (int i = 0; i < g->pairs; i++) {
        const om_match_pair *p = &pairs[i];
        m->cost[(size_t)l->place[p->row] * (size_t)g->cols + (size_t)l->place[n_rows + p->col]] = -p->worth;
    }
    int err = om_assign(&m->assign, m->cost, g->rows, g->cols, 0, l->answer);
    if (err) return err;
    for (int i = 0; i < g->rows; i++) {
        int col = l->answer[i];
        if (col >= 0) row_col[l->rows[g->first_row + i]] = l->cols[g->first_col + col];
    }
    return OM_OK;
}

/* Numbers the groups and gives every row and column of one its place; returns how many groups there are. */
static int number_groups(om_matcher *m, om_lists *l, int *parent, om_group *groups, int n_rows, int n_cols)
{
    int n = 0;
    for (int i = 0; i < n_rows + n_cols; i++) l->group_of[i] = -1;
    for (size_t k = 0; k < m->n_pairs; k++) {
        int root = root_of(parent, m->pairs[k].row);
        if (l->group_of[root] < 0) {
            groups[n] = (om_group){0};
            l->group_of[root] = n++;
        }
        groups[l->group_of[root]].pairs++;
    }
    for (int i = 0; i < n_rows + n_cols; i++) {
        int g = l->group_of[root_of(parent, i)];
        l->place[i] = g < 0 ? 0 : i < n_rows ? groups[g].rows++ : groups[g].cols++;
    }
    for (int i = 0, rows = 0, cols = 0, pairs = 0; i < n; i++) {
        groups[i].first_row = rows;
        groups[i].first_col = cols;
        groups[i].first_pair = pairs;
        rows += groups[i].rows;
        cols += groups[i].cols;
        pairs += groups[i].pairs;
    }
    for (int i = 0; i < n_rows + n_cols; i++) {
        int g = l->group_of[root_of(parent, i)];
        if (g < 0) continue;
        if (i < n_rows) l->rows[groups[g].first_row + l->place[i]] = i;
        else l->cols[groups[g].first_col + l->place[i]] = i - n_rows;
    }
    return n;
}

/* Brings the pairs into the order of their groups, behind the unordered ones. */
static int order_pairs(om_matcher *m, const om_lists *l, int *parent, om_group *groups, int n)
{
    size_t count = m->n_pairs;
    if (om_grow((void **)&m->pairs, &m->cap_pairs, 2 * count, sizeof(*m->pairs))) return OM_ERR_NOMEM;
    for (size_t k = 0; k < count; k++) {
        om_group *g = &groups[l->group_of[root_of(parent, m->pairs[k].row)]];
        m->pairs[count + (size_t)g->first_pair++] = m->pairs[k];
    }
    for (int i = 0; i < n; i++) groups[i].first_pair -= groups[i].pairs;
    return OM_OK;
}

int om_match(om_matcher *m, const om_match_item *rows, int n_rows, const om_match_item *cols, int n_cols,
             const om_match_rule *rule, int *row_col)
{
    for (int i = 0; i < n_rows; i++) row_col[i] = -1;
    if (n_rows <= 0 || n_cols <= 0) return OM_OK;
    size_t all = (size_t)n_rows + (size_t)n_cols;
    int err = find_pairs(m, rows, n_rows, cols, n_cols, rule);
    if (!err) err = om_grow((void **)&m->numbers, &m->cap_numbers, 6 * all, sizeof(*m->numbers));
    if (!err) err = om_grow(&m->group, &m->cap_group, (size_t)n_rows, sizeof(om_group));
    if (err || !m->n_pairs) return err;
    om_group *groups = m->group;
    int *parent = m->numbers;
    om_lists l = {.group_of = parent + all, .place = parent + 2 * all, .rows = parent + 3 * all};
    l.cols = l.rows + n_rows;
    l.answer = parent + 4 * all;
    l.col_row = parent + 5 * all;
    for (size_t i = 0; i < all; i++) parent[i] = (int)i;
    for (size_t k = 0; k < m->n_pairs; k++)
        parent[root_of(parent, n_rows + m->pairs[k].col)] = root_of(parent, m->pairs[k].row);
    int n = number_groups(m, &l, parent, groups, n_rows, n_cols);
    err = order_pairs(m, &l, parent, groups, n);
    for (int j = 0; j < n_cols; j++) l.col_row[j] = -1;
    for (int i = 0; i < n && !err; i++) {
        const om_group *g = &groups[i];
        om_match_pair *pairs = m->pairs + m->n_pairs + g->first_pair;
        if (g->pairs == 1) row_col[pairs->row] = pairs->col;
        else if ((int64_t)g->rows * g->cols > OM_GROUP_CELLS)
            match_greedily(pairs, g->pairs, row_col, l.col_row);
        else err = match_exactly(m, &l, g, pairs, n_rows, row_col);
    }
    return err;
}
