/* Figures that grow as Clipper's polygon offsets (version 6, round joins) do. */
#include <math.h>
#include <stdlib.h>

#include "head/region.h"

#define PI 3.14159265358979323846
#define ARC_TOLERANCE 0.25 /* of a pixel, Clipper's own */
#define MAX_STEPS 1000     /* around a whole circle; reached with a distance of 50,000 pixels */

typedef struct vec2d {
    double x, y;
} vec2d;

/* What every corner needs. */
typedef struct offset {
    double distance, cosine, sine, steps_per_rad;
    om_vec2 *out;
    size_t n;
} offset;

static void add(offset *o, vec2d at, vec2d normal)
{
    if (o->n < OM_GROWN_MAX)
        o->out[o->n++] = (om_vec2){(float)round(at.x + normal.x * o->distance),
                                   (float)round(at.y + normal.y * o->distance)};
}

/* Outwards, for corners that go around clockwise as one sees them. */
static vec2d normal_of(vec2d a, vec2d b)
{
    double dx = b.x - a.x, dy = b.y - a.y, len = sqrt(dx * dx + dy * dy);
    return (vec2d){dy / len, -dx / len};
}

static void round_corner(offset *o, vec2d at, vec2d before, vec2d after)
{
    double sine = before.x * after.y - after.x * before.y, cosine = before.x * after.x + before.y * after.y;
    if (fabs(sine * o->distance) < 1 && cosine > 0) {
        add(o, at, before);
        return;
    }
    int steps = (int)round(o->steps_per_rad * fabs(atan2(sine, cosine)));
    vec2d v = before;
    for (int i = 0; i < (steps < 1 ? 1 : steps); i++) {
        add(o, at, v);
        v = (vec2d){v.x * o->cosine - o->sine * v.y, v.x * o->sine + v.y * o->cosine};
    }
    add(o, at, after);
}

/* Cut towards zero; what misses a whole number by the last bits only is meant to be one. */
static double whole(double v) { return trunc(v + copysign(0.0005, v)); }

/* Equal neighbours become one; a figure that goes the other way is turned around. */
static size_t whole_corners(const om_vec2 corner[4], vec2d p[4])
{
    size_t n = 0;
    double area = 0;
    for (int i = 0; i < 4; i++) {
        vec2d v = {whole((double)corner[i].x), whole((double)corner[i].y)};
        if (!n || v.x != p[n - 1].x || v.y != p[n - 1].y) p[n++] = v;
    }
    while (n > 1 && p[n - 1].x == p[0].x && p[n - 1].y == p[0].y) n--;
    for (size_t i = 0; i < n; i++) area += p[i].x * p[(i + 1) % n].y - p[(i + 1) % n].x * p[i].y;
    for (size_t i = 0; area < 0 && i < n / 2; i++) {
        vec2d t = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = t;
    }
    return n;
}

static int by_row(const void *a, const void *b)
{
    const om_vec2 *p = a, *q = b;
    if (p->y != q->y) return p->y < q->y ? -1 : 1;
    return (p->x > q->x) - (p->x < q->x);
}

size_t om_grown(const om_vec2 corner[4], double distance, om_vec2 *out)
{
    vec2d p[4];
    offset o = {.distance = distance, .out = out};
    size_t n = whole_corners(corner, p);
    double reach = fabs(distance), steps = MAX_STEPS;
    /* Of small distances the arcs have no more steps than pixels. */
    if (reach > 0)
        steps = fmin(PI / acos(1 - fmin(ARC_TOLERANCE, reach * ARC_TOLERANCE) / reach), reach * PI);
    steps = fmin(steps, MAX_STEPS);
    o.cosine = cos(2 * PI / steps);
    o.sine = sin(2 * PI / steps);
    o.steps_per_rad = steps / (2 * PI);
    if (n < 2) {
        for (size_t i = 0; i < n; i++) add(&o, p[i], (vec2d){0, 0});
        return o.n;
    }
    for (size_t i = 0; i < n; i++) {
        vec2d before = normal_of(p[(i + n - 1) % n], p[i]), after = normal_of(p[i], p[(i + 1) % n]);
        round_corner(&o, p[i], before, after);
    }
    qsort(out, o.n, sizeof *out, by_row);
    return o.n;
}
