/* Treemap and roofline. */
#include "profile/svg.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define MAP_WIDTH 960.0
#define MAP_HEIGHT 420.0
#define MAX_TYPES 64

const char *om_type_class(const om_type_sum *types, size_t n, const char *type)
{
    static const char *const classes[] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6"};
    for (size_t i = 0; i < n && i < sizeof classes / sizeof classes[0]; i++)
        if (!strcmp(types[i].type, type)) return classes[i];
    return "t7";
}

typedef struct rect {
    double x, y, w, h;
} rect;

/* The page's drawing under way. */
typedef struct map {
    const om_profile *p;
    const size_t *order; /* longest first */
    const om_type_sum *types;
    size_t n_types;
    double scale; /* square units a microsecond */
    om_str *out;
} map;

/* The part of a layer's name that tells it from others: "model.22/cv2.0" of "/model.22/cv2.0/conv/Conv"; of
 * what is longer than `room` bytes, the last parts that fit. Returns its length. */
static size_t short_name(const char *name, size_t room, const char **start)
{
    name += *name == '/';
    size_t n = strlen(name);
    for (int i = 0; i < 2; i++) {
        size_t at = n;
        while (at > 0 && name[at - 1] != '/') at--;
        size_t len = n - at;
        bool general = len < 12 && (!strncmp(name + at, "conv", 4) || !strncmp(name + at, "Conv", 4) ||
                                    !strncmp(name + at, "MatMul", 6));
        if (at < 2 || !general) break;
        n = at - 1;
    }
    size_t from = n > room ? n - room : 0;
    while (from && from < n && name[from - 1] != '/') from++;
    if (from == n) { /* the last part alone is longer: its begin says more than its end */
        while (from && name[from - 1] != '/') from--;
        if (n - from > room) n = from + room;
        while (n > from && ((unsigned char)name[n] & 0xc0) == 0x80) n--; /* whole characters */
    }
    *start = name + from;
    return n - from;
}

static void tile(const map *m, const om_layer *l, rect r)
{
    om_str_addf(m->out, "<g class=\"tile %s\"><title>", om_type_class(m->types, m->n_types, l->type));
    om_html_text(m->out, l->name);
    om_str_addf(m->out, "\n%s, %.1f us, %.1f%%\n", l->type, l->us, 100 * l->us / m->p->layers_us);
    if (l->macs) om_str_addf(m->out, "%.1f GFLOP/s, ", l->gflops);
    om_str_addf(m->out,
                "%.1f GB/s, bound by %s</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                l->gbs, om_roof_name(l->roof), r.x, r.y, fmax(r.w - 1, .3), fmax(r.h - 1, .3));
    int room = (int)((r.w - 8) / 6.3);
    if (r.h > 16 && room >= 4) {
        const char *start;
        char name[64];
        size_t n =
            short_name(l->name, (size_t)room < sizeof name - 1 ? (size_t)room : sizeof name - 1, &start);
        memcpy(name, start, n);
        name[n] = '\0';
        om_str_addf(m->out, "<text x=\"%.1f\" y=\"%.1f\">", r.x + 4, r.y + 13);
        om_html_text(m->out, name);
        om_str_add(m->out, "</text>");
        if (r.h > 30 && room >= 7)
            om_str_addf(m->out, "<text class=\"sub\" x=\"%.1f\" y=\"%.1f\">%.0f us</text>", r.x + 4, r.y + 26,
                        l->us);
    }
    om_str_add(m->out, "</g>");
}

static double time_of(const map *m, size_t i) { return m->p->layers[m->order[i]].us; }

/* The worst side ratio of a row of tiles [first, last) along a side of this length. */
static double worst(const map *m, size_t first, size_t last, double sum, double side)
{
    double area = sum * m->scale, high = time_of(m, first) * m->scale, low = time_of(m, last - 1) * m->scale;
    return fmax(side * side * high / (area * area), area * area / (side * side * low));
}

/* Squarified: rows along the shorter side, each closed where another tile would make its shapes worse. */
static void lay_out(const map *m, size_t n)
{
    rect room = {0, 0, MAP_WIDTH, MAP_HEIGHT};
    for (size_t i = 0; i < n;) {
        double side = fmin(room.w, room.h), sum = time_of(m, i);
        size_t end = i + 1;
        while (end < n && worst(m, i, end + 1, sum + time_of(m, end), side) <= worst(m, i, end, sum, side))
            sum += time_of(m, end++);
        double depth = sum * m->scale / side, at = 0;
        bool upright = room.w >= room.h; /* a column at the left */
        for (; i < end; i++) {
            double length = time_of(m, i) * m->scale / depth;
            rect r = upright ? (rect){room.x, room.y + at, depth, length}
                             : (rect){room.x + at, room.y, length, depth};
            tile(m, &m->p->layers[m->order[i]], r);
            at += length;
        }
        if (upright) room.x += depth, room.w -= depth;
        else room.y += depth, room.h -= depth;
        if (room.w < .5 || room.h < .5) return;
    }
}

void om_svg_treemap(const om_profile *p, om_str *out)
{
    om_type_sum types[MAX_TYPES];
    size_t *order = om_calloc(p->n_layers + 1, sizeof *order), n = 0;
    if (!order || p->layers_us <= 0) {
        om_free(order);
        return;
    }
    om_profile_order(p, order);
    map m = {.p = p,
             .order = order,
             .types = types,
             .n_types = om_profile_types(p, types, MAX_TYPES),
             .scale = MAP_WIDTH * MAP_HEIGHT / p->layers_us,
             .out = out};
    while (n < p->n_layers && time_of(&m, n) > p->layers_us * 1e-5) n++;
    om_str_addf(out,
                "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"Treemap of the layers' times\">",
                MAP_WIDTH, MAP_HEIGHT);
    lay_out(&m, n);
    om_str_add(out, "</svg><p class=\"legend\">");
    for (size_t i = 0; i < m.n_types && i < 8; i++) {
        om_str_addf(out, "<span><i class=\"%s\"></i>",
                    i < 7 ? om_type_class(types, m.n_types, types[i].type) : "t7");
        om_html_text(out, i < 7 ? types[i].type : "others");
        if (i < 7) om_str_addf(out, " %.0f%%", 100 * types[i].us / p->layers_us);
        om_str_add(out, "</span>");
    }
    om_str_add(out, "</p>");
    om_free(order);
}

/* Roofline: logarithmic both ways. */
#define LEFT 64.0
#define RIGHT 930.0
#define TOP 24.0
#define BOTTOM 372.0

typedef struct axes {
    double x0, x1, y0, y1; /* powers of ten */
} axes;

static double at_x(const axes *a, double v)
{
    return LEFT + (log10(v) - a->x0) / (a->x1 - a->x0) * (RIGHT - LEFT);
}

static double at_y(const axes *a, double v)
{
    return BOTTOM - (log10(v) - a->y0) / (a->y1 - a->y0) * (BOTTOM - TOP);
}

static void grid(const axes *a, om_str *out)
{
    for (int e = (int)a->x0; e <= (int)a->x1; e++) {
        double x = at_x(a, pow(10, e));
        om_str_addf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\" y2=\"%.0f\"/>", x, x, TOP,
                    BOTTOM);
        om_str_addf(out, "<text class=\"axis\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.0f\">%g</text>", x,
                    BOTTOM + 16, pow(10, e));
    }
    for (int e = (int)a->y0; e <= (int)a->y1; e++) {
        double y = at_y(a, pow(10, e));
        om_str_addf(out, "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                    RIGHT, y, y);
        om_str_addf(out, "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%g</text>", LEFT - 8,
                    y + 4, pow(10, e));
    }
    om_str_addf(out, "<text class=\"axis\" text-anchor=\"middle\" x=\"%.0f\" y=\"%.0f\">FLOP a byte</text>",
                (LEFT + RIGHT) / 2, BOTTOM + 36);
    om_str_addf(out, "<text class=\"axis\" x=\"%.0f\" y=\"14\">GFLOP/s</text>", LEFT - 56);
}

static void roof(const axes *a, double gbs, double gflops, const char *css, const char *label, om_str *out)
{
    double ridge = gflops / gbs, x0 = pow(10, a->x0), y0 = pow(10, a->y0);
    double from = fmax(x0, y0 / gbs);
    om_str_addf(out, "<polyline class=\"roof %s\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>", css,
                at_x(a, from), at_y(a, from * gbs), at_x(a, ridge), at_y(a, gflops), RIGHT, at_y(a, gflops));
    om_str_addf(
        out,
        "<text class=\"axis\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%s %.0f GFLOP/s, %.1f GB/s</text>",
        RIGHT, at_y(a, gflops) - 5, label, gflops, gbs);
}

static void point(const axes *a, const map *m, const om_layer *l)
{
    double intensity = 2.0 * (double)l->macs / (double)l->bytes;
    double r = fmin(18, fmax(2.5, 30 * sqrt(l->us / m->p->layers_us)));
    om_str_addf(m->out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>",
                om_type_class(m->types, m->n_types, l->type), at_x(a, intensity), at_y(a, l->gflops), r);
    om_html_text(m->out, l->name);
    om_str_addf(m->out,
                "\n%s %s: %.1f GFLOP/s at %.1f FLOP a byte, %.0f%% of the roof, %.1f us</title></circle>",
                l->type, l->precision, l->gflops, intensity, 100 * l->reach, l->us);
}

static bool has_point(const om_layer *l) { return l->macs > 0 && l->bytes > 0 && l->gflops > 0; }

void om_svg_roofline(const om_profile *p, om_str *out)
{
    om_type_sum types[MAX_TYPES];
    map m = {.p = p, .types = types, .n_types = om_profile_types(p, types, MAX_TYPES), .out = out};
    axes a = {.x0 = 0, .x1 = 2, .y0 = 0, .y1 = 1};
    double top = p->peaks.f32_gflops;
    bool integers = false, halves = false;
    size_t points = 0;
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        if (!has_point(l)) continue;
        double e = log10(2.0 * (double)l->macs / (double)l->bytes);
        a.x0 = fmin(a.x0, floor(e));
        a.x1 = fmax(a.x1, ceil(e));
        a.y0 = fmin(a.y0, fmax(-3, floor(log10(l->gflops))));
        top = fmax(top, l->gflops);
        integers |= !strcmp(l->precision, "int8");
        halves |= !strcmp(l->precision, "f16");
        points++;
    }
    if (!points || p->peaks.memory_gbs <= 0 || p->peaks.f32_gflops <= 0) return;
    if (integers) top = fmax(top, p->peaks.int8_gops);
    if (halves) top = fmax(top, p->peaks.f16_gflops);
    a.y1 = ceil(log10(top) + .05);
    a.x1 = fmax(a.x1, ceil(log10(p->peaks.f32_gflops / p->peaks.memory_gbs) + .1));
    om_str_add(out, "<svg viewBox=\"0 0 960 420\" role=\"img\" aria-label=\"Roofline plot\">");
    grid(&a, out);
    roof(&a, p->peaks.memory_gbs, p->peaks.f32_gflops, "", "f32", out);
    if (halves && p->peaks.f16_gflops > 0)
        roof(&a, p->peaks.memory_gbs, p->peaks.f16_gflops, "dash", "f16", out);
    if (integers && p->peaks.int8_gops > 0)
        roof(&a, p->peaks.memory_gbs, p->peaks.int8_gops, "dash", "int8", out);
    for (size_t i = 0; i < p->n_layers; i++)
        if (has_point(&p->layers[i])) point(&a, &m, &p->layers[i]);
    om_str_add(out, "</svg>");
}
