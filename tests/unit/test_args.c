/* Flags against option tables, and the tables the command prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/args.h"
#include "cli/table.h"
#include "cli/text.h"

typedef struct things {
    char *model;
    om_strlist inputs;
    bool live, progress;
    int frames;
} things;

static const om_option first[] = {
    {"input", 'i', OM_OPT_LIST, offsetof(things, inputs), NULL, 0, 0, NULL, NULL, "A", "inputs"},
    {0},
};
static const om_option second[] = {
    {"model", 'm', OM_OPT_STRING, offsetof(things, model), NULL, 0, 0, NULL, NULL, "B", "a model"},
    {"live", 'l', OM_OPT_BOOL, offsetof(things, live), "no", 0, 0, NULL, NULL, NULL, "live"},
    {"progress", 0, OM_OPT_BOOL, offsetof(things, progress), "yes", 0, 0, NULL, NULL, NULL, "progress"},
    {"max-frames", 0, OM_OPT_INT, offsetof(things, frames), "0", 0, 100, NULL, NULL, NULL, "frames"},
    {0},
};
static const om_option *const tables[] = {first, second, NULL};

static int parse(om_args *a, char **argv)
{
    int argc = 0;
    while (argv[argc]) argc++;
    return om_args_parse(tables, argc, argv, a);
}

#define PARSE(a, ...) parse(a, (char *[]){__VA_ARGS__, NULL})

static int apply(const om_args *a, things *t)
{
    assert_int_equal(om_options_init(first, t), OM_OK);
    assert_int_equal(om_options_init(second, t), OM_OK);
    int err = om_args_apply(a, first, t);
    return err ? err : om_args_apply(a, second, t);
}

static void drop(om_args *a, things *t)
{
    om_args_fini(a);
    om_options_fini(first, t);
    om_options_fini(second, t);
}

static void test_all_forms(void **state)
{
    om_args a;
    things t;
    assert_int_equal(PARSE(&a, "-m", "x.onnx", "one.mp4", "--input=a", "-i", "b", "--max_frames", "7",
                           "--live", "--no-progress", "-", "--", "--live", "-z"),
                     OM_OK);
    assert_int_equal(apply(&a, &t), OM_OK);
    assert_string_equal(t.model, "x.onnx");
    assert_int_equal(t.inputs.n, 2);
    assert_string_equal(t.inputs.items[0], "a");
    assert_string_equal(t.inputs.items[1], "b");
    assert_int_equal(t.frames, 7);
    assert_true(t.live);
    assert_false(t.progress);
    const char *rest[] = {"one.mp4", "-", "--live", "-z"};
    assert_int_equal(a.n_positional, 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(a.positional[i], rest[i]);
    drop(&a, &t);
    (void)state;
}

static void test_bool_values(void **state)
{
    om_args a;
    things t;
    /* A word after a flag that takes none is not its value. */
    assert_int_equal(PARSE(&a, "--live", "no", "--progress=off"), OM_OK);
    assert_int_equal(apply(&a, &t), OM_OK);
    assert_true(t.live);
    assert_false(t.progress);
    assert_int_equal(a.n_positional, 1);
    drop(&a, &t);
    assert_int_equal(PARSE(&a, "-l", "--no-live=no", "--no_progress=no", "--help"), OM_OK);
    assert_int_equal(apply(&a, &t), OM_OK);
    assert_true(t.live && t.progress && a.help);
    drop(&a, &t);
    (void)state;
}

/* A value may begin with '-': it is what follows a flag that needs one. */
static void test_dashed_value(void **state)
{
    om_args a;
    things t;
    assert_int_equal(PARSE(&a, "-m", "-odd.onnx", "--max-frames", "-5"), OM_OK);
    assert_int_equal(apply(&a, &t), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "max-frames"));
    assert_string_equal(t.model, "-odd.onnx");
    drop(&a, &t);
    (void)state;
}

static void refused(char **argv, const char *message)
{
    om_args a;
    assert_int_equal(parse(&a, argv), OM_ERR_ARG);
    assert_string_equal(om_error_message(), message);
    assert_null(a.items);
    assert_null(a.positional);
}

static void test_mistakes(void **state)
{
    refused((char *[]){"--modle", "x", NULL}, "unknown flag '--modle'; did you mean '--model'?");
    refused((char *[]){"--modle=x", NULL}, "unknown flag '--modle'; did you mean '--model'?");
    refused((char *[]){"--no-progres", NULL}, "unknown flag '--no-progres'; did you mean '--no-progress'?");
    refused((char *[]){"-model", "x", NULL}, "unknown flag '-model'; did you mean '--model'?");
    refused((char *[]){"--hlep", NULL}, "unknown flag '--hlep'; did you mean '--help'?");
    refused((char *[]){"--zzzzzzzz", NULL}, "unknown flag '--zzzzzzzz'");
    refused((char *[]){"--no-model", NULL}, "unknown flag '--no-model'; did you mean '--model'?");
    refused((char *[]){"-z", NULL}, "unknown flag '-z'");
    refused((char *[]){"a", "--model", NULL}, "flag '--model' needs a value");
    refused((char *[]){"-i", NULL}, "flag '-i' needs a value");
    (void)state;
}

/* Flags given replace a list that a config file has filled. */
static void test_list_replaces(void **state)
{
    om_args a;
    things t = {0};
    assert_int_equal(om_options_init(first, &t), OM_OK);
    assert_int_equal(om_strlist_add(&t.inputs, "from the file"), OM_OK);
    assert_int_equal(PARSE(&a, "-i", "a", "-i", "b"), OM_OK);
    assert_int_equal(om_args_apply(&a, first, &t), OM_OK);
    assert_int_equal(t.inputs.n, 2);
    assert_string_equal(t.inputs.items[0], "a");
    om_args_fini(&a);
    om_options_fini(first, &t);
    (void)state;
}

static void test_out_of_memory(void **state)
{
    for (long n = 0;; n++) {
        om_args a;
        om_mem_fail_after(n);
        int err = PARSE(&a, "-m", "x", "y", "--live", "--modle");
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) break;
        assert_true(err == OM_ERR_NOMEM || err == OM_ERR_ARG);
        assert_null(a.items);
    }
    (void)state;
}

static void test_table(void **state)
{
    static const om_column columns[] = {{"name", false, 4, 0}, {"size", true, 0, 1}, {"n", true, 0, 0}};
    om_str out = {0};
    om_table t;
    om_table_init(&t, columns, 3);
    const char *names[] = {"naïve café", "b\033[2J", ""};
    for (int i = 0; i < 3; i++) {
        om_table_cell(&t, "%s", names[i]);
        om_table_cell(&t, "%dx1", i * 500);
        om_table_cell(&t, "%d", i);
    }
    assert_int_equal(om_table_render(&t, 0, &out), OM_OK);
    assert_string_equal(om_str_get(&out), "name          size  n\n"
                                          "naïve café     0x1  0\n"
                                          "b?[2J        500x1  1\n"
                                          "            1000x1  2\n");
    om_str_clear(&out);
    assert_int_equal(om_table_render(&t, 16, &out), OM_OK);
    assert_string_equal(om_str_get(&out), "name     size  n\n"
                                          "naïv…     0x1  0\n"
                                          "b?[2J   500x1  1\n"
                                          "       1000x1  2\n");
    om_str_clear(&out);
    assert_int_equal(om_table_render(&t, 7, &out), OM_OK);
    assert_string_equal(om_str_get(&out), "name  n\n"
                                          "naï…  0\n"
                                          "b?[…  1\n"
                                          "      2\n");
    om_table_fini(&t);
    om_str_fini(&out);
    (void)state;
}

static void test_text(void **state)
{
    char out[32];
    om_str wrapped = {0};
    om_text_clip("grün", 3, out, sizeof out);
    assert_string_equal(out, "gr…");
    om_text_clip("grün", 4, out, sizeof out);
    assert_string_equal(out, "grün");
    om_text_clean("a\x80z\n\xc2\x9b", out, sizeof out);
    assert_string_equal(out, "a?z??");
    om_text_clean("0123456789", out, 5);
    assert_string_equal(out, "0123");
    om_text_wrap("one two three\nfour", 2, 9, &wrapped);
    assert_string_equal(om_str_get(&wrapped), "  one two\n  three\n  four\n");
    om_str_fini(&wrapped);
    const struct {
        double v;
        const char *text;
    } counts[] = {
        {0, "0"},          {999, "999"}, {1000, "1.00 k"}, {8849182, "8.85 M"}, {88500000, "88.5 M"},
        {999600, "1.00 M"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        om_text_count(counts[i].v, out, sizeof out);
        assert_string_equal(out, counts[i].text);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_forms),     cmocka_unit_test(test_bool_values),
        cmocka_unit_test(test_dashed_value),  cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_list_replaces), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_table),         cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
