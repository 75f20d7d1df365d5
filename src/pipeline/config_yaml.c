/* The YAML form of a run: the run table's keys at top level, `streams:` and `sinks:`. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/mem.h"
#include "pipeline/second_config.h"

#define OM_CONFIG_MAX (1 << 20)

typedef struct om_yaml {
    const char *path;
    yaml_document_t doc;
    om_config *config;
} om_yaml;

static int line_of(const yaml_node_t *n) { return (int)n->start_mark.line + 1; }

static const char *text_of(const yaml_node_t *n) { return (const char *)n->data.scalar.value; }

/* "FILE:LINE: " before what the slot says. */
static int fail_at(const om_yaml *y, const yaml_node_t *n, int code)
{
    return om_fail_prefix(code, "%s:%d", y->path, line_of(n));
}

static int expect_scalar(const om_yaml *y, const yaml_node_t *n, const char *what)
{
    if (n->type == YAML_SCALAR_NODE) return OM_OK;
    om_fail(OM_ERR_ARG, "%s must be a single value", what);
    return fail_at(y, n, OM_ERR_ARG);
}

static int set_list(om_yaml *y, const om_option *table, void *obj, const char *key, const yaml_node_t *seq)
{
    for (yaml_node_item_t *i = seq->data.sequence.items.start; i < seq->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(&y->doc, *i);
        int err = expect_scalar(y, item, key);
        if (err) return err;
        err = om_option_set(table, obj, key, text_of(item));
        if (err) return fail_at(y, item, err);
    }
    return OM_OK;
}

static int set_key(om_yaml *y, const om_option *table, void *obj, const yaml_node_t *key,
                   const yaml_node_t *value)
{
    const char *name = text_of(key);
    const om_option *opt = om_option_find(table, name);
    if (opt && opt->type == OM_OPT_LIST && value->type == YAML_SEQUENCE_NODE)
        return set_list(y, table, obj, name, value);
    if (opt) {
        int err = expect_scalar(y, value, name);
        if (err) return err;
        /* `key:` with nothing behind it means: as if it were not there. */
        if (!*text_of(value) && value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) return OM_OK;
    }
    int err = om_option_set(table, obj, name, value->type == YAML_SCALAR_NODE ? text_of(value) : "");
    return err ? fail_at(y, key, err) : OM_OK;
}

static int set_keys(om_yaml *y, const om_option *table, void *obj, const yaml_node_t *map)
{
    int err = OM_OK;
    for (yaml_node_pair_t *i = map->data.mapping.pairs.start; i < map->data.mapping.pairs.top && !err; i++) {
        const yaml_node_t *key = yaml_document_get_node(&y->doc, i->key);
        err = expect_scalar(y, key, "a key");
        if (!err) err = set_key(y, table, obj, key, yaml_document_get_node(&y->doc, i->value));
    }
    return err;
}

static int load_stream(om_yaml *y, const yaml_node_t *n)
{
    om_stream_options *s = om_config_new_stream(y->config);
    if (!s) return OM_ERR_NOMEM;
    int err = OM_OK;
    if (n->type == YAML_SCALAR_NODE) {
        err = om_option_set(om_stream_option_table, s, "uri", text_of(n));
    } else if (n->type == YAML_MAPPING_NODE) {
        err = set_keys(y, om_stream_option_table, s, n);
    } else {
        om_fail(OM_ERR_ARG, "a stream is a URI, or a map with uri: and more");
        err = fail_at(y, n, OM_ERR_ARG);
    }
    if (err) {
        om_options_fini(om_stream_option_table, s);
        return err;
    }
    err = om_config_stream(y->config, s);
    return err ? fail_at(y, n, err) : OM_OK;
}

static int load_streams(om_yaml *y, const yaml_node_t *n)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        om_fail(OM_ERR_ARG, "streams: must be a list ('- URI' lines)");
        return fail_at(y, n, OM_ERR_ARG);
    }
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_stream(y, yaml_document_get_node(&y->doc, *i));
    return err;
}

static int load_second(om_yaml *y, const yaml_node_t *n)
{
    if (n->type == YAML_SCALAR_NODE) {
        int err = om_config_add_second(y->config, text_of(n));
        return err ? fail_at(y, n, err) : OM_OK;
    }
    if (n->type != YAML_MAPPING_NODE) {
        om_fail(OM_ERR_ARG, "a secondary model is a map with model: and more");
        return fail_at(y, n, OM_ERR_ARG);
    }
    om_second_options *o = om_config_new_second(y->config);
    if (!o) return fail_at(y, n, OM_ERR_ARG);
    int err = set_keys(y, om_second_option_table, o, n);
    if (err) {
        om_options_fini(om_second_option_table, o);
        return err;
    }
    err = om_config_second(y->config, o);
    return err ? fail_at(y, n, err) : OM_OK;
}

static int load_seconds(om_yaml *y, const yaml_node_t *n)
{
    if (n->type != YAML_SEQUENCE_NODE) return load_second(y, n);
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_second(y, yaml_document_get_node(&y->doc, *i));
    return err;
}

static int load_sinks(om_yaml *y, const yaml_node_t *n)
{
    if (n->type == YAML_SCALAR_NODE) return om_strlist_add(&y->config->sinks, text_of(n));
    if (n->type != YAML_SEQUENCE_NODE) {
        om_fail(OM_ERR_ARG, "sinks: must be a list of 'kind:target'");
        return fail_at(y, n, OM_ERR_ARG);
    }
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++) {
        const yaml_node_t *item = yaml_document_get_node(&y->doc, *i);
        err = expect_scalar(y, item, "a sink");
        if (!err) err = om_strlist_add(&y->config->sinks, text_of(item));
    }
    return err;
}

static int load_top(om_yaml *y, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = expect_scalar(y, key, "a key");
    if (err) return err;
    if (!strcmp(text_of(key), "streams")) return load_streams(y, value);
    if (!strcmp(text_of(key), "secondary")) return load_seconds(y, value);
    if (!strcmp(text_of(key), "sinks")) return load_sinks(y, value);
    return set_key(y, om_run_option_table, &y->config->run, key, value);
}

static int load_document(om_yaml *y)
{
    const yaml_node_t *root = yaml_document_get_root_node(&y->doc);
    if (!root) return om_fail(OM_ERR_ARG, "%s: the config is empty; 'omma init' writes an example", y->path);
    if (root->type != YAML_MAPPING_NODE)
        return om_fail(OM_ERR_ARG,
                       "%s:%d: a config is a map of 'key: value' lines; 'omma init' writes an example",
                       y->path, line_of(root));
    int err = OM_OK;
    for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top && !err; i++)
        err = load_top(y, yaml_document_get_node(&y->doc, i->key), yaml_document_get_node(&y->doc, i->value));
    return err;
}

int om_config_load_yaml(om_config *c, const char *path)
{
    char *text;
    size_t len;
    int err = om_read_file(path, OM_CONFIG_MAX, &text, &len);
    if (err) return err == OM_ERR_NOMEM ? err : om_fail(OM_ERR_ARG, "%s", om_error_message());
    yaml_parser_t parser;
    om_yaml y = {.path = path, .config = c};
    if (!yaml_parser_initialize(&parser)) {
        om_free(text);
        return om_fail_nomem("the YAML parser");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (yaml_parser_load(&parser, &y.doc)) {
        err = load_document(&y);
        yaml_document_delete(&y.doc);
    } else {
        err = om_fail(OM_ERR_ARG, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "not YAML");
    }
    yaml_parser_delete(&parser);
    om_free(text);
    return err;
}
