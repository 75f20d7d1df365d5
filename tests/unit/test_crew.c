/* A loop that several threads share: each item once, and all of them before the call returns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#include "base/crew.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

#define ITEMS 1000
#define ROUNDS 300

typedef struct tally {
    int done[ITEMS]; /* not atomic: each item is one thread's, and is seen by the caller afterwards */
} tally;

static void mark(void *arg, size_t i) { ((tally *)arg)->done[i]++; }

static void run_and_check(om_crew *c, size_t n)
{
    tally t = {{0}};
    om_crew_run(c, mark, &t, n);
    for (size_t i = 0; i < ITEMS; i++) assert_int_equal(t.done[i], i < n);
}

static void each_item_is_done_once(void **state)
{
    om_crew *c;
    assert_int_equal(om_crew_create("crew", 3, &c), OM_OK);
    for (size_t round = 0; round < ROUNDS; round++) run_and_check(c, round * 7 % (ITEMS + 1));
    om_crew_destroy(c);
}

static void without_helpers_the_caller_does_it(void **state)
{
    om_crew *c;
    run_and_check(NULL, ITEMS);
    assert_int_equal(om_crew_create("crew", 0, &c), OM_OK);
    run_and_check(c, ITEMS);
    om_crew_destroy(c);
    om_crew_destroy(NULL);
}

typedef struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int here;
} meeting;

/* Returns when two are here at the same time. */
static void meet(void *arg, size_t i)
{
    meeting *m = arg;
    pthread_mutex_lock(&m->lock);
    m->here++;
    pthread_cond_broadcast(&m->changed);
    while (m->here < 2) pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void helpers_help(void **state)
{
    om_crew *c;
    meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    assert_int_equal(om_crew_create("crew", 1, &c), OM_OK);
    om_crew_run(c, meet, &m, 2);
    assert_int_equal(m.here, 2);
    om_crew_destroy(c);
}

typedef struct other {
    om_crew *crew;
    tally t;
} other;

static void *run_other(void *arg)
{
    other *o = arg;
    for (int round = 0; round < ROUNDS; round++) om_crew_run(o->crew, mark, &o->t, ITEMS);
    return NULL;
}

static void two_callers_do_not_meet(void **state)
{
    static other o[2];
    om_thread threads[2] = {{0}};
    om_crew *c;
    assert_int_equal(om_crew_create("crew", 2, &c), OM_OK);
    for (int i = 0; i < 2; i++) {
        o[i].crew = c;
        assert_int_equal(om_thread_start(&threads[i], "caller", run_other, &o[i]), OM_OK);
    }
    for (int i = 0; i < 2; i++) om_thread_join(&threads[i]);
    om_crew_destroy(c);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < ITEMS; k++) assert_int_equal(o[i].t.done[k], ROUNDS);
}

static void no_memory_no_crew(void **state)
{
    om_crew *c = (om_crew *)(void *)1;
    om_mem_fail_after(0);
    assert_int_equal(om_crew_create("crew", 2, &c), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_is_done_once), cmocka_unit_test(without_helpers_the_caller_does_it),
        cmocka_unit_test(helpers_help),           cmocka_unit_test(two_callers_do_not_meet),
        cmocka_unit_test(no_memory_no_crew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
