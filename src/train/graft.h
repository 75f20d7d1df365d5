/* A model's head taken off, and another put on. */
#ifndef OM_TRAIN_GRAFT_H
#define OM_TRAIN_GRAFT_H

#include "base/option.h"
#include "model/model.h"
#include "train/classifier.h"

/* Makes of a model the part that ends in its features, one vector a picture: output [N, features]. `cut` is a
 * tensor or a layer whose output is taken; NULL: what goes into the classifier that the model ends with. Maps
 * are averaged over their places, sequences over their steps. The batch becomes dynamic. Metadata that says
 * how pictures go in stays. `size` 0x0: the model's own. *point gets the tensor's name, the caller's
 * (om_free). After a failure the graph is good for nothing but om_graph_destroy(). */
int om_graft_cut(om_graph *g, const char *cut, om_size size, char **point, int *features);

/* Puts a trained head behind features: output "logits" [N, classes], with `labels` in the metadata. `mean`
 * and `scale` (both NULL: none) are how features were normalised before the head: (x - mean) * scale; they go
 * into its first layer. */
int om_graft_head(om_graph *g, const om_classifier *c, const float *mean, const float *scale,
                  const char *const *labels);

/* What the model with a new head wants to see: the description of `features` with a head of so many classes.
 */
int om_graft_describe(const om_graph *features, int classes, om_model_desc **out);

#endif
