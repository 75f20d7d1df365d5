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
