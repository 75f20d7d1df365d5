/* Inside the room: int8 models against the float one, on pictures whose float outputs were kept. */
#ifndef OM_QUANT_JUDGE_H
#define OM_QUANT_JUDGE_H

#include "backend/backend.h"
#include "quant/quant.h"

/* One inference of the float model. */
typedef struct om_judged {
    size_t bytes;
    void *input;
    float **outputs; /* of each output of the model; NULL: not f32, or of a shape that is not known */
    size_t *counts;
    om_geometry *geo; /* of each item of the batch */
    om_dets *dets;    /* what the float model says of each; NULL without a head */
    int items;
} om_judged;

/* Which of those that were kept is asked when, where a floor may end it early: the doubtful first. */
typedef struct om_judge_turn {
    double sure; /* the least that the float model says of its picture */
    size_t at;
} om_judge_turn;

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_judge {
    om_head *head; /* NULL: the outputs alone are compared */
    om_head_scratch scratch;
    om_quant_metric metric;
    double threshold; /* boxes of the float model from this score on are the truth */
    om_judged *kept;
    om_judge_turn *turns; /* what differed last comes first */
    size_t n, most, bytes, n_turns;
    int n_outputs;
} om_judge;

typedef struct om_judgement {
    double score; /* of the metric; NAN: nothing to judge by */
    double noise; /* of the outputs, in parts of their power, mean of all; NAN: not comparable */
} om_judgement;

/* `n_outputs`: the model's own, without taps. Keeps at most `most` inferences, fewer where they are large; 0:
 * as many as the metric needs. */
int om_judge_init(om_judge *j, const om_model_desc *desc, int n_outputs, size_t most);
void om_judge_fini(om_judge *j);
bool om_judge_full(const om_judge *j);
/* Forgets every other inference that was kept, so that the rest still lies evenly over all that came. */
void om_judge_thin(om_judge *j);
/* Remembers the session's input and what the float model has just made of it. */
int om_judge_keep(om_judge *j, om_session *s, const om_geometry *geo, int items);
/* An int8 model on the first `most` of what was kept; with a `floor` (0: none) for a share, of all that was
 * kept, those first that differed before, and only until it is clear that it stays below, as the score then
 * does. `outputs` (or NULL) holds n_outputs, of which all but
 * the names are filled. */
int om_judge_run(om_judge *j, om_session *s, size_t most, double floor, om_judgement *v,
                 om_quant_output *outputs);

#endif
