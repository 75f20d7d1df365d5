/* omma model cut: a part of a model. */
#include "base/error.h"
#include "cli/command.h"
#include "cli/model_tools.h"

typedef struct cut_flags {
    char *output;
    om_strlist from, to;
} cut_flags;

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, offsetof(cut_flags, output), NULL, 0, 0, NULL, "FILE", "Options",
     "the ONNX file to write"},
    {"from", 0, OM_OPT_LIST, offsetof(cut_flags, from), NULL, 0, 0, NULL, "NAME", NULL,
     "a tensor that becomes an input, or a layer whose inputs do; may be given several times; default: the model's inputs"},
    {"to", 0, OM_OPT_LIST, offsetof(cut_flags, to), NULL, 0, 0, NULL, "NAME", NULL,
     "a tensor that becomes an output, or a layer whose outputs do; may be given several times; default: the model's outputs"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int check(const cut_flags *f)
{
    if (!f->output) return om_fail(OM_ERR_ARG, "no output: name the file to write with -o MODEL.onnx");
    if (!f->from.n && !f->to.n)
        return om_fail(OM_ERR_ARG, "nothing to cut: name tensors with --from or --to");
    return OM_OK;
}

static int run(const om_args *args, int *status)
{
    cut_flags f;
    om_graph *g = NULL;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a MODEL.onnx");
    if (!err) err = check(&f);
    if (!err) err = om_model_open(args->positional[0], &g);
    if (!err) {
        err = om_graph_cut(g, (const char *const *)f.from.items, (int)f.from.n,
                           (const char *const *)f.to.items, (int)f.to.n);
        if (err) om_fail_prefix(err, "%s", args->positional[0]);
        if (err) om_graph_destroy(g);
        else err = om_model_made(g, f.output);
    }
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_cut = {
    .name = "model cut",
    .summary = "a part of a model, from some tensors to others",
    .usage = "MODEL.onnx [--from NAME]... [--to NAME]... -o OUT.onnx",
    .about =
        "Keeps what lies between tensors or layers. Every tensor that is live where the cut goes through has to be named; "
        "the command says which are missing. New inputs and outputs get their types and shapes.",
    .examples = "omma model cut yolov8n.onnx --to /model.9/cv2/act/Mul_output_0 -o backbone.onnx\n"
                "omma model cut yolov8n.onnx --from /model.22/Concat_3 -o head.onnx",
    .tables = tables,
    .run = run,
};
