/* Regions of a bitmap and the rectangles around them, for text found by segmentation. Private to the room. */
#ifndef OM_HEAD_REGION_H
#define OM_HEAD_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of equal pixels in a row: x0..x1, both within. */
typedef struct om_run {
    int32_t x0, x1, y;
    uint32_t parent; /* an earlier run of the same region; the first one's is itself */
    bool set;
} om_run;

/* How many runs the bitmap (a byte a pixel, 0 or 1) has. */
size_t om_runs_count(const uint8_t *bitmap, int width, int height);
/* Fills `runs` (om_runs_count() of them), row by row, and links those of a region: set ones that touch,
 * corners too, and unset ones that share an edge. Afterwards `parent` is the region's first run. */
void om_runs_link(const uint8_t *bitmap, int width, int height, om_run *runs, size_t n);

typedef struct om_vec2 {
    float x, y;
} om_vec2;

/* The hull, counter-clockwise on a y-up plane, of points sorted by y, then x; `hull` holds 2n. Returns its
 * size. */
size_t om_hull(const om_vec2 *points, size_t n, om_vec2 *hull);

/* A rectangle that may stand askew: centre, unit axis along `w`, sides. */
typedef struct om_askew {
    om_vec2 center, axis;
    float w, h;
} om_askew;

/* The one of least area around a hull. */
om_askew om_askew_around(const om_vec2 *hull, size_t n);
/* Its corners from the upper left one clockwise, as text is read. */
void om_askew_corners(const om_askew *r, om_vec2 out[4]);

/* Most points of om_grown(). */
#define OM_GROWN_MAX 1024

/* A convex four-sided figure, its corners as om_askew_corners() gives them, grown by `distance` all around as
 * Clipper's offsets with round joins do it: the corners are cut to whole pixels first, and the arcs' points,
 * which lie within a quarter of a pixel, are rounded. Sorted as om_hull() wants them. Returns how many. */
size_t om_grown(const om_vec2 corner[4], double distance, om_vec2 *out);

/* The mean of `map` over a four-sided figure, which is filled as OpenCV's fillPoly does with whole numbers.
 * What is not finite counts as 0. `rows` holds 2*height numbers. */
float om_mean_inside(const float *map, int width, int height, const om_vec2 corner[4], int32_t *rows);

#endif
