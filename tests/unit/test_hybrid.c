/* How many streams the CPU decodes beside a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/hybrid.h"

/* A machine: what its decoders and cores have to do for so many streams on each. */
typedef struct machine {
    double cores, decoder_streams; /* streams that fill the decoders */
    double other;                  /* cores that the rest takes */
    double each;                   /* cores a stream */
} machine;

static om_hybrid_look look_at(const machine *m, int on_gpu, int on_cpu)
{
    double percent = 100.0 * on_gpu / m->decoder_streams, idle = m->cores - m->other - m->each * on_cpu;
    return (om_hybrid_look){.decode_percent = percent < 100 ? percent : 100,
                            .idle_cores = idle > 0 ? idle : 0,
                            .cores_each = m->each,
                            .on_gpu = on_gpu,
                            .on_cpu = on_cpu};
}

/* So many looks; returns how often streams were sent somewhere. */
static int run(om_hybrid *h, const machine *m, int *on_gpu, int *on_cpu, int looks)
{
    int moves = 0;
    for (int i = 0; i < looks; i++) {
        om_hybrid_look l = look_at(m, *on_gpu, *on_cpu);
        int n = om_hybrid_decide(h, &l);
        assert_true(n <= *on_gpu && -n <= *on_cpu);
        *on_gpu -= n;
        *on_cpu += n;
        moves += n != 0;
    }
    return moves;
}

static void decoders_with_room_are_left_alone(void **state)
{
    om_hybrid h;
    machine m = {.cores = 16, .decoder_streams = 100, .other = 2, .each = .03};
    int gpu = 70, cpu = 0;
    om_hybrid_init(&h, m.cores);
    assert_int_equal(run(&h, &m, &gpu, &cpu, 200), 0);
}

static void what_is_too_much_goes_to_idle_cores_and_stays(void **state)
{
    om_hybrid h;
    machine m = {.cores = 16, .decoder_streams = 950, .other = 3, .each = 5.0 / 180};
    int gpu = 1100, cpu = 0;
    om_hybrid_init(&h, m.cores);
    run(&h, &m, &gpu, &cpu, 100);
    assert_true(gpu < 950 && gpu > 500);
    assert_true(m.cores - m.other - m.each * cpu > 1); /* and the rest of the work keeps its cores */
    assert_int_equal(run(&h, &m, &gpu, &cpu, 500), 0); /* it has come to rest */
}

static void busy_cores_take_nothing(void **state)
{
    om_hybrid h;
    machine m = {.cores = 2, .decoder_streams = 100, .other = 1.5, .each = .03};
    int gpu = 200, cpu = 0;
    om_hybrid_init(&h, m.cores);
    assert_int_equal(run(&h, &m, &gpu, &cpu, 200), 0);
}

static void cores_that_are_needed_send_streams_back(void **state)
{
    om_hybrid h;
    machine m = {.cores = 16, .decoder_streams = 100, .other = 15.9, .each = .1};
    int gpu = 90, cpu = 40;
    om_hybrid_init(&h, m.cores);
    run(&h, &m, &gpu, &cpu, 8);
    assert_true(cpu < 40);
    int then = cpu;
    m.other = 2; /* the work has gone: not at once back again */
    run(&h, &m, &gpu, &cpu, 10);
    assert_int_equal(cpu, then);
}

static void idle_decoders_get_their_streams_back(void **state)
{
    om_hybrid h;
    machine m = {.cores = 16, .decoder_streams = 100, .other = 2, .each = .1};
    int gpu = 20, cpu = 30;
    om_hybrid_init(&h, m.cores);
    run(&h, &m, &gpu, &cpu, 400);
    assert_int_equal(cpu, 0);
    assert_int_equal(run(&h, &m, &gpu, &cpu, 100), 0);
}

static void without_a_measure_nothing_moves(void **state)
{
    om_hybrid h;
    om_hybrid_look l = {.decode_percent = -1, .idle_cores = 10, .cores_each = 1, .on_gpu = 64, .on_cpu = 4};
    om_hybrid_init(&h, 16);
    for (int i = 0; i < 50; i++) assert_int_equal(om_hybrid_decide(&h, &l), 0);
}

static void the_first_share_fits_the_machine(void **state)
{
    assert_int_equal(om_hybrid_share(2, 7, 1, false), 0);
    assert_in_range(om_hybrid_share(16, 7, 64, false), 10, 12); /* a core each */
    int paced = om_hybrid_share(16, 7, 1000, true);
    assert_in_range(paced, 250, 400);
    assert_int_equal(om_hybrid_share(1, 7, 64, true), 0);
    int picked = 0;
    for (int i = 0; i < 64; i++) picked += om_hybrid_picks(i, 64, 11);
    assert_int_equal(picked, 11);
    for (int i = 0; i < 64; i++) assert_false(om_hybrid_picks(i, 64, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders_with_room_are_left_alone),
        cmocka_unit_test(what_is_too_much_goes_to_idle_cores_and_stays),
        cmocka_unit_test(busy_cores_take_nothing),
        cmocka_unit_test(cores_that_are_needed_send_streams_back),
        cmocka_unit_test(idle_decoders_get_their_streams_back),
        cmocka_unit_test(without_a_measure_nothing_moves),
        cmocka_unit_test(the_first_share_fits_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
