#include "checks_post.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "reference.h"

#define SCORE_CASES 6000
#define ROW_CASES 4000
#define SOFTMAX_CASES 3000
#define MOTION_CASES 600
#define BLEND_CASES 3000
#define MANY_CASES 24

static int report(const char *what, const om_kernels *k, int cases, int failed)
{
    printf("%s %s %-6s %d cases, equal\n", failed ? "FAILED" : "ok", what, k->name, cases);
    return failed;
}

/* A score: mostly low, sometimes one of few values (ties), seldom no number. */
static float random_score(uint32_t seldom)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 0, -0.0f, 65504, -65504, 1e-7f, 3e38f};
    if (draw(40 * seldom) == 0) return odd[draw(10)];
    if (draw(seldom) == 0) return (float)draw(6) / 4 - 0.5f;
    return draw_float(-1, 0.2f);
}

static float number_at(const void *data, om_dtype dtype, size_t i)
{
    return dtype == OM_DTYPE_F32 ? ((const float *)data)[i] : om_f16_to_f32(((const uint16_t *)data)[i]);
}

static void fill(void *data, om_dtype dtype, size_t n, uint32_t seldom)
{
    for (size_t i = 0; i < n; i++) {
        float v = random_score(seldom);
        if (dtype == OM_DTYPE_F32) ((float *)data)[i] = v;
        else ((uint16_t *)data)[i] = om_f32_to_f16(v);
    }
}

typedef struct score_case {
    om_scores s;
    float least;
    guarded data, index, best, which;
} score_case;

static void score_case_new(score_case *c)
{
    static const float thresholds[] = {0.25f,    0,     -0.5f, 0.5f,  -INFINITY,
                                       INFINITY, 65504, -1e9f, 1e-7f, -0.0f};
    om_scores *s = &c->s;
    *s = (om_scores){.dtype = draw(2) ? OM_DTYPE_F32 : OM_DTYPE_F16,
                     .places = 1 + draw(draw(3) ? 100 : 700),
                     .classes = draw(4) ? 1 + draw(90) : 1};
    size_t places = s->places, classes = s->classes, count;
    if (draw(2)) {
        s->place_step = 1;
        s->class_step = places + draw(9);
        count = (classes - 1) * s->class_step + places;
    } else {
        s->place_step = classes + draw(9);
        s->class_step = 1;
        count = (places - 1) * s->place_step + classes;
    }
    c->least = draw(3) ? thresholds[draw(10)] : draw_float(-1, 1);
    c->data = guarded_new(count * om_dtype_size(s->dtype), draw(2));
    c->index = guarded_new(places * 4, draw(2));
    c->best = guarded_new(places * 4, draw(2));
    c->which = guarded_new(places * 4, draw(2));
    fill(c->data.data, s->dtype, count, draw(2) ? 3 : 500);
    s->data = c->data.data;
}

static void score_case_free(score_case *c)
{
    guarded_free(&c->data);
    guarded_free(&c->index);
    guarded_free(&c->best);
    guarded_free(&c->which);
}

/* What pick() must find, in plain words; false at the first difference. */
static bool picked_right(const score_case *c, size_t n)
{
    const om_scores *s = &c->s;
    size_t found = 0;
    for (size_t p = 0; p < s->places; p++) {
        float best = c->least;
        int32_t which = -1;
        for (size_t k = 0; k < s->classes; k++) {
            float v = number_at(s->data, s->dtype, p * s->place_step + k * s->class_step);
            if (!(v > best)) continue;
            best = v;
            which = (int32_t)k;
        }
        if (which < 0) continue;
        if (found >= n || ((const uint32_t *)(const void *)c->index.data)[found] != p ||
            memcmp((const float *)(const void *)c->best.data + found, &best, sizeof best) != 0 ||
            ((const int32_t *)(const void *)c->which.data)[found] != which)
            return false;
        found++;
    }
    return found == n;
}

int check_scores(const om_kernels *k)
{
    int failed = 0;
    draw_seed(11);
    for (int i = 0; i < SCORE_CASES && failed < 10; i++) {
        score_case c;
        score_case_new(&c);
        size_t n = k->pick(&c.s, c.least, (uint32_t *)(void *)c.index.data, (float *)(void *)c.best.data,
                           (int32_t *)(void *)c.which.data);
        if (!picked_right(&c, n)) {
            printf("FAILED pick %s: case %d of %zu places (step %zu), %zu classes (step %zu), %s, above %g\n",
                   k->name, i, c.s.places, c.s.place_step, c.s.classes, c.s.class_step,
                   om_dtype_name(c.s.dtype), (double)c.least);
            failed++;
        }
        score_case_free(&c);
    }
    return report("pick", k, SCORE_CASES, failed);
}

static int32_t reference_largest(const void *v, om_dtype dtype, size_t n, size_t step, float *best)
{
    int32_t which = 0;
    *best = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        float x = number_at(v, dtype, i * step);
        if (!(x > *best)) continue;
        *best = x;
        which = (int32_t)i;
    }
    return which;
}

static bool largest_right(const om_kernels *k, const void *v, om_dtype dtype, size_t n)
{
    float want, got;
    int32_t at = reference_largest(v, dtype, n, 1, &want);
    return k->largest(v, dtype, n, &got) == at && memcmp(&want, &got, sizeof want) == 0;
}

static bool top_k_right(const om_kernels *k, const float *v, size_t n, float least, size_t most)
{
    uint32_t got[800];
    guarded out = guarded_new(most * sizeof *got, false);
    size_t found = k->top_k(v, n, least, most, (uint32_t *)(void *)out.data), want = 0;
    memcpy(got, out.data, found * sizeof *got);
    guarded_free(&out);
    bool used[800] = {false};
    for (; want < most; want++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!used[i] && v[i] > least && v[i] < INFINITY && (best == n || v[i] > v[best])) best = i;
        if (best == n) break;
        used[best] = true;
        if (want >= found || got[want] != best) return false;
    }
    return want == found;
}

static bool widened_right(const om_kernels *k, const uint16_t *v, size_t n)
{
    guarded out = guarded_new(n * sizeof(float), false);
    const float *got = (const float *)(const void *)out.data;
    bool right = true;
    k->widen(v, n, (float *)(void *)out.data);
    for (size_t i = 0; i < n; i++) {
        float want = om_f16_to_f32(v[i]);
        right &= isnan(want) ? isnan(got[i]) : memcmp(&want, &got[i], sizeof want) == 0;
    }
    guarded_free(&out);
    return right;
}

/* Lines of few classes, so that they repeat. */
static bool ctc_right(const om_kernels *k)
{
    score_case c;
    score_case_new(&c);
    om_scores *s = &c.s;
    om_ctc_symbol got[700], *want = got;
    int32_t blank = (int32_t)draw((uint32_t)s->classes + 2) - 1, before = -1;
    size_t n = k->ctc_greedy(s, blank, got), found = 0;
    bool right = true;
    for (size_t t = 0; t < s->places; t++) {
        float score;
        const uint8_t *row = (const uint8_t *)s->data + t * s->place_step * om_dtype_size(s->dtype);
        int32_t best = reference_largest(row, s->dtype, s->classes, s->class_step, &score);
        bool seen = best != before && best != blank;
        before = best;
        if (!seen) continue;
        right &= found < n && want->label == best && want->step == t && !memcmp(&want->score, &score, 4);
        found++;
        want++;
        if (!right) break;
    }
    score_case_free(&c);
    return right && found == n;
}

int check_rows(const om_kernels *k)
{
    int failed = 0;
    draw_seed(12);
    for (int i = 0; i < ROW_CASES && failed < 10; i++) {
        om_dtype dtype = draw(2) ? OM_DTYPE_F32 : OM_DTYPE_F16;
        size_t n = 1 + draw(draw(3) ? 40 : 700);
        guarded v = guarded_new(n * om_dtype_size(dtype), draw(2));
        fill(v.data, dtype, n, draw(2) ? 3 : 500);
        bool right = largest_right(k, v.data, dtype, n);
        if (dtype == OM_DTYPE_F16) right &= widened_right(k, (const uint16_t *)(void *)v.data, n);
        else right &= top_k_right(k, (const float *)(void *)v.data, n, draw(3) ? -INFINITY : 0.1f, draw(9));
        if (i % 4 == 0) right &= ctc_right(k);
        if (!right) {
            printf("FAILED rows %s: case %d of %zu %s\n", k->name, i, n, om_dtype_name(dtype));
            failed++;
        }
        guarded_free(&v);
    }
    return report("largest, top-k, ctc", k, ROW_CASES, failed);
}

/* The largest error against double precision, in units of the largest likelihood. */
static double softmax_error(const float *v, const float *got, size_t n)
{
    double most = -INFINITY, sum = 0, worst = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i]) && (double)v[i] > most) most = (double)v[i];
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) sum += exp((double)v[i] - most);
    for (size_t i = 0; i < n; i++) {
        double want = isfinite(v[i]) ? exp((double)v[i] - most) / sum : 0;
        double error = fabs((double)got[i] - want) * sum;
        worst = error <= worst ? worst : error;
    }
    return sum > 0 ? worst : 0;
}

int check_softmax(const om_kernels *tables, int n_tables)
{
    int failed = 0;
    double worst = 0;
    draw_seed(13);
    for (int i = 0; i < SOFTMAX_CASES && failed < 10; i++) {
        size_t n = 1 + draw(draw(3) ? 40 : 1200);
        guarded v = guarded_new(n * sizeof(float), draw(2)), out = guarded_new(n * sizeof(float), draw(2));
        float *in = (float *)(void *)v.data, *got = (float *)(void *)out.data,
              *first = malloc(n * sizeof *first);
        float spread = (float)(1 << draw(8));
        for (size_t j = 0; j < n; j++) in[j] = draw(60) ? draw_float(-spread, spread) : random_score(1);
        for (int k = 0; first && k < n_tables; k++) {
            tables[k].softmax(in, n, got);
            if (k == 0) memcpy(first, got, n * sizeof *got);
            failed += memcmp(first, got, n * sizeof *got) != 0;
        }
        double error = softmax_error(in, got, n);
        worst = error > worst ? error : worst;
        failed += !(error <= 4e-6);
        free(first);
        guarded_free(&v);
        guarded_free(&out);
    }
    printf("%s softmax %d tables, %d cases, equal bytes, largest error %.2g of 4e-6\n",
           failed ? "FAILED" : "ok", n_tables, SOFTMAX_CASES, worst);
    return failed;
}

/* A luma of 8 bits times 256, from whatever the format holds. */
static double luma_at(const om_image *img, int x, int y)
{
    const uint8_t *row = img->plane[0] + (ptrdiff_t)y * img->stride[0];
    if (img->fmt == OM_PIX_RGB24 || img->fmt == OM_PIX_BGR24) {
        const uint8_t *p = row + 3 * x;
        int blue = img->fmt == OM_PIX_BGR24 ? 0 : 2;
        return floor((77 * p[2 - blue] + 150 * p[1] + 29 * p[blue] + 128) / 256.0) * 256;
    }
    if (om_pixfmt_get(img->fmt)->sample_bytes == 1) return row[x] * 256.0;
    uint16_t v;
    memcpy(&v, row + 2 * x, 2);
    return (img->fmt == OM_PIX_P010 ? v >> 6 : v & 1023) * 64.0;
}

/* The mean of all rows that are read: with cells of no more than 8 rows that is the mean of the cell. */
static double cell_mean(const om_image *img, int cx, int cy, int columns, int rows)
{
    int x0 = cx * img->width / columns, x1 = (cx + 1) * img->width / columns;
    int y0 = cy * img->height / rows, height = (cy + 1) * img->height / rows - y0;
    int read = height < 8 ? height : 8;
    double sum = 0;
    for (int i = 0; i < read; i++)
        for (int x = x0; x < x1; x++) sum += luma_at(img, x, y0 + (2 * i + 1) * height / (2 * read));
    return sum / (read * (x1 - x0));
}

int check_motion(const om_kernels *k)
{
    int failed = 0;
    draw_seed(14);
    for (int i = 0; i < MOTION_CASES && failed < 10; i++) {
        om_image img = {.fmt = (om_pixfmt)(1 + draw(OM_PIX_COUNT - 1)),
                        .width = 1 + (int)draw(300),
                        .height = 1 + (int)draw(200)};
        int bytes, lines, columns = 1 + (int)draw((uint32_t)(img.width < 70 ? img.width : 70)),
                          rows = 1 + (int)draw((uint32_t)(img.height < 40 ? img.height : 40));
        om_pixfmt_plane_size(img.fmt, 0, img.width, img.height, &bytes, &lines);
        int stride = bytes + 2 * (int)draw(20);
        size_t size = (size_t)stride * (size_t)(lines - 1) + (size_t)bytes, n = (size_t)(columns * rows);
        guarded plane = guarded_new(size, om_pixfmt_get(img.fmt)->sample_bytes == 2 || draw(2));
        guarded work = guarded_new((size_t)img.width * 2, draw(2)), cells = guarded_new(n * 2, draw(2)),
                other = guarded_new(n * 2, draw(2));
        for (size_t j = 0; j < size; j++) plane.data[j] = (uint8_t)draw(256);
        bool upside_down = draw(3) == 0;
        img.plane[0] = plane.data + (upside_down ? (size_t)stride * (size_t)(lines - 1) : 0);
        img.stride[0] = upside_down ? -stride : stride;
        uint16_t *got = (uint16_t *)(void *)cells.data, *b = (uint16_t *)(void *)other.data;
        k->luma_grid(&img, columns, rows, (uint16_t *)(void *)work.data, got);
        uint64_t sum = 0;
        size_t changed = 0, counted, above = draw(3000);
        for (size_t j = 0; j < n; j++) {
            double want = cell_mean(&img, (int)j % columns, (int)j / columns, columns, rows);
            failed += fabs(want - got[j]) > 0.5001;
            b[j] = (uint16_t)draw(65536);
            int d = abs(got[j] - b[j]);
            sum += (uint64_t)d;
            changed += d > (int)above;
        }
        failed += k->grid_difference(got, b, n, (uint16_t)above, &counted) != sum || counted != changed;
        guarded_free(&plane);
        guarded_free(&work);
        guarded_free(&cells);
        guarded_free(&other);
    }
    return report("motion", k, MOTION_CASES, failed);
}

int check_blend(const om_kernels *k)
{
    int failed = 0;
    draw_seed(15);
    for (int i = 0; i < BLEND_CASES && failed < 10; i++) {
        size_t n = draw(200);
        guarded p = guarded_new(n + 1, draw(2)), alphas = guarded_new(2 * n + 2, draw(2));
        uint16_t *alpha = (uint16_t *)(void *)alphas.data;
        uint8_t sample[2] = {(uint8_t)draw(256), (uint8_t)draw(256)}, want[2][200];
        if (draw(2)) sample[1] = sample[0];
        int one = draw(3) ? (int)draw(257) : 256;
        for (int pass = 0; pass < 2; pass++) {
            for (size_t j = 0; j < n; j++) {
                p.data[j] = (uint8_t)draw(256);
                alpha[j] = (uint16_t)draw(257);
                int a = pass ? alpha[j] : one, s = pass ? sample[0] : sample[j & 1];
                want[pass][j] = (uint8_t)((p.data[j] * (256 - a) + s * a + 128) >> 8);
            }
            if (pass) k->blend_cover(p.data, n, sample[0], alpha);
            else k->blend_row(p.data, n, sample, one);
            failed += memcmp(want[pass], p.data, n) != 0;
        }
        guarded_free(&p);
        guarded_free(&alphas);
    }
    return report("blend", k, BLEND_CASES, failed);
}

#define MOST 6000

/* As many boxes as take every way of sorting; the others are few. */
static int check_nms_many(const om_kernels *k)
{
    int failed = 0;
    float *boxes = malloc(MOST * 4 * sizeof *boxes), *scores = malloc(MOST * sizeof *scores);
    int32_t *classes = malloc(MOST * sizeof *classes);
    uint32_t *want = malloc(MOST * sizeof *want), *got = malloc(MOST * sizeof *got);
    guarded work = guarded_new(om_nms_work_size(MOST), false);
    if (!boxes || !scores || !classes || !want || !got) die("malloc");
    draw_seed(16);
    for (int i = 0; i < MANY_CASES; i++) {
        size_t n = 40 + draw(i % 4 ? 2600 : MOST - 40), most = draw(2) ? n : 300;
        for (size_t j = 0; j < n; j++) {
            boxes[4 * j] = draw_float(0, 600);
            boxes[4 * j + 1] = draw_float(0, 600);
            boxes[4 * j + 2] = boxes[4 * j] + draw_float(1, 90);
            boxes[4 * j + 3] = boxes[4 * j + 1] + draw_float(1, 90);
            scores[j] = (float)draw(1 + 2000 * draw(2)) / 2000;
            classes[j] = (int32_t)draw(1 + draw(80));
        }
        float iou = draw_float(0.05f, 0.9f);
        size_t kept = reference_nms(boxes, scores, classes, n, iou, i % 3 == 0, most, want);
        size_t found = k->nms(boxes, scores, classes, n, iou, i % 3 == 0, most, got, work.data);
        failed += kept != found || memcmp(want, got, kept * sizeof *want) != 0;
    }
    guarded_free(&work);
    free(boxes);
    free(scores);
    free(classes);
    free(want);
    free(got);
    return report("nms of many", k, MANY_CASES, failed);
}

int check_post(const om_kernels *tables, int n)
{
    int failed = check_softmax(tables, n);
    for (int i = 0; i < n; i++)
        failed += check_scores(&tables[i]) + check_rows(&tables[i]) + check_motion(&tables[i]) +
                  check_blend(&tables[i]) + check_nms_many(&tables[i]);
    return failed;
}
