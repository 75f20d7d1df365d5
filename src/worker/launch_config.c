/* The YAML of a launch. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/mem.h"
#include "worker/cores.h"
#include "worker/launch.h"

#define CONFIG_MAX (1 << 20)
#define MOST_PROCESSES 1000
#define MOST_WORDS 10000 /* of a command line; with aliases a short file can ask for many more */

static const om_choice restarts[] = {{"never", OM_RESTART_NEVER, NULL},
                                     {"on-failure", OM_RESTART_ON_FAILURE, NULL},
                                     {"always", OM_RESTART_ALWAYS, NULL},
                                     {NULL, 0, NULL}};

#define OPT(field) offsetof(om_job, field)

const om_option om_job_option_table[] = {
    {"name", 0, OM_OPT_STRING, OPT(name), NULL, 0, 0, NULL, NULL, "Job",
     "of its folder; default: command and number"},
    {"command", 0, OM_OPT_STRING, OPT(command), "worker", 0, 0, NULL, NULL, NULL,
     "of omma: worker, run, ..."},
    {"cores", 0, OM_OPT_STRING, OPT(cores), NULL, 0, 0, NULL, "CORES", NULL,
     "it may run on, as in 0-3 or 0,2"},
    {"device", 0, OM_OPT_STRING, OPT(device), NULL, 0, 0, NULL, NULL, NULL, "--device of the command"},
    {"start", 0, OM_OPT_TIME, OPT(start_s), "0", 0, 1e7, NULL, NULL, NULL, "how long after the launch"},
    {"copies", 0, OM_OPT_INT, OPT(copies), "1", 1, MOST_PROCESSES, NULL, NULL, NULL, "at a time"},
    {"repeat", 0, OM_OPT_INT, OPT(repeat), "1", 1, 1000000, NULL, NULL, NULL, "runs one after another"},
    {"prefix", 0, OM_OPT_STRING, OPT(prefix), NULL, 0, 0, NULL, "WORDS", NULL,
     "a command that runs the command; {dir} is the job's folder"},
    {"restart", 0, OM_OPT_CHOICE, OPT(restart), "never", 0, 0, restarts, NULL, NULL, "after it ended"},
    {"restarts", 0, OM_OPT_INT, OPT(restarts), "5", 0, 1000000, NULL, NULL, NULL, "at most"},
    {"backoff", 0, OM_OPT_TIME, OPT(backoff_s), "1", 0, 1e6, NULL, NULL, NULL,
     "before the first restart, twice as long before each further one"},
    {"timeout", 0, OM_OPT_TIME, OPT(timeout_s), "0", 0, 1e7, NULL, NULL, NULL,
     "stop a run after that; 0: never"},
    {0},
};

typedef struct loading {
    const char *path;
    yaml_document_t doc;
    om_launch_config *c;
} loading;

static const yaml_node_t *node_of(loading *l, int id) { return yaml_document_get_node(&l->doc, id); }
static const char *text_of(const yaml_node_t *n) { return (const char *)n->data.scalar.value; }
static int line_of(const yaml_node_t *n) { return (int)n->start_mark.line + 1; }

static int fail_at(loading *l, const yaml_node_t *n, const char *what)
{
    return om_fail(OM_ERR_ARG, "%s:%d: %s", l->path, line_of(n), what);
}

static int expect_scalar(loading *l, const yaml_node_t *n, const char *what)
{
    if (n->type == YAML_SCALAR_NODE) return OM_OK;
    return om_fail(OM_ERR_ARG, "%s:%d: %s must be a single value", l->path, line_of(n), what);
}

/* A scalar, or the scalars of a list joined by blanks. */
static int take_words(loading *l, const yaml_node_t *n, om_str *out)
{
    int err = OM_OK;
    if (n->type == YAML_SCALAR_NODE) om_str_add(out, text_of(n));
    else if (n->type != YAML_SEQUENCE_NODE) return fail_at(l, n, "prefix: expected words");
    else
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err;
             i++) {
            err = expect_scalar(l, node_of(l, *i), "a word of prefix");
            if (!err) om_str_addf(out, "%s%s", out->len ? " " : "", text_of(node_of(l, *i)));
        }
    return err ? err : out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int add_flag(loading *l, om_job *job, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = expect_scalar(l, value, text_of(key));
    if (err) return err;
    const char *name = text_of(key) + strspn(text_of(key), "-");
    char *flag = om_sprintf("--%s=%s", name, text_of(value));
    err = flag ? om_strlist_add(&job->args, flag) : OM_ERR_NOMEM;
    om_free(flag);
    return err;
}

/* --key value; a list gives the flag several times. */
static int add_flags(loading *l, om_job *job, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = OM_OK;
    if (value->type != YAML_SEQUENCE_NODE) return add_flag(l, job, key, value);
    const yaml_node_item_t *end = value->data.sequence.items.top;
    for (const yaml_node_item_t *i = value->data.sequence.items.start; i < end && !err; i++)
        err = add_flag(l, job, key, node_of(l, *i));
    return err;
}

static int load_args(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (n->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err;
             i++) {
            err = expect_scalar(l, node_of(l, *i), "a word of args");
            if (!err) err = om_strlist_add(&job->args, text_of(node_of(l, *i)));
        }
        return err;
    }
    if (n->type != YAML_MAPPING_NODE)
        return fail_at(l, n, "args: expected a map of flags, or a list of words");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++) {
        err = expect_scalar(l, node_of(l, i->key), "a flag");
        if (!err) err = add_flags(l, job, node_of(l, i->key), node_of(l, i->value));
    }
    return err;
}

static int load_env(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (n->type != YAML_MAPPING_NODE) return fail_at(l, n, "env: expected a map of NAME: value");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++) {
        const yaml_node_t *key = node_of(l, i->key), *value = node_of(l, i->value);
        err = expect_scalar(l, key, "a variable");
        if (!err) err = expect_scalar(l, value, text_of(key));
        if (!err && (!*text_of(key) || strchr(text_of(key), '=')))
            err = fail_at(l, key, "env: not a variable's name");
        char *pair = err ? NULL : om_sprintf("%s=%s", text_of(key), text_of(value));
        if (!err) err = pair ? om_strlist_add(&job->env, pair) : OM_ERR_NOMEM;
        om_free(pair);
    }
    return err;
}

static int load_key(loading *l, om_job *job, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = expect_scalar(l, key, "a key");
    if (err) return err;
    const char *name = text_of(key);
    if (!strcmp(name, "args")) return load_args(l, job, value);
    if (!strcmp(name, "env")) return load_env(l, job, value);
    om_str words = {0};
    if (!strcmp(name, "prefix")) err = take_words(l, value, &words);
    else if (om_option_find(om_job_option_table, name)) err = expect_scalar(l, value, name);
    if (!err) {
        const char *text = words.len                         ? om_str_get(&words)
                           : value->type == YAML_SCALAR_NODE ? text_of(value)
                                                             : "";
        err = om_option_set(om_job_option_table, job, name, text);
        if (err) err = om_fail_prefix(err, "%s:%d", l->path, line_of(key));
    }
    om_str_fini(&words);
    return err;
}

static int load_keys(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (!n) return OM_OK;
    if (n->type != YAML_MAPPING_NODE) return fail_at(l, n, "a job is a map of 'key: value' lines");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++)
        err = load_key(l, job, node_of(l, i->key), node_of(l, i->value));
    return err;
}

static bool good_name(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/') && strlen(name) < 100;
}

static int settle_job(loading *l, om_job *job, const yaml_node_t *n)
{
    if (!job->command) return fail_at(l, n, "command: expected worker, run or another command of omma");
    if (!job->name && !(job->name = om_sprintf("%s%zu", job->command, l->c->n + 1))) return OM_ERR_NOMEM;
    if (!good_name(job->name)) return fail_at(l, n, "name: expected a folder's name");
    if (job->args.n > MOST_WORDS) return fail_at(l, n, "args: too many words");
    for (size_t i = 0; i < l->c->n; i++)
        if (!strcmp(l->c->jobs[i].name, job->name))
            return om_fail(OM_ERR_ARG, "%s:%d: a second job is called '%s'", l->path, line_of(n), job->name);
    job->line = line_of(n);
    job->bound = job->cores != NULL;
    int err = om_cores_parse(job->cores, &job->set);
    return err ? om_fail_prefix(err, "%s:%d", l->path, line_of(n)) : OM_OK;
}

static void job_fini(om_job *job)
{
    om_options_fini(om_job_option_table, job);
    om_strlist_fini(&job->args);
    om_strlist_fini(&job->env);
}

static int load_job(loading *l, const yaml_node_t *n, const yaml_node_t *defaults)
{
    om_launch_config *c = l->c;
    om_job job;
    memset(&job, 0, sizeof job);
    int err = om_options_init(om_job_option_table, &job);
    if (!err) err = load_keys(l, &job, defaults);
    if (!err) err = load_keys(l, &job, n);
    if (!err) err = settle_job(l, &job, n);
    if (!err) err = om_grow((void **)&c->jobs, &c->cap, c->n + 1, sizeof *c->jobs);
    if (err) job_fini(&job);
    else c->jobs[c->n++] = job;
    return err;
}

static int load_jobs(loading *l, const yaml_node_t *n, const yaml_node_t *defaults)
{
    int err = OM_OK, all = 0;
    ptrdiff_t items =
        n->type == YAML_SEQUENCE_NODE ? n->data.sequence.items.top - n->data.sequence.items.start : 0;
    if (items > MOST_PROCESSES)
        return om_fail(OM_ERR_ARG, "%s:%d: jobs: %td items; at most %d", l->path, line_of(n), items,
                       MOST_PROCESSES);
    if (n->type != YAML_SEQUENCE_NODE) return fail_at(l, n, "jobs: must be a list ('- name: ...' items)");
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_job(l, node_of(l, *i), defaults);
    for (size_t i = 0; i < l->c->n; i++) all += l->c->jobs[i].copies;
    if (!err && all > MOST_PROCESSES)
        err = om_fail(OM_ERR_ARG, "%s: %d processes; at most %d", l->path, all, MOST_PROCESSES);
    return err;
}

static int load_document(loading *l)
{
    const yaml_node_t *root = yaml_document_get_root_node(&l->doc), *jobs = NULL, *defaults = NULL;
    static const char *const keys[] = {"output", "defaults", "jobs"};
    int err = OM_OK;
    if (!root || root->type != YAML_MAPPING_NODE)
        return om_fail(OM_ERR_ARG, "%s: expected a map with output: and jobs:", l->path);
    for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top && !err;
         i++) {
        const yaml_node_t *key = node_of(l, i->key), *value = node_of(l, i->value);
        err = expect_scalar(l, key, "a key");
        if (err) break;
        if (!strcmp(text_of(key), "jobs")) jobs = value;
        else if (!strcmp(text_of(key), "defaults")) defaults = value;
        else if (!strcmp(text_of(key), "output")) {
            err = expect_scalar(l, value, "output");
            om_free(l->c->output);
            if (!err && !(l->c->output = om_strdup(text_of(value)))) err = OM_ERR_NOMEM;
        } else {
            const char *near = om_suggest(text_of(key), keys, 3);
            err = om_fail(OM_ERR_ARG, "%s:%d: unknown key '%s'%s%s%s", l->path, line_of(key), text_of(key),
                          near ? "; did you mean '" : "; expected output, defaults or jobs", near ? near : "",
                          near ? "'?" : "");
        }
    }
    if (!err && !jobs) err = om_fail(OM_ERR_ARG, "%s: no jobs: nothing to launch", l->path);
    if (!err) err = load_jobs(l, jobs, defaults);
    if (!err && !l->c->n) err = om_fail(OM_ERR_ARG, "%s: jobs: is empty", l->path);
    return err;
}

int om_launch_config_load(om_launch_config *c, const char *path)
{
    char *text = NULL;
    size_t len;
    loading l = {.path = path, .c = c};
    yaml_parser_t parser;
    memset(c, 0, sizeof *c);
    int err = (c->path = om_strdup(path)) ? om_read_file(path, CONFIG_MAX, &text, &len) : OM_ERR_NOMEM;
    if (err) return err == OM_ERR_NOMEM ? err : om_fail(OM_ERR_ARG, "%s", om_error_message());
    if (!yaml_parser_initialize(&parser)) {
        om_free(text);
        return om_fail_nomem("the YAML parser");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (yaml_parser_load(&parser, &l.doc)) {
        err = load_document(&l);
        yaml_document_delete(&l.doc);
    } else {
        err = om_fail(OM_ERR_ARG, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "not YAML");
    }
    yaml_parser_delete(&parser);
    om_free(text);
    return err;
}

void om_launch_config_fini(om_launch_config *c)
{
    for (size_t i = 0; i < c->n; i++) job_fini(&c->jobs[i]);
    om_free(c->jobs);
    om_free(c->path);
    om_free(c->output);
    memset(c, 0, sizeof *c);
}
