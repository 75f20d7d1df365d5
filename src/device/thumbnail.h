/* Small JPEG pictures of host frames. Private to the room. */
#ifndef OM_DEVICE_THUMBNAIL_H
#define OM_DEVICE_THUMBNAIL_H

#include <stddef.h>

#include "frame/frame.h"

/* The picture, not enlarged, within width x height, as JFIF (full range, BT.601, chroma at half size; a gray
 * picture stays one). *data is from om_alloc. Luma and chroma go to the encoder as they are, whatever their
 * format; red, green and blue by way of it. OM_ERR_UNSUPPORTED for a picture without a format, OM_ERR_NOMEM.
 */
int om_thumbnail_make(const om_image *img, int width, int height, int quality, uint8_t **data, size_t *size);

#endif
