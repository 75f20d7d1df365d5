#include "gallery/align.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"

#define TEMPLATE 112.0

/* Where ArcFace's training pictures have them. */
static const double template_points[5][2] = {
    {38.2946, 51.6963}, {73.5318, 51.5014}, {56.0252, 71.7366}, {41.5493, 92.3655}, {70.7299, 92.2041}};

/* A similarity as complex numbers: template = scale_turn * picture + shift. */
typedef struct similarity {
    double a, b; /* the real and the imaginary part of scale and turn */
    double x, y;
} similarity;

static void mean_of(const double p[5][2], double mean[2])
{
    mean[0] = mean[1] = 0;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 2; k++) mean[k] += p[i][k] / 5;
}

/* False where the points carry no scale, or where mirrored ones would fit better: then there is no face. */
static bool solve(const double from[5][2], const double to[5][2], similarity *out)
{
    double f[2], t[2], a = 0, b = 0, mirrored_a = 0, mirrored_b = 0, spread = 0;
    mean_of(from, f);
    mean_of(to, t);
    for (int i = 0; i < 5; i++) {
        double fx = from[i][0] - f[0], fy = from[i][1] - f[1];
        double tx = to[i][0] - t[0], ty = to[i][1] - t[1];
        a += fx * tx + fy * ty;
        b += fx * ty - fy * tx;
        mirrored_a += fx * tx - fy * ty;
        mirrored_b += fx * ty + fy * tx;
        spread += fx * fx + fy * fy;
    }
    if (!(spread > 1e-6) || !(a * a + b * b > mirrored_a * mirrored_a + mirrored_b * mirrored_b))
        return false;
    out->a = a / spread;
    out->b = b / spread;
    out->x = t[0] - (out->a * f[0] - out->b * f[1]);
    out->y = t[1] - (out->b * f[0] + out->a * f[1]);
    return true;
}

int om_face_align(const float points[5][2], int width, int height, float quad[8])
{
    double from[5][2], to[5][2];
    double shorter = width < height ? width : height, scale = shorter / TEMPLATE;
    similarity s;
    if (width < 1 || height < 1)
        return om_fail(OM_ERR_ARG, "face: an upright picture of %dx%d has no pixels", width, height);
    for (int i = 0; i < 5; i++) {
        if (!isfinite(points[i][0]) || !isfinite(points[i][1]))
            return om_fail(OM_ERR_ARG, "face: landmark %d is no number", i + 1);
        from[i][0] = points[i][0];
        from[i][1] = points[i][1];
        to[i][0] = template_points[i][0] * scale + (width - shorter) / 2;
        to[i][1] = template_points[i][1] * scale + (height - shorter) / 2;
    }
    if (!solve(from, to, &s))
        return om_fail(OM_ERR_ARG,
                       "face: the five landmarks around (%.0f,%.0f) make no face seen from the front",
                       from[2][0], from[2][1]);
    /* Pixels' outer corners, back through the similarity: half a pixel before the first one's middle. */
    const double edge[4][2] = {
        {-0.5, -0.5}, {width - 0.5, -0.5}, {width - 0.5, height - 0.5}, {-0.5, height - 0.5}};
    double size = s.a * s.a + s.b * s.b;
    for (int i = 0; i < 4; i++) {
        double u = edge[i][0] - s.x, v = edge[i][1] - s.y;
        quad[2 * i] = (float)((s.a * u + s.b * v) / size + 0.5);
        quad[2 * i + 1] = (float)((s.a * v - s.b * u) / size + 0.5);
    }
    return OM_OK;
}
