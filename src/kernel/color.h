/* Colour arithmetic between a picture's own samples and red, green and blue of 0..255. */
#ifndef OM_KERNEL_COLOR_H
#define OM_KERNEL_COLOR_H

#include "frame/frame.h"

/* rgb[i] = m[i][0] * y + m[i][1] * u + m[i][2] * v + m[i][3], samples as they lie in memory (16-bit ones
 * unshifted). */
void om_color_to_rgb(const om_image *img, double m[3][4]);
/* The weights of red, green and blue in the luma of the picture's matrix. */
void om_color_luma(om_matrix matrix, double weight[3]);
/* From the picture's samples to JFIF's: each is a weighted sum of luma and both chromas, and a constant. */
void om_color_to_jfif(const om_image *img, double m[3][4]);
/* The 8-bit samples of a colour. */
void om_color_from_rgb(const om_image *img, uint8_t r, uint8_t g, uint8_t b, uint8_t yuv[3]);

#endif
