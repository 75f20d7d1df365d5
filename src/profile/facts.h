/* Inside the room: all that the rules look at, and the words of each cause. */
#ifndef OM_PROFILE_FACTS_H
#define OM_PROFILE_FACTS_H

#include "profile/diagnose.h"
#include "profile/load.h"

typedef struct om_facts {
    const om_profile *p;
    bool layers; /* there are any */
    om_load load;
    double demand[OM_RESOURCE_COUNT];
    double use[OM_RESOURCE_COUNT]; /* of each resource, 0..1 */
    /* Shares of an inference. */
    double conv, depthwise, memory, copy, overhead, top_type;
    const char *top_name;
    size_t tiny, types;
    double wide_memory; /* of memory: in more than 8 bits */
    double f32_dot_us;  /* of products computed in f32 */
    double fusible_us;  /* of what could be fused and is not */
} om_facts;

/* Products: convolutions but depthwise ones, and matrix products. */
bool om_layer_is_dot(const om_layer *l);
/* The part of the processor time used that a frame's `ms` of a stage are. */
double om_share_of_work(const om_facts *f, double ms);

/* Lines of a finding. `times`: the rate it gains, 0: cannot be computed; advice is kept in the order of that.
 */
void om_evidence(om_finding *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void om_advise(om_finding *x, double times, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The rate over the rate now when `share` of the time becomes `factor` times shorter. */
double om_gain(double share, double factor);

/* Of a run on a GPU, by its own figures; 0: they do not hold, or are not told. */
double om_weigh_decoders(const om_facts *f); /* its decoders never rest */
double om_weigh_upload(const om_facts *f);   /* pictures come from the host */
double om_weigh_gpu_prepost(const om_facts *f);
double om_weigh_gpu_power(const om_facts *f);
void om_say_upload(const om_facts *f, om_finding *x);
void om_say_decoders(const om_facts *f, om_finding *x);
void om_say_gpu_prepost(const om_facts *f, om_finding *x);
void om_say_gpu_power(const om_facts *f, om_finding *x);

/* Fills title, evidence and advice. */
typedef void (*om_say_fn)(const om_facts *f, om_finding *x);
void om_say_none(const om_facts *f, om_finding *x);
void om_say_conv(const om_facts *f, om_finding *x);
void om_say_memory(const om_facts *f, om_finding *x);
void om_say_copy(const om_facts *f, om_finding *x);
void om_say_launch(const om_facts *f, om_finding *x);
void om_say_diverse(const om_facts *f, om_finding *x);
void om_say_source(const om_facts *f, om_finding *x);
void om_say_decode(const om_facts *f, om_finding *x);
void om_say_prepost(const om_facts *f, om_finding *x);
void om_say_batching(const om_facts *f, om_finding *x);
void om_say_inference(const om_facts *f, om_finding *x);
void om_say_contended(const om_facts *f, om_finding *x);
void om_say_sink(const om_facts *f, om_finding *x);
void om_say_power(const om_facts *f, om_finding *x);

#endif
