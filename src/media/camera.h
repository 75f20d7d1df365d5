/* A source that is connected to again and again. Private to the media room.
 *
 * Pictures' numbers and times go on over all connections; each connection's pictures have an epoch of their
 * own. Thread-safety: the source's reading thread. */
#ifndef OM_MEDIA_CAMERA_H
#define OM_MEDIA_CAMERA_H

#include "media/source.h"

typedef struct om_camera {
    uint64_t seq; /* the next picture's number */
    uint32_t epoch;
    int64_t offset_ns;            /* added to the pts of this connection */
    int64_t last_pts_ns, last_ns; /* of the last picture, and when it came */
    int64_t connected_ns;         /* when this connection stood */
    uint32_t random;
    int failures;           /* in a row */
    bool open, ever, fresh; /* now; at least once; no picture has come by this connection */
} om_camera;

/* Both as the ops' own; they wait and try again where that may help. */
int om_camera_open(om_source *s);
int om_camera_read(om_source *s, om_frame **out);

/* How long to wait after so many failures in a row (from 1): doubled each time up to the maximum, and from
 * half of that to all of it as `random` says. */
int64_t om_camera_pause_ns(int base_ms, int max_ms, int failures, uint32_t random);

#endif
