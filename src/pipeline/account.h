/* The books of a stream: every packet ends in exactly one of these.
 * Thread-safety: counters are atomic, the histogram has a lock of its own. */
#ifndef OM_PIPELINE_ACCOUNT_H
#define OM_PIPELINE_ACCOUNT_H

#include "base/hist.h"
#include "base/json.h"
#include "media/source.h"
#include "omma/pipeline.h"
#include "pipeline/stages.h"

/* Why a picture was not wanted, and why one that was wanted got lost. The reader's own causes come first. */
typedef enum om_skip {
    OM_SKIP_NO_OUTPUT,
    OM_SKIP_SAMPLED,
    OM_SKIP_STOPPED,
    OM_SKIP_STILL,   /* nothing moved */
    OM_SKIP_NO_KEY,  /* before a connection's first key picture */
    OM_SKIP_ECONOMY, /* not decoded, for sampling or policy */
    OM_SKIP_PAUSED,
    OM_SKIP_RESUMED, /* seen by the process that this one follows */
    OM_SKIP_COUNT
} om_skip;
typedef enum om_drop {
    OM_DROP_CORRUPT,
    OM_DROP_SUPERSEDED,
    OM_DROP_INFER_FAILED,
    OM_DROP_NO_MEMORY,
    OM_DROP_DEVICE_LOST, /* it was on the device, or in its memory, when that was lost */
    OM_DROP_COUNT
} om_drop;

typedef struct om_account {
    om_source_counts source; /* counted by the source */
    bool networked; /* a camera on the network, or a file that stands for one; set before it starts */
    atomic_ullong skipped[OM_SKIP_COUNT]; /* by the pipeline; what the source counts stays 0 */
    atomic_ullong dropped[OM_DROP_COUNT]; /* by the pipeline; CORRUPT stays 0, the source has it */
    atomic_ullong inferred;
    atomic_llong inside;  /* pictures between om_source_read() and their end */
    pthread_mutex_t lock; /* latency, first_ns, last_ns */
    om_stages *stages;    /* owned; NULL unless the run is profiled; set before it starts */
    om_hist latency;
    int64_t first_ns, last_ns; /* of the first and last inferred frame's hand-over */
    int64_t bound_ns;          /* the latency bound, 0: none; set before it starts */
    atomic_ullong over, near;  /* frames above the bound, and above seven tenths of it */
} om_account;

/* A copy of the counters at one moment, mergeable. */
typedef struct om_tally {
    uint64_t received, bytes, decoded, inferred, in_flight; /* bytes: of the packets received */
    uint64_t network_bytes;                                 /* those of streams on the network */
    int64_t network_first_ns, network_last_ns; /* when the first and the last of them came; 0: none has */
    uint64_t skipped[OM_SKIP_COUNT], dropped[OM_DROP_COUNT];
    om_hist latency;
    int64_t first_ns, last_ns;
} om_tally;

int om_account_init(om_account *a);
void om_account_fini(om_account *a);
void om_account_enter(om_account *a); /* a picture came out of the source */
void om_account_skip(om_account *a, om_skip cause);
void om_account_drop(om_account *a, om_drop cause);
void om_account_inferred(om_account *a, int64_t latency_ns, int64_t now_ns);

void om_account_tally(om_account *a, om_tally *out);
void om_tally_merge(om_tally *into, const om_tally *from);
uint64_t om_tally_skipped(const om_tally *t);
uint64_t om_tally_dropped(const om_tally *t);
/* Frames a second between the first and the last hand-over. */
double om_tally_fps(const om_tally *t);
/* Packets' bits a second between the first and the last of them; negative: too little has come to tell. */
double om_tally_network_mbit(const om_tally *t);
void om_tally_stats(const om_tally *t, om_stream_stats *out);
/* The members received ... latency_ms of the report, into an open object. */
void om_tally_json(const om_tally *t, om_json *j);
/* See om_pipeline_losses(). */
void om_tally_losses(const om_tally *t, om_str *out);

#endif
