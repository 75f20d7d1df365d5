/* What was learnt, for scripts. */
#include <math.h>

#include "train/train.h"

static void add_options(const om_option *table, const void *obj, om_json *j)
{
    for (const om_option *o = table; o->name; o++) {
        om_str value = {0};
        if (om_option_get(table, obj, o->name, &value) == 0)
            om_json_key_string(j, o->name, om_str_get(&value));
        om_str_fini(&value);
    }
}

static void add_epochs(const om_train_result *r, om_json *j)
{
    om_json_key(j, "epochs");
    om_json_begin_array(j);
    for (int i = 0; i < r->n_epochs; i++) {
        const om_epoch *e = &r->history[i];
        om_json_begin_object(j);
        om_json_key(j, "epoch");
        om_json_int(j, i + 1);
        om_json_key_num(j, "lr", e->rate, 9);
        om_json_key_num(j, "train_loss", e->train_loss, 7);
        om_json_key_num(j, "train_top1", e->train_top1, 6);
        om_json_key_num(j, "val_loss", e->val_loss, 7);
        om_json_key_num(j, "val_top1", e->val_top1, 6);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void add_classes(const om_train_result *r, om_json *j)
{
    size_t n = r->classes ? r->names.n : 0;
    om_json_key(j, "classes");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        const om_train_class *c = &r->classes[i];
        om_json_begin_object(j);
        om_json_key_string(j, "name", r->names.items[i]);
        om_json_key(j, "train");
        om_json_uint(j, c->learnt);
        om_json_key(j, "val");
        om_json_uint(j, c->held_out);
        om_json_key_num(j, "precision", c->precision, 6);
        om_json_key_num(j, "recall", c->recall, 6);
        om_json_key_num(j, "f1", c->f1, 6);
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_key(j, "confusion");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        om_json_begin_array(j);
        for (size_t k = 0; k < n; k++) om_json_uint(j, r->confusion[i * n + k]);
        om_json_end_array(j);
    }
    om_json_end_array(j);
}

void om_train_report_json(const char *data, const om_train_options *o, const om_learning *l,
                          const om_train_result *r, om_json *j)
{
    om_json_key_string(j, "data", data);
    om_json_key_string(j, "engine", r->engine);
    om_json_key_string(j, "cut", r->point);
    om_json_key(j, "features");
    om_json_int(j, r->features);
    om_json_key(j, "train");
    om_json_uint(j, r->learnt);
    om_json_key(j, "val");
    om_json_uint(j, r->held_out);
    om_json_key(j, "damaged");
    om_json_uint(j, r->damaged);
    om_json_key(j, "steps");
    om_json_int(j, r->steps);
    om_json_key(j, "best_epoch");
    if (r->best_epoch < 0) om_json_null(j);
    else om_json_int(j, r->best_epoch + 1);
    om_json_key_num(j, "top1", r->top1, 6);
    om_json_key_num(j, "loss", r->loss, 7);
    om_json_key_num(j, "train_top1", r->train_top1, 6);
    om_json_key_num(j, "extract_s", r->extract_s, 3);
    om_json_key_num(j, "train_s", r->train_s, 3);
    om_json_key(j, "cached");
    om_json_bool(j, r->cached);
    om_json_key(j, "resumed");
    om_json_bool(j, r->resumed);
    om_json_key(j, "stopped");
    om_json_bool(j, r->stopped);
    om_json_key(j, "stopped_early");
    om_json_bool(j, r->patience);
    add_epochs(r, j);
    add_classes(r, j);
    om_json_key(j, "options");
    om_json_begin_object(j);
    add_options(om_train_option_table, o, j);
    add_options(om_learning_option_table, l, j);
    om_json_end_object(j);
}
