/* Boxes against truth and against each other: small cases counted by hand, readers, and no memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "eval/dataset.h"
#include "eval/sheet.h"
#include "omma/error.h"

#include "folder.h"

static void add(om_eval_boxes *b, int image, int class_id, double x, double side, double score)
{
    om_eval_box box = {.image = image,
                       .class_id = class_id,
                       .x = x,
                       .w = side,
                       .h = side,
                       .score = score,
                       .area = side * side};
    assert_int_equal(om_eval_boxes_add(b, &box), OM_OK);
}

static void near(double a, double b) { assert_true(fabs(a - b) < 1e-12); }

/* One object found, then a wrong box, then a second object: precision 1 up to half the recall, then 2/3. */
static void test_a_curve(void **state)
{
    (void)state;
    om_eval_boxes truth = {0}, found = {0};
    om_eval_result r;
    add(&truth, 0, 0, 0, 40, 0);
    add(&truth, 1, 0, 0, 40, 0);
    add(&found, 0, 0, 0, 40, 0.9);
    add(&found, 0, 0, 200, 40, 0.8);
    add(&found, 1, 0, 0, 40, 0.7);
    assert_int_equal(om_eval_detection(&truth, &found, 2, 1, NULL, &r), OM_OK);
    near(r.scores.ap50, (51 * 1.0 + 50 * (2.0 / 3)) / 101);
    near(r.scores.ap, r.scores.ap50);
    near(r.scores.ar[0], 1); /* the best box of each picture is right */
    near(r.scores.ap_medium, r.scores.ap50);
    assert_true(isnan(r.scores.ap_small) && isnan(r.scores.ar_large));
    assert_int_equal(r.truth, 2);
    assert_int_equal(r.found, 3);
    om_eval_result_fini(&r);
    om_eval_boxes_fini(&truth);
    om_eval_boxes_fini(&found);
}

/* Boxes in a crowd count neither way; what stands for an object of another size does not count for this one.
 */
static void test_what_does_not_count(void **state)
{
    (void)state;
    om_eval_boxes truth = {0}, found = {0};
    om_eval_result r;
    add(&truth, 0, 0, 0, 40, 0);
    add(&truth, 0, 0, 100, 100, 0);
    truth.items[1].crowd = true;
    add(&found, 0, 0, 120, 20, 0.9);
    add(&found, 0, 0, 150, 20, 0.8);
    add(&found, 0, 0, 0, 40, 0.7);
    add(&found, 5, 0, 0, 40, 0.9); /* pictures and classes that are not judged */
    add(&found, 0, 3, 0, 40, 0.9);
    assert_int_equal(om_eval_detection(&truth, &found, 1, 1, NULL, &r), OM_OK);
    near(r.scores.ap, 1);
    near(r.scores.ap_medium, 1);
    assert_true(isnan(r.scores.ap_large));
    assert_int_equal(r.crowds, 1);
    om_eval_result_fini(&r);
    truth.items[0].mute = true;
    assert_int_equal(om_eval_detection(&truth, &found, 1, 1, NULL, &r), OM_OK);
    near(r.scores.ap, 0);
    om_eval_result_fini(&r);
    om_eval_boxes_fini(&truth);
    om_eval_boxes_fini(&found);
}

static void test_limits_and_mistakes(void **state)
{
    (void)state;
    om_eval_boxes truth = {0}, found = {0};
    om_eval_result r;
    om_eval_params one = {{1, 1, 1}}, falling = {{10, 1, 100}};
    add(&truth, 0, 0, 0, 10, 0);
    add(&truth, 0, 0, 50, 10, 0);
    add(&found, 0, 0, 0, 10, 0.5);
    add(&found, 0, 0, 50, 10, 0.4);
    assert_int_equal(om_eval_detection(&truth, &found, 1, 1, &one, &r), OM_OK);
    near(r.scores.ar[2], 0.5);
    om_eval_result_fini(&r);
    assert_int_equal(om_eval_detection(&truth, &found, 1, 1, &falling, &r), OM_ERR_ARG);
    found.items[0].score = NAN;
    assert_int_equal(om_eval_detection(&truth, &found, 1, 1, NULL, &r), OM_ERR_ARG);
    assert_null(r.classes);
    om_eval_boxes_fini(&truth);
    om_eval_boxes_fini(&found);
}

static void test_agreement(void **state)
{
    (void)state;
    om_eval_boxes reference = {0}, found = {0};
    om_eval_agreement a;
    add(&reference, 0, 0, 0, 40, 0.9);
    add(&reference, 0, 0, 100, 40, 0.6);
    add(&reference, 1, 1, 0, 40, 0.5);
    add(&reference, 1, 1, 300, 40, 0.1); /* below the threshold */
    add(&found, 0, 0, 0, 40, 0.8);
    add(&found, 0, 0, 100, 40, 0.2); /* fell below it */
    add(&found, 1, 0, 0, 40, 0.7);   /* of another class */
    assert_int_equal(om_eval_agree(&reference, &found, 2, 2, 0.25, &a), OM_OK);
    assert_int_equal(a.reference, 3);
    assert_int_equal(a.found, 2);
    assert_int_equal(a.matched, 1);
    assert_int_equal(a.missed, 2);
    assert_int_equal(a.extra, 1);
    assert_int_equal(a.pairs, 2);
    assert_true(fabs(a.drift_mean + 0.25) < 1e-12 && fabs(a.drift_abs - 0.25) < 1e-12);
    assert_true(fabs(a.drift_max - 0.4) < 1e-12 && fabs(a.iou_mean - 1) < 1e-12);
    /* Class 0: right, wrong, right: 51 places at 1 and 50 at 2/3; class 1: nothing. */
    near(a.ap50, (51 + 50 * (2.0 / 3)) / 101 / 2);
    assert_int_equal(om_eval_agree(&reference, &found, 2, 2, 0.95, &a), OM_OK);
    assert_true(isnan(a.ap50) && isnan(a.drift_mean) && a.reference == 0);
    om_eval_boxes_fini(&reference);
    om_eval_boxes_fini(&found);
}

static const char coco[] =
    "{\"info\":{\"a\":[1,\"}\\\"]\"]},\"images\":[{\"id\":7,\"file_name\":\"b.jpg\",\"width\":100,\"height\":50},"
    "{\"id\":3,\"file_name\":\"a.jpg\"}],\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":18,"
    "\"bbox\":[1,2,10,20],\"area\":150.5,\"iscrowd\":1},{\"id\":2,\"image_id\":3,\"category_id\":1,"
    "\"bbox\":[1,2,10,20]},{\"id\":3,\"image_id\":99,\"category_id\":1,\"bbox\":[0,0,1,1]}],"
    "\"categories\":[{\"id\":18,\"name\":\"dog\"},{\"id\":1,\"name\":\"traffic light\"}]}";

static void test_coco(void **state)
{
    (void)state;
    om_eval_set s;
    om_eval_boxes found;
    size_t foreign;
    assert_int_equal(om_eval_read_coco(folder_file("t", coco), &s), OM_OK);
    assert_int_equal(s.n_images, 2);
    assert_string_equal(s.images[0].file, "a.jpg");
    assert_string_equal(s.classes[1].name, "dog");
    assert_int_equal(s.truth.n, 2);
    assert_int_equal(s.strays, 1);
    assert_true(s.truth.items[0].crowd && s.truth.items[0].image == 1 && s.truth.items[0].class_id == 1);
    near(s.truth.items[0].area, 150.5);
    near(s.truth.items[1].area, 200);
    assert_int_equal(om_eval_set_size(&s, 1, 100, 50), OM_OK);
    assert_int_equal(om_eval_set_size(&s, 1, 50, 100), OM_ERR_ARG);
    const char *results =
        folder_file("r", "[{\"image_id\":7,\"category_id\":18,\"bbox\":[1,2,3,4],\"score\":0.5},\n"
                         "{\"image_id\":3,\"category_id\":5,\"bbox\":[1,2,3,4],\"score\":1}]");
    assert_int_equal(om_eval_read_found(results, &s, &found, &foreign), OM_OK);
    assert_int_equal(found.n, 1);
    assert_int_equal(foreign, 1);
    om_eval_boxes_fini(&found);
    om_eval_set_fini(&s);
}

static void test_classes_are_matched(void **state)
{
    (void)state;
    static const char *const own[] = {"person", "Traffic-Light"}, *const others[] = {"x", "y", "z"};
    om_eval_set s;
    om_eval_map m;
    assert_int_equal(om_eval_read_coco(folder_file("t", coco), &s), OM_OK);
    assert_int_equal(om_eval_match_classes(&s, own, 2, 2, OM_EVAL_MATCH_AUTO, &m), OM_OK);
    assert_true(m.n == 2 && m.of[0] == -1 && m.of[1] == 0 && m.unmatched == 1);
    assert_string_equal(m.examples, "dog");
    om_eval_map_fini(&m);
    assert_int_equal(om_eval_match_classes(&s, NULL, 0, 2, OM_EVAL_MATCH_AUTO, &m), OM_OK);
    assert_true(m.of[0] == 0 && m.of[1] == 1 && !m.unmatched && !m.examples);
    om_eval_map_fini(&m);
    assert_int_equal(om_eval_match_classes(&s, NULL, 0, 91, OM_EVAL_MATCH_AUTO, &m), OM_OK);
    assert_true(m.n == 91 && m.of[1] == 0 && m.of[18] == 1 && m.of[0] == -1);
    om_eval_map_fini(&m);
    assert_int_equal(om_eval_match_classes(&s, others, 3, 3, OM_EVAL_MATCH_AUTO, &m), OM_ERR_ARG);
    assert_int_equal(om_eval_match_classes(&s, others, 3, 3, OM_EVAL_MATCH_ORDER, &m), OM_OK);
    assert_true(m.of[1] == 1 && m.of[2] == -1);
    om_eval_map_fini(&m);
    assert_int_equal(om_eval_match_classes(&s, others, 3, 3, OM_EVAL_MATCH_ID, &m), OM_ERR_ARG);
    om_eval_set_fini(&s);
}

static void test_yolo(void **state)
{
    (void)state;
    om_eval_set s;
    om_strlist pictures = {0};
    folder_file("one.txt", "2 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.1 0.2 0.5\n");
    folder_file("other.txt", "0 0.5 0.5 1 1\n");
    assert_int_equal(om_strlist_add(&pictures, "x/none.png"), OM_OK);
    assert_int_equal(om_strlist_add(&pictures, "x/one.png"), OM_OK);
    assert_int_equal(om_eval_read_yolo(folder, &pictures, &s), OM_OK);
    assert_true(s.n_images == 2 && s.n_classes == 3 && s.truth.n == 2 && s.strays == 1);
    assert_int_equal(om_eval_set_size(&s, 1, 200, 100), OM_OK);
    near(s.truth.items[0].x, 80);
    near(s.truth.items[0].h, 40);
    near(s.truth.items[1].x, 20);
    near(s.truth.items[1].area, 40 * 40);
    om_eval_set_fini(&s);
    folder_file("one.txt", "0 0.5 0.5 0.2 0.4 0.9\n");
    assert_int_equal(om_eval_read_yolo(folder, &pictures, &s), OM_ERR_FORMAT);
    folder_file("one.txt", "0.5 0.5 0.5 0.2 0.4\n");
    assert_int_equal(om_eval_read_yolo(folder, &pictures, &s), OM_ERR_FORMAT);
    folder_file("one.txt", "0 50 0.5 0.2 0.4\n");
    assert_int_equal(om_eval_read_yolo(folder, &pictures, &s), OM_ERR_FORMAT);
    static const char cut[] =
        "0 0.5 0.5 0.2 0.4\n\0 0.1 0.1 0.1 0.1\n"; /* what lies behind a NUL is not lost silently */
    assert_int_equal(om_write_file_atomic(folder_path("one.txt"), cut, sizeof cut - 1), OM_OK);
    assert_int_equal(om_eval_read_yolo(folder, &pictures, &s), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "one.txt: not a text"));
    om_strlist_fini(&pictures);
}

/* Nothing that is there goes unread, and a name that could not be had is no "null". */
static void test_found_files(void **state)
{
    (void)state;
    om_eval_set s, y = {.fractions = true};
    om_eval_boxes found;
    size_t foreign;
    assert_int_equal(om_eval_read_coco(folder_file("t", coco), &s), OM_OK);
    assert_int_equal(om_eval_read_found(folder_file("r", " [ ] \n"), &s, &found, &foreign), OM_OK);
    om_eval_boxes_fini(&found);
    assert_int_equal(om_eval_read_found(folder_file("r", "[]\n[]\n"), &s, &found, &foreign), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "not JSON at byte 3"));
    assert_int_equal(om_eval_read_found(folder_file("r", "[]]"), &s, &found, &foreign), OM_ERR_FORMAT);
    om_eval_set_fini(&s);
    om_eval_image image = {.file = (char *)"a/one.png"};
    om_eval_category category = {.id = 1};
    y.images = &image;
    y.classes = &category;
    bool met = true;
    for (long n = 0; met; n++) {
        om_str out = {0};
        om_eval_box box = {.w = 1, .h = 1, .score = 0.5};
        om_mem_fail_after(n);
        om_eval_write_found(&out, &y, &box, true);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(out.failed, met);
        if (!met) assert_non_null(strstr(om_str_get(&out), "\"image_id\":\"one\""));
        om_str_fini(&out);
    }
}

static void test_sheet(void **state)
{
    (void)state;
    om_sheet s;
    const char *path =
        folder_file("t", "\xef\xbb\xbf"
                         "file,text\r\na.png,AB 12\r\n\"b,\"\"1.png\",\"x\ny\",ignored\n\nc.png,");
    assert_int_equal(om_sheet_read_csv(path, &s), OM_OK);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.rows[0].word, "AB 12");
    assert_string_equal(s.rows[1].file, "b,\"1.png");
    assert_string_equal(s.rows[1].word, "x\ny");
    assert_string_equal(s.rows[2].word, "");
    om_sheet_fini(&s);
    assert_int_equal(om_sheet_read_csv(folder_file("t", "a.png\n"), &s), OM_ERR_FORMAT);
    assert_int_equal(om_sheet_read_csv(folder_file("t", "a.png,\"x\n"), &s), OM_ERR_FORMAT);
    assert_int_equal(om_sheet_read_csv(folder_file("t", "a.png,\"x\"y\n"), &s), OM_ERR_FORMAT);
    assert_int_equal(om_sheet_read_csv(folder_file("t", "a.png,x\na.png,y\n"), &s), OM_ERR_ARG);
    assert_int_equal(om_sheet_read_csv(folder_file("t", "file,text\n"), &s), OM_ERR_ARG);
}

static void test_text(void **state)
{
    (void)state;
    size_t d, n;
    om_text_scores s = {0};
    assert_int_equal(om_text_distance("kitten", "sitting", &d, &n), OM_OK);
    assert_true(d == 3 && n == 7);
    assert_int_equal(om_text_distance("", "京A", &d, &n), OM_OK);
    assert_true(d == 2 && n == 2);
    assert_int_equal(om_text_distance("京A12", "沪A2", &d, &n), OM_OK);
    assert_true(d == 2 && n == 3);
    assert_int_equal(om_text_distance("\xff\xfe", "\xff", &d, &n), OM_OK);
    assert_true(d == 1 && n == 1);
    assert_true(isnan(om_text_scores_exact(&s)) && isnan(om_text_scores_cer(&s)));
    assert_int_equal(om_text_scores_add(&s, "AB", "AB"), OM_OK);
    assert_int_equal(om_text_scores_add(&s, "", "ABCD"), OM_OK);
    near(om_text_scores_exact(&s), 0.5);
    near(om_text_scores_cer(&s), 4.0 / 6);
    om_class_scores c = {0};
    om_class_scores_add(&c, (const int[]){4, 2, 1}, 3, 2);
    om_class_scores_add(&c, (const int[]){4}, 1, 4);
    om_class_scores_add(&c, NULL, 0, 4);
    assert_true(c.pictures == 3 && c.top1 == 1 && c.top5 == 2);
}

static int all_of_it(const char *truth, const char *results)
{
    om_eval_set s;
    om_eval_boxes found = {0};
    om_eval_result r = {0};
    om_eval_agreement a;
    om_eval_map m = {0};
    om_strlist pictures = {0};
    static const char *const own[] = {"person", "dog"};
    size_t foreign;
    int err = om_eval_read_coco(truth, &s);
    if (!err) err = om_eval_read_found(results, &s, &found, &foreign);
    if (!err) err = om_eval_match_classes(&s, own, 2, 2, OM_EVAL_MATCH_AUTO, &m);
    if (!err) err = om_eval_detection(&s.truth, &found, 2, 2, NULL, &r);
    if (!err) err = om_eval_agree(&found, &found, 2, 2, 0.25, &a);
    om_eval_result_fini(&r);
    om_eval_map_fini(&m);
    om_eval_boxes_fini(&found);
    om_eval_set_fini(&s);
    if (!err) err = om_strlist_add(&pictures, "p/one.png");
    if (!err) err = om_eval_read_yolo(folder, &pictures, &s);
    om_eval_set_fini(&s);
    om_strlist_fini(&pictures);
    return err;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const char *truth = strdup(folder_file("t", coco));
    folder_file("one.txt", "0 0.5 0.5 1 1\n");
    const char *results =
        folder_file("r", "[{\"image_id\":7,\"category_id\":18,\"bbox\":[1,2,3,4],\"score\":0.5}]");
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = all_of_it(truth, results);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        if (!met) break;
    }
    free((void *)truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_curve),
        cmocka_unit_test(test_what_does_not_count),
        cmocka_unit_test(test_limits_and_mistakes),
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_coco),
        cmocka_unit_test(test_classes_are_matched),
        cmocka_unit_test(test_yolo),
        cmocka_unit_test(test_found_files),
        cmocka_unit_test(test_sheet),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
