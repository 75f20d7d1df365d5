/* A sink that is full: who was refused is called once, when half the queue is free, and nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "sink/sink.h"

#define QUEUE 8
#define RESULTS 5000

typedef struct room {
    om_sink *sink;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t cond;
    int calls, too_early;
} room;

static void on_room(void *user)
{
    room *r = user;
    bool early = 2 * om_queue_count(&r->sink->queue) > QUEUE;
    pthread_mutex_lock(&r->lock);
    r->calls++;
    r->too_early += early;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

static int calls_of(room *r)
{
    pthread_mutex_lock(&r->lock);
    int calls = r->calls;
    pthread_mutex_unlock(&r->lock);
    return calls;
}

static void wait_for_more_than(room *r, int calls)
{
    int64_t deadline = om_now_ns() + 30 * OM_NS_PER_SEC;
    pthread_mutex_lock(&r->lock);
    while (r->calls <= calls && om_cond_wait_until(&r->cond, &r->lock, deadline) == OM_OK) continue;
    assert_true(r->calls > calls);
    pthread_mutex_unlock(&r->lock);
}

static void room_is_told_once_for_half_a_queue(void **state)
{
    om_sink_params p = {.queue = QUEUE};
    room r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    om_result *result = om_result_create();
    assert_non_null(result);
    for (int i = 0; i < 20; i++) assert_non_null(om_dets_add(&result->dets));
    result->stream = "a";
    assert_int_equal(om_cond_init(&r.cond), OM_OK);
    assert_int_equal(om_sink_open("jsonl:/dev/null", NULL, &p, &r.sink), OM_OK);
    om_sink_on_room(r.sink, on_room, &r);
    for (int i = 0; i < RESULTS;) {
        int calls = calls_of(&r), err = om_sink_offer(r.sink, result);
        if (err == OM_ERR_AGAIN) {
            wait_for_more_than(&r, calls);
        } else {
            assert_int_equal(err, OM_OK);
            i++;
        }
    }
    assert_int_equal(om_sink_finish(r.sink, 30000), OM_OK);
    assert_int_equal(r.sink->written, RESULTS);
    assert_int_equal(r.too_early, 0);
    om_sink_destroy(r.sink);
    om_result_unref(result);
    pthread_cond_destroy(&r.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(room_is_told_once_for_half_a_queue)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
