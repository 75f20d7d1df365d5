/* NVIDIA's libraries are found when they are wanted, or it is said why not. No GPU is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "device/cuda/cublaslt.h"
#include "device/cuda/library.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void test_the_first_file_there_is(void **state)
{
    static const char *const files[] = {"libomma-there-is-none.so", "libm.so.6", NULL};
    void *found[2] = {NULL};
    const om_cuda_symbol symbols[] = {{"cosf", &found[0]}, {"sinf", &found[1]}};
    (void)state;
    assert_null(om_cuda_library_load("OMMA_TEST_LIBRARY", files, symbols, COUNT(symbols)));
    assert_non_null(found[0]);
    assert_non_null(found[1]);
}

static void test_the_variable_comes_first(void **state)
{
    static const char *const files[] = {"libomma-there-is-none.so", NULL};
    void *found = NULL;
    const om_cuda_symbol symbols[] = {{"cosf", &found}};
    (void)state;
    assert_int_equal(setenv("OMMA_TEST_LIBRARY", "libm.so.6", 1), 0);
    assert_null(om_cuda_library_load("OMMA_TEST_LIBRARY", files, symbols, 1));
    assert_non_null(found);
    assert_int_equal(unsetenv("OMMA_TEST_LIBRARY"), 0);
}

static void test_what_is_missing_is_named(void **state)
{
    static const char *const none[] = {"libomma-there-is-none.so", NULL}, *const other[] = {"libm.so.6",
                                                                                            NULL};
    void *found = NULL;
    const om_cuda_symbol symbols[] = {{"cublasLtCreate", &found}};
    (void)state;
    const char *why = om_cuda_library_load("OMMA_TEST_LIBRARY", none, symbols, 1);
    assert_non_null(why);
    assert_non_null(strstr(why, "libomma-there-is-none.so"));
    assert_string_equal(om_cuda_library_load("OMMA_TEST_LIBRARY", other, symbols, 1),
                        "it lacks cublasLtCreate");
}

/* Where it is installed all of its functions are there, the same ones for everybody. */
static void test_cublaslt(void **state)
{
    const char *why = "nothing";
    (void)state;
    const om_cublaslt *lt = om_cublaslt_get(&why), *again = om_cublaslt_get(&why);
    assert_ptr_equal(lt, again);
    if (!lt) {
        assert_non_null(why);
        skip();
    }
    assert_null(why);
    assert_non_null(lt->create);
    assert_non_null(lt->destroy);
    assert_non_null(lt->heuristic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_file_there_is),
        cmocka_unit_test(test_the_variable_comes_first),
        cmocka_unit_test(test_what_is_missing_is_named),
        cmocka_unit_test(test_cublaslt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
