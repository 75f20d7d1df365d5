/* Plan files: written and read again, cut, damaged, hostile; where a compiled form fits; no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/planfile.h"
#include "base/mem.h"
#include "omma/error.h"
#include "omma/version.h"

static char folder[] = "/tmp/omma-plan-XXXXXX";
static char path[64];

static om_plan_info an_info(void)
{
    om_plan_info p = {.precision = OM_PRECISION_BF16,
                      .min_batch = 1,
                      .opt_batch = 2,
                      .max_batch = 4,
                      .channels = -1,
                      .fit = -1,
                      .made_us = 1234567890123456};
    snprintf(p.omma, sizeof p.omma, "%s", om_version());
    snprintf(p.backend, sizeof p.backend, "null");
    snprintf(p.device, sizeof p.device, "null");
    snprintf(p.model, sizeof p.model, "a \"model\".onnx");
    const om_backend_ops *ops;
    const char *device;
    assert_int_equal(om_backend_select("null", &ops, &device), OM_OK);
    snprintf(p.engine, sizeof p.engine, "%s", ops->version());
    om_plan_machine(ops, device, p.machine, sizeof p.machine);
    return p;
}

static const om_plan_blob blobs[] = {
    {640, 384, 1, "abc", 3}, {320, 192, 2, NULL, 0}, {640, 640, 4, "defghijkl", 9}};

static int write_one(void)
{
    om_plan_info p = an_info();
    return om_plan_file_write(path, &p, "the model", 9, blobs, 3);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    om_plan_file *f;
    assert_int_equal(write_one(), OM_OK);
    assert_int_equal(om_plan_file_load(path, &f), OM_OK);
    assert_int_equal(f->info.precision, OM_PRECISION_BF16);
    assert_int_equal(f->info.opt_batch, 2);
    assert_true(f->info.made_us == 1234567890123456);
    assert_string_equal(f->info.model, "a \"model\".onnx");
    assert_int_equal(f->model_len, 9);
    assert_memory_equal(f->model, "the model", 9);
    assert_int_equal(f->n_blobs, 3);
    assert_int_equal(f->blobs[1].len, 0);
    assert_memory_equal(f->blobs[2].data, "defghijkl", 9);
    assert_int_equal((uintptr_t)(f->blobs[2].data - f->bytes) % 64, 0);
    om_plan_file_free(f);
    om_plan_file_free(NULL);
}

static void test_sizes_and_batches(void **state)
{
    (void)state;
    om_plan_file *f;
    om_size s = {1, 1};
    assert_int_equal(om_plan_file_load(path, &f), OM_OK);
    assert_true(om_plan_file_size(f, 1920, 1080, &s));
    assert_true(s.width == 640 && s.height == 384);
    assert_true(om_plan_file_size(f, 1000, 1000, &s));
    assert_true(s.width == 640 && s.height == 640);
    assert_false(om_plan_file_size(NULL, 1000, 1000, &s));
    assert_int_equal(om_plan_file_batch(f, false), 2);
    assert_int_equal(om_plan_file_batch(f, true), 4);
    assert_int_equal(om_plan_file_batch(NULL, true), 0);
    assert_string_equal(om_plan_file_device(f, "auto"), "null");
    assert_string_equal(om_plan_file_device(f, "cpu"), "cpu");
    assert_string_equal(om_plan_file_device(NULL, "auto"), "auto");
    om_plan_file_free(f);
}

static void test_where_it_fits(void **state)
{
    (void)state;
    const om_backend_ops *ops;
    const char *device;
    char why[512];
    om_plan_file *f;
    assert_int_equal(om_backend_select("null", &ops, &device), OM_OK);
    assert_int_equal(om_plan_file_load(path, &f), OM_OK);
    assert_null(om_plan_file_misfit(f, ops, device, why));
    snprintf(f->info.machine, sizeof f->info.machine, "another");
    assert_non_null(strstr(om_plan_file_misfit(f, ops, device, why), "another"));
    snprintf(f->info.engine, sizeof f->info.engine, "0.0");
    assert_non_null(strstr(om_plan_file_misfit(f, ops, device, why), "null 0.0"));
    snprintf(f->info.backend, sizeof f->info.backend, "cuda");
    assert_non_null(strstr(om_plan_file_misfit(f, ops, device, why), "built for cuda"));
    om_plan_file_free(f);
}

static int parse_copy(const char *bytes, size_t len)
{
    om_plan_file *f = NULL;
    char *copy = om_alloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int err = om_plan_file_parse(copy, len, "x.plan", &f);
    assert_true(!err == !!f);
    om_plan_file_free(f);
    return err;
}

/* Every length and every flipped bit is met. */
static void test_cut_and_damaged(void **state)
{
    (void)state;
    char *bytes;
    size_t len;
    assert_int_equal(om_read_file(path, 1 << 20, &bytes, &len), OM_OK);
    assert_int_equal(parse_copy(bytes, len), OM_OK);
    for (size_t n = 0; n < len; n++) assert_int_equal(parse_copy(bytes, n), OM_ERR_FORMAT);
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
            assert_int_equal(parse_copy(bytes, len), OM_ERR_FORMAT);
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
        }
    om_free(bytes);
}

static void test_limits(void **state)
{
    (void)state;
    om_plan_info p = an_info();
    assert_int_equal(om_plan_file_write(path, &p, "m", 1, blobs, 0), OM_ERR_ARG);
    assert_int_equal(om_plan_file_write("/no/such/folder/x", &p, "m", 1, blobs, 1), OM_ERR_NOT_FOUND);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        om_plan_file *f = NULL;
        om_mem_fail_after(n);
        int err = write_one();
        if (!err) err = om_plan_file_load(path, &f);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        om_plan_file_free(f);
        if (!met) break;
    }
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/x.plan", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_sizes_and_batches),
        cmocka_unit_test(test_where_it_fits),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
