/* Assignment against brute force; matching; trackers on made-up ways, gaps, crossings and nonsense. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "omma/error.h"
#include "track/track.h"

static uint32_t seed = 1;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 16777216.0f;
}

/* The least sum of (cost - gate) over all ways to pair, by trying them all. */
static double least(const float *cost, int rows, int cols, float gate, int row, unsigned taken)
{
    if (row == rows) return 0;
    double best = least(cost, rows, cols, gate, row + 1, taken);
    for (int j = 0; j < cols; j++) {
        double c = (double)cost[row * cols + j];
        if (taken >> j & 1 || c >= (double)gate) continue;
        double d = c - (double)gate + least(cost, rows, cols, gate, row + 1, taken | 1u << j);
        if (d < best) best = d;
    }
    return best;
}

static void test_assignment_is_the_best(void **state)
{
    (void)state;
    om_assign_work w = {0};
    for (int n = 0; n < 3000; n++) {
        int rows = 1 + (int)(uniform() * 6), cols = 1 + (int)(uniform() * 6), row_col[6];
        float cost[36], gate = n % 3 ? uniform() * 1.2f : 1e4f;
        bool ties = n % 2;
        for (int i = 0; i < rows * cols; i++)
            cost[i] = ties ? (float)(int)(uniform() * 4) / 4 : uniform() * 2 - 0.5f;
        assert_int_equal(om_assign(&w, cost, rows, cols, gate, row_col), OM_OK);
        double sum = 0;
        unsigned taken = 0;
        for (int i = 0; i < rows; i++) {
            if (row_col[i] < 0) continue;
            assert_false(taken >> row_col[i] & 1);
            taken |= 1u << row_col[i];
            assert_true(cost[i * cols + row_col[i]] < gate);
            sum += (double)cost[i * cols + row_col[i]] - (double)gate;
        }
        assert_true(fabs(sum - least(cost, rows, cols, gate, 0, 0)) < 1e-2 * (gate > 100 ? 1 : 1e-3));
    }
    om_assign_fini(&w);
}

static void test_assignment_without_a_gate(void **state)
{
    (void)state;
    om_assign_work w = {0};
    const float cost[] = {4, 1, 3, 2, 0, 5, 3, 2, 2};
    int row_col[3];
    assert_int_equal(om_assign(&w, cost, 3, 3, INFINITY, row_col), OM_OK);
    assert_int_equal(row_col[0], 1);
    assert_int_equal(row_col[1], 0);
    assert_int_equal(row_col[2], 2);
    const float holes[] = {NAN, 1, INFINITY, 2, 1, NAN, NAN, NAN, NAN};
    assert_int_equal(om_assign(&w, holes, 3, 3, INFINITY, row_col), OM_OK);
    assert_int_equal(row_col[0], 1);
    assert_int_equal(row_col[1], 0);
    assert_int_equal(row_col[2], -1);
    assert_int_equal(om_assign(&w, NULL, 0, 3, 1, row_col), OM_OK);
    om_assign_fini(&w);
}

static om_match_item item(float x, float y, float size, int class_id, int index)
{
    return (om_match_item){{x, y, x + size, y + size}, class_id, index};
}

/* A matching found in groups is worth as much as one found over all boxes at once. */
static void test_matching_in_groups_is_the_best(void **state)
{
    (void)state;
    om_matcher m = {0};
    om_assign_work w = {0};
    om_match_item rows[60], cols[60];
    float cost[3600];
    int row_col[60], whole[60];
    for (int n = 0; n < 200; n++) {
        int n_rows = (int)(uniform() * 60), n_cols = (int)(uniform() * 60);
        float room = 100 + 600 * uniform(), got = 0, best = 0;
        om_match_rule rule = {.min_iou = 0.1f};
        for (int i = 0; i < n_rows; i++)
            rows[i] = item(uniform() * room, uniform() * room, 20 + uniform() * 80, n % 2 ? i % 2 : 0, i);
        for (int j = 0; j < n_cols; j++)
            cols[j] = item(uniform() * room, uniform() * room, 20 + uniform() * 80, n % 2 ? j % 2 : 0, j);
        assert_int_equal(om_match(&m, rows, n_rows, cols, n_cols, &rule, row_col), OM_OK);
        for (int i = 0; i < n_rows * n_cols; i++) {
            const om_match_item *r = &rows[i / n_cols], *c = &cols[i % n_cols];
            float iou = om_box_iou(r->box, c->box);
            cost[i] = iou >= 0.1f && r->class_id == c->class_id ? -iou : 0;
        }
        assert_int_equal(om_assign(&w, cost, n_rows, n_cols, 0, whole), OM_OK);
        for (int i = 0; i < n_rows; i++) {
            if (row_col[i] >= 0) got += om_box_iou(rows[i].box, cols[row_col[i]].box);
            if (whole[i] >= 0) best += om_box_iou(rows[i].box, cols[whole[i]].box);
            for (int k = 0; k < i; k++) assert_true(row_col[i] < 0 || row_col[i] != row_col[k]);
            if (row_col[i] >= 0) assert_int_equal(rows[i].class_id, cols[row_col[i]].class_id);
        }
        assert_true(fabsf(got - best) < 1e-3f);
    }
    om_assign_fini(&w);
    om_matcher_fini(&m);
}

static om_detection *add(om_dets *d, float x, float y, float w, float h, float score, int class_id)
{
    om_detection *n = om_dets_add(d);
    assert_non_null(n);
    n->x = x, n->y = y, n->w = w, n->h = h, n->score = score, n->class_id = class_id;
    return n;
}

static om_tracker *make(const char *name, const om_track_params *p)
{
    om_track_params own;
    om_tracker *t;
    om_track_params_default(&own);
    const om_tracker_ops *ops = om_tracker_ops_for(name);
    assert_non_null(ops);
    assert_int_equal(om_tracker_create(ops, p ? p : &own, &t), OM_OK);
    return t;
}

static const char *const names[] = {"iou", "bytetrack", "ocsort"};

/* Ten boxes on straight ways, each lost for up to five frames at times. */
static void test_numbers_outlast_short_losses(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        om_tracker *t = make(names[k], NULL);
        int64_t id[10];
        for (int f = 0; f < 200; f++) {
            om_dets d = {0};
            int who[10], n = 0;
            for (int i = 0; i < 10; i++) {
                if (f > 10 && (f + 13 * i) % 40 < 5) continue;
                add(&d, 20 + (float)f * 1.5f, 100.0f * (float)i, 40, 80, 0.9f, i % 3);
                who[n++] = i;
            }
            assert_int_equal(om_tracker_update(t, (uint64_t)f, 1920, 1080, &d), OM_OK);
            for (int i = 0; i < n; i++) {
                assert_true(d.items[i].track > 0);
                if (f == 0) id[who[i]] = d.items[i].track;
                assert_int_equal(d.items[i].track, id[who[i]]);
            }
            om_dets_fini(&d);
        }
        om_tracker_destroy(t);
    }
}

/* Two boxes meet and part again; with motion each keeps its number. */
static void test_crossing(void **state)
{
    (void)state;
    for (size_t k = 1; k < 3; k++) {
        om_tracker *t = make(names[k], NULL);
        for (int f = 0; f < 100; f++) {
            om_dets d = {0};
            add(&d, 10.0f + 6 * (float)f, 200, 60, 120, 0.9f, 0);
            add(&d, 610.0f - 6 * (float)f, 210, 60, 120, 0.9f, 0);
            assert_int_equal(om_tracker_update(t, (uint64_t)f, 640, 480, &d), OM_OK);
            assert_int_equal(d.items[0].track, 1);
            assert_int_equal(d.items[1].track, 2);
            om_dets_fini(&d);
        }
        om_tracker_destroy(t);
    }
}

/* A box half hidden shows its one side, then its other; and one that moves fast turns back. */
static void test_hidden_and_turning(void **state)
{
    (void)state;
    for (size_t k = 1; k < 3; k++) {
        om_tracker *t = make(names[k], NULL);
        for (int f = 0; f < 60; f++) {
            om_dets d = {0};
            float x = 100 + 3 * (float)f, turn = 900 + 20 * (float)(f < 30 ? f : 60 - f);
            if (f >= 30 && f < 33) add(&d, x + 55, 100, 5, 100, 0.9f, 0);
            else if (f >= 33 && f < 36) add(&d, x, 100, 8, 100, 0.9f, 0);
            else add(&d, x, 100, 60, 100, 0.9f, 0);
            add(&d, turn, 400, 60, 60, 0.9f, 0);
            assert_int_equal(om_tracker_update(t, (uint64_t)f, 1920, 1080, &d), OM_OK);
            assert_int_equal(d.items[0].track, 1);
            assert_int_equal(d.items[1].track, 2);
            om_dets_fini(&d);
        }
        om_tracker_destroy(t);
    }
}

static void test_weak_boxes_keep_a_track(void **state)
{
    (void)state;
    om_tracker *t = make("bytetrack", NULL);
    for (int f = 0; f < 60; f++) {
        om_dets d = {0};
        add(&d, 100 + (float)f, 100, 50, 100, f > 10 && f < 50 ? 0.15f : 0.9f, 0);
        add(&d, 400, 100, 50, 100, 0.15f, 0); /* never strong: never a track */
        assert_int_equal(om_tracker_update(t, (uint64_t)f, 640, 480, &d), OM_OK);
        assert_int_equal(d.items[0].track, 1);
        assert_int_equal(d.items[1].track, -1);
        om_tracker_report(&d, 0.25f);
        assert_int_equal(d.n, 1);
        om_dets_fini(&d);
    }
    om_tracker_destroy(t);
}

static void test_classes_apart_unless_asked(void **state)
{
    (void)state;
    for (int agnostic = 0; agnostic < 2; agnostic++)
        for (size_t k = 0; k < 3; k++) {
            om_track_params p;
            om_track_params_default(&p);
            p.agnostic = agnostic;
            p.min_hits = 1;
            om_tracker *t = make(names[k], &p);
            for (int f = 0; f < 20; f++) {
                om_dets d = {0};
                add(&d, 100, 100, 50, 50, 0.9f, f >= 10);
                assert_int_equal(om_tracker_update(t, (uint64_t)f, 640, 480, &d), OM_OK);
                assert_int_equal(d.items[0].track, f < 10 || agnostic ? 1 : 2);
                om_dets_fini(&d);
            }
            om_tracker_destroy(t);
        }
}

/* Numbers begin to be given after min_hits frames, end after `buffer`, and are new after a restart. */
static void test_life_of_a_track(void **state)
{
    (void)state;
    om_track_params p;
    om_track_params_default(&p);
    p.min_hits = 3;
    p.buffer = 5;
    for (size_t k = 0; k < 3; k++) {
        om_tracker *t = make(names[k], &p);
        static const struct {
            int seq;
            bool box;
            int64_t track;
        } steps[] = {{0, false, 0},  {1, true, -1},  {2, true, -1},  {3, true, 1},   {4, false, 0},
                     {8, true, 1},   {9, false, 0},  {10, false, 0}, {11, false, 0}, {12, false, 0},
                     {13, false, 0}, {14, false, 0}, {15, false, 0}, {16, true, -1}, {17, true, -1},
                     {18, true, 2},  {3, true, 3},   {4, true, 3}};
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            om_dets d = {0};
            if (steps[i].box) add(&d, 100, 100, 50, 50, 0.9f, 0);
            assert_int_equal(om_tracker_update(t, (uint64_t)steps[i].seq, 640, 480, &d), OM_OK);
            if (steps[i].box) assert_int_equal(d.items[0].track, steps[i].track);
            om_dets_fini(&d);
        }
        om_dets d = {0};
        add(&d, 100, 100, 50, 50, 0.9f, 0);
        assert_int_equal(om_tracker_update(t, 5, 320, 240, &d), OM_OK); /* another picture size: begun anew */
        assert_int_equal(d.items[0].track, 4);
        om_dets_fini(&d);
        om_tracker_destroy(t);
    }
}

/* Frames left out at random, as a live stream does: motion knows how far apart they are. */
static void test_left_out_frames(void **state)
{
    (void)state;
    om_tracker *t = make("bytetrack", NULL);
    seed = 5;
    uint64_t seq = 0;
    for (int f = 0; f < 300; f++) {
        om_dets d = {0};
        seq += f > 20 && uniform() < 0.3f ? 4 : 1;
        add(&d, 10 + 14 * (float)seq, 100, 40, 60, 0.9f, 0);
        assert_int_equal(om_tracker_update(t, seq, 10000, 480, &d), OM_OK);
        assert_int_equal(d.items[0].track, 1);
        om_dets_fini(&d);
    }
    om_tracker_destroy(t);
}

static float odd_number(void)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0, -1, 1e30f, -1e30f, 1e-30f, 5e5f};
    return uniform() < 0.4f ? odd[(int)(uniform() * 9)] : uniform() * 500;
}

static void test_nonsense(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        om_tracker *t = make(names[k], NULL);
        for (int f = 0; f < 200; f++) {
            om_dets d = {0};
            for (int i = 0; i < 50; i++)
                add(&d, odd_number(), odd_number(), odd_number(), odd_number(), odd_number(),
                    (int)(uniform() * 3));
            assert_int_equal(om_tracker_update(t, (uint64_t)f, 640, 480, &d), OM_OK);
            for (size_t i = 0; i < d.n; i++)
                if (d.items[i].track >= 0)
                    assert_true(isfinite(d.items[i].x) && d.items[i].w > 0 && d.items[i].h > 0);
            om_dets_fini(&d);
        }
        om_tracker_destroy(t);
    }
}

/* Ten thousand boxes a frame: scattered, all over each other, all the same. */
static void test_ten_thousand_boxes(void **state)
{
    (void)state;
    int64_t begin = om_now_ns();
    for (size_t k = 0; k < 3; k++)
        for (int how = 0; how < 3; how++) {
            om_tracker *t = make(names[k], NULL);
            for (int f = 0; f < 4; f++) {
                om_dets d = {0};
                float room = how == 0 ? 1900 : how == 1 ? 60 : 0;
                for (int i = 0; i < 10000; i++)
                    add(&d, uniform() * room, uniform() * room, 50, 50, 0.3f + 0.6f * uniform(), 0);
                assert_int_equal(om_tracker_update(t, (uint64_t)f, 1920, 1080, &d), OM_OK);
                int tracked = 0;
                for (size_t i = 0; i < d.n; i++) tracked += d.items[i].track >= 0;
                assert_true(tracked <= OM_TRACK_MAX_BOXES);
                if (f == 0) assert_int_equal(tracked, OM_TRACK_MAX_BOXES);
                om_dets_fini(&d);
            }
            om_tracker_destroy(t);
        }
    assert_true(om_now_ns() - begin < 60 * OM_NS_PER_SEC);
}

static void test_parameters(void **state)
{
    (void)state;
    om_track_params p;
    om_tracker *t = (om_tracker *)1;
    om_track_params_default(&p);
    p.low = 0.5;
    assert_int_equal(om_track_params_resolve(om_tracker_ops_for("bytetrack"), &p), OM_OK);
    assert_true(p.high >= p.low && p.start >= p.high);
    p.high = 0.3;
    assert_int_equal(om_tracker_create(om_tracker_ops_for("bytetrack"), &p, &t), OM_ERR_ARG);
    assert_null(t);
    assert_non_null(strstr(om_error_message(), "--track-low 0.5"));
    assert_null(om_tracker_ops_for("bytetrak"));
    assert_non_null(strstr(om_error_message(), "did you mean 'bytetrack'"));
}

static int life(const char *name)
{
    om_track_params p;
    om_tracker *t;
    om_track_params_default(&p);
    int err = om_tracker_create(om_tracker_ops_for(name), &p, &t);
    for (int f = 0; f < 3 && !err; f++) {
        om_dets d = {0};
        for (int i = 0; i < 40 && !err; i++) {
            om_detection *n = om_dets_add(&d);
            err = n ? OM_OK : OM_ERR_NOMEM;
            if (n)
                *n = (om_detection){
                    .x = 10.0f * (float)i, .y = 5, .w = 25, .h = 40, .score = 0.9f, .track = -1};
        }
        if (!err) err = om_tracker_update(t, (uint64_t)f, 640, 480, &d);
        om_dets_fini(&d);
    }
    om_tracker_destroy(t);
    return err;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++)
        for (long n = 0;; n++) {
            om_mem_fail_after(n);
            int err = life(names[k]);
            bool met = om_mem_injected();
            om_mem_fail_after(-1);
            assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
            if (!met) break;
        }
}

/* A scene that is looked at now and then while nothing moves: the wide gaps are not its pace, unless they go
 * on; when it moves again, its frames are neighbours at once. */
static void test_gaps_are_not_the_pace(void **state)
{
    (void)state;
    om_tracker *t;
    om_dets none = {0};
    om_track_params own;
    om_track_params_default(&own);
    assert_int_equal(om_tracker_create(om_tracker_ops_for("bytetrack"), &own, &t), OM_OK);
    uint64_t seq = 0;
    for (int i = 0; i < 20; i++) assert_int_equal(om_tracker_update(t, seq++, 640, 480, &none), OM_OK);
    for (int i = 0; i < 7; i++) assert_int_equal(om_tracker_update(t, seq += 50, 640, 480, &none), OM_OK);
    assert_true(t->stride == 1);
    assert_int_equal(om_tracker_update(t, ++seq, 640, 480, &none), OM_OK);
    for (int i = 0; i < 8; i++) assert_int_equal(om_tracker_update(t, seq += 50, 640, 480, &none), OM_OK);
    assert_true(t->stride == 50);
    assert_int_equal(om_tracker_update(t, ++seq, 640, 480, &none), OM_OK);
    assert_true(t->stride == 1);
    om_tracker_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assignment_is_the_best),
        cmocka_unit_test(test_assignment_without_a_gate),
        cmocka_unit_test(test_matching_in_groups_is_the_best),
        cmocka_unit_test(test_numbers_outlast_short_losses),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_hidden_and_turning),
        cmocka_unit_test(test_weak_boxes_keep_a_track),
        cmocka_unit_test(test_classes_apart_unless_asked),
        cmocka_unit_test(test_life_of_a_track),
        cmocka_unit_test(test_left_out_frames),
        cmocka_unit_test(test_gaps_are_not_the_pace),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_ten_thousand_boxes),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
