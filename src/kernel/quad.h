/* The perspective that maps a rectangle onto a quadrilateral. */
#ifndef OM_KERNEL_QUAD_H
#define OM_KERNEL_QUAD_H

/* x = (m[0] u + m[1] v + m[2]) / w, y = (m[3] u + m[4] v + m[5]) / w, w = m[6] u + m[7] v + 1: destination
 * pixel (u, v), counted from 0 to dst_w - 1, to the source's, whose first pixel has its centre at (0, 0). */
typedef struct om_perspective {
    double m[8];
} om_perspective;

/* OM_ERR_ARG for corners that are not finite or make no convex quadrilateral. */
int om_perspective_solve(const float quad[8], int dst_w, int dst_h, om_perspective *out);

#endif
