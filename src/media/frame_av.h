/* Between FFmpeg's pictures and ours. Private to the media room.
 *
 * What a decoder leaves unsaid is filled in: range limited (full for gray and RGB), matrix BT.601 for
 * pictures of less than 720 lines, BT.709 from 720 up. */
#ifndef OM_MEDIA_FRAME_AV_H
#define OM_MEDIA_FRAME_AV_H

#include <libavutil/frame.h>
#include <libavutil/pixfmt.h>
#include <libswscale/swscale.h>

#include "frame/frame.h"

/* OM_PIX_NONE / AV_PIX_FMT_NONE where the other side has no such format. */
om_pixfmt om_pixfmt_from_av(enum AVPixelFormat fmt);
enum AVPixelFormat om_pixfmt_to_av(om_pixfmt fmt);

/* As om_frame_from_av(), with the caller's scaler kept for formats that need converting: *scaler starts NULL
 * and is freed by the caller with sws_freeContext(). */
int om_frame_wrap_av(AVFrame *av, struct SwsContext **scaler, om_frame **out);

/* Calls fn(arg) once a picture that om_frame_wrap_av() made has been freed. Before it is shared. */
void om_frame_on_release(om_frame *f, void (*fn)(void *), void *arg);
/* Where in its stream and when: everything of a frame but its pixels. */
void om_frame_copy_stamps(om_frame *to, const om_frame *from);

/* Converts format, size, range and matrix into dst's planes. */
int om_image_convert(const om_image *src, const om_image *dst, struct SwsContext **scaler);

/* Fails with FFmpeg's own words: "WHAT: words". */
int om_fail_av(int averror, const char *what);
int om_err_from_av(int averror);

#endif
