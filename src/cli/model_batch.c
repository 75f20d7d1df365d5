/* omma model batch: frees or fixes batch and picture size. */
#include <string.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/model_tools.h"

typedef struct batch_flags {
    char *output, *batch, *size;
} batch_flags;

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, offsetof(batch_flags, output), NULL, 0, 0, NULL, "FILE", "Options",
     "the ONNX file to write"},
    {"batch", 0, OM_OPT_STRING, offsetof(batch_flags, batch), NULL, 0, 0, NULL, "dynamic|N", NULL,
     "default: dynamic, if neither this nor --size is given"},
    {"size", 0, OM_OPT_STRING, offsetof(batch_flags, size), NULL, 0, 0, NULL, "dynamic|WxH", NULL,
     "default: dynamic, if neither this nor --batch is given"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

/* What is wanted: 0 as it is, OM_DIM_DYNAMIC, or a number. */
typedef struct wish {
    int64_t batch, width, height;
} wish;

static int parse(const batch_flags *f, wish *w)
{
    long long n;
    om_size size;
    memset(w, 0, sizeof *w);
    if (!f->batch && !f->size) w->batch = w->width = w->height = OM_DIM_DYNAMIC;
    if (f->batch && !strcmp(f->batch, "dynamic")) w->batch = OM_DIM_DYNAMIC;
    else if (f->batch && (om_parse_int(f->batch, &n) || n < 1 || n > 65536))
        return om_fail(OM_ERR_ARG, "--batch '%s': expected 'dynamic' or a number from 1", f->batch);
    else if (f->batch) w->batch = n;
    if (f->size && !strcmp(f->size, "dynamic")) w->width = w->height = OM_DIM_DYNAMIC;
    else if (f->size && (om_parse_size(f->size, &size) || !size.width))
        return om_fail(OM_ERR_ARG, "--size '%s': expected 'dynamic' or WxH", f->size);
    else if (f->size) w->width = size.width, w->height = size.height;
    return OM_OK;
}

/* Dims of the picture input: where width and height are, by the layout it was described with. */
static int picture_dims(const om_graph *g, int *h, int *w)
{
    om_model_desc *d;
    int err = om_model_describe(g, &d);
    if (err) return err;
    *h = d->prep.layout == OM_LAYOUT_NCHW ? 2 : 1;
    *w = *h + 1;
    om_model_desc_free(d);
    return OM_OK;
}

static int fix(om_graph *g, const om_shape *shape)
{
    int err = om_graph_set_input_shape(g, 0, shape);
    return err ? err : om_graph_infer_shapes(g);
}

static int change(om_graph *g, const wish *w)
{
    int y, x;
    if (g->n_inputs < 1) return om_fail(OM_ERR_UNSUPPORTED, "the model has no input");
    int err = picture_dims(g, &y, &x);
    if (err) return err;
    om_shape shape = g->values[g->inputs[0]].shape;
    if (shape.rank != 4)
        return om_fail(OM_ERR_UNSUPPORTED, "input '%s' has %d dimensions; pictures have 4",
                       g->values[g->inputs[0]].name, shape.rank);
    bool free_batch = w->batch && w->batch != shape.dim[0] && shape.dim[0] != OM_DIM_DYNAMIC;
    bool free_size = w->width && ((w->width != shape.dim[x] && shape.dim[x] != OM_DIM_DYNAMIC) ||
                                  (w->height != shape.dim[y] && shape.dim[y] != OM_DIM_DYNAMIC));
    if (free_batch || free_size) err = om_model_make_dynamic(g, free_batch, free_size);
    if (err) return err;
    shape = g->values[g->inputs[0]].shape;
    if (w->batch) shape.dim[0] = w->batch;
    if (w->width) shape.dim[x] = w->width, shape.dim[y] = w->height;
    return om_shape_equal(&shape, &g->values[g->inputs[0]].shape) ? OM_OK : fix(g, &shape);
}

static int run(const om_args *args, int *status)
{
    batch_flags f;
    wish w;
    om_graph *g = NULL;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a MODEL.onnx");
    if (!err && !f.output) err = om_fail(OM_ERR_ARG, "no output: name the file to write with -o MODEL.onnx");
    if (!err) err = parse(&f, &w);
    if (!err) err = om_model_open(args->positional[0], &g);
    if (!err) {
        err = change(g, &w);
        if (err) om_fail_prefix(err, "%s", args->positional[0]);
        if (err) om_graph_destroy(g);
        else err = om_model_made(g, f.output);
    }
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_batch = {
    .name = "model batch",
    .summary = "makes batch and picture size dynamic, or fixes them",
    .usage = "MODEL.onnx -o OUT.onnx [--batch dynamic|N] [--size dynamic|WxH]",
    .about =
        "Rewrites what an export froze for one batch or one picture size: reshape targets, resize scales, anchor grids. A "
        "model of dynamic size runs on rectangles that fit the stream's aspect, which is faster.",
    .examples = "omma model batch yolov8n.onnx -o yolov8n-dynamic.onnx\n"
                "omma model batch yolov8n.onnx --batch 8 -o yolov8n-b8.onnx",
    .tables = tables,
    .run = run,
};
