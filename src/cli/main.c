/* The command's front: finds the command, reads its flags, shows help, turns errors into exit codes. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/text.h"
#include "media/media.h"
#include "omma/version.h"

static const om_command *const commands[] = {
    &om_cmd_run,         &om_cmd_detect,         &om_cmd_model_inspect, &om_cmd_model_import,
    &om_cmd_model_check, &om_cmd_model_simplify, &om_cmd_model_batch,   &om_cmd_model_cut,
    &om_cmd_model_diff,  &om_cmd_model_synth,    &om_cmd_bench,         &om_cmd_profile,
    &om_cmd_eval,        &om_cmd_collect,        &om_cmd_build,         &om_cmd_quantize,
    &om_cmd_frames,      &om_cmd_annotate,       &om_cmd_faces,         &om_cmd_worker,
    &om_cmd_train,       &om_cmd_launch,         &om_cmd_ctl,           &om_cmd_info,
    &om_cmd_init,
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static int exit_code(int err)
{
    return err == OM_OK ? OM_EXIT_OK : err == OM_ERR_ARG ? OM_EXIT_USAGE : OM_EXIT_FAILED;
}

int om_command_fail(int err)
{
    om_console_status(NULL);
    if (err && !om_console_said(om_error_message())) om_console_error("%s", om_error_message());
    return exit_code(err);
}

int om_command_setup(const char *name, const om_run_options *o)
{
    uint32_t mask = UINT32_MAX;
    int level = om_log_level_parse(o->log_level);
    if (level < 0)
        return om_fail(OM_ERR_ARG, "--log-level '%s': expected error, warn, info or debug",
                       o->log_level ? o->log_level : "");
    om_console_init(name, o->quiet ? OM_LOG_ERROR : (om_log_level)level);
    int err = o->cpu_mask ? om_cpu_mask_parse(o->cpu_mask, &mask) : OM_OK;
    if (!err) om_cpu_mask(mask);
    return err;
}

int om_args_expect(const om_args *a, size_t n, const char *what)
{
    if (a->n_positional < n) return om_fail(OM_ERR_ARG, "expected %s", what);
    if (a->n_positional > n)
        return om_fail(OM_ERR_ARG, "unexpected '%s': expected %s%s", a->positional[n], what,
                       n ? " and no more" : "");
    return OM_OK;
}

static int help_width(void)
{
    int width = om_console_columns(stdout, 100);
    return width < 60 ? 60 : width > 100 ? 100 : width;
}

static void help_command(const om_command *c)
{
    om_str out = {0};
    int width = help_width();
    for (const char *form = c->usage; form;) {
        size_t n = strcspn(form, "\n");
        om_str_addf(&out, "%s omma %s %.*s\n", form == c->usage ? "Usage:" : "      ", c->name, (int)n, form);
        form = form[n] ? form + n + 1 : NULL;
    }
    om_str_addc(&out, '\n');
    om_text_wrap(c->about, 0, width, &out);
    om_str_add(&out, "\nExamples:\n");
    for (const char *line = c->examples; *line;) {
        size_t n = strcspn(line, "\n");
        om_str_addf(&out, "  %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    for (const om_option *const *t = c->tables(); *t; t++) {
        if (!(*t)->name) continue;
        om_str_addc(&out, '\n');
        om_options_help(*t, width, &out);
    }
    om_str_add(&out, "\n  -h, --help  show this\n");
    fputs(om_str_get(&out), stdout);
    om_str_fini(&out);
}

static void help_model(void)
{
    puts("Usage: omma model COMMAND ...\n\nTools for ONNX models.\n\nCommands:");
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strncmp(commands[i]->name, "model ", 6))
            printf("  %-8s  %s\n", commands[i]->name + 6, commands[i]->summary);
    puts("\n'omma model COMMAND --help' tells more.");
}

static void help_all(void)
{
    bool model = false;
    puts("omma watches video streams with neural networks.\n\n"
         "Usage: omma COMMAND ...\n\nCommands:");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        bool tool = !strncmp(commands[i]->name, "model ", 6);
        if (!tool) printf("  %-8s  %s\n", commands[i]->name, commands[i]->summary);
        else if (!model)
            printf("  %-8s  %s\n", "model",
                   "inspect, check, simplify, cut, diff, ...: tools for ONNX models");
        model = model || tool;
    }
    puts("\nFirst steps:\n"
         "  omma model synth yolov8n --boxes 30 -o yolov8n.onnx   (or a model of your own)\n"
         "  omma run -m yolov8n.onnx video.mp4\n"
         "\n'omma COMMAND --help' tells more.\n\n"
         "  -h, --help  show this\n"
         "      --version  show the version");
}

static const om_command *find(const char *first, const char *second)
{
    char name[64];
    snprintf(name, sizeof name, second ? "%.30s %.30s" : "%.60s", first, second);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

/* "unknown command 'rnu'; did you mean 'run'?" `model`: among its commands. */
static int unknown(const char *word, bool model)
{
    const char *names[N_COMMANDS + 1];
    size_t n = 0;
    if (!model) names[n++] = "model";
    for (size_t i = 0; i < N_COMMANDS; i++) {
        bool tool = !strncmp(commands[i]->name, "model ", 6);
        if (tool == model) names[n++] = commands[i]->name + (model ? 6 : 0);
    }
    const char *near = om_suggest(word, names, n);
    if (near) om_console_error("unknown command '%s'; did you mean '%s'?", word, near);
    else om_console_error("unknown command '%s'; 'omma %s--help' lists them", word, model ? "model " : "");
    return OM_EXIT_USAGE;
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

static int run_command(const om_command *c, int argc, char **argv)
{
    char name[64];
    om_args args;
    int status = OM_EXIT_OK;
    snprintf(name, sizeof name, "omma %s", c->name);
    om_console_init(name, OM_LOG_WARN);
    int err = om_args_parse(c->tables(), argc, argv, &args);
    if (!err && args.help) help_command(c);
    else if (!err) err = c->run(&args, &status);
    if (err) status = om_command_fail(err);
    om_args_fini(&args);
    return status;
}

static int dispatch(int argc, char **argv)
{
    om_console_init("omma", OM_LOG_WARN);
    if (argc < 2) {
        help_all();
        return OM_EXIT_USAGE;
    }
    if (is_help(argv[1])) {
        const om_command *c = argc > 2 ? find(argv[2], argc > 3 ? argv[3] : NULL) : NULL;
        if (c) help_command(c);
        else if (argc > 2 && !strcmp(argv[2], "model")) help_model();
        else help_all();
        return OM_EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("omma %s\n", om_version());
        return OM_EXIT_OK;
    }
    if (!strcmp(argv[1], "model")) {
        if (argc < 3 || is_help(argv[2])) {
            help_model();
            return argc < 3 ? OM_EXIT_USAGE : OM_EXIT_OK;
        }
        const om_command *c = find("model", argv[2]);
        return c ? run_command(c, argc - 3, argv + 3) : unknown(argv[2], true);
    }
    const om_command *c = find(argv[1], NULL);
    return c ? run_command(c, argc - 2, argv + 2) : unknown(argv[1], false);
}

int main(int argc, char **argv)
{
    /* For the widths of characters; numbers keep their points. */
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a bound on files' sizes is a failed write like others, and is said */
    om_media_quiet();
    int status = dispatch(argc, argv);
    errno = 0;
    bool bad = fflush(stdout) != 0;
    /* A reader that has seen enough (`| head`) is no failure. */
    if ((bad || ferror(stdout)) && errno != EPIPE) {
        om_console_error("cannot write to standard output%s%s", errno ? ": " : "",
                         errno ? strerror(errno) : "");
        if (!status) status = OM_EXIT_FAILED;
    }
    return status;
}
