#include "backend/cuda/plan_io.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#define HEAD "omma cuda form 2"
#define NO_GROUPS "-"
#define MAX_BYTES 1e15

int omcu_form_write(const omcu_form *f, char **blob, size_t *len)
{
    om_str s = {0};
    om_str_addf(&s, HEAD "\t%d\t%d\t%d\t%s\n", f->major, f->minor, f->n_rungs,
                f->groups && f->groups[0] ? f->groups : NO_GROUPS);
    for (int i = 0; i < f->n_rungs; i++) {
        const omcu_form_rung *r = &f->rungs[i];
        om_str_addf(&s, "rung\t%d\t%d\t%zu\t%zu\t%zu\t%d\t%d\t%d\t%d\n", r->batch, r->steps, r->arena,
                    r->constants, r->workspace, r->products[0], r->products[1], r->products[2], r->n_choices);
        for (int k = 0; k < r->n_choices; k++) {
            const omcu_choice *c = &r->choices[k];
            om_str_addf(&s, "%s\t%s\t%.0f\t%zu\n", c->key, c->tactic, c->ns, c->engine ? c->engine_len : 0);
            if (!c->engine || !c->engine_len) continue;
            om_str_addn(&s, c->engine, c->engine_len);
            om_str_addc(&s, '\n');
        }
    }
    *len = s.len;
    *blob = om_str_take(&s);
    return *blob ? OM_OK : om_fail_nomem("a compiled form");
}

/* Fields of a line that ends with '\n', parted by tabs. */
typedef struct reader {
    char *at, *end;
    int line;
    bool wrong;
} reader;

/* The next field, ended by `last` ? '\n' : '\t'; NULL: it is not there. */
static char *field(reader *r, bool last)
{
    char *from = r->at;
    while (r->at < r->end && *r->at != '\t' && *r->at != '\n' && *r->at) r->at++;
    if (r->wrong || r->at == r->end || *r->at != (last ? '\n' : '\t')) {
        r->wrong = true;
        return NULL;
    }
    *r->at++ = 0;
    r->line += last;
    return from;
}

static double number(reader *r, bool last, double min, double max)
{
    const char *text = field(r, last);
    long long v;
    if (!text) return min;
    if (om_parse_int(text, &v) == OM_OK && (double)v >= min && (double)v <= max) return (double)v;
    r->wrong = true;
    return min;
}

static char *piece(reader *r, size_t n)
{
    char *from = r->at;
    if (r->wrong || n >= (size_t)(r->end - r->at) || from[n] != '\n') {
        r->wrong = true;
        return NULL;
    }
    from[n] = 0;
    r->at += n + 1;
    return from;
}

static const char *read_groups(reader *r)
{
    const char *text = field(r, true);
    if (!text || strcmp(text, NO_GROUPS) == 0) return "";
    if (!text[0] || strspn(text, "01") != strlen(text)) r->wrong = true;
    return text;
}

static int read_rung(reader *r, omcu_form_rung *out)
{
    const char *word = field(r, false);
    if (!word || strcmp(word, "rung") != 0) r->wrong = true;
    out->batch = (int)number(r, false, 1, 1 << 20);
    out->steps = (int)number(r, false, 0, 1 << 20);
    out->arena = (size_t)number(r, false, 0, MAX_BYTES);
    out->constants = (size_t)number(r, false, 0, MAX_BYTES);
    out->workspace = (size_t)number(r, false, 0, MAX_BYTES);
    for (int i = 0; i < 3; i++) out->products[i] = (int)number(r, false, 0, 1 << 20);
    int n = (int)number(r, true, 0, OMCU_FORM_CHOICES);
    if (r->wrong) return OM_OK;
    out->choices = om_calloc((size_t)n + 1, sizeof *out->choices);
    if (!out->choices) return OM_ERR_NOMEM;
    for (; out->n_choices < n && !r->wrong; out->n_choices++) {
        omcu_choice *c = &out->choices[out->n_choices];
        c->key = field(r, false);
        c->tactic = field(r, false);
        c->ns = number(r, false, 0, MAX_BYTES);
        c->engine_len = (size_t)number(r, true, 0, MAX_BYTES);
        if (c->engine_len) c->engine = piece(r, c->engine_len);
        if (r->wrong) break;
    }
    return OM_OK;
}

int omcu_form_parse(const void *blob, size_t len, omcu_form *f)
{
    *f = (omcu_form){.text = om_alloc(len + 1)};
    if (!f->text) return OM_ERR_NOMEM;
    memcpy(f->text, blob, len);
    f->text[len] = 0;
    reader r = {.at = f->text, .end = f->text + len, .line = 1};
    const char *head = field(&r, false);
    int err = OM_OK;
    if (!head || strcmp(head, HEAD) != 0)
        err = om_fail(OM_ERR_FORMAT, "it is no compiled form of this engine");
    f->major = (int)number(&r, false, 1, 1000);
    f->minor = (int)number(&r, false, 0, 1000);
    int n = (int)number(&r, false, 1, OMCU_FORM_RUNGS);
    f->groups = read_groups(&r);
    while (f->n_rungs < n && !err && !r.wrong) err = read_rung(&r, &f->rungs[f->n_rungs++]);
    if (!err && (r.wrong || r.at != r.end))
        err = om_fail(OM_ERR_FORMAT, "the compiled form is damaged in line %d", r.line);
    if (err) omcu_form_fini(f);
    return err;
}

void omcu_form_fini(omcu_form *f)
{
    for (int i = 0; i < OMCU_FORM_RUNGS; i++) om_free(f->rungs[i].choices);
    om_free(f->text);
    *f = (omcu_form){.n_rungs = 0};
}

const omcu_choice *omcu_form_find(const omcu_form_rung *r, const char *key)
{
    for (int i = 0; i < r->n_choices; i++)
        if (strcmp(r->choices[i].key, key) == 0) return &r->choices[i];
    return NULL;
}

int omcu_form_parts(const void *blob, size_t len, om_plan_part *out, int max)
{
    omcu_form f;
    int err = omcu_form_parse(blob, len, &f);
    if (err) return err;
    int n = f.n_rungs;
    for (int i = 0; i < n && i < max; i++) {
        const omcu_form_rung *r = &f.rungs[i];
        out[i] = (om_plan_part){
            .batch = r->batch, .steps = r->steps, .bytes = r->arena + r->constants + r->workspace};
        snprintf(out[i].products, sizeof out[i].products, "%d by cuDNN, %d by cuBLASLt, %d by own kernels",
                 r->products[0], r->products[1], r->products[2]);
    }
    omcu_form_fini(&f);
    return n;
}
