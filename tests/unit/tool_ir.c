/* The model IR for tests in other languages: loads, infers, folds, saves and says what it knows.
 *
 *     tool_ir [--fold] [--forget] [--clone] [--no-infer] [--save] FILE.onnx [OUT.onnx] ...
 *
 * A line of JSON a file: {"file": F, "values": {NAME: {"dtype": T, "shape": [..] or null}}} or {"file": F,
 * "error": MESSAGE, "code": N}. With --save the files come in pairs, the second of each is written. --forget
 * drops what the file itself says of values that are no inputs. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "omma/error.h"

static struct {
    bool fold, forget, clone, save, infer;
} options = {.infer = true};

static void forget(om_graph *g)
{
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].producer >= 0) {
            g->values[i].shape.rank = -1;
            g->values[i].dtype = OM_DTYPE_NONE;
        }
}

static void text(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20) printf("\\u%04x", (unsigned)*s);
        else putchar(*s);
    }
    putchar('"');
}

static void values(const om_graph *g)
{
    const char *separator = "";
    printf(", \"nodes\": %d, \"values\": {", g->n_nodes);
    for (int i = 0; i < g->n_values; i++) {
        const om_value *v = &g->values[i];
        printf("%s", separator);
        text(v->name);
        printf(": {\"dtype\": \"%s\", \"constant\": %s, \"shape\": ", om_dtype_name(v->dtype),
               v->constant ? "true" : "false");
        if (v->shape.rank < 0) printf("null}");
        else {
            for (int k = 0; k < v->shape.rank; k++)
                printf("%s%lld", k ? ", " : "[", (long long)v->shape.dim[k]);
            printf("%s]}", v->shape.rank ? "" : "[");
        }
        separator = ", ";
    }
    printf("}");
}

static int work(om_graph *g, const char *to)
{
    int err = OM_OK;
    if (options.forget) forget(g);
    if (options.fold) err = om_graph_fold_constants(g);
    if (err >= 0 && options.infer) err = om_graph_infer_shapes(g);
    if (err >= 0) values(g);
    return err >= 0 && to ? om_model_save(g, to) : err;
}

static int one(const char *from, const char *to)
{
    om_graph *g, *copy = NULL;
    printf("{\"file\": ");
    text(from);
    int err = om_model_load(from, &g);
    if (err >= 0 && options.clone) {
        err = om_graph_clone(g, &copy);
        om_graph_destroy(g);
        g = copy;
    }
    if (err >= 0) err = work(g, to);
    if (err < 0) {
        printf(", \"code\": %d, \"error\": ", err);
        text(om_error_message());
    }
    printf("}\n");
    om_graph_destroy(g);
    return err;
}

int main(int argc, char **argv)
{
    int failed = 0, i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        options.fold |= !strcmp(argv[i], "--fold");
        options.forget |= !strcmp(argv[i], "--forget");
        options.clone |= !strcmp(argv[i], "--clone");
        options.save |= !strcmp(argv[i], "--save");
        options.infer &= strcmp(argv[i], "--no-infer") != 0;
    }
    for (; i < argc; i += options.save ? 2 : 1) failed |= one(argv[i], options.save ? argv[i + 1] : NULL) < 0;
    return failed;
}
