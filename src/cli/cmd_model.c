#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/planfile.h"
#include "base/error.h"
#include "cli/model_tools.h"
#include "cli/text.h"

int om_model_open(const char *path, om_graph **out)
{
    int err = om_plan_file_open(path, out, NULL);
    if (err) return err;
    err = om_graph_infer_shapes(*out);
    if (!err) return OM_OK;
    om_graph_destroy(*out);
    *out = NULL;
    return err;
}

static void add_input(const om_model_desc *d, om_str *out)
{
    char text[OM_SHAPE_TEXT];
    if (!d->n_inputs) return;
    om_shape_text(&d->inputs[0].shape, text);
    om_str_addf(out, ", input %s", text);
}

int om_model_made(om_graph *g, const char *path)
{
    om_model_desc *d = NULL;
    om_str text = {0};
    struct stat st = {0};
    int err = om_graph_infer_shapes(g);
    if (!err) err = om_model_describe(g, &d);
    if (!err) err = om_model_save(g, path);
    if (!err) {
        char params[32];
        stat(path, &st);
        om_text_count((double)om_graph_params(g), params, sizeof params);
        om_str_addf(&text, "%s: %s", path, om_family_name(d->family));
        if (d->n_classes) om_str_addf(&text, ", %d class%s", d->n_classes, d->n_classes == 1 ? "" : "es");
        add_input(d, &text);
        om_str_addf(&text, ", %s parameters, %.1f MB", params, (double)st.st_size / 1e6);
        puts(om_str_get(&text));
    }
    om_str_fini(&text);
    om_model_desc_free(d);
    om_graph_destroy(g);
    return err;
}
