#include <math.h>

#include "base/json.h"
#include "quant/quantizer.h"

const char *om_quant_choice_name(const om_choice *c, int value)
{
    for (; c->name; c++)
        if (c->value == value) return c->name;
    return "";
}

static void put_layer(om_json *j, const om_quant_report *r, const om_quant_layer *l)
{
    om_json_begin_object(j);
    om_json_key_string(j, "name", l->name);
    om_json_key_string(j, "operator", l->op);
    om_json_key_string(j, "precision", l->quantised ? "int8" : "float");
    if (!l->quantised) om_json_key_string(j, "why", l->why);
    if (l->quantised) {
        om_json_key_string(j, "input", r->acts[l->act].name);
        om_json_key_num(j, "input_db", r->acts[l->act].db, 2);
        om_json_key_num(j, "weight_db", l->weight_db, 2);
    }
    if (!isnan(l->alone_db)) {
        om_json_key_num(j, "alone_db", l->alone_db, 2);
        om_json_key_num(j, "alone_score", l->alone_score, 6);
        om_json_key_num(j, "float_us", l->float_us, 1);
        om_json_key_num(j, "int8_us", l->int8_us, 1);
    }
    om_json_end_object(j);
}

static void put_act(om_json *j, const om_quant_act *a)
{
    om_json_begin_object(j);
    om_json_key_string(j, "name", a->name);
    om_json_key_num(j, "seen_min", a->seen_lo, 9);
    om_json_key_num(j, "seen_max", a->seen_hi, 9);
    om_json_key_num(j, "min", a->lo, 9);
    om_json_key_num(j, "max", a->hi, 9);
    om_json_key_num(j, "scale", (double)a->scale, 12);
    om_json_key_int(j, "zero_point", a->zero);
    om_json_key_num(j, "db", a->db, 2);
    om_json_key(j, "histogram");
    om_json_begin_array(j);
    for (int i = 0; i < OM_QUANT_BARS; i++) om_json_num(j, (double)a->bar[i], 6);
    om_json_end_array(j);
    om_json_end_object(j);
}

static void put_score(om_json *j, const om_quant_report *r)
{
    om_json_key_string(j, "metric", om_quant_metric_name(r->metric));
    om_json_key_num(j, "score", r->score, 6);
    om_json_key_int(j, "judged", (int64_t)r->judged);
    om_json_key(j, "judged_apart");
    om_json_bool(j, r->judged_apart);
    if (r->floor > 0) om_json_key_num(j, "floor", r->floor, 6);
    if (r->speed_goal > 0) om_json_key_num(j, "speed_goal", r->speed_goal, 6);
    om_json_key(j, "missed");
    om_json_bool(j, r->missed);
    if (!isnan(r->plain_score)) {
        om_json_key_num(j, "plain_score", r->plain_score, 6);
        om_json_key_int(j, "mixed", (int64_t)r->mixed);
        om_json_key_num(j, "speed", r->speed, 3);
    }
    om_json_key(j, "advice");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_advice; i++) {
        om_json_begin_object(j);
        om_json_key_string(j, "step", r->advice[i].step);
        om_json_key_string(j, "text", r->advice[i].text);
        om_json_key_num(j, "score", r->advice[i].score, 6);
        om_json_key_num(j, "gain", r->advice[i].gain, 6);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void put_output(om_json *j, const om_quant_output *o)
{
    om_json_begin_object(j);
    om_json_key_string(j, "name", o->name);
    om_json_key_num(j, "cosine", o->cosine, 6);
    om_json_key_num(j, "db", o->db, 2);
    om_json_key_int(j, "inferences", (int64_t)o->pictures);
    om_json_end_object(j);
}

void om_quant_report_json(const om_quant_job *job, const om_quant_report *r, om_json *j)
{
    om_json_key_string(j, "model", job->model);
    om_json_key_string(j, "method", om_quant_choice_name(om_quant_method_choices, (int)job->params.method));
    om_json_key_string(j, "target", om_quant_choice_name(om_quant_target_choices, (int)job->params.target));
    om_json_key_string(j, "parts", om_quant_choice_name(om_quant_parts_choices, (int)job->params.parts));
    om_json_key_int(j, "equalised", (int64_t)r->equalised);
    om_json_key_int(j, "weight_bits", r->weight_bits);
    om_json_key_int(j, "frames", (int64_t)r->frames);
    om_json_key_int(j, "damaged", (int64_t)r->damaged);
    om_json_key_num(j, "seconds", r->seconds, 3);
    om_json_key_string(j, "engine", r->engine);
    om_json_key_int(j, "opset_before", r->opset_from);
    om_json_key_int(j, "opset", r->opset_to);
    om_json_key_int(j, "int8_layers", (int64_t)om_quant_report_quantised(r));
    if (!isnan(r->int8_share)) om_json_key_num(j, "int8_share", r->int8_share, 4);
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
