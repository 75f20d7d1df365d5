#include "track/kalman.h"

static void measure(om_box b, float z[4])
{
    z[0] = 0.5f * (b.x0 + b.x1);
    z[1] = 0.5f * (b.y0 + b.y1);
    z[2] = b.x1 - b.x0;
    z[3] = b.y1 - b.y0;
}

/* The size that noise is a part of: the height for both axes of the place, as people and vehicles keep
 * theirs; each side its own. */
static float scale_of(const om_kalman *m, int axis)
{
    float s = m->axis[axis == 2 ? 2 : 3].x;
    return s > 1 ? s : 1;
}

static float square(float v) { return v * v; }

void om_kalman_init(om_kalman *m, const om_noise *noise, om_box box)
{
    float z[4];
    measure(box, z);
    for (int i = 0; i < 4; i++) m->axis[i] = (om_axis_state){.x = z[i]};
    for (int i = 0; i < 4; i++) {
        float s = scale_of(m, i);
        m->axis[i].pxx = square(2 * noise->measured * s);
        m->axis[i].pvv = square(10 * noise->velocity * s);
    }
}

void om_kalman_predict(om_kalman *m, const om_noise *noise, float steps)
{
    for (int i = 0; i < 4; i++) {
        om_axis_state *a = &m->axis[i];
        float s = scale_of(m, i);
        a->x += steps * a->v;
        a->pxx += steps * (2 * a->pxv + steps * a->pvv) + steps * square(noise->position * s);
        a->pxv += steps * a->pvv;
        a->pvv += steps * square(noise->velocity * s);
    }
}

void om_kalman_update(om_kalman *m, const om_noise *noise, om_box box)
{
    float z[4];
    measure(box, z);
    for (int i = 0; i < 4; i++) {
        om_axis_state *a = &m->axis[i];
        float k = 1 / (a->pxx + square(noise->measured * scale_of(m, i)));
        float kx = a->pxx * k, kv = a->pxv * k, off = z[i] - a->x;
        a->x += kx * off;
        a->v += kv * off;
        a->pvv -= kv * a->pxv;
        a->pxv -= kx * a->pxv;
        a->pxx -= kx * a->pxx;
    }
}

om_box om_kalman_box(const om_kalman *m)
{
    float w = 0.5f * m->axis[2].x, h = 0.5f * m->axis[3].x;
    if (w < 0.5f) w = 0.5f;
    if (h < 0.5f) h = 0.5f;
    return (om_box){m->axis[0].x - w, m->axis[1].x - h, m->axis[0].x + w, m->axis[1].x + h};
}
