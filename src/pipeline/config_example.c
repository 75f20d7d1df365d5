/* The commented config that `omma init` writes, generated from the tables. */
#include <string.h>

#include "base/error.h"
#include "pipeline/second_config.h"

/* Keys that only make sense on a command line or that the example sets itself. */
static bool left_out(const char *name) { return !strcmp(name, "model"); }

static void comment_table(const om_option *table, const char *indent, om_str *out)
{
    for (const om_option *o = table; o->name; o++) {
        if (left_out(o->name)) continue;
        if (o->group) om_str_addf(out, "\n%s# %s\n", indent, o->group);
        om_str_addf(out, "%s#%s: %s", indent, o->name, o->type == OM_OPT_LIST ? "[]" : o->def ? o->def : "");
        om_str_addf(out, "%*s# %s", 4, "", o->help);
        for (const om_choice *c = o->choices; c && c->name; c++)
            om_str_addf(out, "%s%s", c == o->choices ? ": " : ", ", c->name);
        om_str_addc(out, '\n');
    }
}

int om_config_example(om_str *out)
{
    om_str_add(
        out,
        "# omma's configuration: `omma run THIS_FILE`, `omma run --check THIS_FILE` to try it.\n"
        "# Every key is also a flag of `omma run`; a flag on the command line wins.\n"
        "# Lines that begin with '#' show the defaults.\n\n"
        "model: model.onnx    # ONNX model; its family, size and labels are read from it\n\n"
        "streams:\n"
        "  - video.mp4                             # a file, folder, glob, http(s)://, rtsp:// or pattern:\n"
        "  - uri: rtsp://user:password@camera/gate # or a map with more\n"
        "    name: gate\n"
        "    priority: 1\n\n"
        "sinks:\n"
        "  - jsonl:results.jsonl                   # one JSON object a frame\n"
        "  #- csv:results.csv                      # one line a detection\n"
        "  #- video:annotated_%s.mp4               # one file a stream, boxes drawn\n");
    comment_table(om_run_option_table, "", out);
    om_str_add(out, "\n# Keys of one stream's map, below `uri` and `name`:\n");
    comment_table(om_stream_option_table + 2, "    ", out);
    om_str_add(out,
               "\n# Keys of one secondary model's map, a list below `secondary:` (docs/secondary.md):\n");
    comment_table(om_second_option_table, "    ", out);
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}
