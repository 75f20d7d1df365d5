/* Products of matrices of random shapes and orders against sums in double precision. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "checks.h"

#define CASES 120
#define EPSILON 1.2e-7

typedef struct product {
    om_mat a, b;
    guarded left, right, sum, work;
    size_t c_row;
    float *c;
} product;

static om_mat matrix(size_t rows, size_t columns, guarded *g)
{
    bool turned = draw(2), at_start = draw(2);
    size_t line = (turned ? rows : columns) + draw(3), lines = turned ? columns : rows;
    size_t count = (lines - 1) * line + (turned ? rows : columns);
    *g = guarded_new(count * sizeof(float), at_start);
    float *v = (float *)(void *)g->data;
    for (size_t i = 0; i < count; i++) v[i] = draw_float(-1, 1);
    return turned ? (om_mat){v, rows, columns, 1, line} : (om_mat){v, rows, columns, line, 1};
}

static void product_new(product *p)
{
    size_t m = 1 + draw(draw(4) ? 40 : 210), n = 1 + draw(draw(4) ? 70 : 530),
           k = 1 + draw(draw(4) ? 60 : 530);
    p->a = matrix(m, k, &p->left);
    p->b = matrix(k, n, &p->right);
    p->c_row = n + draw(5);
    p->sum = guarded_new(((m - 1) * p->c_row + n) * sizeof(float), draw(2));
    p->work = guarded_new(om_gemm_work_size(), draw(2));
    p->c = (float *)(void *)p->sum.data;
    for (size_t i = 0; i < (m - 1) * p->c_row + n; i++) p->c[i] = draw_float(-1, 1);
}

static void product_free(product *p)
{
    guarded_free(&p->left);
    guarded_free(&p->right);
    guarded_free(&p->sum);
    guarded_free(&p->work);
}

/* One element, and how far rounding may take it: each of the k sums is off by at most one unit of what was
 * added up so far. */
static double element(const product *p, size_t i, size_t j, double before, double *bound)
{
    double sum = before, size = fabs(before);
    for (size_t k = 0; k < p->a.columns; k++) {
        double v = (double)p->a.data[i * p->a.row_step + k * p->a.column_step] *
                   (double)p->b.data[k * p->b.row_step + j * p->b.column_step];
        sum += v;
        size += fabs(v);
    }
    *bound = size * EPSILON * (8 + (double)p->a.columns / 8);
    return sum;
}

static bool check_one(const om_kernels *k, double *worst)
{
    product p;
    product_new(&p);
    size_t m = p.a.rows, n = p.b.columns, count = (m - 1) * p.c_row + n;
    guarded copy = guarded_new(count * sizeof(float), true);
    float *before = (float *)(void *)copy.data;
    memcpy(before, p.c, count * sizeof(float));
    k->gemm(&p.a, &p.b, p.c, p.c_row, p.work.data);
    bool right = true;
    for (size_t t = 0; t < count && right; t++) {
        size_t i = t / p.c_row, j = t % p.c_row;
        double bound = 0;
        double want = j < n ? element(&p, i, j, (double)before[t], &bound) : (double)before[t];
        double off = fabs((double)p.c[t] - want);
        right = off <= bound;
        if (bound > 0 && off / bound > *worst) *worst = off / bound;
    }
    guarded_free(&copy);
    product_free(&p);
    return right;
}

int check_gemm(const om_kernels *k)
{
    int failed = 0;
    double worst = 0;
    draw_seed(17);
    for (int i = 0; i < CASES; i++) failed += !check_one(k, &worst);
    printf("%s gemm %-6s %d cases, at worst %.2f of what rounding may do\n", failed ? "FAILED" : "ok",
           k->name, CASES, worst);
    return failed;
}
