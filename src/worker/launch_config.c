/* The YAML of a launch. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/yaml.h"
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
    om_yaml y;
    om_launch_config *c;
} loading;

/* A scalar, or the scalars of a list joined by blanks. */
static int take_words(loading *l, const yaml_node_t *n, om_str *out)
{
    int err = OM_OK;
    if (n->type == YAML_SCALAR_NODE) om_str_add(out, om_yaml_text(n));
    else if (n->type != YAML_SEQUENCE_NODE) return om_yaml_fail(&l->y, n, "prefix: expected words");
    else
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err;
             i++) {
            err = om_yaml_expect_scalar(&l->y, om_yaml_node(&l->y, *i), "a word of prefix");
            if (!err) om_str_addf(out, "%s%s", out->len ? " " : "", om_yaml_text(om_yaml_node(&l->y, *i)));
        }
    return err ? err : out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int add_flag(loading *l, om_job *job, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = om_yaml_expect_scalar(&l->y, value, om_yaml_text(key));
    if (err) return err;
    const char *name = om_yaml_text(key) + strspn(om_yaml_text(key), "-");
    char *flag = om_sprintf("--%s=%s", name, om_yaml_text(value));
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
        err = add_flag(l, job, key, om_yaml_node(&l->y, *i));
    return err;
}

static int load_args(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (n->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err;
             i++) {
            err = om_yaml_expect_scalar(&l->y, om_yaml_node(&l->y, *i), "a word of args");
            if (!err) err = om_strlist_add(&job->args, om_yaml_text(om_yaml_node(&l->y, *i)));
        }
        return err;
    }
    if (n->type != YAML_MAPPING_NODE)
        return om_yaml_fail(&l->y, n, "args: expected a map of flags, or a list of words");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++) {
        err = om_yaml_expect_scalar(&l->y, om_yaml_node(&l->y, i->key), "a flag");
        if (!err) err = add_flags(l, job, om_yaml_node(&l->y, i->key), om_yaml_node(&l->y, i->value));
    }
    return err;
}

static int load_env(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (n->type != YAML_MAPPING_NODE) return om_yaml_fail(&l->y, n, "env: expected a map of NAME: value");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++) {
        const yaml_node_t *key = om_yaml_node(&l->y, i->key), *value = om_yaml_node(&l->y, i->value);
        err = om_yaml_expect_scalar(&l->y, key, "a variable");
        if (!err) err = om_yaml_expect_scalar(&l->y, value, om_yaml_text(key));
        if (!err && (!*om_yaml_text(key) || strchr(om_yaml_text(key), '=')))
            err = om_yaml_fail(&l->y, key, "env: not a variable's name");
        char *pair = err ? NULL : om_sprintf("%s=%s", om_yaml_text(key), om_yaml_text(value));
        if (!err) err = pair ? om_strlist_add(&job->env, pair) : OM_ERR_NOMEM;
        om_free(pair);
    }
    return err;
}

static int load_key(loading *l, om_job *job, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = om_yaml_expect_scalar(&l->y, key, "a key");
    if (err) return err;
    const char *name = om_yaml_text(key);
    if (!strcmp(name, "args")) return load_args(l, job, value);
    if (!strcmp(name, "env")) return load_env(l, job, value);
    om_str words = {0};
    if (!strcmp(name, "prefix")) err = take_words(l, value, &words);
    else if (om_option_find(om_job_option_table, name)) err = om_yaml_expect_scalar(&l->y, value, name);
    if (!err) {
        const char *text = words.len                         ? om_str_get(&words)
                           : value->type == YAML_SCALAR_NODE ? om_yaml_text(value)
                                                             : "";
        err = om_option_set(om_job_option_table, job, name, text);
        if (err) err = om_yaml_fail_prefix(&l->y, key, err);
    }
    om_str_fini(&words);
    return err;
}

static int load_keys(loading *l, om_job *job, const yaml_node_t *n)
{
    int err = OM_OK;
    if (!n) return OM_OK;
    if (n->type != YAML_MAPPING_NODE) return om_yaml_fail(&l->y, n, "a job is a map of 'key: value' lines");
    for (yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top && !err; i++)
        err = load_key(l, job, om_yaml_node(&l->y, i->key), om_yaml_node(&l->y, i->value));
    return err;
}

static bool good_name(const char *name)
{
    static const char *const own[] = {"summary.json", "summary.csv", "summary.html"};
    bool ours = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) ours = ours || !strcmp(name, own[i]);
    return *name && *name != '.' && !ours && !strchr(name, '/') && strlen(name) < 100;
}

static int settle_job(loading *l, om_job *job, const yaml_node_t *n)
{
    if (!job->command || !*job->command)
        return om_yaml_fail(&l->y, n, "command: expected worker, run or another command of omma");
    if (!job->name && !(job->name = om_sprintf("%s%zu", job->command, l->c->n + 1))) return OM_ERR_NOMEM;
    if (!good_name(job->name)) return om_yaml_fail(&l->y, n, "name: expected a folder's name");
    if (job->args.n > MOST_WORDS) return om_yaml_fail(&l->y, n, "args: too many words");
    for (size_t i = 0; i < l->c->n; i++)
        if (!strcmp(l->c->jobs[i].name, job->name))
            return om_yaml_fail(&l->y, n, "a second job is called '%s'", job->name);
    job->line = om_yaml_line(n);
    job->bound = job->cores != NULL;
    int err = om_cores_parse(job->cores, &job->set);
    return err ? om_yaml_fail_prefix(&l->y, n, err) : OM_OK;
}

static void job_fini(om_job *job)
{
    om_options_fini(om_job_option_table, job);
    om_strlist_fini(&job->args);
    om_strlist_fini(&job->env);
}

static void drop_first(om_strlist *l, size_t n)
{
    for (size_t i = 0; i < n; i++) om_free(l->items[i]);
    memmove(l->items, l->items + n, (l->n - n) * sizeof *l->items);
    l->n -= n;
}

/* The job's own keys over the defaults'. Flags of one command are none of another's. */
static int load_both(loading *l, om_job *job, const yaml_node_t *n, const yaml_node_t *defaults)
{
    int err = load_keys(l, job, defaults);
    size_t given = job->args.n;
    char *command = om_strdup(job->command ? job->command : "");
    if (!command) err = OM_ERR_NOMEM;
    if (!err) err = load_keys(l, job, n);
    if (!err && given && job->command && strcmp(command, job->command)) drop_first(&job->args, given);
    om_free(command);
    return err;
}

static int load_job(loading *l, const yaml_node_t *n, const yaml_node_t *defaults)
{
    om_launch_config *c = l->c;
    om_job job;
    memset(&job, 0, sizeof job);
    int err = om_options_init(om_job_option_table, &job);
    if (!err) err = load_both(l, &job, n, defaults);
    if (!err) err = settle_job(l, &job, n);
    if (!err) err = om_grow((void **)&c->jobs, &c->cap, c->n + 1, sizeof *c->jobs);
    if (err) job_fini(&job);
    else c->jobs[c->n++] = job;
    return err;
}

/* Copies have folders "a.1", "a.2", which another job may be called as well. */
static int check_folders(const loading *l)
{
    const om_launch_config *c = l->c;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->n; k++) {
            const om_job *many = &c->jobs[i], *other = &c->jobs[k];
            size_t len = strlen(many->name);
            long long number;
            if (many->copies < 2 || strncmp(other->name, many->name, len) || other->name[len] != '.')
                continue;
            const char *digits = other->name + len + 1;
            if (*digits < '1' || *digits > '9' || om_parse_int(digits, &number) || number > many->copies)
                continue;
            return om_fail(OM_ERR_ARG, "%s:%d: name: '%s' is also the folder of a copy of '%s'", l->y.path,
                           other->line, other->name, many->name);
        }
    return OM_OK;
}

static int load_jobs(loading *l, const yaml_node_t *n, const yaml_node_t *defaults)
{
    int err = OM_OK, all = 0;
    if (n->type != YAML_SEQUENCE_NODE)
        return om_yaml_fail(&l->y, n, "jobs: must be a list ('- name: ...' items)");
    ptrdiff_t items = n->data.sequence.items.top - n->data.sequence.items.start;
    if (items > MOST_PROCESSES)
        return om_yaml_fail(&l->y, n, "jobs: %td items; at most %d", items, MOST_PROCESSES);
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_job(l, om_yaml_node(&l->y, *i), defaults);
    for (size_t i = 0; i < l->c->n; i++) all += l->c->jobs[i].copies;
    if (!err && all > MOST_PROCESSES)
        err = om_fail(OM_ERR_ARG, "%s: %d processes; at most %d", l->y.path, all, MOST_PROCESSES);
    return err ? err : check_folders(l);
}

static int load_document(loading *l)
{
    const yaml_node_t *root = om_yaml_root(&l->y), *jobs = NULL, *defaults = NULL;
    static const char *const keys[] = {"output", "defaults", "jobs"};
    int err = OM_OK;
    if (!root || root->type != YAML_MAPPING_NODE)
        return om_fail(OM_ERR_ARG, "%s: expected a map with output: and jobs:", l->y.path);
    for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top && !err;
         i++) {
        const yaml_node_t *key = om_yaml_node(&l->y, i->key), *value = om_yaml_node(&l->y, i->value);
        err = om_yaml_expect_scalar(&l->y, key, "a key");
        if (err) break;
        if (!strcmp(om_yaml_text(key), "jobs")) jobs = value;
        else if (!strcmp(om_yaml_text(key), "defaults")) defaults = value;
        else if (!strcmp(om_yaml_text(key), "output")) {
            err = om_yaml_expect_scalar(&l->y, value, "output");
            om_free(l->c->output);
            l->c->output = err ? NULL : om_strdup(om_yaml_text(value));
            if (!err && !l->c->output) err = OM_ERR_NOMEM;
        } else {
            const char *near = om_suggest(om_yaml_text(key), keys, 3);
            err = om_yaml_fail(&l->y, key, "unknown key '%s'%s%s%s", om_yaml_text(key),
                               near ? "; did you mean '" : "; expected output, defaults or jobs",
                               near ? near : "", near ? "'?" : "");
        }
    }
    if (!err && !jobs) err = om_fail(OM_ERR_ARG, "%s: no jobs: nothing to launch", l->y.path);
    if (!err) err = load_jobs(l, jobs, defaults);
    if (!err && !l->c->n) err = om_fail(OM_ERR_ARG, "%s: jobs: is empty", l->y.path);
    return err;
}

int om_launch_config_load(om_launch_config *c, const char *path)
{
    loading l = {.c = c};
    memset(c, 0, sizeof *c);
    if (!(c->path = om_strdup(path))) return OM_ERR_NOMEM;
    int err = om_yaml_load(&l.y, path, CONFIG_MAX);
    if (err) return err;
    err = load_document(&l);
    om_yaml_fini(&l.y);
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
