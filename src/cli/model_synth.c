/* omma model synth: known structures with seeded random weights. */
#include <stdio.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/model_tools.h"

typedef struct synth_flags {
    char *output;
    om_size size;
    int boxes, classes;
    int64_t seed;
    bool dynamic, list;
} synth_flags;

#define FLAG(field) offsetof(synth_flags, field)

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "FILE", "Options",
     "the ONNX file to write"},
    {"boxes", 0, OM_OPT_INT, FLAG(boxes), "0", 0, 8000, NULL, NULL, NULL,
     "about how many boxes a picture pass a score of 0.25; 0: whatever the weights give"},
    {"seed", 0, OM_OPT_INT64, FLAG(seed), "1", 0, 9e15, NULL, NULL, NULL, "of the weights"},
    {"size", 0, OM_OPT_SIZE, FLAG(size), NULL, 0, 0, NULL, NULL, NULL,
     "of the input; default: the model's own"},
    {"classes", 0, OM_OPT_INT, FLAG(classes), "0", 0, 10000, NULL, NULL, NULL,
     "how many; 0: the model's own"},
    {"dynamic", 0, OM_OPT_BOOL, FLAG(dynamic), "no", 0, 0, NULL, NULL, NULL,
     "batch, height and width stay open"},
    {"list", 0, OM_OPT_BOOL, FLAG(list), "no", 0, 0, NULL, NULL, NULL, "show the names there are, and end"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int synth(const om_args *args, const synth_flags *f)
{
    om_graph *g = NULL;
    om_synth_params p = {.seed = (uint64_t)f->seed,
                         .width = f->size.width,
                         .height = f->size.height,
                         .classes = f->classes,
                         .boxes = f->boxes,
                         .dynamic = f->dynamic};
    int err = om_args_expect(args, 1, "the NAME of a model ('omma model synth --list' shows them)");
    if (!err && !f->output) err = om_fail(OM_ERR_ARG, "no output: name the file to write with -o MODEL.onnx");
    if (!err) err = om_model_synth(args->positional[0], &p, &g);
    if (err == OM_ERR_NOT_FOUND)
        return OM_ERR_ARG; /* a name that is not known is a mistake in the command line */
    return err ? err : om_model_made(g, f->output);
}

static int run(const om_args *args, int *status)
{
    synth_flags f;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err && f.list)
        for (const char *const *name = om_model_synth_names(); *name; name++) puts(*name);
    else if (!err) err = synth(args, &f);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_synth = {
    .name = "model synth",
    .summary = "a known model's structure with seeded random weights, for measuring",
    .usage = "NAME -o MODEL.onnx [OPTIONS]\n--list",
    .about =
        "Writes an ONNX model with the layers of a known one and random weights. It finds nothing real but costs exactly "
        "as much. With --boxes its scores are set so that about that many boxes a picture pass: plain random weights "
        "let thousands through.",
    .examples = "omma model synth yolov8n --boxes 30 -o yolov8n.onnx\n"
                "omma model synth yolov5s --boxes 30 --dynamic -o yolov5s.onnx",
    .tables = tables,
    .run = run,
};
