/* A command of `omma`: what its --help says, which flags it has, what it does. */
#ifndef OM_CLI_COMMAND_H
#define OM_CLI_COMMAND_H

#include "cli/args.h"
#include "pipeline/config.h"

#define OM_EXIT_OK 0
#define OM_EXIT_FAILED 1 /* something failed while it ran */
#define OM_EXIT_USAGE 2  /* the command line or the configuration is wrong */

typedef struct om_command {
    const char *name;     /* "run", "model inspect" */
    const char *summary;  /* one line, for the list of commands */
    const char *usage;    /* behind the name; further forms after '\n' */
    const char *about;    /* paragraphs */
    const char *examples; /* a line each */
    /* NULL-terminated list of its option tables; constant once made. */
    const om_option *const *(*tables)(void);
    /* OM_OK or an error whose message is in the slot; *status is the exit code where it is OM_OK. */
    int (*run)(const om_args *args, int *status);
} om_command;

extern const om_command om_cmd_run, om_cmd_detect, om_cmd_eval, om_cmd_info, om_cmd_init, om_cmd_profile;
extern const om_command om_cmd_build, om_cmd_quantize, om_cmd_collect;
extern const om_command om_cmd_frames, om_cmd_annotate, om_cmd_worker, om_cmd_train, om_cmd_launch;
extern const om_command om_cmd_faces, om_cmd_bench, om_cmd_ctl;
extern const om_command om_cmd_model_inspect, om_cmd_model_import, om_cmd_model_batch, om_cmd_model_synth;
extern const om_command om_cmd_model_check, om_cmd_model_simplify, om_cmd_model_cut, om_cmd_model_diff;

/* Erases the status line, says what is in the error slot unless that was said already, and returns the exit
 * code. OM_OK is none: 0. */
int om_command_fail(int err);
/* What --quiet, --log-level and --cpu-mask ask for; before threads start. `name`: as in om_console_init(). */
int om_command_setup(const char *name, const om_run_options *o);
/* OM_ERR_ARG unless there are `n` positionals; `what` says which, "CFG and WEIGHTS". */
int om_args_expect(const om_args *a, size_t n, const char *what);

#endif
