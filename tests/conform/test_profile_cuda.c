/* Profiles on a GPU: peaks, layers by marks, transfers, what the device did, and the ranges of tools. Exit
 * status 77, with the reason, where there is no GPU or no plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cuda_plugin.h"
#include "profile/counters.h"

#define BATCH 8

static char folder[] = "/tmp/omma-profile-cuda-XXXXXX";
static char *model;

static void measure(om_precision precision, om_profile *p)
{
    om_profile_params q = {.model = model,
                           .device = "cuda:0",
                           .batch = BATCH,
                           .iterations = 30,
                           .precision = precision,
                           .keep_outputs = true};
    if (om_profile_measure(&q, p)) fail_msg("%s", om_error_message());
}

static void peaks_are_a_gpus(void **state)
{
    om_device *d;
    om_peaks a, b;
    assert_int_equal(om_device_open("cuda:0", &d), OM_OK);
    if (om_peaks_get_device(d, true, &a)) fail_msg("%s", om_error_message());
    printf(
        "%s: f32 %.1f tf32 %.1f f16 %.1f bf16 %.1f int8 %.1f T/s, memory %.0f cache %.0f up %.1f down %.1f GB/s\n",
        a.cpu, a.f32_gflops / 1e3, a.tf32_gflops / 1e3, a.f16_gflops / 1e3, a.bf16_gflops / 1e3,
        a.int8_gops / 1e3, a.memory_gbs, a.cache_gbs, a.to_device_gbs, a.to_host_gbs);
    assert_true(a.f32_gflops > 100 && a.f16_gflops > a.f32_gflops && a.int8_gops > a.f32_gflops);
    assert_true(a.memory_gbs > 50 && a.cache_gbs > a.memory_gbs / 2);
    assert_true(a.to_device_gbs > 1 && a.to_host_gbs > 1);
    assert_int_equal(om_peaks_get_device(d, false, &b), OM_OK);
    assert_true(b.f16_gflops > .999 * a.f16_gflops && b.f16_gflops < 1.001 * a.f16_gflops);
    om_device_close(d);
}

/* Layers add up to the inference, or the profile says why not. */
static void layers_add_up(void **state)
{
    om_profile p;
    double conv = 0;
    measure(OM_PRECISION_F16, &p);
    for (size_t i = 0; i < p.n_layers; i++) {
        assert_true(p.layers[i].us >= 0 && p.layers[i].step == (int)i);
        conv += !strncmp(p.layers[i].type, "Conv", 4) ? p.layers[i].us : 0;
        if (p.layers[i].macs) assert_string_equal(p.layers[i].precision, "f16");
    }
    printf("%zu layers, %.1f us of %.1f (with marks %.1f), convolutions %.1f us; %s\n", p.n_layers,
           p.layers_us, p.latency_us, p.profiled_us, conv, p.gap ? p.gap : "no gap");
    assert_true(conv > p.layers_us / 2);
    assert_true(p.gap || (p.layers_us > .95 * p.latency_us && p.layers_us < 1.05 * p.latency_us));
    assert_false(p.in_place);
    assert_true(p.to_device_us > 0 && p.to_host_us > 0);
    assert_true(p.n_outputs == BATCH * 1000);
    om_profile_fini(&p);
}

static void precisions_agree(void **state)
{
    om_profile p, q;
    double cosine, error;
    measure(OM_PRECISION_F32, &p);
    measure(OM_PRECISION_F16, &q);
    assert_int_equal(om_profile_agree(&p, &q, &cosine, &error), OM_OK);
    printf("f16 against f32: cosine %.6f, error %.2g, %.2f times as fast\n", cosine, error,
           p.latency_us / q.latency_us);
    assert_true(cosine > .98 && error < .2); /* of noise, which a model of random weights blurs */
    om_profile_fini(&p);
    om_profile_fini(&q);
}

static void done(void *user) { (void)user; }

/* Gather and inference are timed by the device's own clocks where that is asked for, and never otherwise. */
static void work_is_counted(void **state)
{
    om_device *d;
    om_graph *g;
    om_model_desc *desc;
    om_plan *plan;
    om_session *s;
    om_frame *f;
    om_device_work w;
    const om_backend_ops *cuda;
    const char *name;
    assert_int_equal(om_model_load(model, &g), OM_OK);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_model_describe(g, &desc), OM_OK);
    assert_int_equal(om_backend_select("cuda:0", &cuda, &name), OM_OK);
    assert_int_equal(om_device_open("cuda:0", &d), OM_OK);
    om_compile_params q = {.graph = g,
                           .desc = desc,
                           .device = name,
                           .memory = d,
                           .batch = 1,
                           .width = 224,
                           .height = 224,
                           .cache_dir = folder};
    if (om_plan_compile(cuda, &q, &plan) || om_session_create(plan, &s)) fail_msg("%s", om_error_message());
    assert_int_equal(om_frame_create(OM_PIX_RGB24, 320, 240, &f), OM_OK);
    om_head *head;
    om_head_params hp;
    om_head_params_default(&hp);
    assert_int_equal(om_head_create(desc, &hp, &head), OM_OK);
    for (int pass = 0; pass < 2; pass++) {
        om_geometry geo;
        om_dets dets = {0};
        om_gather_item item = {.frame = f, .dst = om_session_item(s, 0)};
        om_geometry_fit(desc->fit, 320, 240, 224, 224, &geo);
        item.geometry = geo;
        om_device_work_watch(d, pass == 1);
        assert_int_equal(om_device_gather(d, &item, 1, &plan->prep, s->stream), OM_OK);
        assert_int_equal(om_session_submit(s, 1, done, NULL), OM_OK);
        assert_int_equal(om_session_collect(s, head, 1, &geo, &dets), OM_OK);
        om_dets_fini(&dets);
        om_device_settle(d, s->stream);
        for (int i = 0; i < 2000; i++) { /* whoever gives frames back counts the gather */
            om_device_work_get(d, &w);
            if (!pass || w.times[OM_WORK_GATHER]) break;
            usleep(1000);
        }
        assert_int_equal(w.times[OM_WORK_GATHER], pass);
        assert_int_equal(w.times[OM_WORK_INFER], pass);
    }
    printf("gather %.1f us, inference %.1f us, %llu bytes up, %llu down\n", 1e6 * w.seconds[OM_WORK_GATHER],
           1e6 * w.seconds[OM_WORK_INFER], (unsigned long long)w.bytes_to_device,
           (unsigned long long)w.bytes_to_host);
    assert_true(w.seconds[OM_WORK_INFER] > 0 && w.seconds[OM_WORK_INFER] < 1);
    assert_true(w.bytes_to_device >= 2 * 240 * 240 * 3 && w.bytes_to_host >= 2 * 4000);
    om_head_destroy(head);
    om_frame_unref(f);
    om_session_destroy(s);
    om_plan_destroy(plan);
    om_device_close(d);
    om_model_desc_free(desc);
    om_graph_destroy(g);
}

int main(void)
{
    int skip = open_cuda(NULL);
    if (skip) return skip;
    om_graph *g;
    om_synth_params s = {.seed = 1};
    if (!mkdtemp(folder)) return 1;
    setenv("XDG_CACHE_HOME", folder, 1);
    model = om_sprintf("%s/resnet50.onnx", folder);
    if (!model || om_model_synth("resnet50", &s, &g) || om_model_make_dynamic(g, true, false) ||
        om_model_save(g, model)) {
        printf("%s\n", om_error_message());
        return 1;
    }
    om_graph_destroy(g);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peaks_are_a_gpus),
        cmocka_unit_test(layers_add_up),
        cmocka_unit_test(precisions_agree),
        cmocka_unit_test(work_is_counted),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model);
    om_free(model);
    return failed ? 1 : 0;
}
