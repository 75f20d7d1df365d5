/* omma init: a configuration to start from. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/command.h"
#include "pipeline/config.h"

typedef struct init_flags {
    char *output;
    bool force;
} init_flags;

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, offsetof(init_flags, output), "omma.yaml", 0, 0, NULL, "FILE", "Options",
     "the file to write; '-': standard output"},
    {"force", 0, OM_OPT_BOOL, offsetof(init_flags, force), "no", 0, 0, NULL, NULL, NULL,
     "overwrite a file that is there"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int write_config(const init_flags *f)
{
    om_str text = {0};
    bool to_stdout = !strcmp(f->output, "-");
    int err = om_config_example(&text);
    if (!err && !to_stdout && !f->force && access(f->output, F_OK) == 0)
        err = om_fail(OM_ERR_ARG, "%s exists: give --force to overwrite it, or another name with -o",
                      f->output);
    if (!err && to_stdout) fputs(om_str_get(&text), stdout);
    else if (!err) err = om_write_file_atomic(f->output, om_str_get(&text), text.len);
    if (!err && !to_stdout)
        printf("%s: name your model and streams in it, then 'omma run --check %s'\n", f->output, f->output);
    om_str_fini(&text);
    return err;
}

static int run(const om_args *args, int *status)
{
    init_flags f;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err && args->n_positional) /* the name may also stand alone */
        err = om_args_expect(args, 1, "one FILE");
    if (!err && args->n_positional) err = om_option_set(flag_table, &f, "output", args->positional[0]);
    if (!err && !f.output) err = om_fail(OM_ERR_ARG, "the file to write needs a name");
    if (!err) err = write_config(&f);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_init = {
    .name = "init",
    .summary = "write a commented configuration",
    .usage = "[FILE.yaml] [--force]",
    .about = "Writes a configuration for 'omma run' with every key, its default and what it means.",
    .examples = "omma init\nomma init cameras.yaml\nomma init -o -",
    .tables = tables,
    .run = run,
};
