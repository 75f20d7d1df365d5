/* Tracks against truth: small cases counted by hand, and no memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "eval/mot.h"
#include "omma/error.h"

#include "folder.h"

static int score(const char *truth, const char *result, om_mot_scores *out)
{
    om_mot_boxes a = {0}, b = {0};
    int err = om_mot_read(truth, NULL, 1, &a);
    if (!err) err = om_mot_read(result, NULL, 0, &b);
    if (!err) err = om_mot_score(&a, &b, 0.5, out);
    om_mot_boxes_fini(&a);
    om_mot_boxes_fini(&b);
    return err;
}

/* An object whose track breaks in two: one switch, one gap, half its identity. */
static void test_a_broken_track(void **state)
{
    (void)state;
    const char *truth =
        folder_file("t", "1,1,0,0,10,10\n2,1,0,0,10,10\n3,1,0,0,10,10\n4,1,0,0,10,10\n9,5,0,0,1,1,0\n");
    const char *result =
        folder_file("r", "1,7,0,0,10,10\n2 7 0 0 10 10\n4, 8, 0, 0, 10, 10\n4,9,50,50,10,10\n");
    om_mot_scores s;
    assert_int_equal(score(truth, result, &s), OM_OK);
    assert_int_equal(s.frames, 4);
    assert_int_equal(s.objects, 4);
    assert_int_equal(s.matches, 2);
    assert_int_equal(s.switches, 1);
    assert_int_equal(s.misses, 1);
    assert_int_equal(s.false_positives, 1);
    assert_int_equal(s.fragmentations, 1);
    assert_int_equal(s.partially_tracked, 1);
    assert_int_equal(s.idtp, 2);
    assert_true(fabs(s.mota - 0.25) < 1e-12);
    assert_true(fabs(s.idf1 - 0.5) < 1e-12);
    /* DetA 3/5; AssA: (2 * 2/4 + 1 * 1/4) / 3 */
    assert_true(fabs(s.deta - 0.6) < 1e-12 && fabs(s.assa - 1.25 / 3) < 1e-12 &&
                fabs(s.hota - sqrt(0.25)) < 1e-12);
}

static void test_pairs_stay_together(void **state)
{
    (void)state;
    /* In frame 2 the other box fits better, but the old one fits well enough. */
    const char *truth = folder_file("t", "1,1,0,0,10,10\n2,1,0,0,10,10\n");
    const char *result = folder_file("r", "1,7,0,0,10,10\n2,7,0,0,10,7\n2,8,0,0,10,10\n");
    om_mot_scores s;
    assert_int_equal(score(truth, result, &s), OM_OK);
    assert_int_equal(s.switches, 0);
    assert_true(fabs(s.motp - 0.15) < 1e-12);
}

static void test_what_is_no_text(void **state)
{
    (void)state;
    static const char rows[] = "1,1,0,0,10,10\n\0,1,0,0,10,10\n";
    om_mot_boxes boxes;
    assert_int_equal(om_write_file_atomic(folder_path("t"), rows, sizeof rows - 1), OM_OK);
    assert_int_equal(om_mot_read(folder_path("t"), NULL, true, &boxes), OM_ERR_FORMAT);
    assert_null(boxes.items);
}

static void test_boxes_whose_area_is_no_number(void **state)
{
    (void)state;
    om_mot_boxes boxes;
    assert_int_equal(om_mot_read(folder_file("t", "1,1,0,0,1e300,1e300\n"), NULL, true, &boxes),
                     OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "t:1: a box of numbers"));
}

/* They overlap, and their areas are too small for any number. */
static void test_boxes_too_thin_for_an_area(void **state)
{
    (void)state;
    const char *rows = "1,1,0,0,1e-200,1e-200\n1,2,50,0,10,10\n2,1,0,0,1e-200,1e-200\n";
    om_mot_scores s;
    assert_int_equal(score(folder_file("t", rows), folder_file("r", rows), &s), OM_OK);
    assert_true(isfinite(s.motp) && isfinite(s.hota) && isfinite(s.idf1) && isfinite(s.loca));
    assert_int_equal(s.matches, 1);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const char *truth = folder_file("t", "1,1,0,0,10,10\n1,2,20,0,10,10\n2,1,0,0,10,10\n");
    const char *result =
        folder_file("r", "{\"seq\":0,\"stream\":\"a\",\"objects\":[{\"track\":1,\"box\":[0,0,10,10]}]}\n");
    for (long n = 0;; n++) {
        om_mot_scores s;
        om_mem_fail_after(n);
        int err = score(truth, result, &s);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        if (!met) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broken_track),
        cmocka_unit_test(test_pairs_stay_together),
        cmocka_unit_test(test_what_is_no_text),
        cmocka_unit_test(test_boxes_whose_area_is_no_number),
        cmocka_unit_test(test_boxes_too_thin_for_an_area),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
