#include "worker/retrain.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/digest.h"
#include "train/graft.h"

/* What tells this model and these classes from others. */
static int source_of(const om_graph *g, const om_strlist *classes, uint64_t *out)
{
    char *bytes = NULL;
    size_t len;
    int err = om_model_serialize(g, &bytes, &len);
    if (err) return err;
    *out = om_digest(OM_DIGEST_START, bytes, len);
    for (size_t i = 0; i < classes->n; i++) *out = om_digest_text(*out, classes->items[i]);
    om_free(bytes);
    return OM_OK;
}

/* A cosine without an end is a constant. */
static om_trainer_params trainer_params(const om_retrain *t)
{
    om_trainer_params p = {.learning = t->p.learning,
                           .batch = t->p.batch,
                           .seed = t->p.seed,
                           .source = t->source,
                           .epochs = 1,
                           .checkpoint = t->p.checkpoint,
                           .resume = t->p.resume};
    if (!t->p.steps && p.learning.schedule == OM_SCHEDULE_COSINE) p.learning.schedule = OM_SCHEDULE_CONSTANT;
    return p;
}

int om_retrain_init(om_retrain *t, om_rig *r, const char *cut, const om_strlist *names,
                    const om_retrain_params *p)
{
    int classes = (int)names->n;
    om_model_desc *desc = NULL;
    memset(t, 0, sizeof *t);
    t->p = *p;
    int err = om_graft_cut(r->graph, cut, (om_size){0, 0}, &t->point, &t->features);
    if (!err && p->checkpoint) err = source_of(r->graph, names, &t->source);
    if (!err) err = om_graft_describe(r->graph, classes, &desc);
    if (err) return err;
    om_head_destroy(r->head); /* of the head that is gone */
    r->head = NULL;
    om_model_desc_free(r->desc);
    r->desc = desc;
    om_trainer_params tp = trainer_params(t);
    t->none = (om_rows){.width = t->features, .classes = classes};
    return om_trainer_init(&t->trainer, &t->none, &t->none, &tp, p->learning.hidden);
}

void om_retrain_fini(om_retrain *t)
{
    om_trainer_fini(&t->trainer);
    om_free(t->point);
    memset(t, 0, sizeof *t);
}

int om_retrain_step(om_retrain *t, const om_rig *r, const int *labels, int n)
{
    const om_tensor *x = &r->session->outputs[0];
    om_classifier *c = &t->trainer.classifier;
    om_learning l = trainer_params(t).learning;
    int right = 0;
    if (!t->placed && r->infer->ops->product) c->device = r->infer;
    t->placed = true;
    if (x->dtype != OM_DTYPE_F32 || x->shape.rank != 2 || x->shape.dim[1] != t->features)
        return om_fail(OM_ERR_UNSUPPORTED, "the engine's features are not [N, %d] of f32", t->features);
    t->loss = om_classifier_learn(c, x->data, labels, n, NULL, &right);
    if (!isfinite(t->loss))
        return om_fail(OM_ERR_FORMAT,
                       "step %lld: the loss is no number any more; a lower --lr (now %g) may help",
                       (long long)t->trainer.step, l.lr);
    om_optimizer_step(&t->trainer.optimizer, c->params, c->grad,
                      om_learning_rate(&l, t->trainer.step, t->p.steps));
    t->trainer.step++;
    t->right += right;
    t->seen += n;
    return OM_OK;
}

int om_retrain_checkpoint(om_retrain *t)
{
    om_trainer_params p = trainer_params(t);
    return p.checkpoint ? om_checkpoint_write(&t->trainer, &t->none, &t->none, &p) : OM_OK;
}

int om_retrain_save(om_retrain *t, const om_rig *r, const om_strlist *classes, const char *path)
{
    om_graph *g = NULL;
    int err = om_graph_clone(r->graph, &g);
    if (!err) err = om_graft_head(g, &t->trainer.classifier, NULL, NULL, (const char *const *)classes->items);
    if (!err) err = om_model_save(g, path);
    om_graph_destroy(g);
    return err;
}
