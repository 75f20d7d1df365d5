#include "kernel/quad.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"

/* A quadrilateral is convex where the perspective's denominator keeps its sign over it; as it is linear, its
 * corners tell. A hundredth of its value at the first corner is already a view no camera has. */
#define LEAST_DENOMINATOR 0.01

static bool finite_corners(const float quad[8])
{
    for (int i = 0; i < 8; i++)
        if (!isfinite(quad[i])) return false;
    return true;
}

/* The unit square's corners (0,0), (1,0), (1,1), (0,1) onto the quadrilateral's. */
static bool solve_unit(const float quad[8], double m[8])
{
    double x0 = quad[0], y0 = quad[1], x1 = quad[2], y1 = quad[3];
    double x2 = quad[4], y2 = quad[5], x3 = quad[6], y3 = quad[7];
    double ax = x1 - x2, ay = y1 - y2, bx = x3 - x2, by = y3 - y2;
    double sx = x0 - x1 + x2 - x3, sy = y0 - y1 + y2 - y3;
    double area = ax * by - bx * ay;
    if (!(fabs(area) > 1e-9 * (fabs(ax * by) + fabs(bx * ay)))) return false;
    double g = (sx * by - bx * sy) / area, h = (ax * sy - sx * ay) / area;
    const double solved[8] = {
        x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h};
    for (int i = 0; i < 8; i++) m[i] = solved[i];
    return 1 + g > LEAST_DENOMINATOR && 1 + h > LEAST_DENOMINATOR && 1 + g + h > LEAST_DENOMINATOR;
}

int om_perspective_solve(const float quad[8], int dst_w, int dst_h, om_perspective *out)
{
    double u[8], n[9];
    if (!finite_corners(quad) || !solve_unit(quad, u))
        return om_fail(OM_ERR_ARG,
                       "warp: corners (%g,%g) (%g,%g) (%g,%g) (%g,%g) make no convex quadrilateral", quad[0],
                       quad[1], quad[2], quad[3], quad[4], quad[5], quad[6], quad[7]);
    /* Pixels' centres: u = (column + 1/2) / dst_w, and half a pixel back in the source. */
    n[6] = u[6] / dst_w;
    n[7] = u[7] / dst_h;
    n[8] = 1 + n[6] / 2 + n[7] / 2;
    for (int i = 0; i < 2; i++) {
        n[3 * i] = u[3 * i] / dst_w;
        n[3 * i + 1] = u[3 * i + 1] / dst_h;
        n[3 * i + 2] = u[3 * i + 2] + n[3 * i] / 2 + n[3 * i + 1] / 2;
        for (int k = 0; k < 3; k++) n[3 * i + k] -= n[6 + k] / 2;
    }
    for (int i = 0; i < 8; i++) out->m[i] = n[i] / n[8];
    return OM_OK;
}
