/* What the CUDA engine keeps in plan files: written and read again, cut anywhere, damaged anywhere, no
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/plan_io.h"
#include "base/error.h"
#include "base/mem.h"

static omcu_choice top[] = {
    {"f16 64,80,80,32>80,80,64 k1x1", "cudnn 3", 1234, "{\"engine\": 1,\n\t\"knobs\": []}", 26},
    {"f16 64,40,40,64>40,40,64 k3x3", "tiles 128x64x32", 77, NULL, 0},
};
static omcu_choice small[] = {{"f16 1,80,80,32>80,80,64 k1x1", "depthwise 4x2", 5, NULL, 0}};

static omcu_form a_form(void)
{
    return (omcu_form){.major = 9,
                       .minor = 0,
                       .n_rungs = 2,
                       .groups = "0110",
                       .rungs = {
                           {64, 84, 1000000, 5000, 7, {31, 3, 1}, top, 2},
                           {1, 80, 20000, 5000, 0, {0, 0, 35}, small, 1},
                       }};
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    omcu_form f = a_form(), g;
    om_plan_part parts[4];
    char *blob;
    size_t len;
    assert_int_equal(omcu_form_write(&f, &blob, &len), OM_OK);
    assert_int_equal(omcu_form_parse(blob, len, &g), OM_OK);
    assert_int_equal(g.major, 9);
    assert_int_equal(g.n_rungs, 2);
    assert_string_equal(g.groups, "0110");
    assert_int_equal(g.rungs[0].batch, 64);
    assert_int_equal(g.rungs[0].products[1], 3);
    assert_int_equal(g.rungs[1].steps, 80);
    const omcu_choice *c = omcu_form_find(&g.rungs[0], top[0].key);
    assert_non_null(c);
    assert_string_equal(c->tactic, "cudnn 3");
    assert_int_equal(c->engine_len, 26);
    assert_memory_equal(c->engine, top[0].engine, 26);
    assert_null(omcu_form_find(&g.rungs[0], top[1].key)->engine);
    assert_null(omcu_form_find(&g.rungs[1], top[0].key));
    omcu_form_fini(&g);
    omcu_form_fini(&g);
    assert_int_equal(omcu_form_parts(blob, len, parts, 4), 2);
    assert_string_equal(parts[0].products, "31 by cuDNN, 3 by cuBLASLt, 1 by own kernels");
    assert_int_equal(parts[0].bytes, 1005007);
    assert_int_equal(omcu_form_parts(blob, len, parts, 1), 2);
    om_free(blob);
    f.groups = NULL;
    assert_int_equal(omcu_form_write(&f, &blob, &len), OM_OK);
    assert_int_equal(omcu_form_parse(blob, len, &g), OM_OK);
    assert_string_equal(g.groups, "");
    omcu_form_fini(&g);
    om_free(blob);
}

static void test_cut_and_damaged(void **state)
{
    (void)state;
    omcu_form f = a_form(), g;
    char *blob, copy[1024];
    size_t len;
    assert_int_equal(omcu_form_write(&f, &blob, &len), OM_OK);
    assert_true(len < sizeof copy);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(omcu_form_parse(blob, n, &g), OM_ERR_FORMAT);
        assert_null(g.text);
    }
    memcpy(copy, blob, len);
    copy[len] = '\n';
    assert_int_equal(omcu_form_parse(copy, len + 1, &g), OM_ERR_FORMAT);
    /* Whatever a byte becomes, it is read or refused. */
    for (size_t n = 0; n < len; n++)
        for (int v = 0; v < 256; v += 5) {
            memcpy(copy, blob, len);
            copy[n] = (char)v;
            if (omcu_form_parse(copy, len, &g) == OM_OK) omcu_form_fini(&g);
        }
    om_free(blob);
}

static void refused(const char *text, const char *why)
{
    omcu_form g;
    om_plan_part part;
    assert_int_equal(omcu_form_parse(text, strlen(text), &g), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), why));
    assert_int_equal(omcu_form_parts(text, strlen(text), &part, 1), OM_ERR_FORMAT);
}

static void test_each_thing_that_can_be_wrong(void **state)
{
    (void)state;
    refused("", "no compiled form");
    refused("omma cuda form 0\t9\t0\t1\t-\n", "no compiled form");
    refused("omma cuda form 2\t9\t0\t9\t-\n", "damaged in line");
    refused("omma cuda form 2\t9\t0\t1\t0102\nrung\t1\t1\t1\t1\t1\t0\t0\t0\t0\n", "damaged in line");
    refused("omma cuda form 2\t9\t0\t1\t\nrung\t1\t1\t1\t1\t1\t0\t0\t0\t0\n", "damaged in line");
    refused("omma cuda form 2\t9\t0\t1\t-\nrung\t0\t1\t1\t1\t1\t0\t0\t0\t0\n", "damaged in line");
    refused("omma cuda form 2\t9\t0\t1\t-\nrung\t1\t1\t1\t1\t1\t0\t0\t0\t5000\n", "damaged in line 3");
    refused("omma cuda form 2\t9\t0\t1\t-\nrung\t1\t1\t1\t1\t1\t0\t0\t0\t1\nk\tt\t1\t99999999999\nx\n",
            "damaged in line 4");
    refused("omma cuda form 2\t9\t0\t1\t-\nrung\t1\t1\t1\t1\t1\t0\t0\t0\t1\nk\tt\t-1\t0\n",
            "damaged in line");
}

static void test_no_memory(void **state)
{
    (void)state;
    omcu_form f = a_form(), g;
    bool met = true;
    for (long n = 0; met; n++) {
        char *blob = NULL;
        size_t len;
        om_mem_fail_after(n);
        int err = omcu_form_write(&f, &blob, &len);
        if (!err) err = omcu_form_parse(blob, len, &g);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        if (!err) omcu_form_fini(&g);
        om_free(blob);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_each_thing_that_can_be_wrong),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
