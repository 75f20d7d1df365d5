/* Sources: whatever yields pictures. One source is one stream's demuxer, pacer and decoder.
 *
 * - a path, file://: any container FFmpeg reads; its best video stream
 * - http://, https://: likewise; what is endless and cannot be sought in is a camera
 * - rtsp://, rtsps://: a camera
 * - a folder, a glob, a picture: pictures sorted by name, one a second; images:FOLDER@FPS for another rate
 * - pattern:...: the generated test pattern, see docs/pattern.md
 *
 * Timestamps are mended (missing, backward, leaps), so pts always rises. The wall time of a picture is the
 * start's plus its pts; of a camera's picture, the arrival of its packet. */
#ifndef OM_MEDIA_SOURCE_H
#define OM_MEDIA_SOURCE_H

#include <stdatomic.h>

#include "base/thread.h"
#include "device/device.h"

typedef struct om_source om_source;

/* Decoding on a GPU, shared by all its sources. Thread-safety: any thread. */
typedef struct om_hwaccel om_hwaccel;
/* OM_ERR_UNSUPPORTED: the device has no decoders, or FFmpeg cannot use them. Borrows `d`. */
int om_hwaccel_create(om_device *d, om_hwaccel **out);
void om_hwaccel_destroy(
    om_hwaccel *h); /* after the sources that use it and all their pictures; NULL is allowed */

typedef struct om_source_params {
    bool live;          /* packets become due at the pace of their timestamps; cameras are always live */
    bool loop;          /* files start again at their end; seq, packet and pts go on counting */
    int decode_threads; /* 1 unless said otherwise */
    int64_t phase_ns;   /* live files: the first packet is due this long after the start */
    const atomic_llong *start_ns; /* live files: common start (om_now_ns() scale), 0 while streams still open;
                                     the source waits for it before its first packet. NULL: at once */
    int open_timeout_ms, read_timeout_ms; /* network; 0: the defaults (5 s, 10 s) */
    const char *rtsp_transport;           /* "tcp" (default), "udp" */
    om_hwaccel
        *hwaccel; /* decodes there what it can; the pictures lie in its device's memory. NULL: on the CPU */
    int hold;     /* with hwaccel: pictures of this source that others may hold at a time */
    om_cancel *cancel; /* fires: every blocking call returns OM_ERR_CANCELLED soon */
} om_source_params;

/* What happened so far; each counts where its event happens. Every packet ends in exactly one way, so that at
 * the close received = decoded + no_output + corrupt + unread. Pictures never outnumber packets: a packet's
 * second picture stands for another packet that gave none, or is not returned.
 *
 * Thread-safety: written by the reading thread, read by any. */
typedef struct om_source_counts {
    atomic_ullong received;  /* video packets out of the demuxer */
    atomic_ullong decoded;   /* pictures returned by om_source_read() */
    atomic_ullong no_output; /* packets that the decoder took and made no picture of */
    atomic_ullong corrupt;   /* packets the decoder refused, and pictures it flagged as damaged */
    atomic_ullong unread;    /* packets still in the decoder when the source was closed before its end */
    atomic_int decoder;      /* an om_decoder_kind: what decodes now */
    atomic_int fallbacks;    /* times that a stream went from the GPU's decoders to the CPU */
} om_source_counts;

typedef enum om_decoder_kind { OM_DECODER_NONE, OM_DECODER_CPU, OM_DECODER_CUDA } om_decoder_kind;

typedef struct om_source_info {
    char kind[16];  /* "file", "rtsp", "http", "images", "pattern" */
    char codec[32]; /* "h264" */
    int width, height;
    double fps;        /* 0: not known */
    double duration_s; /* 0: not known or endless */
    bool live;
} om_source_info;

/* The extension point. */
typedef struct om_source_ops {
    const char *name;
    size_t priv_size;
    /* By its form: a plain path is a file's, a folder or glob the images'. */
    bool (*accepts)(const char *uri);
    int (*open)(om_source *s);
    int (*read)(om_source *s, om_frame **out);
    void (*close)(om_source *s); /* counts what was left unread; also after a failed open */
} om_source_ops;

/* Thread-safety: one thread opens, reads and closes; counts from any; cancel's token stops the rest. */
struct om_source {
    const om_source_ops *ops;
    char *uri;
    char *shown; /* the URI without its password, for messages */
    om_source_params params;
    om_source_counts *counts; /* the caller's, outlives the source */
    om_source_info info;
    void *priv;
};

const om_source_ops *const *om_source_registry(void); /* NULL-terminated */

/* OM_ERR_NOT_FOUND, OM_ERR_FORMAT ("X: not a video: ...", "X: has no video stream (audio only)"), ... */
int om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts,
                   om_source **out);
/* The next picture, owned by the caller. OM_ERR_EOF at the end; OM_ERR_CANCELLED; other errors end the stream
 * (what could be decoded before was returned). Damaged packets are counted and skipped, not errors. */
int om_source_read(om_source *s, om_frame **out);
void om_source_close(om_source *s);

/* The text without user:password. Caller frees with om_free(). */
char *om_uri_redact(const char *uri);
/* A short stream name from a URI: "gate" of "rtsp://u:p@host/gate", "bikes" of "a/bikes.mp4". om_free(). */
char *om_uri_name(const char *uri);

#endif
