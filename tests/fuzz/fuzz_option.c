/* Lines "NAME=VALUE" set a table's fields; what a field says afterwards must set it to the same again. The
 * first byte chooses an allocation that fails. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct settings {
    char *model;
    om_strlist inputs;
    int batch, device;
    int64_t seed;
    double threshold, timeout;
    bool loop;
    om_size size;
} settings;

static const om_choice devices[] = {{"cpu", 0, NULL}, {"gpu", 1, "a graphics card"}, {NULL, 0, NULL}};

static const om_option table[] = {
    {"model", 'm', OM_OPT_STRING, offsetof(settings, model), .def = "a.onnx", .group = "One",
     .help = "A model."},
    {"input", 'i', OM_OPT_LIST, offsetof(settings, inputs), .help = "A video."},
    {"batch-size", 0, OM_OPT_INT, offsetof(settings, batch), .min = 1, .max = 128, .def = "8",
     .help = "Batch."},
    {"device", 'd', OM_OPT_CHOICE, offsetof(settings, device), .choices = devices, .help = "Where."},
    {"seed", 0, OM_OPT_INT64, offsetof(settings, seed), .group = "Two", .help = "Seed."},
    {"threshold", 0, OM_OPT_DOUBLE, offsetof(settings, threshold), .def = "0.25", .help = "Score."},
    {"timeout", 0, OM_OPT_TIME, offsetof(settings, timeout), .def = "500ms", .help = "Time."},
    {"loop", 0, OM_OPT_BOOL, offsetof(settings, loop), .def = "yes", .help = "Again."},
    {"size", 0, OM_OPT_SIZE, offsetof(settings, size), .help = "Size."},
    {NULL},
};

static void insist(bool holds)
{
    if (!holds) abort();
}

static int set_line(settings *s, char *line)
{
    char *value = strchr(line, '=');
    if (value) *value++ = 0;
    return om_option_set(table, s, line, value);
}

static void set_lines(settings *s, const char *text)
{
    char *copy = om_strdup(text);
    if (!copy) return;
    for (char *line = copy, *end; line; line = end) {
        end = strchr(line, '\n');
        if (end) *end++ = 0;
        int rc = set_line(s, line);
        insist(rc == OM_OK || om_error_message()[0]);
    }
    om_free(copy);
}

static void check_text_sets_again(const settings *s)
{
    settings t;
    insist(om_options_init(table, &t) == OM_OK);
    for (const om_option *o = table; o->name; o++) {
        om_str before = {0}, after = {0};
        insist(om_option_get(table, s, o->name, &before) == OM_OK);
        bool settable = o->type != OM_OPT_LIST || before.len > 0;
        if (settable) insist(om_option_set(table, &t, o->name, om_str_get(&before)) == OM_OK);
        insist(om_option_get(table, &t, o->name, &after) == OM_OK);
        insist(!strcmp(om_str_get(&before), om_str_get(&after)));
        if (o->type != OM_OPT_LIST) insist(om_option_changed(table, s, o) == om_option_changed(table, &t, o));
        om_str_fini(&before);
        om_str_fini(&after);
    }
    om_options_fini(table, &t);
}

static void check_without_memory(const char *text, int n)
{
    settings s;
    om_str out = {0};
    om_mem_fail_after(n);
    if (om_options_init(table, &s) == OM_OK) {
        set_lines(&s, text);
        om_options_help(table, 40 + n, &out);
        om_options_fini(table, &s);
    }
    om_mem_fail_after(-1);
    om_str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    settings s;
    char *text = om_strndup((const char *)data + 1, size - 1);
    insist(text && om_options_init(table, &s) == OM_OK);
    set_lines(&s, text);
    check_text_sets_again(&s);
    om_options_fini(table, &s);
    check_without_memory(text, data[0]);
    om_free(text);
    return 0;
}
