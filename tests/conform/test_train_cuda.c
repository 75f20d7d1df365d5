/* The products of a head's training on a GPU against the CPU's. Exit status 77, with the reason, where there
 * is no GPU or no plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/error.h"
#include "cuda_plugin.h"
#include "train/classifier.h"

static om_device *gpu;
static uint32_t seed = 1;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

static float *noise(size_t n)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = uniform();
    return v;
}

static om_mat matrix(const float *v, size_t rows, size_t columns, bool turned)
{
    return turned ? (om_mat){v, rows, columns, 1, rows} : (om_mat){v, rows, columns, columns, 1};
}

static double at(const om_mat *m, size_t r, size_t c)
{
    return (double)m->data[r * m->row_step + c * m->column_step];
}

static void check_product(size_t m, size_t k, size_t n, bool a_turned, bool b_turned, size_t c_row)
{
    float *x = noise(m * k), *y = noise(k * n), *got = noise(m * c_row),
          *before = malloc(m * c_row * sizeof *got);
    assert_non_null(before);
    memcpy(before, got, m * c_row * sizeof *got);
    om_mat a = matrix(x, m, k, a_turned), b = matrix(y, k, n, b_turned);
    if (om_device_product(gpu, &a, &b, got, c_row)) fail_msg("%s", om_error_message());
    for (size_t r = 0; r < m; r++)
        for (size_t c = 0; c < c_row; c++) {
            double want = (double)before[r * c_row + c];
            for (size_t i = 0; i < k && c < n; i++) want += at(&a, r, i) * at(&b, i, c);
            double apart = fabs((double)got[r * c_row + c] - want);
            if (!(apart <= 1e-5 * sqrt((double)k)))
                fail_msg("%zux%zu by %zux%zu, turned %d %d: [%zu][%zu] is off by %g", m, k, k, n, a_turned,
                         b_turned, r, c, apart);
        }
    void *owned[] = {x, y, got, before};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

static void products_are_the_hosts(void **state)
{
    static const size_t sizes[][3] = {{1, 1, 1},      {3, 5, 7},       {32, 64, 10},
                                      {61, 300, 129}, {1000, 33, 257}, {16, 2048, 100}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int turned = 0; turned < 4; turned++)
            check_product(sizes[i][0], sizes[i][1], sizes[i][2], turned & 1, turned & 2, sizes[i][2]);
    check_product(5, 40, 12, false, true, 20); /* c has gaps, which stay as they are */
}

static void gaps_are_refused(void **state)
{
    float v[64] = {0}, out[64] = {1};
    om_mat a = {v, 4, 4, 8, 1}, b = {v, 4, 4, 4, 1};
    assert_int_equal(om_device_product(gpu, &a, &b, out, 4), OM_ERR_UNSUPPORTED);
    a = (om_mat){v, 4, 5, 5, 1};
    assert_int_equal(om_device_product(gpu, &a, &b, out, 4), OM_ERR_ARG);
    assert_true(out[0] == 1);
}

/* A step of learning of both shapes; features and classes so many that all products are worth it. */
static void a_head_learns_alike(void **state)
{
    for (int hidden = 0; hidden <= 512; hidden += 512) {
        om_classifier_shape shape = {2048, hidden, 1000};
        om_classifier host, device;
        int labels[32], right[2] = {0};
        float *x = noise(32 * 2048);
        for (int i = 0; i < 32; i++) labels[i] = i * 31;
        assert_int_equal(om_classifier_init(&host, shape, 32, 7), OM_OK);
        assert_int_equal(om_classifier_init(&device, shape, 32, 7), OM_OK);
        device.device = gpu;
        double a = om_classifier_learn(&host, x, labels, 32, NULL, &right[0]),
               b = om_classifier_learn(&device, x, labels, 32, NULL, &right[1]), apart = 0, all = 0;
        assert_ptr_equal(device.device, gpu); /* it did not give up */
        assert_true(fabs(a - b) < 1e-4 * fabs(a));
        for (size_t i = 0; i < host.n_params; i++) {
            apart += pow((double)host.grad[i] - (double)device.grad[i], 2);
            all += pow((double)host.grad[i], 2);
        }
        printf("hidden %d: loss %.6f and %.6f, gradients apart by %.2g\n", hidden, a, b, sqrt(apart / all));
        assert_true(sqrt(apart / all) < 1e-4);
        assert_true(abs(right[0] - right[1]) <= 1);
        om_classifier_fini(&host);
        om_classifier_fini(&device);
        free(x);
    }
}

int main(void)
{
    int skip = open_cuda(&gpu);
    if (skip) return skip;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_hosts),
        cmocka_unit_test(gaps_are_refused),
        cmocka_unit_test(a_head_learns_alike),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
