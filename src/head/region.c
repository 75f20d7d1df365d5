#include "head/region.h"

#include <math.h>
#include <string.h>

static int run_end(const uint8_t *row, int x, int width)
{
    const uint8_t *next = memchr(row + x, !row[x], (size_t)(width - x));
    return next ? (int)(next - row) - 1 : width - 1;
}

size_t om_runs_count(const uint8_t *bitmap, int width, int height)
{
    size_t n = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *row = bitmap + (size_t)y * (size_t)width;
        n += width > 0;
        for (int x = 1; x < width; x++) n += row[x] != row[x - 1];
    }
    return n;
}

static uint32_t root(om_run *runs, uint32_t i)
{
    while (runs[i].parent != i) {
        runs[i].parent = runs[runs[i].parent].parent;
        i = runs[i].parent;
    }
    return i;
}

/* The earlier run stays the root, so that a region's root is its first run. */
static void join(om_run *runs, uint32_t a, uint32_t b)
{
    a = root(runs, a);
    b = root(runs, b);
    if (a < b) runs[b].parent = a;
    else runs[a].parent = b;
}

/* Joins the runs [begin, end) of a row with those of the row above, [above, begin). */
static void join_rows(om_run *runs, uint32_t above, uint32_t begin, uint32_t end)
{
    uint32_t i = above, j = begin;
    while (i < begin && j < end) {
        int reach = runs[j].set ? 1 : 0;
        if (runs[i].set == runs[j].set && runs[i].x0 <= runs[j].x1 + reach &&
            runs[j].x0 <= runs[i].x1 + reach)
            join(runs, i, j);
        /* Set runs that touch by a corner lie one run further on. */
        if (i + 1 < begin && runs[i + 1].set && runs[j].set && runs[i + 1].x0 == runs[j].x1 + 1)
            join(runs, i + 1, j);
        if (j + 1 < end && runs[j + 1].set && runs[i].set && runs[j + 1].x0 == runs[i].x1 + 1)
            join(runs, i, j + 1);
        if (runs[i].x1 < runs[j].x1) i++;
        else if (runs[i].x1 > runs[j].x1) j++;
        else i++, j++;
    }
}

void om_runs_link(const uint8_t *bitmap, int width, int height, om_run *runs, size_t n)
{
    uint32_t at = 0, above = 0;
    for (int y = 0; y < height && at < n; y++) {
        const uint8_t *row = bitmap + (size_t)y * (size_t)width;
        uint32_t begin = at;
        for (int x = 0; x < width && at < n; at++) {
            int end = run_end(row, x, width);
            runs[at] = (om_run){x, end, y, at, row[x] != 0};
            x = end + 1;
        }
        if (y > 0) join_rows(runs, above, begin, at);
        above = begin;
    }
    for (uint32_t i = 0; i < at; i++) runs[i].parent = root(runs, i);
}

static double turn(om_vec2 a, om_vec2 b, om_vec2 c)
{
    return ((double)b.x - a.x) * ((double)c.y - a.y) - ((double)b.y - a.y) * ((double)c.x - a.x);
}

size_t om_hull(const om_vec2 *points, size_t n, om_vec2 *hull)
{
    size_t k = 0;
    if (n < 3) {
        memcpy(hull, points, n * sizeof *hull);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        while (k >= 2 && turn(hull[k - 2], hull[k - 1], points[i]) <= 0) k--;
        hull[k++] = points[i];
    }
    for (size_t i = n - 1, low = k + 1; i-- > 0;) {
        while (k >= low && turn(hull[k - 2], hull[k - 1], points[i]) <= 0) k--;
        hull[k++] = points[i];
    }
    return k > 1 ? k - 1 : k;
}

typedef struct span {
    double low, high;
} span;

static span project(const om_vec2 *p, size_t n, double x, double y)
{
    span s = {INFINITY, -INFINITY};
    for (size_t i = 0; i < n; i++) {
        double v = p[i].x * x + p[i].y * y;
        if (v < s.low) s.low = v;
        if (v > s.high) s.high = v;
    }
    return s;
}

/* One side of it lies on a side of the hull. */
om_askew om_askew_around(const om_vec2 *hull, size_t n)
{
    om_askew best = {.axis = {1, 0}};
    double least = INFINITY;
    if (n == 1) best.center = hull[0];
    for (size_t i = 0; i < n && n > 1; i++) {
        om_vec2 a = hull[i], b = hull[(i + 1) % n];
        double x = (double)b.x - a.x, y = (double)b.y - a.y, len = sqrt(x * x + y * y);
        if (!(len > 0)) continue;
        x /= len;
        y /= len;
        span u = project(hull, n, x, y), v = project(hull, n, -y, x);
        double w = u.high - u.low, h = v.high - v.low;
        if (!(w * h < least)) continue;
        least = w * h;
        double cu = (u.low + u.high) / 2, cv = (v.low + v.high) / 2;
        best = (om_askew){
            {(float)(cu * x - cv * y), (float)(cu * y + cv * x)}, {(float)x, (float)y}, (float)w, (float)h};
    }
    return best;
}

static void swap(om_vec2 *a, om_vec2 *b)
{
    om_vec2 t = *a;
    *a = *b;
    *b = t;
}

void om_askew_corners(const om_askew *r, om_vec2 out[4])
{
    om_vec2 along = {r->axis.x * r->w / 2, r->axis.y * r->w / 2},
            across = {-r->axis.y * r->h / 2, r->axis.x * r->h / 2}, p[4];
    for (int i = 0; i < 4; i++) {
        float s = i & 1 ? 1 : -1, t = i & 2 ? 1 : -1;
        p[i] = (om_vec2){r->center.x + s * along.x + t * across.x, r->center.y + s * along.y + t * across.y};
    }
    for (int i = 1; i < 4; i++) /* by x; equal ones stay in order */
        for (int j = i; j > 0 && p[j].x < p[j - 1].x; j--) swap(&p[j], &p[j - 1]);
    bool left = p[1].y > p[0].y, right = p[3].y > p[2].y;
    out[0] = p[left ? 0 : 1];
    out[3] = p[left ? 1 : 0];
    out[1] = p[right ? 2 : 3];
    out[2] = p[right ? 3 : 2];
}

static int clamp_int(double v, int low, int high) { return v < low ? low : v > high ? high : (int)v; }

static void swap_int(int *a, int *b)
{
    int t = *a;
    *a = *b;
    *b = t;
}

/* What of each row lies in the figure: it is convex, so that a row has no gaps. */
typedef struct window {
    int left, top, right, bottom;
    int32_t *low, *high; /* by row */
} window;

static void widen(window *w, int row, int x0, int x1)
{
    if (row < w->top || row > w->bottom) return;
    if (x0 < w->low[row]) w->low[row] = x0;
    if (x1 > w->high[row]) w->high[row] = x1;
}

/* The pixels of the side as a line, drawn from left to right. */
static void draw_side(window *w, int ax, int ay, int bx, int by)
{
    if (ax > bx) {
        swap_int(&ax, &bx);
        swap_int(&ay, &by);
    }
    int step = by < ay ? -1 : 1, dx = bx - ax, dy = step * (by - ay);
    bool steep = dy > dx;
    int major = steep ? dy : dx, minor = steep ? dx : dy, err = major - 2 * minor;
    for (int i = 0; i <= major; i++) {
        widen(w, ay, ax, ax);
        int aside = err < 0;
        err += 2 * aside * major - 2 * minor;
        ax += steep ? aside : 1;
        ay += step * (steep ? 1 : aside);
    }
}

/* Where the side crosses the rows, as a filler with 16 bits behind the point finds it. */
static void cross_side(window *w, int ax, int ay, int bx, int by)
{
    if (ay == by) return;
    if (ay > by) {
        swap_int(&ax, &bx);
        swap_int(&ay, &by);
    }
    int64_t slope = (int64_t)(bx - ax) * 65536 / (by - ay), x = (int64_t)ax * 65536;
    for (int y = ay; y < by; y++, x += slope) widen(w, y, (int)((x + 65535) >> 16), (int)(x >> 16));
}

float om_mean_inside(const float *map, int width, int height, const om_vec2 corner[4], int32_t *rows)
{
    window w = {width, height, 0, 0, rows, rows + height};
    for (int i = 0; i < 4; i++) {
        int x0 = clamp_int(floor(corner[i].x), 0, width - 1), x1 = clamp_int(ceil(corner[i].x), 0, width - 1);
        int y0 = clamp_int(floor(corner[i].y), 0, height - 1),
            y1 = clamp_int(ceil(corner[i].y), 0, height - 1);
        if (x0 < w.left) w.left = x0;
        if (x1 > w.right) w.right = x1;
        if (y0 < w.top) w.top = y0;
        if (y1 > w.bottom) w.bottom = y1;
    }
    for (int y = w.top; y <= w.bottom; y++) {
        w.low[y] = width;
        w.high[y] = -1;
    }
    int x[4], y[4];
    for (int i = 0; i < 4; i++) { /* whole numbers, cut towards the window's corner */
        x[i] = w.left + clamp_int((double)corner[i].x - w.left, -width, 2 * width);
        y[i] = w.top + clamp_int((double)corner[i].y - w.top, -height, 2 * height);
    }
    for (int i = 0; i < 4; i++) {
        draw_side(&w, x[i], y[i], x[(i + 1) % 4], y[(i + 1) % 4]);
        cross_side(&w, x[i], y[i], x[(i + 1) % 4], y[(i + 1) % 4]);
    }
    double sum = 0;
    size_t n = 0;
    for (int row = w.top; row <= w.bottom; row++) {
        const float *v = map + (size_t)row * (size_t)width;
        int from = w.low[row] > w.left ? w.low[row] : w.left,
            to = w.high[row] < w.right ? w.high[row] : w.right;
        for (int i = from; i <= to; i++, n++) sum += isfinite(v[i]) ? v[i] : 0;
    }
    return n ? (float)(sum / (double)n) : 0;
}
