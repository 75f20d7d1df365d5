#include <math.h>

#include "base/json.h"
#include "quant/quantizer.h"

const char *om_quant_choice_name(const om_choice *c, int value)
{
    for (; c->name; c++)
        if (c->value == value) return c->name;
    return "";
}

static void put_text(om_json *j, const char *key, const char *v)
{
    om_json_key(j, key);
    om_json_string(j, v);
}

static void put_number(om_json *j, const char *key, double v, int decimals)
{
    om_json_key(j, key);
    om_json_num(j, v, decimals);
}

static void put_count(om_json *j, const char *key, int64_t v)
{
    om_json_key(j, key);
    om_json_int(j, v);
}

static void put_layer(om_json *j, const om_quant_report *r, const om_quant_layer *l)
{
    om_json_begin_object(j);
    put_text(j, "name", l->name);
    put_text(j, "operator", l->op);
    put_text(j, "precision", l->quantised ? "int8" : "float");
    if (!l->quantised) put_text(j, "why", l->why);
    if (l->quantised) {
        put_text(j, "input", r->acts[l->act].name);
        put_number(j, "input_db", r->acts[l->act].db, 2);
        put_number(j, "weight_db", l->weight_db, 2);
    }
    if (!isnan(l->alone_db)) {
        put_number(j, "alone_db", l->alone_db, 2);
        put_number(j, "alone_score", l->alone_score, 6);
        put_number(j, "float_us", l->float_us, 1);
        put_number(j, "int8_us", l->int8_us, 1);
    }
    om_json_end_object(j);
}

static void put_act(om_json *j, const om_quant_act *a)
{
    om_json_begin_object(j);
    put_text(j, "name", a->name);
    put_number(j, "seen_min", a->seen_lo, 9);
    put_number(j, "seen_max", a->seen_hi, 9);
    put_number(j, "min", a->lo, 9);
    put_number(j, "max", a->hi, 9);
    put_number(j, "scale", (double)a->scale, 12);
    put_count(j, "zero_point", a->zero);
    put_number(j, "db", a->db, 2);
    om_json_key(j, "histogram");
    om_json_begin_array(j);
    for (int i = 0; i < OM_QUANT_BARS; i++) om_json_num(j, (double)a->bar[i], 6);
    om_json_end_array(j);
    om_json_end_object(j);
}

static void put_score(om_json *j, const om_quant_report *r)
{
    put_text(j, "metric", om_quant_metric_name(r->metric));
    put_number(j, "score", r->score, 6);
    put_count(j, "judged", (int64_t)r->judged);
    om_json_key(j, "judged_apart");
    om_json_bool(j, r->judged_apart);
    if (r->floor > 0) put_number(j, "floor", r->floor, 6);
    if (r->speed_goal > 0) put_number(j, "speed_goal", r->speed_goal, 6);
    om_json_key(j, "missed");
    om_json_bool(j, r->missed);
    if (!isnan(r->plain_score)) {
        put_number(j, "plain_score", r->plain_score, 6);
        put_count(j, "mixed", (int64_t)r->mixed);
        put_number(j, "speed", r->speed, 3);
    }
    om_json_key(j, "advice");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_advice; i++) {
        om_json_begin_object(j);
        put_text(j, "step", r->advice[i].step);
        put_text(j, "text", r->advice[i].text);
        put_number(j, "score", r->advice[i].score, 6);
        put_number(j, "gain", r->advice[i].gain, 6);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void put_output(om_json *j, const om_quant_output *o)
{
    om_json_begin_object(j);
    put_text(j, "name", o->name);
    put_number(j, "cosine", o->cosine, 6);
    put_number(j, "db", o->db, 2);
    put_count(j, "inferences", (int64_t)o->pictures);
    om_json_end_object(j);
}

void om_quant_report_json(const om_quant_job *job, const om_quant_report *r, om_json *j)
{
    put_text(j, "model", job->model);
    put_text(j, "method", om_quant_choice_name(om_quant_method_choices, (int)job->params.method));
    put_text(j, "target", om_quant_choice_name(om_quant_target_choices, (int)job->params.target));
    put_count(j, "equalised", (int64_t)r->equalised);
    put_count(j, "weight_bits", r->weight_bits);
    put_count(j, "frames", (int64_t)r->frames);
    put_count(j, "damaged", (int64_t)r->damaged);
    put_number(j, "seconds", r->seconds, 3);
    put_text(j, "engine", r->engine);
    put_count(j, "opset_before", r->opset_from);
    put_count(j, "opset", r->opset_to);
    put_count(j, "int8_layers", (int64_t)om_quant_report_quantised(r));
    if (!isnan(r->int8_share)) put_number(j, "int8_share", r->int8_share, 4);
    put_score(j, r);
    om_json_key(j, "outputs");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_outputs; i++) put_output(j, &r->outputs[i]);
    om_json_end_array(j);
    om_json_key(j, "layers");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_layers; i++) put_layer(j, r, &r->layers[i]);
    om_json_end_array(j);
    om_json_key(j, "activations");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_acts; i++)
        if (r->acts[i].used) put_act(j, &r->acts[i]);
    om_json_end_array(j);
}
