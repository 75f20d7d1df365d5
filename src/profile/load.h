/* Inside the room: a run's account as numbers, and what each of its resources has to do for a frame. */
#ifndef OM_PROFILE_LOAD_H
#define OM_PROFILE_LOAD_H

#include "profile/profile.h"

typedef struct om_load {
    bool there; /* there was a run, and frames went through it */
    double seconds, frames, fps, received, superseded, dropped, latency_p50_ms, latency_p99_ms;
    double n_streams, live_streams, mean_batch, batch_limit, sessions, batch_infer_ms;
    double cores, machine_cores, cpu_s, cores_busy, core_wait_s, throttled_s, power_throttles, watts,
        joules_a_frame;
    /* Of a device of its own (a GPU); negative: not told. Shares 0..1, of its time on the run. */
    bool device;
    double device_gather, device_infer, device_head; /* shares of what it did */
    double device_busy, decoders_busy, device_watts, device_limit_w, held_back;
    double up_bytes, down_bytes; /* copied to and from it, a frame */
    /* Of one frame, ms. */
    double source, decode, cores_wait, mailbox, gather, infer, finish, head, lane, sink;
} om_load;

void om_load_read(const om_json_value *run, om_load *out);

/* A resource of a run; the one with the highest demand bounds it. */
typedef enum om_resource {
    OM_RESOURCE_SOURCE, /* streams' threads, waiting for packets and cores included */
    OM_RESOURCE_DECODE, /* streams' threads at work */
    OM_RESOURCE_GATHER, /* the batcher's thread */
    OM_RESOURCE_INFER,  /* the engine's sessions */
    OM_RESOURCE_HEAD,   /* the finishers */
    OM_RESOURCE_SINK,   /* lanes handing over */
    OM_RESOURCE_CPU,    /* all cores together */
    OM_RESOURCE_COUNT
} om_resource;
const char *om_resource_name(om_resource r);

/* Milliseconds of each resource that a frame takes, shared among as many as there are: 1000 / the largest is
 * the rate that the run could reach. */
void om_load_demands(const om_load *l, double out[OM_RESOURCE_COUNT]);

#endif
