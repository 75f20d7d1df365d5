#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-8

static const om_choice optimizers[] = {
    {"sgd", OM_OPTIMIZER_SGD, "with momentum"}, {"adamw", OM_OPTIMIZER_ADAMW, NULL}, {NULL, 0, NULL}};
static const om_choice schedules[] = {
    {"constant", OM_SCHEDULE_CONSTANT, NULL},
    {"step", OM_SCHEDULE_STEP, "times --lr-decay after each --lr-step steps"},
    {"cosine", OM_SCHEDULE_COSINE, "down to --lr-min at the end"},
    {NULL, 0, NULL}};

#define OPT(field) offsetof(om_learning, field)

const om_option om_learning_option_table[] = {
    {"hidden", 0, OM_OPT_INT, OPT(hidden), "0", 0, 65536, NULL, NULL, "Learning",
     "width of a hidden layer with ReLU; 0: the head is one linear layer"},
    {"optimizer", 0, OM_OPT_CHOICE, OPT(optimizer), "adamw", 0, 0, optimizers, NULL, NULL,
     "how gradients become steps"},
    {"lr", 0, OM_OPT_DOUBLE, OPT(lr), "0.001", 0, 1e6, NULL, NULL, NULL, "learning rate"},
    {"momentum", 0, OM_OPT_DOUBLE, OPT(momentum), "0.9", 0, 1, NULL, NULL, NULL, "of sgd"},
    {"weight-decay", 0, OM_OPT_DOUBLE, OPT(weight_decay), "0.0001", 0, 1e6, NULL, NULL, NULL,
     "pull of all weights towards 0"},
    {"schedule", 0, OM_OPT_CHOICE, OPT(schedule), "cosine", 0, 0, schedules, NULL, NULL,
     "how the learning rate goes on"},
    {"lr-min", 0, OM_OPT_DOUBLE, OPT(lr_min), "0", 0, 1e6, NULL, NULL, NULL, "where the cosine ends"},
    {"lr-step", 0, OM_OPT_INT64, OPT(lr_step), "100", 1, 1e15, NULL, NULL, NULL,
     "steps between two drops of schedule step"},
    {"lr-decay", 0, OM_OPT_DOUBLE, OPT(lr_decay), "0.1", 0, 1, NULL, NULL, NULL,
     "factor of each drop of schedule step"},
    {"lr-warmup", 0, OM_OPT_INT64, OPT(lr_ramp), "0", 0, 1e15, NULL, NULL, NULL,
     "steps in which the learning rate rises to --lr, before the schedule begins"},
    {0},
};

double om_learning_rate(const om_learning *l, int64_t step, int64_t steps)
{
    if (step < l->lr_ramp) return l->lr * (double)(step + 1) / (double)l->lr_ramp;
    int64_t at = step - l->lr_ramp, of = steps - l->lr_ramp;
    switch (l->schedule) {
    case OM_SCHEDULE_STEP: return l->lr * pow(l->lr_decay, (double)(at / l->lr_step));
    case OM_SCHEDULE_COSINE: {
        double share = of > 0 ? (double)at / (double)of : 1;
        return l->lr_min + (l->lr - l->lr_min) * 0.5 * (1 + cos(M_PI * (share < 1 ? share : 1)));
    }
    default: return l->lr;
    }
}

int om_optimizer_init(om_optimizer *o, const om_learning *l, size_t n)
{
    *o = (om_optimizer){.kind = (om_optimizer_kind)l->optimizer,
                        .momentum = l->momentum,
                        .weight_decay = l->weight_decay,
                        .n = n};
    o->first = om_calloc(n, sizeof *o->first);
    o->second = o->kind == OM_OPTIMIZER_ADAMW ? om_calloc(n, sizeof *o->second) : NULL;
    if (o->first && (o->second || o->kind == OM_OPTIMIZER_SGD)) return OM_OK;
    om_optimizer_fini(o);
    return om_fail_nomem("the optimizer's state");
}

void om_optimizer_fini(om_optimizer *o)
{
    om_free(o->first);
    om_free(o->second);
    memset(o, 0, sizeof *o);
}

static void step_sgd(om_optimizer *o, float *params, const float *grad, float rate)
{
    float decay = (float)o->weight_decay, momentum = (float)o->momentum;
    for (size_t i = 0; i < o->n; i++) {
        float g = grad[i] + decay * params[i];
        o->first[i] = o->steps ? momentum * o->first[i] + g : g;
        params[i] -= rate * o->first[i];
    }
}

static void step_adamw(om_optimizer *o, float *params, const float *grad, double rate)
{
    double t = (double)o->steps + 1;
    float keep = (float)(1 - rate * o->weight_decay), b1 = (float)BETA1, b2 = (float)BETA2;
    float length = (float)(rate / (1 - pow(BETA1, t))), root = (float)sqrt(1 - pow(BETA2, t));
    for (size_t i = 0; i < o->n; i++) {
        float g = grad[i];
        params[i] *= keep;
        o->first[i] = b1 * o->first[i] + (1 - b1) * g;
        o->second[i] = b2 * o->second[i] + (1 - b2) * g * g;
        params[i] -= length * o->first[i] / (sqrtf(o->second[i]) / root + (float)EPSILON);
    }
}

void om_optimizer_step(om_optimizer *o, float *params, const float *grad, double rate)
{
    if (o->kind == OM_OPTIMIZER_ADAMW) step_adamw(o, params, grad, rate);
    else step_sgd(o, params, grad, (float)rate);
    o->steps++;
}
