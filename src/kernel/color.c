#include "kernel/color.h"

#include <math.h>

void om_color_luma(om_matrix matrix, double weight[3])
{
    static const double red_blue[][2] = {[OM_MATRIX_BT601] = {0.299, 0.114},
                                         [OM_MATRIX_BT709] = {0.2126, 0.0722},
                                         [OM_MATRIX_BT2020] = {0.2627, 0.0593}};
    const double *rb = red_blue[(unsigned)matrix <= OM_MATRIX_BT2020 ? matrix : OM_MATRIX_BT601];
    weight[0] = rb[0];
    weight[1] = 1 - rb[0] - rb[1];
    weight[2] = rb[1];
}

typedef struct sample_range {
    double unit;                        /* what one code of the sample is worth in memory */
    double black, luma, centre, chroma; /* in codes: offset and span of luma, middle and span of chroma */
} sample_range;

static sample_range range_of(const om_image *img)
{
    bool wide = om_pixfmt_get(img->fmt)->sample_bytes == 2;
    double step = wide ? 4 : 1; /* 10 bits against 8 */
    sample_range r = {.unit = img->fmt == OM_PIX_P010 ? 64 : 1, .centre = 128 * step};
    if (img->range == OM_RANGE_FULL) {
        r.luma = r.chroma = wide ? 1023 : 255;
    } else {
        r.black = 16 * step;
        r.luma = 219 * step;
        r.chroma = 224 * step;
    }
    return r;
}

void om_color_to_rgb(const om_image *img, double m[3][4])
{
    double k[3];
    sample_range r = range_of(img);
    om_color_luma(img->matrix, k);
    double luma = 255 / r.luma, chroma = img->fmt == OM_PIX_GRAY8 ? 0 : 255 / r.chroma;
    double cu[3] = {0, -2 * (1 - k[2]) * k[2] / k[1] * chroma, 2 * (1 - k[2]) * chroma};
    double cv[3] = {2 * (1 - k[0]) * chroma, -2 * (1 - k[0]) * k[0] / k[1] * chroma, 0};
    for (int i = 0; i < 3; i++) {
        m[i][0] = luma / r.unit;
        m[i][1] = cu[i] / r.unit;
        m[i][2] = cv[i] / r.unit;
        m[i][3] = -luma * r.black - (cu[i] + cv[i]) * r.centre;
    }
}

static uint8_t to_byte(double v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : lrint(v)); }

void om_color_from_rgb(const om_image *img, uint8_t r, uint8_t g, uint8_t b, uint8_t yuv[3])
{
    double k[3];
    sample_range s = range_of(img);
    om_color_luma(img->matrix, k);
    double y = (k[0] * r + k[1] * g + k[2] * b) / 255;
    yuv[0] = to_byte(s.black + s.luma * y);
    yuv[1] = to_byte(s.centre + s.chroma * (b / 255.0 - y) / (2 * (1 - k[2])));
    yuv[2] = to_byte(s.centre + s.chroma * (r / 255.0 - y) / (2 * (1 - k[0])));
}

void om_color_to_jfif(const om_image *img, double m[3][4])
{
    double rgb[3][4], k[3];
    om_color_to_rgb(img, rgb);
    om_color_luma(OM_MATRIX_BT601, k);
    for (int i = 0; i < 4; i++) {
        double y = k[0] * rgb[0][i] + k[1] * rgb[1][i] + k[2] * rgb[2][i];
        m[0][i] = y;
        m[1][i] = (rgb[2][i] - y) / (2 * (1 - k[2]));
        m[2][i] = (rgb[0][i] - y) / (2 * (1 - k[0]));
    }
    m[1][3] += 128;
    m[2][3] += 128;
}
