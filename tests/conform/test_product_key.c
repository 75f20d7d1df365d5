/* Steps that share what was tuned for one of them have to be computed alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "backend/cuda/tune.h"

static omcu_step make(void)
{
    return (omcu_step){.kind = OMCU_STEP_CONV,
                       .half = true,
                       .in = {{.type = OMCU_F16}},
                       .u.conv = {.n = 64,
                                  .h = 2000000,
                                  .wd = 2000000,
                                  .c = 512,
                                  .ho = 2000000,
                                  .wo = 2000000,
                                  .k = 512,
                                  .r = 11,
                                  .s = 11,
                                  .stride_y = 1,
                                  .stride_x = 1,
                                  .groups = 1,
                                  .x_n = 1000000000000,
                                  .x_h = 1000000000000,
                                  .x_w = 512,
                                  .y_n = 1000000000000,
                                  .y_h = 1000000000000,
                                  .y_w = 512,
                                  .r_n = 1000000000000,
                                  .r_h = 1000000000000,
                                  .r_w = 512,
                                  .act1 = {.op = OMCU_LEAKY, .a = 0.1f},
                                  .vector = true}};
}

static bool same(const omcu_step *a, const omcu_step *b)
{
    char x[OMCU_KEY], y[OMCU_KEY];
    omcu_product_key(a, false, x);
    omcu_product_key(b, false, y);
    assert_true(strlen(x) < OMCU_KEY - 32); /* none is cut short */
    return strcmp(x, y) == 0;
}

static void equal_steps_share(void **state)
{
    omcu_step a = make(), b = make();
    b.in[1].buffer = 7; /* weights may differ */
    b.in[0].offset = 24;
    assert_true(same(&a, &b));
}

static void numbers_of_activations_count(void **state)
{
    omcu_step a = make(), b = make();
    b.u.conv.act1.a = 0.2f;
    assert_false(same(&a, &b));
    b = make();
    b.u.conv.act1.b = 0.1f;
    assert_false(same(&a, &b));
    b = make();
    a.u.conv.act1 = a.u.conv.act2 = (omcu_act){.op = OMCU_CLIP, .b = 6};
    b.u.conv.act1 = b.u.conv.act2 = a.u.conv.act1;
    assert_true(same(&a, &b));
    b.u.conv.act2.b = 1;
    assert_false(same(&a, &b));
    b.u.conv.act2 = a.u.conv.act2;
    b.u.conv.act1.b = 1; /* the other one of the two */
    assert_false(same(&a, &b));
}

static void what_a_library_reads_at_once_counts(void **state)
{
    omcu_step a = make(), b = make();
    a.u.conv.groups = b.u.conv.groups = 32;
    b.in[0].offset = 16;
    assert_true(same(&a, &b));
    b.in[0].offset = 12;
    assert_false(same(&a, &b));
}

static void sizes_and_kinds_count(void **state)
{
    omcu_step a = make(), b = make();
    b.u.conv.y_n++;
    assert_false(same(&a, &b));
    b = make();
    b.has_res = true;
    assert_false(same(&a, &b));
    b = make();
    b.half = false;
    assert_false(same(&a, &b));
    b = make();
    b.u.conv.vector = false;
    assert_false(same(&a, &b));
    b = make();
    b.u.conv.y_grid.scale = 1;
    assert_false(same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_steps_share),
        cmocka_unit_test(numbers_of_activations_count),
        cmocka_unit_test(what_a_library_reads_at_once_counts),
        cmocka_unit_test(sizes_and_kinds_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
