#include "cli/profile_ladder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/console.h"
#include "cli/profile_print.h"
#include "cli/table.h"
#include "cli/text.h"

static const om_column ladder_columns[] = {
    {"precision", false, 0, 0}, {"ms", true, 0, 0},    {"images/s", true, 0, 0}, {"times", true, 0, 1},
    {"cosine", true, 0, 2},     {"error", true, 0, 3}, {"", false, 0, 0},
};

/* Steps of a ladder: what was measured, or why not. */
typedef struct step {
    char name[16];
    om_precision precision;
    om_profile p;
    char why[300]; /* not empty: skipped */
} step;

#define MAX_STEPS 5

static int find_precision(step *s)
{
    for (const om_choice *c = om_precision_choices; c->name; c++)
        if (c->value != OM_PRECISION_AUTO && !strcmp(c->name, s->name)) {
            s->precision = (om_precision)c->value;
            return OM_OK;
        }
    return om_fail(OM_ERR_ARG, "--ladder: '%s' is no precision; expected f32, tf32, bf16, f16 or int8",
                   s->name);
}

static int parse_ladder(const char *text, step *steps, size_t *n)
{
    for (*n = 0; *text;) {
        size_t len = strcspn(text, ",");
        if (len >= sizeof steps[0].name || *n == MAX_STEPS)
            return om_fail(OM_ERR_ARG, "--ladder: expected up to %d precisions, as in f32,bf16,f16,int8",
                           MAX_STEPS);
        step *s = &steps[(*n)++];
        /* fp32 and f32 are one. */
        snprintf(s->name, sizeof s->name, "%.*s", (int)len, text);
        if (!strncmp(s->name, "fp", 2)) memmove(s->name + 1, s->name + 2, strlen(s->name + 1));
        int err = find_precision(s);
        if (err) return err;
        text += len + (text[len] == ',');
    }
    return *n ? OM_OK : om_fail(OM_ERR_ARG, "--ladder: expected precisions, as in f32,bf16,f16,int8");
}

/* "" where the device computes in it, as far as it tells; else why not. */
static void check_precision(const char *where, step *s)
{
    const om_backend_ops *b;
    const char *device;
    om_backend_device list[16];
    if (om_backend_select(where, &b, &device)) return;
    int n = b->devices(list, 16);
    for (int i = 0; i < n && i < 16; i++) {
        bool this = !strcmp(list[i].id, where) || (device && strstr(list[i].id, device));
        if (this && list[i].precisions[0] && !strstr(list[i].precisions, s->name))
            snprintf(s->why, sizeof s->why, "skipped: %.100s computes in %.60s only", list[i].name,
                     list[i].precisions);
    }
}

static int climb(const om_ladder_params *p, step *s)
{
    char what[32];
    om_profile_params q = *p->measure;
    check_precision(q.device, s);
    if (s->why[0]) return OM_OK;
    snprintf(what, sizeof what, "%.15s: ", s->name);
    if (s->precision == OM_PRECISION_INT8 && p->int8_model) q.model = p->int8_model;
    q.precision = s->precision;
    q.keep_outputs = true;
    q.user = what;
    int err = om_profile_measure(&q, &s->p);
    om_console_status(NULL);
    if (err != OM_ERR_ARG && err != OM_ERR_UNSUPPORTED) return err;
    if (err) snprintf(s->why, sizeof s->why, "skipped: %.280s", om_error_message());
    return OM_OK;
}

static void ladder_row(om_table *t, const step *first, const step *s)
{
    double cosine, error;
    om_table_cell(t, "%s", s->name);
    if (s->why[0]) {
        for (int i = 0; i < 5; i++) om_table_cell(t, "%s", "");
        om_table_cell(t, "skipped");
        return;
    }
    om_table_cell(t, "%.2f", s->p.latency_us / 1e3);
    om_table_cell(t, "%.1f", 1e6 * s->p.batch / s->p.latency_us);
    om_table_cell(t, "%.2f", first->p.latency_us / s->p.latency_us);
    if (om_profile_agree(&first->p, &s->p, &cosine, &error)) {
        om_table_cell(t, "%s", "?");
        om_table_cell(t, "%s", "?");
    } else {
        om_table_cell(t, "%.6f", cosine);
        om_table_cell(t, "%.2g", error);
    }
    om_table_cell(t, "%s", s == first ? "reference" : "");
}

/* Below the table, whose columns have no room for them. */
static void add_reasons(const step *steps, size_t n, int width, om_str *out)
{
    for (size_t i = 0; i < n; i++) {
        om_str line = {0};
        if (!steps[i].why[0]) continue;
        om_str_addf(&line, "%s %s", steps[i].name, steps[i].why);
        om_text_wrap(om_str_get(&line), 2, width ? width : 110, out);
        om_str_fini(&line);
    }
}

static void ladder_json(const step *steps, size_t n, const step *first, om_json *j)
{
    om_json_begin_object(j);
    om_profile_system_json("system", &first->p, j);
    om_json_key_string(j, "model", first->p.model);
    om_json_key_string(j, "device", first->p.device);
    om_json_key_string(j, "engine", first->p.engine);
    om_json_key_int(j, "batch", first->p.batch);
    om_json_key(j, "ladder");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        const step *s = &steps[i];
        double cosine, error;
        om_json_begin_object(j);
        om_json_key(j, "precision");
        om_json_string(j, s->name);
        if (s->why[0]) {
            om_json_key(j, "skipped");
            om_json_string(j, s->why);
        } else {
            om_json_key(j, "latency_us");
            om_json_num(j, s->p.latency_us, 2);
            om_json_key_num(j, "images_s", 1e6 * s->p.batch / s->p.latency_us, 4);
            if (!om_profile_agree(&first->p, &s->p, &cosine, &error)) {
                om_json_key(j, "cosine");
                om_json_num(j, cosine, 8);
                om_json_key(j, "error");
                om_json_num(j, error, 8);
            }
        }
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_end_object(j);
}

static int show_ladder(const om_ladder_params *p, const step *steps, size_t n)
{
    const step *first = NULL;
    om_str text = {0};
    int err = OM_OK;
    for (size_t i = n; i > 0; i--)
        if (!steps[i - 1].why[0]) first = &steps[i - 1];
    if (!first)
        return om_fail(OM_ERR_UNSUPPORTED, "--ladder: none of these precisions is to be had: %s",
                       steps[0].why);
    if (p->json) {
        om_json j;
        om_json_init(&j, &text, 1);
        ladder_json(steps, n, first, &j);
        om_str_addc(&text, '\n');
        err = om_put_text(p->json, &text);
        om_str_clear(&text);
    }
    if (!err && !p->quiet && (!p->json || strcmp(p->json, "-"))) {
        om_table t;
        om_table_init(&t, ladder_columns, sizeof ladder_columns / sizeof ladder_columns[0]);
        for (size_t i = 0; i < n; i++) ladder_row(&t, first, &steps[i]);
        int width = om_console_columns(stdout, 0);
        err = om_table_render(&t, width, &text);
        om_table_fini(&t);
        add_reasons(steps, n, width, &text);
        om_profile_print_system(&first->p, width, &text);
        if (!err) fputs(om_str_get(&text), stdout);
    }
    om_str_fini(&text);
    return err;
}

/* Before an hour has gone into the other steps. */
static int check_int8_model(const om_ladder_params *p, const step *steps, size_t n)
{
    bool asked = false;
    if (!p->int8_model) return OM_OK;
    for (size_t i = 0; i < n; i++) asked = asked || steps[i].precision == OM_PRECISION_INT8;
    if (!asked) return om_fail(OM_ERR_ARG, "--int8-model: int8 is not among --ladder %s", p->precisions);
    if (access(p->int8_model, R_OK))
        return om_fail(OM_ERR_NOT_FOUND, "--int8-model: %s: cannot open: %s", p->int8_model, strerror(errno));
    return OM_OK;
}

int om_ladder_run(const om_ladder_params *p)
{
    step steps[MAX_STEPS];
    size_t n = 0;
    memset(steps, 0, sizeof steps);
    int err = parse_ladder(p->precisions, steps, &n);
    if (!err) err = check_int8_model(p, steps, n);
    for (size_t i = 0; i < n && !err; i++) err = climb(p, &steps[i]);
    if (!err) err = show_ladder(p, steps, n);
    for (size_t i = 0; i < n; i++) om_profile_fini(&steps[i].p);
    return err;
}
