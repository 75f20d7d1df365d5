/* A stand-in for media/hwaccel.c: FFmpeg's ordinary decoders do the work of a GPU's, so that what surrounds
 * those can be tested where there is no GPU. The program that includes this links it in place of the real
 * one. */
#ifndef OM_TEST_FAKE_HWACCEL_H
#define OM_TEST_FAKE_HWACCEL_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/hwaccel.h"
#include "media/media.h"

struct om_hwaccel {
    om_device *device;
    atomic_int opened, closed;
    int refuse; /* it takes no stream, and says so after its opening */
};

struct om_surfaces {
    om_hwaccel *accel;
};

int om_hwaccel_create(om_device *d, om_hwaccel **out)
{
    *out = om_calloc(1, sizeof(**out));
    if (!*out) return OM_ERR_NOMEM;
    (*out)->device = d;
    return OM_OK;
}

void om_hwaccel_destroy(om_hwaccel *h) { om_free(h); }
uint64_t om_hwaccel_declined(const om_hwaccel *h) { return 0; }
om_device *om_hwaccel_device(const om_hwaccel *h) { return h->device; }
const om_hwaccel *om_hwaccel_of(const AVFrame *av) { return NULL; }
const AVCodec *om_hwaccel_codec(const om_hwaccel *h, enum AVCodecID id) { return avcodec_find_decoder(id); }

int om_hwaccel_attach(om_hwaccel *h, AVCodecContext *ctx, int hold, om_surfaces **out)
{
    *out = om_calloc(1, sizeof(**out));
    if (!*out) return OM_ERR_NOMEM;
    (*out)->accel = h;
    atomic_fetch_add(&h->opened, 1);
    return OM_OK;
}

const char *om_surfaces_refused(const om_surfaces *s)
{
    return s->accel->refuse ? "the GPU does not take this stream" : NULL;
}
int om_surfaces_wait(om_surfaces *s, om_cancel *cancel) { return OM_OK; }
void om_surfaces_hold(om_surfaces *s, om_frame *f) {}

void om_surfaces_unref(om_surfaces *s)
{
    if (s) atomic_fetch_add(&s->accel->closed, 1);
    om_free(s);
}

int om_frame_download(const om_frame *src, om_frame **out) { return OM_ERR_UNSUPPORTED; }

#endif
