/* Who decodes which stream of a run, with a stand-in for a GPU that says how busy its decoders are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "clip.h"
#include "device/host.h"
#include "fake_hwaccel.h"
#include "folder.h"
#include "live_rig.h"
#include "pipeline/pipeline_priv.h"

#define STREAMS 12

static int usage(om_device *d, om_device_usage *out)
{
    *out = (om_device_usage){.compute_percent = 1, .decode_percent = 10};
    return OM_OK;
}

static int native(om_device *d, void **context, void **stream) { return OM_OK; }

static int count(om_pipeline *p, int kind, int *changes)
{
    int n = 0;
    *changes = 0;
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) {
        const om_source_counts *c = &p->streams[i]->account.source;
        n += atomic_load(&c->decoder) == kind;
        *changes += atomic_load(&c->changes);
        assert_int_equal(atomic_load(&c->fallbacks), 0);
    }
    pthread_mutex_unlock(&p->roster);
    return n;
}

/* A share begins on the CPU; decoders with room get streams back, at a key picture and without a loss. */
static void a_share_begins_on_the_cpu_and_comes_back(void **state)
{
    seen s;
    int changes;
    om_stream_stats st;
    clip_make(folder_path("decoding.mp4"), "pattern:96x64@10:frames=20");
    om_pipeline *p = make(&s, (const char *const[]){"decode", "hybrid", "live", "yes", "loop", "yes", NULL});
    for (int i = 0; i < STREAMS; i++) assert_ok(om_pipeline_add_stream(p, folder_path("decoding.mp4"), NULL));
    assert_ok(om_pipeline_start(p));
    wait_frames(&s, STREAMS);
    int share = p->units[0].decoding.first;
    assert_int_equal(share, om_hybrid_share(om_cpu_count(), 0, STREAMS, true));
    if (share) {
        for (int64_t end = PATIENCE; count(p, OM_DECODER_CPU, &changes), !changes; nap())
            assert_true(om_now_ns() < end);
        assert_true(count(p, OM_DECODER_CPU, &changes) < share);
    }
    om_pipeline_stop(p);
    assert_ok(om_pipeline_wait(p, 30000));
    assert_ok(om_pipeline_stats(p, -1, &st));
    assert_int_equal(st.received, st.inferred + st.skipped + st.dropped);
    om_pipeline_destroy(p);
}

static int set_up(void **state)
{
    static om_device_ops ops;
    om_media_quiet();
    ops = om_device_host;
    ops.name = "null"; /* where the null engine's tensors lie, then */
    ops.native = native;
    ops.usage = usage;
    return om_device_register(&ops) || folder_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_share_begins_on_the_cpu_and_comes_back)};
    return cmocka_run_group_tests(tests, set_up, folder_remove);
}
