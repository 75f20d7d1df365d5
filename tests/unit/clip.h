/* Videos of the test pattern, written by our own encoder. */
#ifndef OMMA_TESTS_CLIP_H
#define OMMA_TESTS_CLIP_H

#include "check.h"
#include "media/media.h"

/* All pictures of the source, in its size and at its rate. */
static inline void clip_make(const char *path, const char *pattern)
{
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s;
    om_encoder *e;
    om_frame *f;
    assert_ok(om_source_open(pattern, &params, &counts, &s));
    assert_ok(om_encoder_open(path, s->info.width, s->info.height, s->info.fps, &e));
    while (om_source_read(s, &f) == OM_OK) {
        assert_ok(om_encoder_write(e, &f->image, f->pts_ns));
        om_frame_unref(f);
    }
    om_source_close(s);
    assert_ok(om_encoder_close(e));
}

#endif
