/* The pictures of one hardware decoder that others hold: how many there may be, and behind which point of
 * the device's work each is written. Private to the media room.
 *
 * It lives on until the last picture has come home, which may be after its decoder and its accelerator have
 * gone, at the latest while the device is closed. Thread-safety: hold, and the release of a picture, from any
 * thread. */
#ifndef OM_MEDIA_SURFACES_H
#define OM_MEDIA_SURFACES_H

#include "base/thread.h"
#include "device/device.h"

/* More surfaces than this make some GPUs refuse a decoder. */
#define OM_SURFACES_MAX 32

typedef struct om_surfaces om_surfaces;

/* `writes`: the stream of `d` in which the decoder writes; `wish`: as many may be held at a time. */
int om_surfaces_create(om_device *d, om_stream *writes, int wish, om_surfaces **out);
/* There is room for so many: returns how many may be held then. */
int om_surfaces_fit(om_surfaces *s, int room);
/* The GPU did not take the stream: no picture will come. NULL, or why (a constant). The decoder's thread. */
void om_surfaces_refuse(om_surfaces *s, const char *why);
const char *om_surfaces_refused(const om_surfaces *s);
/* Waits until another picture may be made: OM_ERR_CANCELLED, OM_ERR_DEVICE_LOST. */
int om_surfaces_wait(om_surfaces *s, om_cancel *cancel);
/* This picture, whose writing was put into the stream just now, counts until its last reference goes. It gets
 * the event behind which it is written. */
void om_surfaces_hold(om_surfaces *s, om_frame *f);
void om_surfaces_unref(om_surfaces *s); /* NULL is allowed */

#endif
