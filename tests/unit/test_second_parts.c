/* The parts of secondary models: votes, crops and the way back from them, rules, the arbiter's guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

static void expect_text(const om_votes *v, const char *text, float score, int agree)
{
    char *got;
    float s;
    int n;
    assert_int_equal(om_votes_text(v, false, &got, &s, &n), OM_OK);
    if (!text) {
        assert_null(got);
        return;
    }
    assert_string_equal(got, text);
    assert_float_equal(s, score, 1e-5);
    assert_int_equal(n, agree);
    om_free(got);
}

static void characters_are_voted_one_by_one(void **state)
{
    om_votes v = {0};
    expect_text(&v, NULL, 0, 0);
    om_votes_add_text(&v, "", 1); /* says nothing */
    expect_text(&v, NULL, 0, 0);
    om_votes_add_text(&v, "AB12", 0.8f);
    expect_text(&v, "AB12", 0.8f, 1);
    om_votes_add_text(&v, "AX12", 0.5f);
    om_votes_add_text(&v, "AB72", 0.5f);
    /* B has 1.3 of 1.8, 1 likewise: nobody said so but together they say AB12. */
    expect_text(&v, "AB12", (float)((1 + 1.3 / 1.8 * 2 + 1) / 4 * 1.8 / 3), 1);
    om_votes_add_text(&v, "AB1", 0.9f); /* of another length: less weight behind it */
    expect_text(&v, "AB12", (float)((1 + 1.3 / 1.8 * 2 + 1) / 4 * 1.8 / 3), 1);
    om_votes_add_text(&v, "AB12", 0.9f);
    assert_int_equal(v.n, 5);
    char *text;
    float score;
    int agree;
    om_votes_text(&v, false, &text, &score, &agree);
    assert_int_equal(agree, 2);
    om_free(text);
    om_votes_fini(&v);
}

static void characters_of_several_bytes_stay_whole(void **state)
{
    om_votes v = {0};
    om_votes_add_text(&v,
                      "\xe6\xb2\xaa"
                      "A1",
                      0.6f);
    om_votes_add_text(&v,
                      "\xe6\xb2\xaa"
                      "A7",
                      0.5f);
    om_votes_add_text(&v,
                      "\xc3\x9c"
                      "A1",
                      0.4f); /* three characters too */
    expect_text(&v,
                "\xe6\xb2\xaa"
                "A1",
                (float)((1.1 / 1.5 + 1 + 1.0 / 1.5) / 3 * 0.5), 1);
    om_votes_add_text(&v, "\xff\xfe\x80", 0.1f); /* bytes that are no characters do no harm */
    om_votes_fini(&v);
}

static void many_different_texts_keep_the_strongest(void **state)
{
    om_votes v = {0};
    char text[8] = "T000";
    om_votes_add_text(&v, "BEST", 1);
    om_votes_add_text(&v, "BEST", 1);
    for (int i = 0; i < 200; i++) {
        text[1] = (char)('0' + i / 100);
        text[2] = (char)('0' + i / 10 % 10);
        text[3] = (char)('0' + i % 10);
        om_votes_add_text(&v, text, 0.01f);
    }
    assert_int_equal(v.n_texts, OM_VOTE_TEXTS);
    char *whole;
    float score;
    int agree;
    om_votes_text(&v, true, &whole, &score, &agree);
    assert_string_equal(whole, "BEST");
    assert_int_equal(agree, 2);
    om_free(whole);
    om_votes_fini(&v);
}

static void classes_are_voted_by_weight(void **state)
{
    om_votes v = {0};
    float score;
    int agree;
    assert_int_equal(om_votes_class(&v, &score, &agree), -1);
    om_votes_add_class(&v, 3, 0.4f);
    om_votes_add_class(&v, 3, 0.4f);
    om_votes_add_class(&v, 7, 0.9f);
    assert_int_equal(om_votes_class(&v, &score, &agree), 7);
    assert_float_equal(score, 0.3, 1e-6);
    for (int i = 0; i < 40; i++) om_votes_add_class(&v, 100 + i, 0.1f);
    assert_int_equal(v.n_classes, OM_VOTE_CLASSES);
    om_votes_fini(&v);
}

/* A secondary model with nothing but what crops need. */
typedef struct bench {
    om_second_options o;
    om_engine engine;
    om_seconds all;
    om_second s;
    om_frame *frame;
    om_region whole;
} bench;

static int setup(void **state)
{
    bench *b = om_calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(om_options_init(om_second_option_table, &b->o), OM_OK);
    assert_int_equal(om_device_open("cpu", &b->all.host), OM_OK);
    b->all.primary = &b->engine;
    b->s = (om_second){
        .all = &b->all, .options = &b->o, .name = "it", .parent = OM_PARENT_PRIMARY, .boxes = true};
    assert_int_equal(om_frame_create(OM_PIX_I420, 64, 48, &b->frame), OM_OK);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? 24 : 48); y++)
            for (int x = 0; x < (p ? 32 : 64); x++)
                b->frame->image.plane[p][y * b->frame->image.stride[p] + x] =
                    (uint8_t)(3 * x + 5 * y + 40 * p);
    om_region_of_frame(b->frame, &b->whole);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    om_frame_unref(b->frame);
    om_device_close(b->all.host);
    om_options_fini(om_second_option_table, &b->o);
    om_free(b);
    return 0;
}

/* What the model sees of a crop is what it would see of that part of the whole picture. */
static void a_crop_shows_what_lies_in_the_picture(void **state)
{
    bench *b = *state;
    static const om_prep prep = {.dtype = OM_DTYPE_F32, .scale = {1, 1, 1}};
    static const float boxes[][4] = {
        {3, 5, 21, 17}, {10, 10, 20, 20}, {-4, 7, 30, 9}, {50, 40, 30, 30}, {7.4f, 8.6f, 9.3f, 5.2f}};
    static float mine[3 * 24 * 32], whole[3 * 24 * 32];
    const om_kernels *k = om_kernels_get();
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        om_detection d = {.x = boxes[i][0], .y = boxes[i][1], .w = boxes[i][2], .h = boxes[i][3]};
        om_region r;
        om_geometry g;
        om_roi roi = {.x = d.x, .y = d.y, .w = d.w, .h = d.h, .dst = whole};
        assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_OK);
        assert_int_equal(k->rois(&b->frame->image, &roi, 1, OM_FIT_LETTERBOX, 32, 24, &prep), OM_OK);
        om_geometry_fit(OM_FIT_LETTERBOX, r.w, r.h, 32, 24, &g);
        g.src_x += r.x;
        g.src_y += r.y;
        assert_int_equal(k->letterbox(&r.pixels->image, &g, &prep, mine), OM_OK);
        for (size_t v = 0; v < sizeof mine / sizeof *mine; v++) /* but for how sums are rounded elsewhere */
            assert_float_equal(mine[v], whole[v], 0.125);
        /* The way back. */
        om_dets dets = {0};
        om_detection *found = om_dets_add(&dets);
        found->x = (float)r.x;
        found->y = (float)r.y;
        found->w = (float)r.w;
        found->h = (float)r.h;
        om_region_map_dets(&r, &dets, true);
        assert_float_equal(dets.items[0].x, roi.geometry.src_x, 1e-4);
        assert_float_equal(dets.items[0].y, roi.geometry.src_y, 1e-4);
        om_dets_fini(&dets);
        om_region_fini(&r);
    }
}

static void what_is_no_box_is_refused(void **state)
{
    bench *b = *state;
    const float bad[][4] = {{0, 0, 0, 5},     {0, 0, 5, -1},       {64, 0, 5, 5},        {0, -9, 5, 9},
                            {NAN, 0, 5, 5},   {0, 0, INFINITY, 5}, {-INFINITY, 0, 5, 5}, {0, 0, NAN, NAN},
                            {1e30f, 0, 5, 5}, {-100, -100, 50, 50}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        om_detection d = {.x = bad[i][0], .y = bad[i][1], .w = bad[i][2], .h = bad[i][3]};
        om_region r;
        assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_ERR_ARG);
        assert_null(r.pixels);
        d.has_quad = 1;
        for (int k = 0; k < 4; k++) {
            d.quad[k][0] = bad[i][0] + (k == 1 || k == 2 ? bad[i][2] : 0);
            d.quad[k][1] = bad[i][1] + (k > 1 ? bad[i][3] : 0);
        }
        assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_ERR_ARG);
        assert_null(r.pixels);
    }
}

static void expect_corners(const om_region *r, const float (*quad)[2], const int order[4])
{
    om_dets dets = {0};
    om_detection *d = om_dets_add(&dets);
    d->w = (float)r->w;
    d->h = (float)r->h;
    om_region_map_dets(r, &dets, true);
    assert_int_equal(d->has_quad, 1);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) assert_float_equal(d->quad[i][k], quad[order[i]][k], 1e-3);
    om_dets_fini(&dets);
}

static void a_quad_is_straightened_and_found_again(void **state)
{
    bench *b = *state;
    const float quad[4][2] = {{10, 8}, {50, 14}, {48, 30}, {9, 24}};
    om_detection d = {.x = 9, .y = 8, .w = 41, .h = 22, .has_quad = 1};
    om_region r, inner, turned;
    memcpy(d.quad, quad, sizeof quad);
    assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_OK);
    assert_int_equal(r.w, 40); /* sqrt(40^2 + 6^2) = 40.4, as int() has it */
    assert_int_equal(r.h, 16);
    assert_int_equal(r.pixels->image.fmt, OM_PIX_RGB24);
    expect_corners(&r, quad, (const int[]){0, 1, 2, 3});
    /* All of it by half a turn, as a child of a classifier sees it. */
    b->s.parent = 0;
    assert_int_equal(om_region_cut(&b->s, &r, NULL, true, &turned), OM_OK);
    expect_corners(&turned, quad, (const int[]){2, 3, 0, 1});
    const uint8_t *p = r.pixels->image.plane[0], *q = turned.pixels->image.plane[0];
    for (int i = 0; i < r.w * r.h; i++)
        for (int k = 0; k < 3; k++) assert_in_range(q[3 * (r.w * r.h - 1 - i) + k] + 1 - p[3 * i + k], 0, 2);
    /* A box inside lies inside. */
    om_detection part = {.x = 20, .y = 0, .w = 20, .h = 16};
    b->o.crop = OM_CROP_UPRIGHT;
    assert_int_equal(om_region_cut(&b->s, &r, &part, false, &inner), OM_OK);
    om_dets dets = {0};
    om_detection *whole = om_dets_add(&dets);
    whole->w = 20;
    whole->h = 16;
    om_region_map_dets(&inner, &dets, true);
    for (int k = 0; k < 2; k++) {
        assert_float_equal(whole->quad[1][k], quad[1][k], 1e-3);
        assert_float_equal(whole->quad[2][k], quad[2][k], 1e-3);
    }
    om_dets_fini(&dets);
    om_region_fini(&inner);
    om_region_fini(&turned);
    om_region_fini(&r);
}

static void a_tall_quad_is_laid_down_and_corners_have_an_order(void **state)
{
    bench *b = *state;
    const float tall[4][2] = {{20, 4}, {30, 4}, {30, 44}, {20, 44}};
    om_detection d = {.x = 20, .y = 4, .w = 10, .h = 40, .n_landmarks = 4};
    om_region r;
    b->o.crop = OM_CROP_QUAD;
    b->o.tall = 1.5;
    memcpy(d.landmarks, tall, sizeof tall);
    assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_OK);
    assert_true(r.w == 40 && r.h == 10);
    expect_corners(&r, tall, (const int[]){1, 2, 3, 0}); /* a quarter to the left: what was right is above */
    om_region_fini(&r);
    b->o.tall = 0;
    memcpy(b->o.corners, "2301", 4);
    assert_int_equal(om_region_cut(&b->s, &b->whole, &d, false, &r), OM_OK);
    expect_corners(&r, tall, (const int[]){2, 3, 0, 1});
    om_region_fini(&r);
}

static void a_track_is_asked_about_when_it_is_worth_it(void **state)
{
    bench *b = *state;
    om_recall m = {.class_id = -1};
    const int64_t s = 1000000000;
    b->s.agree = 2;
    b->s.text = true;
    b->o.every = 3;
    b->o.refresh = 10;
    assert_true(om_recall_wants(&b->s, &m, 100, 5, 0)); /* new */
    m = (om_recall){.asks = 1, .pending = true, .asked_at = 5, .best_quality = 100};
    assert_false(om_recall_wants(&b->s, &m, 1000, 50, 0)); /* it is being asked */
    m.pending = false;
    assert_false(om_recall_wants(&b->s, &m, 100, 7, 0)); /* every third frame */
    assert_true(om_recall_wants(&b->s, &m, 100, 8, 0));
    assert_true(om_recall_wants(&b->s, &m, 150, 6, 0)); /* a better crop */
    m.empty_run = 2;
    assert_false(om_recall_wants(&b->s, &m, 100, 16, 0)); /* it said nothing, twice: 12 frames */
    assert_true(om_recall_wants(&b->s, &m, 100, 17, 0));
    m = (om_recall){.asks = 2,
                    .known = true,
                    .asked_at = 5,
                    .best_quality = 100,
                    .score = 0.95f,
                    .n_agree = 2,
                    .answered_pts_ns = 1 * s};
    assert_true(om_recall_settled(&b->s, &m));
    assert_false(om_recall_wants(&b->s, &m, 100, 500, 5 * s));
    assert_true(om_recall_wants(&b->s, &m, 100, 500, 11 * s)); /* ten seconds old */
    m.score = 0.8f;
    assert_true(om_recall_wants(&b->s, &m, 100, 500, 5 * s)); /* not sure */
    b->o.max_asks = 2;
    assert_false(om_recall_wants(&b->s, &m, 1000, 500, 50 * s));
}

static void guests_enter_when_nobody_waits(void **state)
{
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    om_arbiter a = {.limit = 1};
    om_claim host[2] = {{.cond = &cond}, {.cond = &cond}}, guest = {.cond = &cond, .guest = true};
    om_arbiter_request(&a, &host[0], 0);
    om_arbiter_request(&a, &guest, 0);
    assert_true(guest.granted); /* the device is full, but nobody waits for it */
    assert_int_equal(a.in_use, 1);
    guest.granted = false;
    om_arbiter_request(&a, &host[1], 0);
    om_arbiter_request(&a, &guest, 0);
    assert_false(guest.granted);
    om_arbiter_release(&a);
    assert_true(host[1].granted && guest.granted);
    guest.granted = false;
    host[0] = (om_claim){.cond = &cond};
    om_arbiter_request(&a, &host[0], 3);
    om_arbiter_request(&a, &guest, 4); /* of a higher priority: at once */
    assert_true(guest.granted);
    guest.granted = false;
    om_arbiter_request(&a, &guest, 0);
    assert_false(guest.granted);
    om_arbiter_withdraw(&a, &host[0]); /* who stood before it has gone */
    assert_true(guest.granted);
    guest.granted = false;
    om_arbiter_request(&a, &host[0], 3);
    om_arbiter_request(&a, &guest, 0);
    assert_false(guest.granted);
    guest.since_ns -= OM_GUEST_PATIENCE_NS; /* as if it had waited that long */
    om_arbiter_request(&a, &host[0], 3);
    assert_true(guest.granted && !host[0].granted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_voted_one_by_one),
        cmocka_unit_test(characters_of_several_bytes_stay_whole),
        cmocka_unit_test(many_different_texts_keep_the_strongest),
        cmocka_unit_test(classes_are_voted_by_weight),
        cmocka_unit_test_setup_teardown(a_crop_shows_what_lies_in_the_picture, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_box_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quad_is_straightened_and_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tall_quad_is_laid_down_and_corners_have_an_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_track_is_asked_about_when_it_is_worth_it, setup, teardown),
        cmocka_unit_test(guests_enter_when_nobody_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
