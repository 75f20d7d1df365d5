/* Which pictures are kept to calibrate with, and the manifest that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/collection.h"
#include "quant/drift.h"

static uint64_t seed = 11;

static uint64_t random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static om_sight random_sight(void)
{
    om_sight s = {.luma = 120, .contrast = 40, .sharpness = 5, .motion = 0.1f, .objects = -1, .unsure = -1};
    for (int i = 0; i < OM_SIGHT_WORDS; i++) s.hash[i] = random_word();
    return s;
}

/* Offers a picture; true where it was kept. */
static bool offer(om_collection *c, int stream, const om_sight *sight, unsigned hard, int number)
{
    om_sample s = {.stream = stream, .sight = *sight, .hard = hard, .width = 64, .height = 48, .pts = number};
    int victim;
    char *gone;
    if (!om_collection_wants(c, stream, sight, hard, &victim, &s.nearest)) return false;
    s.file = om_sprintf("p%d.jpg", number);
    assert_non_null(s.file);
    assert_int_equal(om_collection_put(c, &s, victim, &gone), OM_OK);
    assert_true((gone != NULL) == (victim >= 0));
    om_free(gone);
    return true;
}

static om_collection fresh(size_t most)
{
    om_collection c = {.most = most, .distance = 6, .hard_share = 0.3};
    assert_int_equal(om_collection_stream(&c, "a.mp4", "a"), 0);
    assert_int_equal(om_collection_stream(&c, "b.mp4", "b"), 1);
    assert_int_equal(om_collection_stream(&c, "a.mp4", "a"), 0);
    return c;
}

static void keeps_what_differs(void **state)
{
    om_collection c = fresh(50);
    om_sight s = random_sight(), near = s, far = s;
    near.hash[1] ^= 0x1f;
    far.hash[1] ^= 0x3f;
    assert_int_equal(om_sight_distance(&s, &near), 5);
    assert_true(offer(&c, 0, &s, 0, 0));
    assert_false(offer(&c, 0, &s, 0, 1));
    assert_false(offer(&c, 0, &near, 0, 2));
    assert_true(offer(&c, 1, &s, 0, 3)); /* another stream's */
    assert_true(offer(&c, 0, &near, OM_HARD_DARK, 4));
    assert_true(offer(&c, 0, &far, 0, 5) || om_sight_distance(&near, &far) < 6);
    assert_true(c.streams[0].alike >= 2);
    om_collection_fini(&c);
}

static void spreads_over_streams(void **state)
{
    om_collection c = fresh(40);
    for (int i = 0; i < 300; i++) {
        om_sight s = random_sight();
        offer(&c, 0, &s, 0, i);
    }
    assert_int_equal(c.streams[0].kept, 40);
    for (int i = 0; i < 300; i++) {
        om_sight s = random_sight();
        offer(&c, 1, &s, 0, 1000 + i);
    }
    assert_int_equal(c.n, 40);
    assert_true(c.streams[0].kept >= 18 && c.streams[1].kept >= 18);
    om_collection_fini(&c);
}

static void keeps_hard_ones_within_their_share(void **state)
{
    om_collection c = fresh(60);
    for (int i = 0; i < 2000; i++) {
        om_sight s = random_sight();
        offer(&c, i % 2, &s, i % 3 ? 0 : i % 2 ? OM_HARD_DARK : OM_HARD_BLUR, i);
    }
    om_coverage v;
    om_coverage_of(&c, &v);
    assert_int_equal(v.n, 60);
    assert_true(v.hard[3] + v.hard[4] >= 9);
    assert_true(v.hard[3] + v.hard[4] <= 40);
    om_collection_fini(&c);
}

static void tells_hard_ones(void **state)
{
    om_collection c = fresh(10);
    om_sight s = random_sight();
    s.objects = 3;
    s.unsure = 0;
    for (int i = 0; i < 40; i++) assert_int_equal(om_collection_look(&c, 0, &s), 0);
    s.objects = 9;
    assert_int_equal(om_collection_look(&c, 0, &s), OM_HARD_MANY);
    s.objects = 0;
    assert_int_equal(om_collection_look(&c, 0, &s), OM_HARD_FEW);
    s.objects = 2;
    s.unsure = 2;
    s.luma = 20;
    s.sharpness = 1;
    assert_int_equal(om_collection_look(&c, 0, &s), OM_HARD_UNSURE | OM_HARD_DARK | OM_HARD_BLUR);
    om_collection_fini(&c);
}

static char folder[] = "/tmp/omma-collect-XXXXXX";

static char *in_folder(const char *name)
{
    char *path = om_sprintf("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static void round_trip(void **state)
{
    om_collection c = fresh(20), back;
    size_t lost;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 20; i++) {
        om_sight s = random_sight();
        s.objects = i;
        s.unsure = 1;
        assert_true(offer(&c, i % 2, &s, i == 7 ? OM_HARD_MANY | OM_HARD_DARK : 0, i));
        char *path = in_folder(c.items[i].file);
        FILE *f = i == 19 ? NULL : fopen(path, "w"); /* the last picture's file is gone */
        if (f) fclose(f);
        om_free(path);
    }
    assert_int_equal(om_collection_save(&c, folder), OM_OK);
    char *path = in_folder(OM_MANIFEST);
    assert_int_equal(om_collection_load(path, &back, &lost), OM_OK);
    assert_int_equal(lost, 1);
    assert_int_equal(back.n, 19);
    for (size_t i = 0; i < back.n; i++) {
        assert_string_equal(back.items[i].file, c.items[i].file);
        assert_int_equal(om_sight_distance(&back.items[i].sight, &c.items[i].sight), 0);
        assert_int_equal(back.items[i].hard, c.items[i].hard);
        assert_int_equal(back.items[i].nearest, c.items[i].nearest);
        assert_int_equal(back.items[i].sight.objects, c.items[i].sight.objects);
    }
    assert_int_equal(back.streams[0].kept + back.streams[1].kept, 19);
    om_collection_fini(&back);
    om_collection_fini(&c);
    om_free(path);
}

/* Wherever memory ends: an error, nothing leaked, the manifest as it was. */
static void survives_without_memory(void **state)
{
    char *path = in_folder(OM_MANIFEST);
    om_collection c;
    om_drift *d = NULL;
    size_t lost;
    int failed = 0;
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = om_drift_create(path, 0, &d);
        om_mem_fail_after(-1);
        om_drift_destroy(d);
        if (!err) break;
        assert_int_equal(err, OM_ERR_NOMEM);
        failed++;
    }
    for (long n = 0; failed < 100000; n++) {
        om_mem_fail_after(n);
        int err = om_collection_load(path, &c, &lost);
        om_mem_fail_after(-1);
        if (err) continue;
        om_mem_fail_after(n % 7);
        om_collection_save(&c, folder);
        om_mem_fail_after(-1);
        om_collection_fini(&c);
        break;
    }
    assert_true(failed > 20);
    for (int i = 0; i < 20; i++) {
        char name[24];
        snprintf(name, sizeof name, "p%d.jpg", i);
        char *file = in_folder(name);
        unlink(file);
        om_free(file);
    }
    unlink(path);
    om_free(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_differs),
        cmocka_unit_test(spreads_over_streams),
        cmocka_unit_test(keeps_hard_ones_within_their_share),
        cmocka_unit_test(tells_hard_ones),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(survives_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
