/* How a box moves: a Kalman filter with constant velocity. Its noise does not couple centre, width and
 * height, so the usual eight-state filter is four of two states each, which give the same numbers. */
#ifndef OM_TRACK_KALMAN_H
#define OM_TRACK_KALMAN_H

#include "track/match.h"

/* Position, velocity and their covariance. */
typedef struct om_axis_state {
    float x, v, pxx, pxv, pvv;
} om_axis_state;

typedef struct om_kalman {
    om_axis_state axis[4]; /* centre x, centre y, width, height */
} om_kalman;

/* Noise as parts of the box's own size, so that near and far objects are followed alike. */
typedef struct om_noise {
    float position, velocity; /* what moves by itself, a step */
    float measured;           /* how far boxes are off */
} om_noise;

void om_kalman_init(om_kalman *m, const om_noise *noise, om_box box);
void om_kalman_predict(om_kalman *m, const om_noise *noise, float steps);
void om_kalman_update(om_kalman *m, const om_noise *noise, om_box box);
om_box om_kalman_box(const om_kalman *m);

#endif
