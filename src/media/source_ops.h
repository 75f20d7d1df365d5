/* The kinds of sources, one object each. Private to the media room. */
#ifndef OM_MEDIA_SOURCE_OPS_H
#define OM_MEDIA_SOURCE_OPS_H

#include "media/source.h"

extern const om_source_ops om_source_pattern;
extern const om_source_ops om_source_rtsp;
extern const om_source_ops om_source_http;
extern const om_source_ops om_source_v4l2;
extern const om_source_ops om_source_images;
extern const om_source_ops om_source_file;

/* By its suffix. */
bool om_picture_suffix(const char *path);
/* True for a folder, and for a text with * ? [ that is not the name of a file. */
bool om_is_folder_or_glob(const char *path);

/* How many bytes of the text after "://" are the user's name and password with their '@'. */
size_t om_uri_userinfo(const char *rest, size_t len);

static inline void om_source_count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

#endif
