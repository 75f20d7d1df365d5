/* Faces set upright, and the gallery: search, files, damage. */
#include <math.h>
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
#include "base/str.h"
#include "gallery/align.h"
#include "gallery/gallery.h"

#define DIM 37

static const float upright[5][2] = {{38.2946f, 51.6963f},
                                    {73.5318f, 51.5014f},
                                    {56.0252f, 71.7366f},
                                    {41.5493f, 92.3655f},
                                    {70.7299f, 92.2041f}};

static void test_upright_stays(void **state)
{
    const float want[8] = {0, 0, 112, 0, 112, 112, 0, 112};
    float quad[8];
    assert_int_equal(om_face_align(upright, 112, 112, quad), OM_OK);
    for (int i = 0; i < 8; i++) assert_float_equal(quad[i], want[i], 1e-4f);
}

/* Turned, scaled and shifted points have the square turned, scaled and shifted likewise. */
static void test_turned(void **state)
{
    const double turn = 0.6, scale = 2.5, x = 300, y = -40;
    const double c = scale * cos(turn), s = scale * sin(turn);
    float points[5][2], quad[8];
    for (int i = 0; i < 5; i++) {
        points[i][0] = (float)(c * upright[i][0] - s * upright[i][1] + x);
        points[i][1] = (float)(s * upright[i][0] + c * upright[i][1] + y);
    }
    assert_int_equal(om_face_align(points, 224, 224, quad), OM_OK);
    const double edge[4][2] = {{-0.25, -0.25}, {111.75, -0.25}, {111.75, 111.75}, {-0.25, 111.75}};
    for (int i = 0; i < 4; i++) {
        assert_float_equal(quad[2 * i], c * edge[i][0] - s * edge[i][1] + x + 0.5, 1e-2);
        assert_float_equal(quad[2 * i + 1], s * edge[i][0] + c * edge[i][1] + y + 0.5, 1e-2);
    }
}

static void test_no_faces(void **state)
{
    float points[5][2], quad[8];
    memcpy(points, upright, sizeof points);
    points[2][1] = NAN;
    assert_int_equal(om_face_align(points, 112, 112, quad), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "landmark 3"));
    for (int i = 0; i < 5; i++) points[i][0] = points[i][1] = 7;
    assert_int_equal(om_face_align(points, 112, 112, quad), OM_ERR_ARG);
    for (int i = 0; i < 5; i++) {
        points[i][0] = 112 - upright[i][0];
        points[i][1] = upright[i][1];
    }
    assert_int_equal(om_face_align(points, 112, 112, quad), OM_ERR_ARG);
    assert_int_equal(om_face_align(upright, 0, 112, quad), OM_ERR_ARG);
}

static float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1;
}

static void random_vector(uint32_t seed, float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) v[i] = noise(&seed);
}

static om_gallery *filled(size_t n)
{
    om_gallery *g;
    float v[DIM];
    char name[32];
    assert_int_equal(om_gallery_create(DIM, 77, &g), OM_OK);
    for (size_t i = 0; i < n; i++) {
        random_vector((uint32_t)i + 1, v, DIM);
        snprintf(name, sizeof name, "name-%zu", i / 2);
        assert_int_equal(om_gallery_add(g, name, v, DIM), OM_OK);
    }
    return g;
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < DIM; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Against every name's best cosine, written out. */
static void test_search(void **state)
{
    enum { ENTRIES = 60, NAMES = ENTRIES / 2 };
    om_gallery *g = filled(ENTRIES);
    om_gallery_hit hits[NAMES + 5];
    double best[NAMES];
    float v[DIM], other[DIM];
    random_vector(999, v, DIM);
    for (int i = 0; i < NAMES; i++) best[i] = -2;
    for (int i = 0; i < ENTRIES; i++) {
        random_vector((uint32_t)i + 1, other, DIM);
        best[i / 2] = fmax(best[i / 2], cosine(v, other));
    }
    for (int most = 0; most <= NAMES + 5; most += 5) {
        int n = om_gallery_search(g, v, DIM, -1, hits, most);
        assert_int_equal(n, most < NAMES ? most : NAMES);
        for (int i = 0; i < n; i++) {
            int which = atoi(hits[i].name + 5), above = 0;
            assert_float_equal(hits[i].score, best[which], 1e-5);
            for (int k = 0; k < NAMES; k++) above += best[k] > best[which];
            assert_int_equal(above, i);
            assert_string_equal(om_gallery_name(g, hits[i].entry), hits[i].name);
        }
    }
    int n = om_gallery_search(g, v, DIM, 0.1f, hits, NAMES);
    for (int k = 0; k < NAMES; k++) n -= best[k] >= 0.1;
    assert_int_equal(n, 0);
    random_vector(8, v, DIM);
    assert_int_equal(om_gallery_search(g, v, DIM, 0.999f, hits, 3), 1);
    assert_string_equal(hits[0].name, "name-3");
    om_gallery_destroy(g);
}

static void test_remove(void **state)
{
    om_gallery *g = filled(10);
    om_gallery_hit hit;
    float v[DIM];
    assert_int_equal(om_gallery_remove(g, "nobody"), 0);
    assert_int_equal(om_gallery_remove(g, "name-2"), 2);
    assert_int_equal(om_gallery_count(g), 8);
    for (uint32_t i = 0; i < 10; i++) {
        random_vector(i + 1, v, DIM);
        assert_int_equal(om_gallery_search(g, v, DIM, 0.999f, &hit, 1), i / 2 != 2);
    }
    om_gallery_destroy(g);
}

static void test_refusals(void **state)
{
    om_gallery *g;
    om_gallery_hit hit;
    float v[DIM] = {0};
    char name[OM_GALLERY_NAME_MAX + 2];
    assert_int_equal(om_gallery_create(0, 0, &g), OM_ERR_ARG);
    assert_null(g);
    assert_int_equal(om_gallery_create(OM_GALLERY_DIM_MAX + 1, 0, &g), OM_ERR_ARG);
    g = filled(2);
    assert_int_equal(om_gallery_add(g, "zero", v, DIM), OM_ERR_ARG);
    assert_int_equal(om_gallery_search(g, v, DIM, 0, &hit, 1), OM_ERR_ARG);
    v[3] = INFINITY;
    assert_int_equal(om_gallery_add(g, "endless", v, DIM), OM_ERR_ARG);
    v[3] = 1;
    assert_int_equal(om_gallery_add(g, "short", v, DIM - 1), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "36 numbers, but this gallery's have 37"));
    assert_int_equal(om_gallery_add(g, "", v, DIM), OM_ERR_ARG);
    assert_int_equal(om_gallery_add(g, "two\nlines", v, DIM), OM_ERR_ARG);
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(om_gallery_add(g, name, v, DIM), OM_ERR_ARG);
    assert_int_equal(om_gallery_count(g), 2);
    om_gallery_destroy(g);
    om_gallery_destroy(NULL);
}

static const char *temporary(const char *name)
{
    static char path[256];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/omma-%d-%s", dir ? dir : "/tmp", (int)getpid(), name);
    return path;
}

static void test_file(void **state)
{
    const char *path = temporary("gallery");
    om_gallery *g = filled(9), *back;
    assert_int_equal(om_gallery_save(g, path), OM_OK);
    assert_int_equal(om_gallery_open(path, &back), OM_OK);
    assert_int_equal(om_gallery_count(back), 9);
    assert_int_equal(om_gallery_dim(back), DIM);
    assert_int_equal(om_gallery_model(back), 77);
    for (size_t i = 0; i < 9; i++) {
        assert_string_equal(om_gallery_name(back, i), om_gallery_name(g, i));
        assert_memory_equal(om_gallery_vector(back, i), om_gallery_vector(g, i), DIM * sizeof(float));
    }
    om_gallery_destroy(back);
    om_gallery_destroy(g);
    assert_int_equal(om_gallery_create(5, 0, &g), OM_OK); /* empty ones are galleries too */
    assert_int_equal(om_gallery_save(g, path), OM_OK);
    assert_int_equal(om_gallery_open(path, &back), OM_OK);
    assert_int_equal(om_gallery_count(back), 0);
    om_gallery_destroy(back);
    om_gallery_destroy(g);
    unlink(path);
    assert_int_equal(om_gallery_open(path, &back), OM_ERR_NOT_FOUND);
    assert_null(back);
}

static int open_bytes(const char *path, const char *data, size_t n)
{
    om_gallery *g;
    assert_int_equal(om_write_file_atomic(path, data, n), OM_OK);
    int err = om_gallery_open(path, &g);
    assert_int_equal(err == OM_OK, g != NULL);
    om_gallery_destroy(g);
    return err;
}

/* Every cut and every flipped byte is noticed. */
static void test_damage(void **state)
{
    char path[256], *data;
    size_t n;
    om_gallery *g = filled(2);
    snprintf(path, sizeof path, "%s", temporary("damaged"));
    assert_int_equal(om_gallery_save(g, path), OM_OK);
    om_gallery_destroy(g);
    assert_int_equal(om_read_file(path, 1 << 20, &data, &n), OM_OK);
    for (size_t cut = 0; cut < n; cut++) assert_int_equal(open_bytes(path, data, cut), OM_ERR_FORMAT);
    for (size_t i = 0; i < n; i++) {
        data[i] ^= 0x20;
        assert_int_equal(open_bytes(path, data, n), OM_ERR_FORMAT);
        data[i] ^= 0x20;
    }
    assert_int_equal(open_bytes(path, data, n), OM_OK);
    data[8] = 2;
    assert_int_equal(open_bytes(path, data, n), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "version 2"));
    memset(data + 16, 0xff, 8); /* as many entries and names as can be said */
    data[8] = 1;
    assert_int_equal(open_bytes(path, data, n), OM_ERR_FORMAT);
    om_free(data);
    unlink(path);
}

static int make_and_read(const char *path)
{
    om_gallery *g = NULL, *back = NULL;
    om_gallery_hit hit;
    float v[DIM];
    random_vector(5, v, DIM);
    int err = om_gallery_create(DIM, 1, &g);
    for (int i = 0; i < 20 && !err; i++) err = om_gallery_add(g, "one", v, DIM);
    if (!err) err = om_gallery_save(g, path);
    if (!err) err = om_gallery_open(path, &back);
    if (!err) err = om_gallery_search(back, v, DIM, 0, &hit, 1) < 0 ? OM_ERR_NOMEM : OM_OK;
    om_gallery_destroy(g);
    om_gallery_destroy(back);
    return err;
}

static void test_out_of_memory(void **state)
{
    char path[256];
    int err = OM_ERR_NOMEM;
    snprintf(path, sizeof path, "%s", temporary("memory"));
    for (long n = 0; err == OM_ERR_NOMEM && n < 1000; n++) {
        om_mem_fail_after(n);
        err = make_and_read(path);
        assert_int_equal(err == OM_ERR_NOMEM, om_mem_injected());
    }
    om_mem_fail_after(-1);
    assert_int_equal(err, OM_OK);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upright_stays), cmocka_unit_test(test_turned),
        cmocka_unit_test(test_no_faces),      cmocka_unit_test(test_search),
        cmocka_unit_test(test_remove),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_file),          cmocka_unit_test(test_damage),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
