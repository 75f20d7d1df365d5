/* The YAML form of a run: the run table's keys at top level, `streams:` and `sinks:`. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/yaml.h"
#include "pipeline/second_config.h"

#define OM_CONFIG_MAX (1 << 20)

typedef struct loading {
    om_yaml y;
    om_config *config;
} loading;

static int set_list(loading *l, const om_option *table, void *obj, const char *key, const yaml_node_t *seq)
{
    for (yaml_node_item_t *i = seq->data.sequence.items.start; i < seq->data.sequence.items.top; i++) {
        const yaml_node_t *item = om_yaml_node(&l->y, *i);
        int err = om_yaml_expect_scalar(&l->y, item, key);
        if (err) return err;
        err = om_option_set(table, obj, key, om_yaml_text(item));
        if (err) return om_yaml_fail_prefix(&l->y, item, err);
    }
    return OM_OK;
}

static int set_key(loading *l, const om_option *table, void *obj, const yaml_node_t *key,
                   const yaml_node_t *value)
{
    const char *name = om_yaml_text(key);
    const om_option *opt = om_option_find(table, name);
    if (opt && opt->type == OM_OPT_LIST && value->type == YAML_SEQUENCE_NODE)
        return set_list(l, table, obj, name, value);
    if (opt) {
        int err = om_yaml_expect_scalar(&l->y, value, name);
        if (err) return err;
        /* `key:` with nothing behind it means: as if it were not there. */
        if (!*om_yaml_text(value) && value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) return OM_OK;
    }
    int err = om_option_set(table, obj, name, value->type == YAML_SCALAR_NODE ? om_yaml_text(value) : "");
    return err ? om_yaml_fail_prefix(&l->y, key, err) : OM_OK;
}

static int set_keys(loading *l, const om_option *table, void *obj, const yaml_node_t *map)
{
    int err = OM_OK;
    for (yaml_node_pair_t *i = map->data.mapping.pairs.start; i < map->data.mapping.pairs.top && !err; i++) {
        const yaml_node_t *key = om_yaml_node(&l->y, i->key);
        err = om_yaml_expect_scalar(&l->y, key, "a key");
        if (!err) err = set_key(l, table, obj, key, om_yaml_node(&l->y, i->value));
    }
    return err;
}

static int load_stream(loading *l, const yaml_node_t *n)
{
    om_stream_options *s = om_config_new_stream(l->config);
    if (!s) return OM_ERR_NOMEM;
    int err = OM_OK;
    if (n->type == YAML_SCALAR_NODE) {
        err = om_option_set(om_stream_option_table, s, "uri", om_yaml_text(n));
    } else if (n->type == YAML_MAPPING_NODE) {
        err = set_keys(l, om_stream_option_table, s, n);
    } else {
        err = om_yaml_fail(&l->y, n, "a stream is a URI, or a map with uri: and more");
    }
    if (err) {
        om_options_fini(om_stream_option_table, s);
        return err;
    }
    err = om_config_stream(l->config, s);
    return err ? om_yaml_fail_prefix(&l->y, n, err) : OM_OK;
}

static int load_streams(loading *l, const yaml_node_t *n)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        return om_yaml_fail(&l->y, n, "streams: must be a list ('- URI' lines)");
    }
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_stream(l, om_yaml_node(&l->y, *i));
    return err;
}

static int load_second(loading *l, const yaml_node_t *n)
{
    if (n->type == YAML_SCALAR_NODE) {
        int err = om_config_add_second(l->config, om_yaml_text(n));
        return err ? om_yaml_fail_prefix(&l->y, n, err) : OM_OK;
    }
    if (n->type != YAML_MAPPING_NODE) {
        return om_yaml_fail(&l->y, n, "a secondary model is a map with model: and more");
    }
    om_second_options *o = om_config_new_second(l->config);
    if (!o) return om_yaml_fail_prefix(&l->y, n, OM_ERR_ARG);
    int err = set_keys(l, om_second_option_table, o, n);
    if (err) {
        om_options_fini(om_second_option_table, o);
        return err;
    }
    err = om_config_second(l->config, o);
    return err ? om_yaml_fail_prefix(&l->y, n, err) : OM_OK;
}

static int load_seconds(loading *l, const yaml_node_t *n)
{
    if (n->type != YAML_SEQUENCE_NODE) return load_second(l, n);
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++)
        err = load_second(l, om_yaml_node(&l->y, *i));
    return err;
}

static int load_sinks(loading *l, const yaml_node_t *n)
{
    if (n->type == YAML_SCALAR_NODE) return om_strlist_add(&l->config->sinks, om_yaml_text(n));
    if (n->type != YAML_SEQUENCE_NODE) {
        return om_yaml_fail(&l->y, n, "sinks: must be a list of 'kind:target'");
    }
    int err = OM_OK;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && !err; i++) {
        const yaml_node_t *item = om_yaml_node(&l->y, *i);
        err = om_yaml_expect_scalar(&l->y, item, "a sink");
        if (!err) err = om_strlist_add(&l->config->sinks, om_yaml_text(item));
    }
    return err;
}

static int load_top(loading *l, const yaml_node_t *key, const yaml_node_t *value)
{
    int err = om_yaml_expect_scalar(&l->y, key, "a key");
    if (err) return err;
    if (!strcmp(om_yaml_text(key), "streams")) return load_streams(l, value);
    if (!strcmp(om_yaml_text(key), "secondary")) return load_seconds(l, value);
    if (!strcmp(om_yaml_text(key), "sinks")) return load_sinks(l, value);
    return set_key(l, om_run_option_table, &l->config->run, key, value);
}

static int load_document(loading *l)
{
    const yaml_node_t *root = om_yaml_root(&l->y);
    if (!root)
        return om_fail(OM_ERR_ARG, "%s: the config is empty; 'omma init' writes an example", l->y.path);
    if (root->type != YAML_MAPPING_NODE)
        return om_fail(OM_ERR_ARG,
                       "%s:%d: a config is a map of 'key: value' lines; 'omma init' writes an example",
                       l->y.path, om_yaml_line(root));
    int err = OM_OK;
    for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top && !err; i++)
        err = load_top(l, om_yaml_node(&l->y, i->key), om_yaml_node(&l->y, i->value));
    return err;
}

int om_config_load_yaml(om_config *c, const char *path)
{
    loading l = {.config = c};
    int err = om_yaml_load(&l.y, path, OM_CONFIG_MAX);
    if (err) return err;
    err = load_document(&l);
    om_yaml_fini(&l.y);
    return err;
}
