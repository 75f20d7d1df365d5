/* omma model import: Darknet's files to ONNX. */
#include "base/error.h"
#include "cli/command.h"
#include "cli/model_tools.h"

typedef struct import_flags {
    char *output, *labels;
} import_flags;

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, offsetof(import_flags, output), NULL, 0, 0, NULL, "FILE", "Options",
     "the ONNX file to write"},
    {"labels", 0, OM_OPT_STRING, offsetof(import_flags, labels), NULL, 0, 0, NULL, "NAMES", NULL,
     "class names, one a line, to be kept in the model"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int run(const om_args *args, int *status)
{
    import_flags f;
    om_graph *g = NULL;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 2, "CFG and WEIGHTS");
    if (!err && !f.output) err = om_fail(OM_ERR_ARG, "no output: name the file to write with -o MODEL.onnx");
    if (!err) err = om_model_import_darknet(args->positional[0], args->positional[1], f.labels, &g);
    if (!err) err = om_model_made(g, f.output);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_import = {
    .name = "model import",
    .summary = "Darknet's cfg and weights to ONNX",
    .usage = "CFG WEIGHTS -o MODEL.onnx [--labels NAMES]",
    .about =
        "Turns a Darknet detector into an ONNX model with dynamic batch and size. Anchors and class names go into its metadata, "
        "so that it needs no further file.",
    .examples =
        "omma model import yolov3-tiny.cfg yolov3-tiny.weights --labels coco.names -o yolov3-tiny.onnx",
    .tables = tables,
    .run = run,
};
