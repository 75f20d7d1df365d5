/* omma model simplify: fewer operators, the same outputs. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/model_tools.h"

typedef struct simplify_flags {
    char *output;
} simplify_flags;

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, offsetof(simplify_flags, output), NULL, 0, 0, NULL, "FILE", "Options",
     "the ONNX file to write"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int run(const om_args *args, int *status)
{
    simplify_flags f;
    om_graph *g = NULL;
    int before = 0, after = 0;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a MODEL.onnx");
    if (!err && !f.output) err = om_fail(OM_ERR_ARG, "no output: name the file to write with -o MODEL.onnx");
    if (!err) err = om_model_open(args->positional[0], &g);
    if (!err) {
        before = g->n_nodes;
        err = om_graph_simplify(g, OM_SIMPLIFY_ALL);
        if (err) om_fail_prefix(err, "%s", args->positional[0]);
        after = g->n_nodes;
        if (err) om_graph_destroy(g);
        else err = om_model_made(g, f.output);
    }
    if (!err) printf("operators: %d before, %d now\n", before, after);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_simplify = {
    .name = "model simplify",
    .summary = "fewer operators, the same outputs",
    .usage = "MODEL.onnx -o OUT.onnx",
    .about =
        "Computes what is constant, shape arithmetic included where shapes are fixed, folds batch normalisation and "
        "per-channel scales into the convolutions before them, and removes what is dead, idle or there twice. Inputs, "
        "outputs and metadata stay as they are; a dynamic batch or size stays dynamic.",
    .examples = "omma model simplify yolov8n.onnx -o yolov8n-simple.onnx",
    .tables = tables,
    .run = run,
};
