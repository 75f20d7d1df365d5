#include "checks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "reference.h"

#define MAX_BOXES 300
#define COLUMN_CASES 2000

typedef struct box_case {
    float boxes[4 * MAX_BOXES], scores[MAX_BOXES];
    int32_t classes[MAX_BOXES];
    size_t n, max_out;
    float iou;
    bool agnostic;
} box_case;

/* Crowded on purpose; scores of few values make ties, corners on a grid make overlaps of exactly the
 * threshold, some boxes are empty, turned over or not numbers, class numbers may be anything. */
static void draw_boxes(box_case *c)
{
    uint32_t span = 1 + draw(100), levels = 1 + draw(1000), classes = 1 + draw(draw(2) ? 5 : 120);
    uint32_t apart = draw(3) ? 1 : 2654435769u;
    bool grid = draw(3) == 0;
    c->n = draw(draw(20) ? 40 : MAX_BOXES);
    c->max_out = draw(4) ? MAX_BOXES : draw(20);
    c->iou = draw(4) ? draw_float(0, 1) : (float)draw(5) / 4;
    c->agnostic = draw(2);
    for (size_t i = 0; i < c->n; i++) {
        float *b = c->boxes + 4 * i;
        b[0] = draw_float(0, (float)span);
        b[1] = draw_float(0, (float)span);
        b[2] = b[0] + draw_float(0, 40) * (draw(50) ? 1 : -1);
        b[3] = b[1] + draw_float(0, 40) * (draw(50) ? 1 : 0);
        for (int k = 0; k < 4; k++) b[k] = grid ? floorf(b[k] / 8) * 8 : b[k];
        c->scores[i] = (float)draw(levels) / (float)levels * (draw(100) ? 1 : -1);
        if (draw(300) == 0) c->scores[i] = NAN;
        if (draw(300) == 0) b[draw(4)] = draw(2) ? NAN : INFINITY;
        c->classes[i] = (int32_t)(draw(classes) * apart);
    }
}

int check_nms(const om_kernels *k, int cases)
{
    static box_case c;
    static uint32_t want[MAX_BOXES], got[MAX_BOXES];
    guarded work = guarded_new(om_nms_work_size(MAX_BOXES), false);
    int failed = 0;
    draw_seed(2);
    for (int i = 0; i < cases && failed < 10; i++) {
        draw_boxes(&c);
        size_t size = om_nms_work_size(c.n), space = om_nms_work_size(MAX_BOXES);
        size_t n = reference_nms(c.boxes, c.scores, c.classes, c.n, c.iou, c.agnostic, c.max_out, want);
        size_t m = k->nms(c.boxes, c.scores, c.classes, c.n, c.iou, c.agnostic, c.max_out, got,
                          work.data + space - size);
        if (n == m && memcmp(want, got, n * sizeof(*want)) == 0) continue;
        printf("FAILED nms: case %d of %zu boxes keeps %zu, expected %zu\n", i, c.n, m, n);
        failed++;
    }
    guarded_free(&work);
    printf("%s nms %-5s %d cases, equal\n", failed ? "FAILED" : "ok", k->name, cases);
    return failed;
}

int check_column_max(const om_kernels *k)
{
    int failed = 0;
    draw_seed(3);
    for (int i = 0; i < COLUMN_CASES && failed < 10; i++) {
        size_t n = 1 + draw(700), rows = draw(20), stride = n + draw(9),
               size = rows ? (rows - 1) * stride + n : 0;
        guarded m = guarded_new(size * sizeof(float), false), best = guarded_new(n * sizeof(float), draw(2)),
                row = guarded_new(n * sizeof(int32_t), draw(2));
        float *v = (float *)m.data, *want = malloc(n * sizeof(*want));
        int32_t *want_row = malloc(n * sizeof(*want_row));
        if (!want || !want_row) die("malloc");
        for (size_t j = 0; j < size; j++) v[j] = draw(9) ? (float)draw(8) : draw(2) ? NAN : -INFINITY;
        reference_column_max(v, stride, rows, n, want, want_row);
        k->column_max(v, stride, rows, n, (float *)best.data, (int32_t *)row.data);
        if (memcmp(want, best.data, n * sizeof(*want)) || memcmp(want_row, row.data, n * sizeof(*want_row))) {
            printf("FAILED column_max: %zu rows of %zu\n", rows, n);
            failed++;
        }
        free(want);
        free(want_row);
        guarded_free(&m);
        guarded_free(&best);
        guarded_free(&row);
    }
    printf("%s column_max %-5s %d cases, equal\n", failed ? "FAILED" : "ok", k->name, COLUMN_CASES);
    return failed;
}
