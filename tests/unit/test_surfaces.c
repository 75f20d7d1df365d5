/* What becomes of a hardware decoder's pictures that others hold, on a device that only counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavutil/frame.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/host.h"
#include "media/media.h"
#include "media/surfaces.h"

#define LATE 4

/* A device that, as a GPU does, lets go of the pictures of its last work when it is closed. */
typedef struct late {
    om_frame *frames[LATE];
    int n;
} late;

static struct {
    int events, destroyed, recorded;
    om_stream *stream;
    bool closed, refuse_event, refuse_record, lost;
} seen;

static int event_create(om_device *d, om_event **out)
{
    if (seen.refuse_event) return om_fail(OM_ERR_DEVICE, "no event");
    *out = om_calloc(1, 1);
    seen.events++;
    return *out ? OM_OK : OM_ERR_NOMEM;
}

static void event_destroy(om_device *d, om_event *e)
{
    assert_false(seen.closed);
    seen.destroyed++;
    om_free(e);
}

static int event_record(om_device *d, om_event *e, om_stream *s)
{
    if (seen.refuse_record) return om_fail(OM_ERR_DEVICE_LOST, "it is lost");
    seen.recorded++;
    seen.stream = s;
    return OM_OK;
}

static int open_device(om_device *d, int index) { return OM_OK; }

static void close_device(om_device *d)
{
    late *l = d->priv;
    while (l->n) om_frame_unref(l->frames[--l->n]);
    seen.closed = true;
}

static bool is_lost(om_device *d, bool probe) { return seen.lost; }

static om_device *device(void)
{
    om_device *d;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(om_device_open("surfaced:0", &d), OM_OK);
    return d;
}

static om_frame *picture(void)
{
    om_frame *f;
    AVFrame *av = av_frame_alloc();
    av->format = AV_PIX_FMT_NV12;
    av->width = av->height = 16;
    assert_true(av_frame_get_buffer(av, 0) >= 0);
    assert_int_equal(om_frame_from_av(av, &f), OM_OK);
    av_frame_free(&av);
    return f;
}

static om_stream *writes(void) { return (om_stream *)(void *)&seen; }

/* The crash was here: the device lets the last pictures go when all else is gone. */
static void the_last_picture_comes_home_while_the_device_closes(void **state)
{
    om_surfaces *s;
    om_device *d = device();
    late *l = d->priv;
    assert_int_equal(om_surfaces_create(d, writes(), LATE, &s), OM_OK);
    for (int i = 0; i < LATE; i++) {
        om_surfaces_hold(s, l->frames[l->n++] = picture());
        assert_non_null(l->frames[i]->written);
    }
    om_surfaces_unref(s);
    assert_int_equal(seen.destroyed, 0);
    om_device_close(d);
    assert_int_equal(seen.events, LATE);
    assert_int_equal(seen.destroyed, LATE);
}

/* As many events as pictures were held at a time, each recorded anew for each picture. */
static void events_are_used_again(void **state)
{
    om_surfaces *s;
    om_device *d = device();
    assert_int_equal(om_surfaces_create(d, writes(), 2, &s), OM_OK);
    om_frame *kept = picture();
    om_surfaces_hold(s, kept);
    for (int i = 0; i < 50; i++) {
        om_frame *f = picture();
        om_surfaces_hold(s, f);
        assert_non_null(f->written);
        assert_ptr_not_equal(f->written, kept->written);
        om_frame_unref(f);
    }
    assert_int_equal(seen.events, 2);
    assert_int_equal(seen.recorded, 51);
    assert_ptr_equal(seen.stream, writes());
    om_frame_unref(kept);
    om_surfaces_unref(s);
    assert_int_equal(seen.destroyed, 2);
    om_device_close(d);
}

/* Without an event a picture waits for all that was written, as before there were any. */
static void a_picture_without_an_event_is_held_all_the_same(void **state)
{
    om_surfaces *s;
    om_device *d = device();
    assert_int_equal(om_surfaces_create(d, writes(), 2, &s), OM_OK);
    om_frame *f[3];
    seen.refuse_event = true;
    om_surfaces_hold(s, f[0] = picture());
    assert_null(f[0]->written);
    seen.refuse_event = false;
    seen.refuse_record = true;
    om_surfaces_hold(s, f[1] = picture());
    assert_null(f[1]->written);
    seen.refuse_record = false;
    om_surfaces_hold(s, f[2] = picture());
    assert_non_null(f[2]->written);
    for (int i = 0; i < 3; i++) om_frame_unref(f[i]);
    om_surfaces_unref(s);
    assert_int_equal(seen.events, seen.destroyed);
    om_device_close(d);
}

/* Whoever would exceed the limit waits; a cancel and a lost device end that. */
static void there_is_a_limit(void **state)
{
    om_surfaces *s;
    om_cancel cancel;
    om_device *d = device();
    assert_int_equal(om_cancel_init(&cancel), OM_OK);
    assert_int_equal(om_surfaces_create(d, writes(), 3, &s), OM_OK);
    assert_int_equal(om_surfaces_fit(s, 1), 1);
    assert_int_equal(om_surfaces_wait(s, &cancel), OM_OK);
    om_frame *f = picture();
    om_surfaces_hold(s, f);
    seen.lost = true;
    assert_int_equal(om_surfaces_wait(s, &cancel), OM_ERR_DEVICE_LOST);
    om_cancel_fire(&cancel);
    assert_int_equal(om_surfaces_wait(s, &cancel), OM_ERR_CANCELLED);
    assert_int_equal(om_surfaces_fit(s, 10), 3);
    assert_int_equal(om_surfaces_wait(s, &cancel), OM_OK);
    assert_null(om_surfaces_refused(s));
    om_surfaces_refuse(s, "why");
    assert_string_equal(om_surfaces_refused(s), "why");
    om_frame_unref(f);
    om_surfaces_unref(s);
    om_surfaces_unref(NULL);
    om_device_close(d);
    om_cancel_fini(&cancel);
}

/* More than there are surfaces: counted, and none of them with another's event. */
static void no_two_pictures_share_an_event(void **state)
{
    enum { MANY = OM_SURFACES_MAX + 2 };
    om_surfaces *s;
    om_frame *f[MANY];
    om_device *d = device();
    assert_int_equal(om_surfaces_create(d, writes(), MANY, &s), OM_OK);
    for (int i = 0; i < MANY; i++) om_surfaces_hold(s, f[i] = picture());
    for (int i = 0; i < MANY; i++) {
        assert_true((f[i]->written != NULL) == (i < OM_SURFACES_MAX));
        for (int k = 0; k < i && f[i]->written; k++) assert_ptr_not_equal(f[i]->written, f[k]->written);
    }
    for (int i = 0; i < MANY; i++) om_frame_unref(f[i]);
    assert_int_equal(om_surfaces_wait(s, NULL), OM_OK);
    om_surfaces_unref(s);
    assert_int_equal(seen.destroyed, OM_SURFACES_MAX);
    om_device_close(d);
}

static void short_memory_makes_none(void **state)
{
    om_surfaces *s = (om_surfaces *)1;
    om_device *d = device();
    om_mem_fail_after(0);
    assert_int_equal(om_surfaces_create(d, writes(), 1, &s), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
    assert_null(s);
    om_device_close(d);
}

static int set_up(void **state)
{
    static om_device_ops ops;
    ops = om_device_host;
    ops.name = "surfaced";
    ops.priv_size = sizeof(late);
    ops.open = open_device;
    ops.close = close_device;
    ops.event_create = event_create;
    ops.event_destroy = event_destroy;
    ops.event_record = event_record;
    ops.lost = is_lost;
    return om_device_register(&ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_picture_comes_home_while_the_device_closes),
        cmocka_unit_test(events_are_used_again),
        cmocka_unit_test(a_picture_without_an_event_is_held_all_the_same),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(no_two_pictures_share_an_event),
        cmocka_unit_test(short_memory_makes_none),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
