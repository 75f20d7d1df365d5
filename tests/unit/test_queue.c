/* Queues, threads, timed waits and cancelled sleeps. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/thread.h"

static void *item_of(intptr_t n) { return (void *)n; }
static int64_t in_ms(int64_t ms) { return om_now_ns() + ms * OM_NS_PER_MS; }

static void items_leave_in_order(void **state)
{
    om_queue q;
    void *item = item_of(9);
    assert_int_equal(om_queue_init(&q, 3), OM_OK);
    assert_int_equal(om_queue_try_pop(&q, &item), OM_ERR_AGAIN);
    assert_null(item);
    for (intptr_t round = 0; round < 5; round++) {
        for (intptr_t i = 1; i <= 3; i++)
            assert_int_equal(om_queue_try_push(&q, item_of(round * 10 + i)), OM_OK);
        assert_int_equal(om_queue_try_push(&q, item_of(4)), OM_ERR_AGAIN);
        assert_int_equal(om_queue_count(&q), 3);
        for (intptr_t i = 1; i <= 3; i++) {
            assert_int_equal(om_queue_pop(&q, &item, OM_NEVER), OM_OK);
            assert_ptr_equal(item, item_of(round * 10 + i));
        }
        /* moves the head, so that the ring wraps at another place each round */
        assert_int_equal(om_queue_try_push(&q, item_of(1)), OM_OK);
        assert_int_equal(om_queue_try_pop(&q, &item), OM_OK);
    }
    om_queue_fini(&q);
    om_queue_fini(&q);
    om_queue_fini(NULL);
}

static void waiting_ends_at_the_deadline(void **state)
{
    om_queue q;
    void *item;
    assert_int_equal(om_queue_init(&q, 1), OM_OK);
    int64_t start = om_now_ns();
    assert_int_equal(om_queue_pop(&q, &item, in_ms(20)), OM_ERR_TIMEOUT);
    assert_true(om_now_ns() - start >= 19 * OM_NS_PER_MS);
    assert_int_equal(om_queue_pop(&q, &item, 0), OM_ERR_TIMEOUT);
    assert_int_equal(om_queue_push(&q, item_of(1), 0), OM_OK);
    start = om_now_ns();
    assert_int_equal(om_queue_push(&q, item_of(2), in_ms(20)), OM_ERR_TIMEOUT);
    assert_true(om_now_ns() - start >= 19 * OM_NS_PER_MS);
    assert_int_equal(om_queue_pop(&q, &item, 0), OM_OK);
    om_queue_fini(&q);
}

static void full_queue_gives_up_its_oldest(void **state)
{
    om_queue q;
    void *out;
    assert_int_equal(om_queue_init(&q, 2), OM_OK);
    assert_int_equal(om_queue_push_evict(&q, item_of(1), &out), OM_OK);
    assert_null(out);
    assert_int_equal(om_queue_push_evict(&q, item_of(2), &out), OM_OK);
    assert_null(out);
    assert_int_equal(om_queue_push_evict(&q, item_of(3), &out), OM_OK);
    assert_ptr_equal(out, item_of(1));
    assert_int_equal(om_queue_count(&q), 2);
    om_queue_close(&q);
    assert_int_equal(om_queue_push_evict(&q, item_of(4), &out), OM_ERR_CANCELLED);
    assert_null(out);
    assert_int_equal(om_queue_try_pop(&q, &out), OM_OK);
    assert_ptr_equal(out, item_of(2));
    om_queue_fini(&q);
}

static void closed_queue_drains_then_ends(void **state)
{
    om_queue q;
    void *item;
    assert_int_equal(om_queue_init(&q, 4), OM_OK);
    om_queue_try_push(&q, item_of(1));
    om_queue_try_push(&q, item_of(2));
    om_queue_close(&q);
    assert_int_equal(om_queue_try_push(&q, item_of(3)), OM_ERR_CANCELLED);
    assert_int_equal(om_queue_push(&q, item_of(3), OM_NEVER), OM_ERR_CANCELLED);
    assert_int_equal(om_queue_pop(&q, &item, OM_NEVER), OM_OK);
    assert_int_equal(om_queue_try_pop(&q, &item), OM_OK);
    assert_ptr_equal(item, item_of(2));
    assert_int_equal(om_queue_pop(&q, &item, OM_NEVER), OM_ERR_EOF);
    assert_int_equal(om_queue_try_pop(&q, &item), OM_ERR_EOF);
    om_queue_fini(&q);
}

static void queue_needs_room_and_memory(void **state)
{
    om_queue q;
    assert_int_equal(om_queue_init(&q, 0), OM_ERR_ARG);
    om_queue_fini(&q);
    om_mem_fail_after(0);
    assert_int_equal(om_queue_init(&q, 8), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
    om_queue_fini(&q);
    assert_int_equal(om_queue_init(&q, SIZE_MAX / 4), OM_ERR_NOMEM);
}

typedef struct traffic {
    om_queue q;
    atomic_long pushed, popped;
    int each;
} traffic;

static void *produce(void *p)
{
    traffic *t = p;
    for (int i = 1; i <= t->each; i++) {
        if (om_queue_push(&t->q, item_of(i), OM_NEVER) != OM_OK) break;
        atomic_fetch_add(&t->pushed, i);
    }
    return NULL;
}

static void *consume(void *p)
{
    traffic *t = p;
    void *item;
    while (om_queue_pop(&t->q, &item, OM_NEVER) == OM_OK) atomic_fetch_add(&t->popped, (long)(intptr_t)item);
    return NULL;
}

static void many_threads_lose_nothing(void **state)
{
    traffic t = {.each = 5000};
    om_thread producers[4], consumers[3];
    assert_int_equal(om_queue_init(&t.q, 7), OM_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(om_thread_start(&consumers[i], "consume", consume, &t), OM_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(om_thread_start(&producers[i], "produce", produce, &t), OM_OK);
    for (int i = 0; i < 4; i++) om_thread_join(&producers[i]);
    om_queue_close(&t.q);
    for (int i = 0; i < 3; i++) om_thread_join(&consumers[i]);
    assert_int_equal(atomic_load(&t.pushed), 4L * 5000 * 5001 / 2);
    assert_int_equal(atomic_load(&t.popped), atomic_load(&t.pushed));
    om_queue_fini(&t.q);
}

static void closing_wakes_those_who_wait(void **state)
{
    traffic t = {.each = 10};
    om_thread producer, consumer;
    assert_int_equal(om_queue_init(&t.q, 1), OM_OK);
    assert_int_equal(om_thread_start(&producer, "produce", produce, &t), OM_OK);
    om_cancel_sleep_until(NULL, in_ms(10));
    om_queue_close(&t.q);
    assert_int_equal(om_thread_join_timeout(&producer, 5000), OM_OK);
    assert_int_equal(atomic_load(&t.pushed), 1);
    om_queue_fini(&t.q);

    assert_int_equal(om_queue_init(&t.q, 1), OM_OK);
    assert_int_equal(om_thread_start(&consumer, "consume", consume, &t), OM_OK);
    om_cancel_sleep_until(NULL, in_ms(10));
    om_queue_close(&t.q);
    assert_int_equal(om_thread_join_timeout(&consumer, 5000), OM_OK);
    om_queue_fini(&t.q);
}

typedef struct self {
    char name[16];
    bool term_blocked, segv_blocked;
} self;

static void *look_at_self(void *p)
{
    self *s = p;
    sigset_t set;
    pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    s->term_blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGINT);
    s->segv_blocked = sigismember(&set, SIGSEGV);
    return NULL;
}

static void thread_has_name_and_blocked_signals(void **state)
{
    om_thread t;
    self s = {0};
    assert_int_equal(om_thread_start(&t, "a-name-that-is-too-long", look_at_self, &s), OM_OK);
    om_thread_join(&t);
    om_thread_join(&t);
    assert_string_equal(s.name, "a-name-that-is-");
    assert_true(s.term_blocked);
    assert_false(s.segv_blocked);
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    assert_false(sigismember(&set, SIGTERM));
}

static void thread_start_survives_lack_of_memory(void **state)
{
    om_thread t;
    om_mem_fail_after(0);
    assert_int_equal(om_thread_start(&t, "x", look_at_self, NULL), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
    om_thread_join(&t);
    assert_int_equal(om_thread_join_timeout(&t, 10), OM_OK);
    om_thread zero = {0};
    om_thread_join(&zero);
    om_thread_join(NULL);
}

typedef struct nap {
    om_cancel cancel;
    int64_t deadline, woke;
    atomic_int rc, done;
} nap;

static void *sleeper(void *p)
{
    nap *n = p;
    atomic_store(&n->rc, om_cancel_sleep_until(&n->cancel, n->deadline));
    n->woke = om_now_ns();
    atomic_store(&n->done, 1);
    return NULL;
}

static void firing_ends_a_sleep(void **state)
{
    nap n = {.deadline = OM_NEVER};
    om_thread t[2];
    assert_int_equal(om_cancel_init(&n.cancel), OM_OK);
    assert_false(om_cancelled(&n.cancel));
    assert_false(om_cancelled(NULL));
    assert_int_equal(om_thread_start(&t[0], "sleeper", sleeper, &n), OM_OK);
    om_cancel_sleep_until(NULL, in_ms(10));
    om_cancel_fire(&n.cancel);
    om_thread_join(&t[0]);
    assert_int_equal(atomic_load(&n.rc), OM_ERR_CANCELLED);
    assert_true(om_cancelled(&n.cancel));
    assert_int_equal(om_cancel_sleep_until(&n.cancel, OM_NEVER), OM_ERR_CANCELLED);
    assert_int_equal(om_cancel_sleep_until(&n.cancel, 0), OM_ERR_CANCELLED);
    om_cancel_fini(&n.cancel);
    om_cancel_fini(NULL);
}

static void sleep_lasts_to_its_deadline(void **state)
{
    om_cancel c;
    assert_int_equal(om_cancel_init(&c), OM_OK);
    int64_t deadline = in_ms(20);
    assert_int_equal(om_cancel_sleep_until(&c, deadline), OM_OK);
    assert_true(om_now_ns() >= deadline);
    deadline = in_ms(20);
    assert_int_equal(om_cancel_sleep_until(NULL, deadline), OM_OK);
    assert_true(om_now_ns() >= deadline);
    assert_int_equal(om_cancel_sleep_until(&c, -5), OM_OK);
    om_cancel_fini(&c);
}

static void stuck_thread_is_given_up(void **state)
{
    /* Outlives the join, as an abandoned thread does. */
    static nap n = {.deadline = OM_NEVER};
    om_thread t;
    assert_int_equal(om_cancel_init(&n.cancel), OM_OK);
    assert_int_equal(om_thread_start(&t, "stuck", sleeper, &n), OM_OK);
    int64_t start = om_now_ns();
    assert_int_equal(om_thread_join_timeout(&t, 30), OM_ERR_TIMEOUT);
    assert_true(om_now_ns() - start >= 29 * OM_NS_PER_MS);
    assert_int_equal(om_thread_join_timeout(&t, 30), OM_OK);
    om_cancel_fire(&n.cancel);
    while (!atomic_load(&n.done)) om_cancel_sleep_until(NULL, in_ms(1));
}

static void condition_times_out(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    assert_int_equal(om_cond_init(&cond), OM_OK);
    pthread_mutex_lock(&lock);
    int64_t start = om_now_ns();
    assert_int_equal(om_cond_wait_until(&cond, &lock, in_ms(15)), OM_ERR_TIMEOUT);
    assert_true(om_now_ns() - start >= 14 * OM_NS_PER_MS);
    assert_int_equal(om_cond_wait_until(&cond, &lock, -1), OM_ERR_TIMEOUT);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_leave_in_order),
        cmocka_unit_test(waiting_ends_at_the_deadline),
        cmocka_unit_test(full_queue_gives_up_its_oldest),
        cmocka_unit_test(closed_queue_drains_then_ends),
        cmocka_unit_test(queue_needs_room_and_memory),
        cmocka_unit_test(many_threads_lose_nothing),
        cmocka_unit_test(closing_wakes_those_who_wait),
        cmocka_unit_test(thread_has_name_and_blocked_signals),
        cmocka_unit_test(thread_start_survives_lack_of_memory),
        cmocka_unit_test(firing_ends_a_sleep),
        cmocka_unit_test(sleep_lasts_to_its_deadline),
        cmocka_unit_test(stuck_thread_is_given_up),
        cmocka_unit_test(condition_times_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
