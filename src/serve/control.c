/* Requests to a run: JSON in, JSON out. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "serve/serve.h"

typedef struct request {
    om_pipeline *pipeline;
    const om_json_value *v;
    om_json *out; /* an open object; "ok" comes first, then what the command adds */
} request;

static int get_name(const request *r, const char **name)
{
    const om_json_value *v = om_json_get(r->v, "name");
    *name = v && v->type == OM_JSON_STR ? v->str : NULL;
    return *name ? OM_OK : om_fail(OM_ERR_ARG, "\"name\" is missing: which stream?");
}

/* A value as the option tables read it. */
static int text_of(const om_json_value *v, const char *key, om_str *out)
{
    om_str_clear(out);
    switch (v->type) {
    case OM_JSON_STR: om_str_add(out, v->str); break;
    case OM_JSON_BOOL: om_str_add(out, v->boolean ? "yes" : "no"); break;
    case OM_JSON_NUM: om_str_addf(out, "%.15g", v->num); break;
    default: return om_fail(OM_ERR_ARG, "\"%s\": expected a text, a number, true or false", key);
    }
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}

static bool is_request_key(const char *key) { return !strcmp(key, "cmd") || !strcmp(key, "id"); }

static void begin_ok(const request *r)
{
    om_json_key(r->out, "ok");
    om_json_bool(r->out, true);
}

static int add(const request *r)
{
    om_stream_options own;
    om_str text = {0};
    int index = -1;
    memset(&own, 0, sizeof(own));
    int err = om_options_init(om_stream_option_table, &own);
    for (size_t i = 0; i < r->v->n && !err; i++) {
        const char *key = r->v->keys[i];
        if (is_request_key(key)) continue;
        err = text_of(&r->v->children[i], key, &text);
        if (!err) err = om_option_set(om_stream_option_table, &own, key, om_str_get(&text));
    }
    om_str_fini(&text);
    if (err) om_options_fini(om_stream_option_table, &own);
    else err = om_pipeline_add(r->pipeline, &own, false, &index);
    if (err) return err;
    om_stream_status st;
    om_pipeline_stream_status(r->pipeline, (size_t)index, &st);
    begin_ok(r);
    om_json_key_string(r->out, "name", st.name);
    om_json_key_uint(r->out, "index", (uint64_t)index);
    return OM_OK;
}

/* Commands that have nothing to tell but that they were done. */
static int done(const request *r, int err)
{
    if (!err) begin_ok(r);
    return err;
}

static int remove_stream(const request *r)
{
    const char *name;
    int err = get_name(r, &name);
    return done(r, err ? err : om_pipeline_remove_stream(r->pipeline, name));
}

static int pause_stream(const request *r)
{
    const char *name;
    int err = get_name(r, &name);
    return done(r, err ? err : om_pipeline_pause_stream(r->pipeline, name, true));
}

static int resume_stream(const request *r)
{
    const char *name;
    int err = get_name(r, &name);
    return done(r, err ? err : om_pipeline_pause_stream(r->pipeline, name, false));
}

static int set(const request *r)
{
    const char *name = NULL, **options = om_calloc(2 * r->v->n + 1, sizeof(*options));
    om_str *texts = om_calloc(r->v->n + 1, sizeof(*texts));
    size_t n = 0;
    int err = options && texts ? get_name(r, &name) : OM_ERR_NOMEM;
    for (size_t i = 0; i < r->v->n && !err; i++) {
        const char *key = r->v->keys[i];
        if (is_request_key(key) || !strcmp(key, "name")) continue;
        err = text_of(&r->v->children[i], key, &texts[n]);
        options[2 * n] = key;
        options[2 * n + 1] = om_str_get(&texts[n]);
        n++;
    }
    if (!err && !n) err = om_fail(OM_ERR_ARG, "nothing to set: priority, weight, fps and every can be");
    if (!err) err = om_pipeline_set_stream_with(r->pipeline, name, options);
    for (size_t i = 0; i < n; i++) om_str_fini(&texts[i]);
    om_free(texts);
    om_free(options);
    return done(r, err);
}

static void stats_json(const om_stream_stats *s, om_json *j)
{
    om_json_key_uint(j, "received", s->received);
    om_json_key_uint(j, "decoded", s->decoded);
    om_json_key_uint(j, "inferred", s->inferred);
    om_json_key_uint(j, "skipped", s->skipped);
    om_json_key_uint(j, "dropped", s->dropped);
    om_json_key_uint(j, "in_flight", s->in_flight);
    om_json_key_num(j, "fps", s->fps, 3);
    om_json_key_num(j, "latency_ms_p50", s->latency_ms_p50, 3);
    om_json_key_num(j, "latency_ms_p99", s->latency_ms_p99, 3);
    om_json_key_num(j, "network_mbit_s", s->network_mbit_s >= 0 ? s->network_mbit_s : NAN, 3);
}

static void row_json(const om_stream_row *row, om_json *j)
{
    const om_stream_status *st = &row->status;
    om_json_begin_object(j);
    om_json_key_string(j, "name", st->name);
    om_json_key_uint(j, "index", (uint64_t)st->index);
    om_json_key_string(j, "uri", st->uri);
    om_json_key_string(j, "state", om_stream_state_name(st->state));
    if (st->error[0]) om_json_key_string(j, "error", st->error);
    om_json_key_num(j, "width", st->width, 0);
    om_json_key_num(j, "height", st->height, 0);
    om_json_key_num(j, "priority", row->priority, 0);
    om_json_key_num(j, "weight", row->weight, 3);
    om_json_key_num(j, "sample_fps", row->fps, 3);
    om_json_key_num(j, "every", row->every, 0);
    om_json_key_string(j, "economy", row->economy);
    om_json_key_num(j, "lag_ms", row->lag_ms, 1);
    om_json_key_uint(j, "reconnects", st->reconnects);
    stats_json(&row->stats, j);
    om_json_end_object(j);
}

static int list_one(const request *r, const char *name)
{
    om_stream_row row;
    int err = om_pipeline_row(r->pipeline, name, &row);
    if (err) return err;
    begin_ok(r);
    om_json_key(r->out, "streams");
    om_json_begin_array(r->out);
    row_json(&row, r->out);
    om_json_end_array(r->out);
    return OM_OK;
}

static int list(const request *r)
{
    const char *name;
    om_stream_row *rows;
    size_t n;
    if (om_json_get(r->v, "name")) {
        int err = get_name(r, &name);
        return err ? err : list_one(r, name);
    }
    int err = om_pipeline_list(r->pipeline, false, &rows, &n);
    if (err) return err;
    begin_ok(r);
    om_json_key(r->out, "streams");
    om_json_begin_array(r->out);
    for (size_t i = 0; i < n; i++) row_json(&rows[i], r->out);
    om_json_end_array(r->out);
    om_free(rows);
    return OM_OK;
}

static int stats(const request *r)
{
    om_stream_row *rows;
    om_stream_stats all;
    om_str policy = {0};
    size_t n, by_state[OM_STREAM_REMOVED + 1] = {0};
    int err = om_pipeline_stats(r->pipeline, -1, &all);
    if (!err) err = om_pipeline_list(r->pipeline, false, &rows, &n);
    if (err) return err;
    for (size_t i = 0; i < n; i++) by_state[rows[i].status.state]++;
    om_free(rows);
    begin_ok(r);
    om_json_key_uint(r->out, "streams", n);
    om_json_key(r->out, "states");
    om_json_begin_object(r->out);
    for (int i = 0; i <= OM_STREAM_REMOVED; i++)
        if (by_state[i]) om_json_key_uint(r->out, om_stream_state_name((om_stream_state)i), by_state[i]);
    om_json_end_object(r->out);
    stats_json(&all, r->out);
    om_pipeline_policy_text(r->pipeline, &policy);
    om_json_key_string(r->out, "policy", om_str_get(&policy));
    om_pipeline_gpu_memory_json(r->pipeline, r->out);
    om_str_fini(&policy);
    return OM_OK;
}

static int report(const request *r)
{
    char *text;
    int err = om_pipeline_report(r->pipeline, &text);
    if (err) return err;
    begin_ok(r);
    om_json_key_string(r->out, "report", text);
    om_free_string(text);
    return OM_OK;
}

static const struct {
    const char *name;
    int (*run)(const request *r);
} commands[] = {
    {"add", add},
    {"remove", remove_stream},
    {"pause", pause_stream},
    {"resume", resume_stream},
    {"set", set},
    {"list", list},
    {"stats", stats},
    {"report", report},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static int dispatch(const request *r)
{
    const char *names[N_COMMANDS];
    if (r->v->type != OM_JSON_OBJ) return om_fail(OM_ERR_ARG, "expected a JSON object with \"cmd\"");
    const om_json_value *cmd = om_json_get(r->v, "cmd");
    if (!cmd || cmd->type != OM_JSON_STR)
        return om_fail(OM_ERR_ARG,
                       "\"cmd\" is missing: add, remove, pause, resume, set, list, stats or report");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(names[i], cmd->str)) return commands[i].run(r);
    }
    const char *near = om_suggest(cmd->str, names, N_COMMANDS);
    return om_fail(OM_ERR_ARG, "unknown command '%.40s'%s%s%s", cmd->str, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

void om_control_answer(om_pipeline *p, const char *text, size_t len, om_str *answer)
{
    om_json j;
    om_json_value *v = NULL;
    om_str_clear(answer);
    om_json_init(&j, answer, 0);
    om_json_begin_object(&j);
    int err = om_json_parse(text, len, &v);
    const om_json_value *id = om_json_get(v, "id");
    if (id && id->type == OM_JSON_STR) om_json_key_string(&j, "id", id->str);
    if (id && id->type == OM_JSON_NUM) om_json_key_num(&j, "id", id->num, 6);
    request r = {p, v, &j};
    if (!err) err = dispatch(&r);
    if (err) {
        om_json_key(&j, "ok");
        om_json_bool(&j, false);
        om_json_key_string(&j, "error", om_error_message());
    }
    om_json_end_object(&j);
    om_json_free(v);
}
