/* A new classification head on a frozen model: pictures to features, features to a trained head, and the two
 * joined to one ONNX model. This is the room's public header.
 *
 * The worker takes the parts (graft.h, classifier.h, optimizer.h, dataset.h) by themselves. */
#ifndef OM_TRAIN_TRAIN_H
#define OM_TRAIN_TRAIN_H

#include "base/json.h"
#include "base/thread.h"
#include "train/dataset.h"
#include "train/optimizer.h"
#include "train/trainer.h"

typedef struct om_train_options {
    char *model, *output, *cut, *device, *cache, *checkpoint, *report, *dump, *log_level;
    int epochs, batch, patience, holdout, weights, dummy_classes, extract_batch, threads;
    int64_t seed, max_steps;
    double share;
    om_size input_size;
    bool resume, standardise, quiet;
} om_train_options;
extern const om_option om_train_option_table[];

typedef struct om_train_listener {
    void (*line)(void *user, const char *text);
    void (*progress)(void *user,
                     const char *text); /* replaces the one before; NULL: there is none any more */
    void *user;
} om_train_listener;

/* How a class fared among what is held out. */
typedef struct om_train_class {
    size_t learnt, held_out;
    double precision, recall, f1; /* NAN: nothing to tell it by */
} om_train_class;

/* Zeroed is valid and empty. */
typedef struct om_train_result {
    om_strlist names;
    om_train_class *classes; /* one a name; owned */
    uint32_t *confusion;     /* [true][said] of what is held out; owned */
    om_epoch *history;       /* owned */
    char *point;             /* the tensor that holds the features; owned */
    int n_epochs, best_epoch, features;
    size_t learnt, held_out, damaged;
    int64_t steps;
    double top1, loss; /* of what is held out; NAN: nothing is */
    double train_top1;
    double extract_s, train_s;
    bool cached, resumed, stopped, patience;
    char engine[160];
} om_train_result;
void om_train_result_fini(om_train_result *r);

/* `data` as om_dataset_load() takes it. Writes the output, unless the run was stopped: then the checkpoint,
 * if there is one. OM_OK after a stop too: r->stopped. */
int om_train(const char *data, const om_train_options *o, const om_learning *l, om_cancel *cancel,
             const om_train_listener *listener, om_train_result *r);
/* The members of the report, into an object that is begun. */
void om_train_report_json(const char *data, const om_train_options *o, const om_learning *l,
                          const om_train_result *r, om_json *j);

#endif
