/* Option tables: parsing, defaults, suggestions, help. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/option.h"

typedef struct settings {
    char *model, *output;
    om_strlist inputs, classes;
    int batch, device, pace;
    int64_t seed;
    double threshold, timeout;
    bool loop, track;
    om_size size;
} settings;

static const om_choice devices[] = {{"cpu", 1, NULL}, {"gpu", 2, NULL}, {"gpu-0", 3, NULL}, {NULL, 0, NULL}};
static const om_choice paces[] = {
    {"live", 0, "as the clock goes"},
    {"fast", 1, "as fast as the slowest part allows, without waiting for any clock"},
    {NULL, 0, NULL}};

static const om_option table[] = {
    {.name = "model",
     .short_name = 'm',
     .type = OM_OPT_STRING,
     .offset = offsetof(settings, model),
     .metavar = "FILE",
     .group = "Input",
     .help = "The ONNX model to run."},
    {.name = "input",
     .short_name = 'i',
     .type = OM_OPT_LIST,
     .offset = offsetof(settings, inputs),
     .metavar = "URI",
     .help = "A video, a folder of images or a camera."},
    {.name = "classes",
     .type = OM_OPT_LIST,
     .offset = offsetof(settings, classes),
     .def = "person,car",
     .help = "Classes to keep."},
    {.name = "batch-size",
     .type = OM_OPT_INT,
     .offset = offsetof(settings, batch),
     .def = "4",
     .min = 1,
     .max = 128,
     .group = "Inference",
     .help = "The largest batch."},
    {.name = "seed", .type = OM_OPT_INT64, .offset = offsetof(settings, seed), .help = "Seed."},
    {.name = "threshold",
     .type = OM_OPT_DOUBLE,
     .offset = offsetof(settings, threshold),
     .def = "0.25",
     .max = 1,
     .help = "Detections below this score are left out of every record that is written."},
    {.name = "device",
     .type = OM_OPT_CHOICE,
     .offset = offsetof(settings, device),
     .choices = devices,
     .def = "cpu",
     .help = "Where to run."},
    {.name = "a-very-long-option-name-indeed",
     .type = OM_OPT_TIME,
     .offset = offsetof(settings, timeout),
     .def = "1.5s",
     .max = 86400,
     .help = "A time."},
    {.name = "loop",
     .type = OM_OPT_BOOL,
     .offset = offsetof(settings, loop),
     .help = "Start again at the end."},
    {.name = "track",
     .type = OM_OPT_BOOL,
     .offset = offsetof(settings, track),
     .def = "yes",
     .help = "Follow objects."},
    {.name = "input-size",
     .type = OM_OPT_SIZE,
     .offset = offsetof(settings, size),
     .def = "640",
     .help = "Size of the input."},
    {.name = "pace",
     .type = OM_OPT_CHOICE,
     .offset = offsetof(settings, pace),
     .choices = paces,
     .def = "live",
     .help = "How fast."},
    {.name = "output",
     .short_name = 'o',
     .type = OM_OPT_STRING,
     .offset = offsetof(settings, output),
     .def = "out.jsonl",
     .group = "Output",
     .help = "Where to write."},
    {.name = NULL},
};

static settings s;

static int fresh(void **state)
{
    memset(&s, 0xaa, sizeof s);
    return om_options_init(table, &s);
}

static int spent(void **state)
{
    om_options_fini(table, &s);
    return 0;
}

static int set(const char *name, const char *value) { return om_option_set(table, &s, name, value); }

static void assert_refused(const char *name, const char *value, const char *message)
{
    assert_int_equal(set(name, value), OM_ERR_ARG);
    assert_string_equal(om_error_message(), message);
}

static void assert_says(const char *name, const char *want)
{
    om_str text = {0};
    assert_int_equal(om_option_get(table, &s, name, &text), OM_OK);
    assert_string_equal(om_str_get(&text), want);
    om_str_fini(&text);
}

static void defaults_fill_every_field(void **state)
{
    assert_null(s.model);
    assert_string_equal(s.output, "out.jsonl");
    assert_int_equal(s.inputs.n, 0);
    assert_int_equal(s.classes.n, 2);
    assert_string_equal(s.classes.items[1], "car");
    assert_int_equal(s.batch, 4);
    assert_int_equal(s.seed, 0);
    assert_int_equal(s.device, 1);
    assert_true(s.threshold == 0.25);
    assert_true(s.timeout == 1.5);
    assert_false(s.loop);
    assert_true(s.track);
    assert_int_equal(s.size.width, 640);
    assert_int_equal(s.size.height, 640);
    for (const om_option *o = table; o->name; o++) assert_false(om_option_changed(table, &s, o));
}

static void values_are_parsed(void **state)
{
    assert_int_equal(set("model", "a.onnx"), OM_OK);
    assert_int_equal(set("model", "b.onnx"), OM_OK);
    assert_string_equal(s.model, "b.onnx");
    assert_int_equal(set("input", "one,two"), OM_OK);
    assert_int_equal(set("input", "three"), OM_OK);
    assert_int_equal(s.inputs.n, 2);
    assert_string_equal(s.inputs.items[0], "one,two");
    assert_int_equal(set("batch_size", "128"), OM_OK);
    assert_int_equal(s.batch, 128);
    assert_int_equal(set("seed", "-9223372036854775808"), OM_OK);
    assert_true(s.seed == INT64_MIN);
    assert_int_equal(set("threshold", "1e-3"), OM_OK);
    assert_true(s.threshold == 0.001);
    assert_int_equal(set("device", "gpu_0"), OM_OK);
    assert_int_equal(s.device, 3);
    assert_int_equal(set("input-size", "640x384"), OM_OK);
    assert_int_equal(s.size.width, 640);
    assert_int_equal(s.size.height, 384);
    assert_int_equal(set("a-very-long_option-name-indeed", "2m"), OM_OK);
    assert_true(s.timeout == 120);
    assert_int_equal(set("output", ""), OM_OK);
    assert_null(s.output);
    for (const om_option *o = table; o->name; o++)
        assert_int_equal(om_option_changed(table, &s, o),
                         strcmp(o->name, "loop") != 0 && o->short_name != 'x' &&
                             strcmp(o->name, "track") != 0 && strcmp(o->name, "classes") != 0 &&
                             strcmp(o->name, "pace") != 0);
}

static void flags_and_their_negations(void **state)
{
    assert_int_equal(set("loop", NULL), OM_OK);
    assert_true(s.loop);
    assert_int_equal(set("no-loop", NULL), OM_OK);
    assert_false(s.loop);
    assert_int_equal(set("loop", ""), OM_OK);
    assert_true(s.loop);
    assert_int_equal(set("loop", "off"), OM_OK);
    assert_false(s.loop);
    assert_int_equal(set("no_track", ""), OM_OK);
    assert_false(s.track);
    assert_int_equal(set("no-track", "false"), OM_OK);
    assert_true(s.track);
    assert_refused("no-track", "maybe", "option 'no-track': 'maybe' is not yes or no");
    assert_refused("no-model", NULL, "unknown option 'no-model'");
    assert_null(om_option_find(table, "no-loop"));
    assert_refused("loop", "maybe", "option 'loop': 'maybe' is not yes or no");
}

static void bad_values_say_what_fits(void **state)
{
    assert_refused("batch-size", "0", "option 'batch-size': 0 is not from 1 to 128");
    assert_refused("batch-size", "many", "option 'batch-size': 'many' is not a whole number");
    assert_refused("batch-size", "", "option 'batch-size': '' is not a whole number");
    assert_refused("batch-size", "4294967297", "option 'batch-size': 4294967297 is out of range");
    assert_refused("batch-size", NULL, "option 'batch-size' needs a value");
    assert_refused("threshold", "1.01", "option 'threshold': 1.01 is not from 0 to 1");
    assert_refused("threshold", "nan", "option 'threshold': 'nan' is not a number");
    assert_refused("device", "tpu", "option 'device': 'tpu' is not one of cpu, gpu, gpu-0");
    assert_refused("input", "", "option 'input': empty");
    assert_refused(
        "input_size", "640x",
        "option 'input-size': '640x' is not a size: expected WIDTHxHEIGHT or one number, at most 65536");
    assert_refused("a-very-long-option-name-indeed", "5 parsecs",
                   "option 'a-very-long-option-name-indeed': '5 parsecs' is not a time: "
                   "expected a number with us, ms, s, m or h, as in 500ms");
    assert_int_equal(s.batch, 4);
    assert_true(s.threshold == 0.25);
    assert_int_equal(s.size.width, 640);
}

static void unknown_names_get_a_suggestion(void **state)
{
    assert_refused("batchsize", "4", "unknown option 'batchsize'; did you mean 'batch-size'?");
    assert_refused("modle", "x", "unknown option 'modle'; did you mean 'model'?");
    assert_refused("zzz", "x", "unknown option 'zzz'");
    assert_refused("", "x", "unknown option ''");
    om_str text = {0};
    assert_int_equal(om_option_get(table, &s, "outptu", &text), OM_ERR_ARG);
    assert_string_equal(om_error_message(), "unknown option 'outptu'; did you mean 'output'?");
    om_str_fini(&text);
}

static void suggestions_reach_the_end_of_long_tables(void **state)
{
    static char names[100][8];
    static om_option many[101];
    int value = 0;
    for (int i = 0; i < 100; i++) {
        const char name[] = {(char)('a' + i / 10),
                             (char)('a' + i / 10),
                             (char)('k' + i % 10),
                             (char)('k' + i % 10),
                             (char)('a' + i / 10),
                             (char)('a' + i / 10),
                             0};
        strcpy(names[i], name);
        many[i] = (om_option){.name = names[i], .type = OM_OPT_INT};
    }
    assert_int_equal(om_option_set(many, &value, "jjttjx", "1"), OM_ERR_ARG);
    assert_string_equal(om_error_message(), "unknown option 'jjttjx'; did you mean 'jjttjj'?");
    assert_int_equal(om_option_set(many, &value, "aakkax", "1"), OM_ERR_ARG);
    assert_string_equal(om_error_message(), "unknown option 'aakkax'; did you mean 'aakkaa'?");
}

static void names_are_found(void **state)
{
    assert_string_equal(om_option_find(table, "batch_size")->name, "batch-size");
    assert_null(om_option_find(table, "batch"));
    assert_null(om_option_find(table, "batch-sizes"));
    assert_string_equal(om_option_find_short(table, 'o')->name, "output");
    assert_null(om_option_find_short(table, 'z'));
    assert_null(om_option_find_short(table, 0));
}

static void text_of_a_value_sets_it_again(void **state)
{
    static const char *const pairs[][3] = {
        {"model", "x y", "x y"},
        {"batch-size", "7", "7"},
        {"seed", "-12", "-12"},
        {"threshold", "0.1", "0.1"},
        {"threshold", ".3333333333333333", "0.3333333333333333"},
        {"device", "gpu", "gpu"},
        {"loop", "on", "yes"},
        {"track", "0", "no"},
        {"input-size", "320", "320x320"},
        {"a-very-long-option-name-indeed", "500ms", "0.5"},
        {"a-very-long-option-name-indeed", "1us", "1e-06"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_int_equal(set(pairs[i][0], pairs[i][1]), OM_OK);
        assert_says(pairs[i][0], pairs[i][2]);
        assert_int_equal(set(pairs[i][0], pairs[i][2]), OM_OK);
        assert_says(pairs[i][0], pairs[i][2]);
        assert_true(om_option_changed(table, &s, om_option_find(table, pairs[i][0])));
    }
    assert_says("output", "out.jsonl");
    assert_says("classes", "person,car");
    assert_int_equal(set("classes", "bus"), OM_OK);
    assert_says("classes", "person,car,bus");
    assert_true(om_option_changed(table, &s, om_option_find(table, "classes")));
    s.device = 77;
    assert_says("device", "77");
}

static void times_and_sizes(void **state)
{
    static const struct {
        const char *text;
        double want;
    } times[] = {{"10", 10},         {"500ms", 0.5},  {"2m", 120},     {"1h", 3600}, {"1.5s", 1.5},
                 {"250us", 0.00025}, {"1e-06", 1e-6}, {"2e1ms", 0.02}, {"0", 0}};
    double t;
    om_size size = {1, 2};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_int_equal(om_parse_time(times[i].text, &t), OM_OK);
        assert_true(t == times[i].want);
    }
    static const char *const bad_times[] = {"",      "-1", "s",     "ms",    "1 s",    "1d",
                                            "1.2.3", "1e", "1e-ms", "1e999", "1e308h", "nan"};
    for (size_t i = 0; i < sizeof bad_times / sizeof bad_times[0]; i++)
        assert_int_equal(om_parse_time(bad_times[i], &t), OM_ERR_ARG);
    static const char *const bad_sizes[] = {
        "", "x", "0x5", "5x0", "-1", "1x2x3", "65537", "99999999999999999999x1", "a"};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof bad_sizes[0]; i++)
        assert_int_equal(om_parse_size(bad_sizes[i], &size), OM_ERR_ARG);
    assert_int_equal(size.height, 2);
    assert_int_equal(om_parse_size("0x0", &size), OM_OK);
    assert_int_equal(size.height, 0);
    assert_int_equal(om_parse_size("65536X1", &size), OM_OK);
    assert_int_equal(size.width, 65536);
}

static const char help_text[] = "Input:\n"
                                "  -m, --model FILE      The ONNX model to run.\n"
                                "  -i, --input URI       A video, a folder of images or a\n"
                                "                        camera. (may be repeated)\n"
                                "      --classes TEXT    Classes to keep. (may be repeated)\n"
                                "                        (default: person,car)\n"
                                "\n"
                                "Inference:\n"
                                "      --batch-size N    The largest batch. (default: 4)\n"
                                "      --seed N          Seed.\n"
                                "      --threshold X     Detections below this score are left\n"
                                "                        out of every record that is written.\n"
                                "                        (default: 0.25)\n"
                                "      --device NAME     Where to run. (one of: cpu, gpu,\n"
                                "                        gpu-0) (default: cpu)\n"
                                "      --a-very-long-option-name-indeed TIME\n"
                                "                        A time. (default: 1.5s)\n"
                                "      --loop            Start again at the end.\n"
                                "      --[no-]track      Follow objects. (default: yes)\n"
                                "      --input-size WxH  Size of the input. (default: 640)\n"
                                "      --pace NAME       How fast. (default: live)\n"
                                "                          live  as the clock goes\n"
                                "                          fast  as fast as the slowest part\n"
                                "                                allows, without waiting for\n"
                                "                                any clock\n"
                                "\n"
                                "Output:\n"
                                "  -o, --output TEXT     Where to write. (default: out.jsonl)\n";

static void help_is_laid_out(void **state)
{
    om_str out = {0};
    om_options_help(table, 62, &out);
    assert_string_equal(om_str_get(&out), help_text);
    om_str_clear(&out);
    om_options_help(table, 0, &out);
    assert_true(out.len > 500);
    om_str_fini(&out);
}

static void bad_default_is_our_own_fault(void **state)
{
    static const om_option bad[] = {
        {.name = "name", .type = OM_OPT_STRING, .offset = offsetof(settings, model), .def = "text"},
        {.name = "count", .type = OM_OPT_INT, .offset = offsetof(settings, batch), .def = "four"},
        {.name = NULL},
    };
    settings t;
    assert_int_equal(om_options_init(bad, &t), OM_ERR_INTERNAL);
    assert_string_equal(om_error_message(), "default of option 'count': 'four' is not a whole number");
    assert_null(t.model);
}

static int use_everything(void)
{
    settings t;
    om_str out = {0};
    int rc = om_options_init(table, &t);
    if (rc < 0) return rc;
    rc = om_option_set(table, &t, "model", "a.onnx");
    if (rc == OM_OK) rc = om_option_set(table, &t, "input", "b.mp4");
    if (rc == OM_OK) rc = om_option_get(table, &t, "model", &out);
    if (rc == OM_OK) om_options_help(table, 80, &out);
    if (rc == OM_OK && out.failed) rc = OM_ERR_NOMEM;
    om_str_fini(&out);
    om_options_fini(table, &t);
    return rc;
}

static void lack_of_memory_is_reported(void **state)
{
    long n = 0;
    for (;; n++) {
        om_mem_fail_after(n);
        int rc = use_everything();
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) {
            assert_int_equal(rc, OM_OK);
            break;
        }
        assert_int_equal(rc, OM_ERR_NOMEM);
    }
    assert_true(n > 8);
    char *before;
    assert_int_equal(set("model", "kept"), OM_OK);
    before = s.model;
    om_mem_fail_after(0);
    assert_int_equal(set("model", "other"), OM_ERR_NOMEM);
    om_mem_fail_after(0);
    assert_int_equal(set("device", "tpu"), OM_ERR_ARG);
    om_mem_fail_after(-1);
    assert_ptr_equal(s.model, before);
    om_options_fini(table, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_fill_every_field, fresh, spent),
        cmocka_unit_test_setup_teardown(values_are_parsed, fresh, spent),
        cmocka_unit_test_setup_teardown(flags_and_their_negations, fresh, spent),
        cmocka_unit_test_setup_teardown(bad_values_say_what_fits, fresh, spent),
        cmocka_unit_test_setup_teardown(unknown_names_get_a_suggestion, fresh, spent),
        cmocka_unit_test(suggestions_reach_the_end_of_long_tables),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test_setup_teardown(text_of_a_value_sets_it_again, fresh, spent),
        cmocka_unit_test(times_and_sizes),
        cmocka_unit_test(help_is_laid_out),
        cmocka_unit_test(bad_default_is_our_own_fault),
        cmocka_unit_test_setup_teardown(lack_of_memory_is_reported, fresh, spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
