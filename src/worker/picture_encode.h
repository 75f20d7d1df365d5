/* Pictures as files' bytes, many of one kind after another: what they share is made once. */
#ifndef OM_WORKER_PICTURE_ENCODE_H
#define OM_WORKER_PICTURE_ENCODE_H

#include "base/option.h"
#include "frame/frame.h"

typedef enum om_picture_format { OM_PICTURE_JPG, OM_PICTURE_PNG, OM_PICTURE_WEBP } om_picture_format;
extern const om_choice om_picture_format_choices[];
/* "jpg": also the suffix. */
const char *om_picture_format_name(om_picture_format f);

/* Thread-safety: one thread. */
typedef struct om_picture_encoder om_picture_encoder;

/* quality 1..100 for JPEG and WebP. OM_ERR_UNSUPPORTED: this FFmpeg has no encoder for it. */
int om_picture_encoder_create(om_picture_format format, int quality, om_picture_encoder **out);
void om_picture_encoder_destroy(om_picture_encoder *e);
/* A host picture of any size and format. JPEG: full range BT.601 as JFIF means, the chroma as it is in the
 * picture (of 4:2:0, 4:2:2, 4:4:4 with 8 bits), else 4:2:0. *data is the encoder's, good until its next call.
 */
int om_picture_encode(om_picture_encoder *e, const om_image *img, const uint8_t **data, size_t *size);

#endif
