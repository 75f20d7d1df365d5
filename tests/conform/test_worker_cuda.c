/* A worker's four placements: preparing on the CPU or the GPU, inferring on the CPU or the GPU, in f32 and in
 * f16. The CPU's f32 is the reference; where there is no engine for the CPU, the GPU's of pictures prepared
 * on the CPU. Exit status 77, with the reason, where there is no GPU or no plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/mem.h"
#include "cuda_plugin.h"
#include "worker/rig.h"

#define BATCH 4
#define CLASSES 1000

static om_frame *frames[BATCH];
static bool have_cpu; /* an engine for it */

/* Something to see, another for each: gradients and bars. */
static om_frame *make_picture(int number)
{
    om_frame *f;
    assert_int_equal(om_frame_create(OM_PIX_I420, 320 + 32 * number, 240, &f), OM_OK);
    for (int p = 0; p < 3; p++) {
        int w = p ? f->image.width / 2 : f->image.width, h = p ? f->image.height / 2 : f->image.height;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                f->image.plane[p][(ptrdiff_t)y * f->image.stride[p] + x] =
                    (uint8_t)(40 + (x * (number + 1) + y * (p + 1)) % 160 + (x / 16 % 2 ? 30 : 0));
    }
    return f;
}

static om_rig_params params_of(const char *model, bool prep, bool infer, bool amp)
{
    return (om_rig_params){.model = model,
                           .device = "cpu",
                           .gpu = "cuda:0",
                           .seed = 1,
                           .batch = BATCH,
                           .prep_on_gpu = prep,
                           .infer_on_gpu = infer,
                           .tuned = true,
                           .amp = amp};
}

/* All numbers of the first output of `n` frames; the caller's om_free(). */
static float *run(const char *model, bool prep, bool infer, bool amp, int n)
{
    om_rig r;
    om_geometry geo[BATCH];
    om_dets dets[BATCH] = {{0}};
    om_rig_params p = params_of(model, prep, infer, amp);
    if (om_rig_load(&r, &p) || om_rig_compile(&r, &p)) fail_msg("%s", om_error_message());
    assert_true((r.prep->ops->memory == OM_MEMORY_CUDA) == prep);
    assert_true((r.infer->ops->memory == OM_MEMORY_CUDA) == infer);
    assert_true(strcmp(r.precision, "f16") == 0 || !(amp && infer));
    /* Twice: what the first leaves behind must not show. */
    for (int i = 0; i < 2; i++) {
        if (om_rig_prepare(&r, frames, n, geo) || om_rig_execute(&r, n, geo, dets))
            fail_msg("%s", om_error_message());
        for (int k = 0; k < BATCH; k++) om_dets_clear(&dets[k]);
    }
    if (om_session_wait(r.session)) fail_msg("%s", om_error_message());
    const om_tensor *out = &r.session->outputs[0];
    assert_int_equal(out->dtype, OM_DTYPE_F32);
    assert_int_equal(om_shape_count(&out->shape), BATCH * CLASSES);
    float *v = om_alloc(sizeof *v * BATCH * CLASSES);
    assert_non_null(v);
    memcpy(v, out->data, sizeof *v * BATCH * CLASSES);
    for (int k = 0; k < BATCH; k++) om_dets_fini(&dets[k]);
    om_rig_fini(&r);
    return v;
}

/* The length of the difference over the reference's. */
static double error_of(const float *v, const float *reference, int n)
{
    double d = 0, all = 0;
    for (int i = 0; i < n * CLASSES; i++) {
        d += ((double)v[i] - reference[i]) * ((double)v[i] - reference[i]);
        all += (double)reference[i] * reference[i];
    }
    return sqrt(d / all);
}

static void placements_agree(const char *model, bool amp, double bound)
{
    float *reference = run(model, false, !have_cpu, false, BATCH);
    for (int i = 1; i < 4; i++) {
        bool prep = i & 1, infer = i & 2;
        if (!infer && !have_cpu) continue;
        float *v = run(model, prep, infer, amp && infer, BATCH);
        double error = error_of(v, reference, BATCH);
        printf("%s, prep on %s, infer on %s%s: error %.2g\n", model, prep ? "GPU" : "CPU",
               infer ? "GPU" : "CPU", amp && infer ? " f16" : "", error);
        assert_true(error < bound);
        om_free(v);
    }
    om_free(reference);
}

static void placements_agree_in_f32(void **state) { placements_agree("mobilenet_v2", false, .02); }

static void placements_agree_in_f16(void **state) { placements_agree("resnet50", true, .05); }

/* A last batch that is not full. */
static void part_of_a_batch(void **state)
{
    float *all = run("mobilenet_v2", true, true, false, BATCH),
          *part = run("mobilenet_v2", true, true, false, 2);
    assert_true(error_of(part, all, 2) < .01);
    om_free(all);
    om_free(part);
}

/* Each step's outputs are its own pictures', however quickly one follows the other. */
static void steps_do_not_mix(void **state)
{
    om_rig r;
    om_frame *turned[BATCH];
    om_geometry geo[BATCH];
    om_dets dets[BATCH] = {{0}};
    om_rig_params p = params_of("mobilenet_v2", true, true, false);
    float *all = run("mobilenet_v2", true, true, false, BATCH);
    for (int i = 0; i < BATCH; i++) turned[i] = frames[BATCH - 1 - i];
    if (om_rig_load(&r, &p) || om_rig_compile(&r, &p)) fail_msg("%s", om_error_message());
    for (int step = 0; step < 20; step++) {
        if (om_rig_prepare(&r, step % 2 ? turned : frames, BATCH, geo) ||
            om_rig_execute(&r, BATCH, geo, dets))
            fail_msg("%s", om_error_message());
        const float *v = r.session->outputs[0].data;
        for (int i = 0; i < BATCH; i++) {
            assert_true(error_of(v + i * CLASSES, all + (step % 2 ? BATCH - 1 - i : i) * CLASSES, 1) < .01);
            om_dets_clear(&dets[i]);
        }
    }
    for (int k = 0; k < BATCH; k++) om_dets_fini(&dets[k]);
    om_rig_fini(&r);
    om_free(all);
}

static void no_such_gpu(void **state)
{
    om_rig r;
    om_rig_params p = params_of("mobilenet_v2", true, true, false);
    p.gpu = "cuda:63";
    assert_int_equal(om_rig_load(&r, &p), OM_OK);
    assert_true(om_rig_compile(&r, &p) < 0);
    assert_non_null(strstr(om_error_message(), "cuda:63"));
    om_rig_fini(&r);
}

int main(void)
{
    const om_backend_ops *cpu;
    const char *device;
    int skip = open_cuda(NULL);
    if (skip) return skip;
    have_cpu = om_backend_select("cpu", &cpu, &device) == OM_OK;
    if (!have_cpu) printf("without the CPU's inference: %s\n", om_error_message());
    for (int i = 0; i < BATCH; i++) frames[i] = make_picture(i);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placements_agree_in_f32),
        cmocka_unit_test(placements_agree_in_f16),
        cmocka_unit_test(part_of_a_batch),
        cmocka_unit_test(steps_do_not_mix),
        cmocka_unit_test(no_such_gpu),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < BATCH; i++) om_frame_unref(frames[i]);
    return failed ? 1 : 0;
}
