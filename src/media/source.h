/* Sources: whatever yields pictures. One source is one stream's demuxer, pacer and decoder.
 *
 * - a path, file://: any container FFmpeg reads; its best video stream
 * - http://, https://: likewise; what is endless and cannot be sought in is a camera
 * - rtsp://, rtsps://: a camera
 * - v4l2:///dev/video0?size=1280x720&fps=25&format=mjpeg: a camera of this machine
 * - a folder, a glob, a picture: pictures sorted by name, one a second; images:FOLDER@FPS for another rate
 * - pattern:...: the generated test pattern, see docs/pattern.md
 *
 * Timestamps are mended (missing, backward, leaps), so pts always rises. The wall time of a picture is the
 * start's plus its pts; of a camera's picture, what the camera says (RTCP) where that is within 10 s of the
 * arrival of its packet, else the arrival. */
#ifndef OM_MEDIA_SOURCE_H
#define OM_MEDIA_SOURCE_H

#include <stdatomic.h>

#include "base/option.h"
#include "base/thread.h"
#include "device/device.h"

typedef struct om_source om_source;

/* Decoding on a GPU, shared by all its sources. Thread-safety: any thread. */
typedef struct om_hwaccel om_hwaccel;
/* OM_ERR_UNSUPPORTED: the device has no decoders, or FFmpeg cannot use them. Borrows `d`. */
int om_hwaccel_create(om_device *d, om_hwaccel **out);
/* How many streams it did not take because their surfaces would not fit into its memory, or its cap. */
uint64_t om_hwaccel_declined(const om_hwaccel *h);
void om_hwaccel_destroy(
    om_hwaccel *h); /* after the sources that use it and all their pictures; NULL is allowed */

/* What a camera does; a file runs from its opening on. */
typedef enum om_source_state {
    OM_SOURCE_CONNECTING,
    OM_SOURCE_RUNNING,
    OM_SOURCE_RECONNECTING
} om_source_state;

/* What a decoder leaves undone to save time, by levels that include those before; a stream may take and leave
 * one at any time. Packets that are not decoded for it are counted in om_source_counts.economy. A source
 * without a decoder, or whose decoder cannot leave that undone, goes on as before. */
typedef enum om_economy {
    OM_ECONOMY_NONE,
    OM_ECONOMY_LOOP_FILTER, /* pictures are not smoothed (H.264, HEVC, VP9 on the CPU): a little blockier */
    OM_ECONOMY_REFERENCES,  /* pictures that no other is made of are not decoded: most encoders' B-pictures */
    OM_ECONOMY_KEYFRAMES /* key pictures alone, and these smoothed; when it ends, pictures come again from the
                            next one on */
} om_economy;

typedef struct om_source_params {
    bool live;          /* packets become due at the pace of their timestamps; cameras are always live */
    bool loop;          /* files start again at their end; seq, packet and pts go on counting */
    int decode_threads; /* 1 unless said otherwise */
    int64_t phase_ns;   /* live files: the first packet is due this long after the start */
    const atomic_llong *start_ns; /* live files: common start (om_now_ns() scale), 0 while streams still open;
                                     the source waits for it before its first packet. NULL: at once */
    int open_timeout_ms, read_timeout_ms; /* network; 0: the defaults (5 s, 10 s) */
    const char *rtsp_transport;           /* "tcp" (default), "udp", "auto" */
    om_hwaccel
        *hwaccel; /* decodes there what it can; the pictures lie in its device's memory. NULL: on the CPU */
    int hold;     /* with hwaccel: pictures of this source that others may hold at a time */
    om_cancel *cancel; /* fires: every blocking call returns OM_ERR_CANCELLED soon */
    /* Cameras (RTSP, HTTP without an end, V4L2) are opened again when they cannot be reached, fail, end or
     * fall silent, after a pause that doubles from backoff_ms to backoff_max_ms (0: 500 ms, 30 s), a part of
     * it at random. They fail then for want of memory, a cancel or wrong options only. */
    bool reconnect;
    int backoff_ms, backoff_max_ms;
    int64_t until_ns; /* om_now_ns() scale: a camera that is away then has ended (OM_ERR_EOF); 0: never */
    /* The camera does something else now; `why` is NULL where it runs. From the thread that opens and reads.
     */
    void (*on_state)(void *user, om_source_state state, const char *why);
    void *user;
    /* A file of names and passwords, lines "HOST[:PORT] USER PASSWORD" ("*": any host), read at each
     * connection to a camera whose address has none. NULL: there is none. */
    const char *credentials;
    bool until_key; /* after damage, a camera's pictures up to the next key picture count as damaged too */
    om_economy economy;  /* to begin with */
    bool on_cpu;         /* with hwaccel: decoded on the CPU to begin with */
    om_size decode_size; /* the CPU's decoder halves pictures down to this where it can (Motion JPEG, MPEG-1,
                            2 and 4), and never below; 0x0: whole */
    int64_t late_ns; /* packets due longer ago are not decoded, nor those that follow up to a key picture that
                        is in time; they count as economy. 0: all are */
} om_source_params;

/* What happened so far; each counts where its event happens. Every packet ends in exactly one way, so that at
 * the close received = decoded + no_output + corrupt + unread + no_key + economy. Pictures never outnumber
 * packets: a packet's second picture stands for another packet that gave none, or is not returned.
 *
 * Thread-safety: written by the reading thread, read by any. */
typedef struct om_source_counts {
    atomic_ullong received; /* video packets out of the demuxer */
    atomic_ullong bytes;    /* in them; of pictures and patterns 0 */
    atomic_llong first_ns;  /* when the first of them came, and the last (om_now_ns() scale); 0: none has */
    atomic_llong last_ns;
    atomic_llong waited_ns;   /* how long the reader has waited for a camera's packets, all in all */
    atomic_ullong decoded;    /* pictures returned by om_source_read() */
    atomic_ullong no_output;  /* packets that the decoder took and made no picture of */
    atomic_ullong corrupt;    /* packets the decoder refused, and pictures it flagged as damaged */
    atomic_ullong unread;     /* packets still in the decoder when the source was closed before its end */
    atomic_ullong no_key;     /* packets before a connection's first key picture that gave no picture */
    atomic_ullong economy;    /* packets not decoded for om_source_economy(), or because they were late */
    atomic_ullong late;       /* of those, packets due more than late_ns ago */
    atomic_ullong reconnects; /* times that a camera was reached again */
    atomic_int state;         /* an om_source_state */
    atomic_int decoder;       /* an om_decoder_kind: what decodes now */
    atomic_int fallbacks; /* times that a stream went from the GPU's decoders to the CPU as these failed */
    atomic_int refused;   /* of those, times that the GPU did not take the stream */
    atomic_int changes;   /* times that it went from one to the other by om_source_decode_on_cpu() */
} om_source_counts;

typedef enum om_decoder_kind { OM_DECODER_NONE, OM_DECODER_CPU, OM_DECODER_CUDA } om_decoder_kind;

typedef struct om_source_info {
    char kind[16];  /* "file", "rtsp", "http", "v4l2", "images", "pattern" */
    char codec[32]; /* "h264" */
    int width, height;
    double fps;        /* 0: not known */
    double duration_s; /* 0: not known or endless */
    double bit_rate;   /* announced; 0: not */
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
    bool
        camera; /* may be one: open() says so of each in s->camera; open and close may come again and again */
    int (*prime)(om_source *s); /* optional: see om_source_prime() */
} om_source_ops;

/* Thread-safety: one thread opens, reads and closes; counts from any; cancel's token stops the rest. */
struct om_source {
    const om_source_ops *ops;
    char *uri;
    char *shown; /* the URI without its password, for messages */
    om_source_params params;
    om_source_counts *counts; /* the caller's, outlives the source */
    om_source_info info;
    atomic_int economy;           /* the om_economy wished for */
    atomic_int on_cpu;            /* who is to decode */
    bool camera;                  /* known once it is open */
    bool finite;                  /* a camera's recording, whose end is the end */
    struct om_camera *connection; /* of a camera; NULL: it is not connected to again */
    void *priv;
};

const om_source_ops *const *om_source_registry(void); /* NULL-terminated */

/* OM_ERR_NOT_FOUND, OM_ERR_FORMAT ("X: not a video: ...", "X: has no video stream (audio only)"), ... */
int om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts,
                   om_source **out);
/* The next picture, owned by the caller. OM_ERR_EOF at the end; OM_ERR_CANCELLED; other errors end the stream
 * (what could be decoded before was returned). Damaged packets are counted and skipped, not errors. */
int om_source_read(om_source *s, om_frame **out);
/* Decodes the first picture before its time, so that the decoder is made; om_source_read() gives it when it
 * is due. Once, before the first read; of kinds that make no decoder nothing happens. What fails here fails
 * in the read. */
void om_source_prime(om_source *s);
void om_source_close(om_source *s);
/* How much the decoder leaves undone from the next packet on. Any thread, while the source is open. */
void om_source_economy(om_source *s, om_economy level);
/* Who decodes a stream that has a hwaccel: the CPU, or again the GPU. It goes there at its next key picture,
 * without losing one; a stream that the GPU has refused or lost stays on the CPU. Any thread, while the
 * source is open. */
void om_source_decode_on_cpu(om_source *s, bool on_cpu);

/* The text without user:password. Caller frees with om_free(). */
char *om_uri_redact(const char *uri);
/* A short stream name from a URI: "gate" of "rtsp://u:p@host/gate", "bikes" of "a/bikes.mp4". om_free(). */
char *om_uri_name(const char *uri);

#endif
