/* Inside the room: which of the model's operators each of the engine's layers stands for. */
#ifndef OM_PROFILE_GROUP_H
#define OM_PROFILE_GROUP_H

#include "profile/profile.h"

#define OM_NO_LAYER (-1)
#define OM_FOLDED (-2) /* computed once, when the model was compiled */

/* While a model is compiled for measuring, its nodes are called "@0@", "@1@", ...: engines build their
 * layers' names from them, so that whatever they fuse can be told. */
typedef struct om_tags {
    om_graph *graph;
    char **names; /* the nodes' own */
} om_tags;
int om_tags_put(om_graph *g, om_tags *t);
void om_tags_remove(om_tags *t); /* gives the names back; zeroed: no-op */
/* The next tag in *text, which is moved behind it; -1: none. */
int om_tag_next(const char **text);

/* `g` with the shapes that were measured; `times` as the engine gave them. Fills p->layers but their times,
 * and owner[node] for each node of g. entry[i]: the layer that times[i] is the time of. */
int om_group_layers(const om_graph *g, const om_layer_time *times, int n, const om_plan *plan, om_profile *p,
                    int *owner, int *entry);
/* Fills p->fusions and p->notes from the owners. */
int om_fusion_check(const om_graph *g, const int *owner, om_profile *p);

/* Of a convolution: each channel by itself; a window of one. */
bool om_node_is_depthwise(const om_graph *g, const om_node *n);
bool om_node_is_pointwise(const om_graph *g, const om_node *n);

#endif
