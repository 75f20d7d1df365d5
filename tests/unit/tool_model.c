/* The model room from the command line, for tests that compare it with other programs.
 *
 *   tool_model describe MODEL                             what om_model_describe() says, as JSON
 *   tool_model darknet CFG WEIGHTS NAMES|- OUT
 *   tool_model synth NAME OUT [key=value]...              seed, width, height, classes, boxes, dynamic
 *   tool_model dynamic IN OUT batch|size|both
 *   tool_model count MODEL BATCH HEIGHT WIDTH             MACs and parameters at that input size, as JSON */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/model.h"
#include "omma/error.h"

static int write_description(const om_model_desc *d)
{
    om_str out = {0};
    om_json j;
    om_json_init(&j, &out, 0);
    om_json_begin_object(&j);
    om_json_key(&j, "family"), om_json_string(&j, om_family_name(d->family));
    om_json_key(&j, "why"), om_json_string(&j, d->family_why);
    om_json_key(&j, "classes"), om_json_int(&j, d->n_classes);
    om_json_key(&j, "width"), om_json_int(&j, d->width);
    om_json_key(&j, "height"), om_json_int(&j, d->height);
    om_json_key(&j, "stride"), om_json_int(&j, d->stride);
    om_json_key(&j, "dynamic_batch"), om_json_bool(&j, d->dynamic_batch);
    om_json_key(&j, "dynamic_size"), om_json_bool(&j, d->dynamic_size);
    om_json_key(&j, "labels"), om_json_begin_array(&j);
    for (int i = 0; i < d->n_labels; i++) om_json_string(&j, d->labels[i]);
    om_json_end_array(&j);
    om_json_end_object(&j);
    puts(om_str_get(&out));
    om_str_fini(&out);
    return OM_OK;
}

static int cmd_describe(char **arg)
{
    om_graph *g = NULL;
    om_model_desc *d = NULL;
    int e = om_model_load(arg[0], &g);
    if (!e) e = om_graph_infer_shapes(g);
    if (!e) e = om_model_describe(g, &d);
    if (!e) e = write_description(d);
    om_model_desc_free(d);
    om_graph_destroy(g);
    return e;
}

static int cmd_darknet(char **arg)
{
    om_graph *g = NULL;
    int e = om_model_import_darknet(arg[0], arg[1], strcmp(arg[2], "-") == 0 ? NULL : arg[2], &g);
    if (!e) e = om_model_save(g, arg[3]);
    om_graph_destroy(g);
    return e;
}

static int cmd_synth(char **arg)
{
    om_synth_params p = {0};
    om_graph *g = NULL;
    for (char **a = arg + 2; *a; a++) {
        const char *v = strchr(*a, '=');
        long n = v ? strtol(v + 1, NULL, 10) : 0;
        if (strncmp(*a, "seed=", 5) == 0) p.seed = (uint64_t)n;
        if (strncmp(*a, "width=", 6) == 0) p.width = (int)n;
        if (strncmp(*a, "height=", 7) == 0) p.height = (int)n;
        if (strncmp(*a, "classes=", 8) == 0) p.classes = (int)n;
        if (strncmp(*a, "boxes=", 6) == 0) p.boxes = (int)n;
        if (strcmp(*a, "dynamic") == 0) p.dynamic = true;
    }
    int e = om_model_synth(arg[0], &p, &g);
    if (!e) e = om_model_save(g, arg[1]);
    om_graph_destroy(g);
    return e;
}

static int cmd_dynamic(char **arg)
{
    om_graph *g = NULL;
    bool both = strcmp(arg[2], "both") == 0;
    int e = om_model_load(arg[0], &g);
    if (!e) e = om_graph_infer_shapes(g);
    if (!e)
        e = om_model_make_dynamic(g, both || strcmp(arg[2], "batch") == 0,
                                  both || strcmp(arg[2], "size") == 0);
    if (!e) e = om_model_save(g, arg[1]);
    om_graph_destroy(g);
    return e;
}

static int cmd_count(char **arg)
{
    om_graph *g = NULL;
    om_shape shape =
        om_shape_make(4, (int64_t)atoi(arg[1]), (int64_t)3, (int64_t)atoi(arg[2]), (int64_t)atoi(arg[3]));
    int e = om_model_load(arg[0], &g);
    if (!e) e = om_graph_set_input_shape(g, 0, &shape);
    if (!e) e = om_graph_infer_shapes(g);
    if (!e)
        printf("{\"macs\": %lld, \"params\": %lld}\n", (long long)om_graph_macs(g),
               (long long)om_graph_params(g));
    om_graph_destroy(g);
    return e;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int least;
        int (*run)(char **arg);
    } commands[] = {{"describe", 1, cmd_describe},
                    {"darknet", 4, cmd_darknet},
                    {"synth", 2, cmd_synth},
                    {"dynamic", 3, cmd_dynamic},
                    {"count", 4, cmd_count}};
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0 || argc - 2 < commands[i].least) continue;
        int e = commands[i].run(argv + 2);
        if (e) fprintf(stderr, "tool_model: %s\n", om_error_message());
        return e ? 1 : 0;
    }
    fputs("usage: tool_model describe|darknet|synth|dynamic|count ...\n", stderr);
    return 2;
}
