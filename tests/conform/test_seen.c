/* What test_boxes_cuda judges by, on runs with planted faults: each has to be found, and what two engines
 * differ by has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "seen.h"

#define STREAMS 3
#define COPIES 4
#define FRAMES 20
#define BOXES 12

static const seen_limits limits = {.overlap = 0.8f, .score = 0.02f, .conf = 0.25f, .near = 0.05};

/* As many different boxes for each stream and frame; scores from 0.3 up. */
static void boxes_of(int stream, int frame, om_detection out[BOXES])
{
    for (int i = 0; i < BOXES; i++)
        out[i] = (om_detection){.x = (float)((i * 50 + frame * 90 + stream * 37) % 600),
                                .y = (float)((i * 31 + frame * 70 + stream * 111) % 300),
                                .w = (float)(30 + i * 3),
                                .h = (float)(40 + i),
                                .score = 0.3f + 0.05f * (float)i,
                                .class_id = (i + stream) % 5,
                                .track = -1};
}

static void add(seen_run *r, int stream, int frame, const om_detection *boxes, size_t n)
{
    assert_int_equal(seen_add(r, stream, (uint64_t)frame, boxes, n), 0);
}

static void fill(seen_run *r, int streams)
{
    om_detection boxes[BOXES];
    assert_int_equal(seen_run_init(r, streams), 0);
    for (int s = 0; s < streams; s++)
        for (int k = 0; k < FRAMES; k++) {
            boxes_of(s % STREAMS, k, boxes);
            add(r, s, k, boxes, BOXES);
        }
}

/* The copies as they should be, but for what the test does to them. */
typedef struct runs {
    seen_run expected, got;
} runs;

static int prepare(void **state)
{
    static runs both;
    fill(&both.expected, STREAMS);
    fill(&both.got, STREAMS * COPIES);
    *state = &both;
    return 0;
}

static int clear(void **state)
{
    runs *both = *state;
    seen_run_fini(&both->expected);
    seen_run_fini(&both->got);
    return 0;
}

static seen_verdict compare(const runs *both)
{
    seen_verdict v;
    seen_compare(&both->expected, &both->got, &limits, &v);
    return v;
}

static void the_same_is_right(void **state)
{
    seen_verdict v = compare(*state);
    assert_true(v.right);
    assert_int_equal(v.frames, STREAMS * COPIES * FRAMES);
    assert_int_equal(v.same, v.frames);
    assert_int_equal(v.boxes, v.frames * BOXES);
    assert_string_equal(v.first, "");
}

static void what_engines_differ_by_is_right(void **state)
{
    runs *both = *state;
    for (int s = 0; s < both->got.n; s++)
        for (int k = 0; k < FRAMES; k++)
            for (int i = 0; i < BOXES; i++) {
                seen_box *b = &both->got.streams[s].frames[k].boxes[i];
                b->x += (float)(i % 3 - 1) * 1.5f;
                b->score += (float)(k % 3 - 1) * 0.015f;
            }
    seen_box *first = both->got.streams[5].frames[4].boxes, last = first[BOXES - 1];
    first[BOXES - 1] = first[0]; /* another order */
    first[0] = last;
    assert_true(compare(both).right);
}

static void boxes_next_to_the_threshold_come_and_go(void **state)
{
    runs *both = *state;
    for (int k = 0; k < FRAMES; k++) {
        both->expected.streams[0].frames[k].boxes[0].score = 0.26f;
        both->got.streams[0].frames[k].boxes[0].x += 300;
        both->got.streams[0].frames[k].boxes[0].score = 0.265f;
        for (int c = 1; c < COPIES; c++) both->got.streams[c * STREAMS].frames[k].boxes[0].score = 0.251f;
    }
    seen_verdict v = compare(both);
    assert_true(v.right);
    assert_int_equal(v.near, 0);
}

static void a_wrong_frame_is_found(void **state)
{
    runs *both = *state;
    om_detection boxes[BOXES];
    boxes_of(1, 8, boxes); /* the one that comes next */
    seen_frame *f = &both->got.streams[4].frames[7];
    for (int i = 0; i < BOXES; i++)
        f->boxes[i] =
            (seen_box){boxes[i].x, boxes[i].y, boxes[i].w, boxes[i].h, boxes[i].score, boxes[i].class_id};
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.other, 1);
    assert_string_equal(v.first, "stream 4, frame 7: another picture");
}

static void an_empty_frame_is_found(void **state)
{
    runs *both = *state;
    both->got.streams[2].frames[3].n = 0;
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.other, 1);
}

static void missing_frames_are_found(void **state)
{
    runs *both = *state;
    both->got.streams[3].frames[FRAMES - 1].times = 0; /* at the end, and in the middle */
    both->got.streams[7].frames[5].times = 0;
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.missing, 2);
    assert_string_equal(v.first, "stream 3, frame 19: missing");
    both->got.streams[7].n = 4; /* it ended early */
    assert_int_equal(compare(both).missing, 1 + FRAMES - 4);
}

static void frames_seen_twice_or_too_many_are_found(void **state)
{
    runs *both = *state;
    om_detection boxes[BOXES];
    boxes_of(0, 6, boxes);
    add(&both->got, 0, 6, boxes, BOXES);
    assert_int_equal(compare(both).twice, 1);
    assert_false(compare(both).right);
    both->got.streams[0].frames[6].times = 1;
    assert_true(compare(both).right);
    add(&both->got, 1, FRAMES + 2, boxes, BOXES);
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.extra, 1);
}

static void swapped_streams_are_found(void **state)
{
    runs *both = *state;
    seen_stream one = both->got.streams[6];
    both->got.streams[6] = both->got.streams[7];
    both->got.streams[7] = one;
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.other, 2 * FRAMES);
}

static void a_stream_that_is_one_frame_late_is_found(void **state)
{
    runs *both = *state;
    seen_stream *s = &both->got.streams[9];
    seen_frame last = s->frames[FRAMES - 1];
    memmove(s->frames + 1, s->frames, (FRAMES - 1) * sizeof *s->frames);
    s->frames[0] = last;
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.other, FRAMES);
}

/* As where all but a batch's first picture lose a part of what is there. */
static void a_part_of_the_boxes_lost_in_many_frames_is_found(void **state)
{
    runs *both = *state;
    for (int s = 0; s < both->got.n; s++)
        for (int k = 0; k < FRAMES; k++)
            if (k % 4) both->got.streams[s].frames[k].n -= 3;
    seen_verdict v = compare(both);
    assert_false(v.right);
    assert_int_equal(v.other, 0);
    assert_int_equal(v.near, STREAMS * COPIES * FRAMES / 4 * 3);
    assert_string_equal(v.first, "stream 0, frame 1: some boxes differ");
}

static void a_few_frames_may_have_another_box(void **state)
{
    runs *both = *state;
    int may = STREAMS * COPIES * FRAMES / 20;
    for (int k = 0; k < may; k++)
        both->got.streams[k % both->got.n].frames[k % FRAMES].boxes[5].class_id = 99;
    seen_verdict v = compare(both);
    assert_int_equal(v.near, may);
    assert_true(v.right);
    both->got.streams[0].frames[FRAMES - 1].boxes[5].class_id = 99;
    v = compare(both);
    assert_int_equal(v.near, may + 1);
    assert_false(v.right);
}

static void runs_without_boxes_are_no_witness(void **state)
{
    runs *both = *state;
    for (int s = 0; s < STREAMS; s++)
        for (int k = 0; k < FRAMES; k++) both->expected.streams[s].frames[k].n = 0;
    for (int s = 0; s < both->got.n; s++)
        for (int k = 0; k < FRAMES; k++) both->got.streams[s].frames[k].n = 0;
    assert_false(compare(both).right);
    double frame, stream;
    seen_sharpness(&both->expected, &limits, &frame, &stream);
    assert_true(frame + stream == 0);
}

static void sharpness_is_what_could_be_told(void **state)
{
    runs *both = *state;
    double frame, stream;
    seen_sharpness(&both->expected, &limits, &frame, &stream);
    assert_true(frame == 1 && stream == 1);
    /* A stream whose picture stands still. */
    for (int k = 1; k < FRAMES; k++)
        memcpy(both->expected.streams[1].frames[k].boxes, both->expected.streams[1].frames[0].boxes,
               BOXES * sizeof(seen_box));
    seen_sharpness(&both->expected, &limits, &frame, &stream);
    assert_true(frame > 0.66 && frame < 0.67 && stream > 0.95);
}

/* ---- pictures ---- */

#define W 7
#define H 5

static void picture(om_pixfmt fmt, om_frame **out)
{
    assert_int_equal(om_frame_create(fmt, W, H, out), 0);
    const om_image *img = &(*out)->image;
    const om_pixfmt_info *info = om_pixfmt_get(fmt);
    for (int p = 0; p < info->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, W, H, &bytes, &rows);
        memset(img->plane[p], 0xaa,
               (size_t)img->stride[p] * (size_t)rows); /* what lies beyond a row is nothing */
        for (int y = 0; y < rows; y++)
            for (int i = 0; i < bytes / info->sample_bytes; i++) {
                bool pair = info->chroma_interleaved && p > 0;
                int c = pair ? 1 + i % 2 : p, x = pair ? i / 2 : i;
                uint16_t v = (uint16_t)(c * 70 + x * 9 + y * 4);
                if (fmt == OM_PIX_P010) v = (uint16_t)(v << 6);
                uint8_t *at = img->plane[p] + (size_t)y * (size_t)img->stride[p];
                if (info->sample_bytes == 1) at[i] = (uint8_t)v;
                else memcpy(at + 2 * i, &v, 2);
            }
    }
}

static void a_picture_is_the_same_in_any_layout(void **state)
{
    static const om_pixfmt fmt[] = {OM_PIX_I420, OM_PIX_NV12, OM_PIX_I010, OM_PIX_P010};
    om_frame *f[4];
    for (int i = 0; i < 4; i++) picture(fmt[i], &f[i]);
    for (int i = 1; i < 4; i++) assert_true(seen_picture(&f[i]->image) == seen_picture(&f[0]->image));
    for (int p = 0; p < 3; p++) {
        uint64_t before = seen_picture(&f[0]->image);
        f[0]->image.plane[p][f[0]->image.stride[p] + 2] ^= 1;
        assert_true(seen_picture(&f[0]->image) != before);
    }
    f[1]->image.plane[1][1] ^= 1;
    assert_true(seen_picture(&f[1]->image) != seen_picture(&f[2]->image));
    for (int i = 0; i < 4; i++) om_frame_unref(f[i]);
}

int main(void)
{
#define ON_RUNS(test) cmocka_unit_test_setup_teardown(test, prepare, clear)
    const struct CMUnitTest tests[] = {
        ON_RUNS(the_same_is_right),
        ON_RUNS(what_engines_differ_by_is_right),
        ON_RUNS(boxes_next_to_the_threshold_come_and_go),
        ON_RUNS(a_wrong_frame_is_found),
        ON_RUNS(an_empty_frame_is_found),
        ON_RUNS(missing_frames_are_found),
        ON_RUNS(frames_seen_twice_or_too_many_are_found),
        ON_RUNS(swapped_streams_are_found),
        ON_RUNS(a_stream_that_is_one_frame_late_is_found),
        ON_RUNS(a_part_of_the_boxes_lost_in_many_frames_is_found),
        ON_RUNS(a_few_frames_may_have_another_box),
        ON_RUNS(runs_without_boxes_are_no_witness),
        ON_RUNS(sharpness_is_what_could_be_told),
        cmocka_unit_test(a_picture_is_the_same_in_any_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
