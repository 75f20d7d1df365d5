/* Decoding on a GPU's decoders and on CPU cores beside them: how many streams go to the CPU, and back, by
 * what both have to do. The decision alone; who goes is the pipeline's. Thread-safety: one thread. */
#ifndef OM_PIPELINE_HYBRID_H
#define OM_PIPELINE_HYBRID_H

#include <stdbool.h>
#include <stddef.h>

typedef struct om_hybrid {
    double cores;           /* of this process */
    int hot, cool, starved; /* looks in a row that found so */
    int hold;               /* looks before more goes to the CPU, which has just been too much for it */
} om_hybrid;

/* What a look found. */
typedef struct om_hybrid_look {
    double decode_percent; /* of the GPU's decoders; negative: not told */
    double idle_cores;
    double cores_each;  /* what a stream costs that the CPU decodes */
    int on_gpu, on_cpu; /* streams; on_cpu: those that came by these means */
} om_hybrid_look;

void om_hybrid_init(om_hybrid *h, double cores);
/* How many streams are to go to the CPU now (negative: back to the GPU). Half a second or so after the last
 * look. */
int om_hybrid_decide(om_hybrid *h, const om_hybrid_look *look);
/* Cores that decoding leaves to the rest. */
double om_hybrid_reserve(double cores);
/* Of `n` streams, the part that the CPU is to begin with beside `decoders` hardware units; `paced`: they do
 * not take a core each. */
int om_hybrid_share(double cores, int decoders, int n, bool paced);
/* Whether the i-th of n streams is among `part` that are spread evenly. */
bool om_hybrid_picks(int i, int n, int part);

#endif
