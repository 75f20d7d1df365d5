/* Decoding on a GPU: FFmpeg gets the device's own context and stream, so that its pictures need no copy to be
 * read by the device's kernels. Private to the media room but for what source.h says.
 *
 * A hardware decoder has a fixed number of surfaces and fails when they are all held, so what its pictures'
 * holders may keep is reserved in advance, and a stream that holds that many is not decoded further until one
 * comes back. */
#ifndef OM_MEDIA_HWACCEL_H
#define OM_MEDIA_HWACCEL_H

#include <libavcodec/avcodec.h>

#include "media/source.h"
#include "media/surfaces.h"

/* The decoder for this codec that the device's hardware speeds up; NULL: there is none. */
const AVCodec *om_hwaccel_codec(const om_hwaccel *h, enum AVCodecID id);
/* Before avcodec_open2() of a codec from om_hwaccel_codec(): its pictures will lie on the device, `hold` of
 * them may be kept by others at a time. *out counts those; it is given back by om_surfaces_unref() after the
 * context. */
int om_hwaccel_attach(om_hwaccel *h, AVCodecContext *ctx, int hold, om_surfaces **out);
om_device *om_hwaccel_device(const om_hwaccel *h);
/* The accelerator behind a picture in its memory. */
const om_hwaccel *om_hwaccel_of(const AVFrame *av);

#endif
