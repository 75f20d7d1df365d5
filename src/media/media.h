/* The media room's public header: sources, pictures on disk, encoded video. */
#ifndef OM_MEDIA_MEDIA_H
#define OM_MEDIA_MEDIA_H

#include "base/str.h"
#include "media/source.h"

/* Wraps decoder output without copying: *out takes over `avframe`'s content (an AVFrame *), which is left
 * blank. A pixel format without an om_pixfmt is converted to I420, GRAY8 or RGB24; OM_ERR_UNSUPPORTED where
 * swscale cannot, `avframe` untouched. What the decoder leaves unsaid is filled in: range limited (full for
 * gray and RGB), matrix BT.601 for pictures of less than 720 lines, BT.709 from 720 up. Rotation that a file
 * asks for is not applied. */
int om_frame_from_av(void *avframe, om_frame **out);

/* A picture file (JPEG, PNG, BMP, WebP, TIFF, PPM; told by its first bytes) as a frame. */
int om_picture_load(const char *path, om_frame **out);
/* OM_ERR_ARG unless om_picture_save() knows the suffix. */
int om_picture_check(const char *path);
/* By suffix: .jpg, .png. Atomic. quality 1..100 for JPEG. */
int om_picture_save(const char *path, const om_image *img, int quality);
/* All picture files of a folder or glob, sorted by name. OM_ERR_NOT_FOUND if there are none. */
int om_picture_list(const char *folder_or_glob, om_strlist *out);

/* H.264 in MP4 (MPEG-4 where FFmpeg has no libx264), in fragments of half a second. The file is
 * readable up to the last whole fragment whatever happens: a kill, a full disk. Limited range; BT.601 for
 * less than 720 lines, else BT.709; odd sides grow by one. Thread-safety: one thread. */
typedef struct om_encoder om_encoder;
int om_encoder_open(const char *path, int width, int height, double fps, om_encoder **out);
/* A host picture; one of another size than the encoder's is put into the middle of a black one, as large as
 * it fits. pts since the first one. Copies what it keeps. After a failure to write (OM_ERR_FULL, ...) every
 * further call fails with the same message. */
int om_encoder_write(om_encoder *e, const om_image *img, int64_t pts_ns);
/* Flushes, finishes the file and frees `e`, also on failure: returns the first error. */
int om_encoder_close(om_encoder *e);

/* A host copy of a picture that a GPU decoded: NV12 or P010, or as the surface has it. The caller waits for
 * the GPU. */
int om_frame_download(const om_frame *src, om_frame **out);

/* A writable host copy of a frame for drawing: NV12 and I420 as they are, other formats converted to I420; of
 * a picture on a GPU what om_frame_download() gives. */
int om_frame_copy_drawable(const om_frame *src, om_frame **out);

/* FFmpeg's messages go to om_log at debug level instead of stderr: the command calls it once. */
void om_media_quiet(void);

#endif
