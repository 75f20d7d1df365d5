/* The refcounted picture. It holds the decoder's own surface; nobody copies it to move it. */
#ifndef OM_FRAME_FRAME_H
#define OM_FRAME_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ref.h"

typedef enum om_pixfmt {
    OM_PIX_NONE,
    OM_PIX_NV12,  /* Y plane, then interleaved UV at half size */
    OM_PIX_I420,  /* Y, U, V; chroma at half size both ways */
    OM_PIX_I422,  /* chroma at half width */
    OM_PIX_I444,  /* chroma at full size */
    OM_PIX_P010,  /* NV12 with 16-bit samples, 10 bits in the high end */
    OM_PIX_I010,  /* I420 with 16-bit samples, 10 bits in the low end */
    OM_PIX_I210,  /* I422, likewise */
    OM_PIX_I410,  /* I444, likewise */
    OM_PIX_GRAY8, /* Y alone */
    OM_PIX_RGB24, /* interleaved */
    OM_PIX_BGR24, /* interleaved */
    OM_PIX_COUNT
} om_pixfmt;

typedef enum om_range { OM_RANGE_LIMITED, OM_RANGE_FULL } om_range; /* MPEG, JPEG */
typedef enum om_matrix { OM_MATRIX_BT601, OM_MATRIX_BT709, OM_MATRIX_BT2020 } om_matrix;
typedef enum om_memory { OM_MEMORY_HOST, OM_MEMORY_CUDA } om_memory;

/* Pixels somewhere, as a kernel sees them; owns nothing. Strides in bytes, may be negative. */
typedef struct om_image {
    om_pixfmt fmt;
    om_range range;
    om_matrix matrix;
    int width, height;
    uint8_t *plane[3];
    int stride[3];
} om_image;

typedef struct om_frame om_frame;

/* A picture on its way. Filled by its source, read-only once it left it.
 * Thread-safety: ref and unref from any thread; the fields are constant while shared. */
struct om_frame {
    om_ref ref;
    om_image image;
    om_memory memory;
    int device;      /* index of the GPU where memory is OM_MEMORY_CUDA */
    uint64_t seq;    /* number of the picture in its stream, from 0 */
    uint64_t packet; /* number of the packet it came from */
    int64_t pts_ns;  /* since the stream's first picture; monotone */
    int64_t wall_us; /* wall clock of the picture, microseconds since 1970 UTC */
    int64_t due_ns;  /* om_now_ns() scale: when the packet that completed it was due; latency starts here */
    bool key;
    uint32_t epoch;               /* which connection to its camera it came by; a file's is 0 */
    void (*release)(om_frame *f); /* called by the last unref; returns the frame to its pool or frees it */
    void *owner;                  /* the releasing side's */
    void *native;  /* the decoder's surface (AVFrame *), for devices and encoders that know it */
    void *written; /* on a GPU: the event (om_event *) behind which the pixels are there; NULL: they are
                      behind all that the device's stream of frames was given so far */
};

om_frame *om_frame_ref(om_frame *f); /* returns f */
void om_frame_unref(om_frame *f);    /* NULL is allowed */

/* A new host frame with its own planes, strides aligned to 64 bytes; contents undefined. */
int om_frame_create(om_pixfmt fmt, int width, int height, om_frame **out);

/* What a format is made of. */
typedef struct om_pixfmt_info {
    const char *name;
    int planes;
    int sample_bytes; /* 1 or 2 */
    int chroma_shift_x, chroma_shift_y;
    bool chroma_interleaved; /* NV12, P010 */
    bool yuv;
} om_pixfmt_info;

const om_pixfmt_info *om_pixfmt_get(om_pixfmt fmt); /* never NULL */
/* Rows and bytes a row of one plane, odd sizes rounded up. */
void om_pixfmt_plane_size(om_pixfmt fmt, int plane, int width, int height, int *row_bytes, int *rows);

#endif
