/* Inside the room: what is known of a graph while it is being quantised. Node and value numbers are the
 * graph's own; it is not packed before the end. */
#ifndef OM_QUANT_QUANTIZER_H
#define OM_QUANT_QUANTIZER_H

#include "quant/gram.h"
#include "quant/quant.h"
#include "quant/span.h"

typedef enum om_role {
    OM_ROLE_FLOAT,   /* reads the floats */
    OM_ROLE_COMPUTE, /* multiplies by constant weights */
    OM_ROLE_PASS,    /* moves numbers about: one grid before and behind it */
    OM_ROLE_READ     /* reads what lies in memory as int8 anyway, and makes floats of it */
} om_role;

/* A tensor that an int8 layer needs, or that data on the way to one comes from. */
typedef struct om_act {
    int value;
    om_act_hist *hist;
    bool last;      /* channels are the last dimension, not the second */
    float *matters; /* how much an error in each channel does to the layers that read it; NULL: not known */
    int64_t n_matters;
    bool wants_sum; /* a layer whose bias is corrected reads it */
    double *sum;    /* of each channel */
    int64_t n_channels, per_channel;
    float *ends;             /* least and largest of each channel, until the channels were equalised */
    double *power;           /* and sum of squares */
    int64_t n_ends, n_power; /* channels; numbers in each of them */
    om_span own, range;      /* its own; the group's */
    uint64_t own_tensors;    /* seen when `own` was chosen, by this method; 0: not yet */
    om_quant_method own_method;
    om_grid grid;
    int group; /* an act of the same grid; itself for the first of them */
    bool used;
} om_act;

typedef struct om_layer {
    int node, act;
    bool quantised;
    char why[160];
    double weight_db;
    double work;   /* multiplications; 0: its size is not known */
    om_gram *gram; /* the quantizer's; NULL: its weights are rounded to the nearest */
} om_layer;

struct om_quantizer {
    om_graph *g;
    const om_quant_params *p;
    om_role *role; /* of each node */
    int *layer_of; /* of each node, or -1 */
    int *act_of;   /* of each value, or -1 */
    om_layer *layers;
    int n_layers;
    om_act *acts;
    int n_acts;
    int n_nodes; /* before the rewrite added any */
    int weight_bits;
    bool pairs;     /* 8 after all where no two neighbours' products overflow 16 bits */
    bool equalised; /* or not to be */
    int levels_of;  /* the value that holds a picture's levels, or OM_NO_VALUE */
    om_span levels; /* from the least of them to the largest */
};

bool om_weight_form_of(const om_graph *g, const om_node *n, om_weight_form *out);

/* One of ONNX's own operators, still there. */
bool om_quant_is(const om_graph *g, int node, const char *op);
/* Of a live node: "'/conv/Conv'" or its first output's name. */
const char *om_quant_name(const om_graph *g, int node);

/* Input `k` becomes `value`, or that is an error already; absent ones fill the gap before it. */
int om_quant_set_input(om_graph *g, int node, int k, int value);

/* "" for a value that is not among them. */
const char *om_quant_choice_name(const om_choice *c, int value);
/* OM_ERR_UNSUPPORTED: what stands in the way, in the words of the first layer. */
int om_quant_nothing(const om_quantizer *q);
/* Fills roles, layers and acts. */
int om_quant_select(om_quantizer *q);
/* The same from the start, after nodes were added; everything that was observed is forgotten. */
int om_quant_select_anew(om_quantizer *q);
/* A layer's input made even by a multiplication, where that is worth it: 1; 0: it is not. `uses`: of each
 * value. The graph has to be sorted and selected anew. */
int om_quant_smooth(om_quantizer *q, const om_layer *l, const int *uses);
/* Of a layer whose input has a grid: signal to noise of what the rounding of its weights does to its output.
 */
int om_quant_weight_db(const om_quantizer *q, const om_layer *l, double *db);
/* Puts the quantised layers' weights, biases and the used acts into the graph. */
int om_quant_rewrite(om_quantizer *q);

#endif
