/* omma launch: many workers or pipelines by one YAML. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "worker/launch.h"

typedef struct launch_flags {
    char *output, *log_level;
    double grace_s;
    bool alone, check, quiet;
} launch_flags;

#define FLAG(field) offsetof(launch_flags, field)

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "DIR", "Options",
     "folder for logs, tables and the summary; default: the file's output:, else launched"},
    {"alone", 0, OM_OPT_BOOL, FLAG(alone), "no", 0, 0, NULL, NULL, NULL,
     "run each job by itself before all together, and compare"},
    {"check", 0, OM_OPT_BOOL, FLAG(check), "no", 0, 0, NULL, NULL, NULL,
     "read the file, say what would run, and end"},
    {"grace", 0, OM_OPT_TIME, FLAG(grace_s), "10", 0, 1e6, NULL, NULL, NULL,
     "time to end between being asked and being killed"},
    {"quiet", 'q', OM_OPT_BOOL, FLAG(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {"log-level", 0, OM_OPT_STRING, FLAG(log_level), "warn", 0, 0, NULL, "error|warn|info|debug", NULL,
     "what else is said"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static int print_config(const om_launch_config *c)
{
    static const om_column columns[] = {
        {"job", false, 12, 0}, {"command", false, 0, 0}, {"cores", false, 0, 0},   {"copies", true, 0, 0},
        {"start", true, 0, 0}, {"repeat", true, 0, 0},   {"restart", false, 0, 1}, {"args", false, 20, 0}};
    om_table t;
    om_str out = {0};
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < c->n; i++) {
        const om_job *j = &c->jobs[i];
        om_str args = {0};
        for (size_t k = 0; k < j->args.n; k++) om_str_addf(&args, "%s%s", k ? " " : "", j->args.items[k]);
        om_table_cell(&t, "%s", j->name);
        om_table_cell(&t, "%s", j->command);
        om_table_cell(&t, "%s", j->cores ? j->cores : "all");
        om_table_cell(&t, "%d", j->copies);
        om_table_cell(&t, "%g s", j->start_s);
        om_table_cell(&t, "%d", j->repeat);
        om_table_cell(&t, "%s", (const char *const[]){"never", "on-failure", "always"}[j->restart]);
        om_table_cell(&t, "%s", om_str_get(&args));
        om_str_fini(&args);
    }
    int err = om_table_render(&t, om_console_columns(stdout, 0), &out);
    if (!err) fputs(om_str_get(&out), stdout);
    om_table_fini(&t);
    om_str_fini(&out);
    return err;
}

static int work(const om_launch_config *c, const launch_flags *f, int *status)
{
    om_launch_params p = {.output = f->output, .alone = f->alone, .grace_s = f->grace_s};
    om_launch_result r = {0};
    om_cancel cancel;
    if (!f->quiet) {
        p.line = om_console_on_line;
        p.progress = om_console_on_progress;
    }
    int err = om_signals_guard(&cancel);
    if (err) return err;
    p.cancel = &cancel;
    err = om_launch_run(c, &p, &r);
    om_signals_release(&cancel);
    if (!err) err = om_launch_report(c, &r);
    if (!err && !f->quiet)
        printf("%zu processes%s; %s/summary.html\n", r.n, r.stopped ? ", stopped before the end" : "", r.dir);
    if (!err && r.failed) *status = OM_EXIT_FAILED;
    if (!err && r.failed)
        om_console_error("%zu of %zu processes failed; %s/summary.json says which", r.failed, r.n, r.dir);
    om_launch_result_fini(&r);
    return err;
}

static int run(const om_args *args, int *status)
{
    launch_flags f;
    om_launch_config c = {0};
    om_run_options o = {0};
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 1, "a CONFIG.yaml");
    o.quiet = f.quiet;
    o.log_level = f.log_level;
    if (!err) err = om_command_setup("omma launch", &o);
    if (!err) err = om_launch_config_load(&c, args->positional[0]);
    if (!err && f.check) err = print_config(&c);
    if (!err && !f.check) err = om_signals_init();
    if (!err && !f.check) err = work(&c, &f, status);
    om_launch_config_fini(&c);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_launch = {
    .name = "launch",
    .summary = "many workers or pipelines by one YAML file",
    .usage = "CONFIG.yaml [OPTIONS]",
    .about =
        "Starts the jobs of a file, each with its cores, device, start, environment and prefix command, starts them again "
        "as the file says, and stops all of them when it is stopped. Logs and tables go into a folder for each job; "
        "summary.json, summary.csv and summary.html say how long the steps took, and with --alone how much jobs slow "
        "each other down.",
    .examples = "omma launch four.yaml\n"
                "omma launch four.yaml --alone -o results/\n"
                "omma launch four.yaml --check",
    .tables = tables,
    .run = run,
};
