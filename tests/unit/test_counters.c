/* What vendors' tools counted, read from their tables and asked of the tools themselves; a GPU's peaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/counters.h"
#include "profile/html.h"

#define HEADING                                                                                              \
    "\"ID\",\"Process ID\",\"Kernel Name\",\"thread Domain:Push/Pop_Range:PL_Type:PL_Value\","               \
    "\"dram__bytes.sum.per_second\",\"dram__throughput.avg.pct_of_peak_sustained_elapsed\","                 \
    "\"gpu__time_duration.sum\",\"lts__t_sector_hit_rate.pct\","                                             \
    "\"sm__throughput.avg.pct_of_peak_sustained_elapsed\","                                                  \
    "\"sm__warps_active.avg.pct_of_peak_sustained_active\"\n"
#define UNITS "\"\",\"\",\"\",\"\",\"Gbyte/s\",\"%\",\"us\",\"%\",\"%\",\"%\"\n"

/* Two layers, of the engine's steps 0 and 2. */
static void make(om_profile *p)
{
    memset(p, 0, sizeof *p);
    p->layers = om_calloc(2, sizeof *p->layers);
    p->n_layers = 2;
    for (int i = 0; i < 2; i++) {
        p->layers[i].name = om_strdup(i ? "second" : "first");
        p->layers[i].type = om_strdup("Conv");
        p->layers[i].step = 2 * i;
        p->layers[i].us = 10;
    }
    p->model = om_strdup("model with a space.onnx");
    p->device = om_strdup("cuda:0");
    p->batch = 4;
}

static void near(double v, double expected)
{
    if (v < expected * .9999 - 1e-9 || v > expected * 1.0001 + 1e-9) fail_msg("%g, expected %g", v, expected);
}

static void ncu_tables_are_folded_into_layers(void **state)
{
    om_profile p;
    char text[] =
        "==PROF== Connected to process 12\n" HEADING UNITS
        "\"0\",\"12\",\"a, b\",\"omma:step#0 @0@\",\"1,000.5\",\"20\",\"3\",\"50\",\"40\",\"25\"\n"
        "\"1\",\"12\",\"with \"\"quotes\"\"\",\"omma:step#0 @0@\",\"2000.5\",\"40\",\"1\",\"90\",\"80\",\"65\"\n"
        "\"2\",\"12\",\"c\",\"omma:step#2 @1@\",\"n/a\",\"10\",\"5.5\",\"50\",\"40\",\"30\"\n"
        "\"3\",\"12\",\"nobody's\",\"\",\"10\",\"10\",\"5.5\",\"50\",\"40\",\"30\"\n";
    make(&p);
    assert_int_equal(om_counters_read_ncu(&p, text, "table"), OM_OK);
    om_counters a = p.layers[0].counters, b = p.layers[1].counters;
    assert_int_equal(a.kernels, 2);
    near(a.us, 4);
    near(a.occupancy, .35);
    near(a.l2_hits, .6);
    near(a.dram_gbs, 1250.5);
    near(a.dram_busy, .25);
    near(a.sm_busy, .5);
    assert_int_equal(b.kernels, 1);
    near(b.us, 5.5);
    assert_true(b.dram_gbs < 0);
    om_profile_fini(&p);
}

/* As ncu 2025.3 does: an attribute of the device a column, hundreds of them, before the metrics that come
 * last. */
static void wide_tables_are_read_to_their_end(void **state)
{
    om_profile p;
    om_str text = {0};
    make(&p);
    for (int line = 0; line < 3; line++) {
        static const char *const first[] = {"ID", "", "0"}, *const range[] = {
                                                                "thread Domain:Push/Pop_Range:PL_Type", "",
                                                                "omma:step#2 x"};
        static const char *const time[] = {"gpu__time_duration.sum", "ns", "7000"};
        static const char *const last[] = {"sm__warps_active.avg.pct_of_peak_sustained_active", "%", "62.5"};
        om_str_addf(&text, "\"%s\",\"%s\"", first[line], range[line]);
        for (int i = 0; i < 500; i++) om_str_addf(&text, ",\"%s\"", line ? "" : "device__attribute_x");
        om_str_addf(&text, ",\"%s\",\"%s\"\n", time[line], last[line]);
    }
    assert_int_equal(om_counters_read_ncu(&p, text.data, "table"), OM_OK);
    near(p.layers[1].counters.us, 7);
    near(p.layers[1].counters.occupancy, .625);
    om_str_fini(&text);
    om_profile_fini(&p);
}

static void bad_tables_are_refused(void **state)
{
    static const struct {
        bool nsys;
        const char *text, *says;
    } cases[] = {
        {false, "", "no line begins with \"ID\""},
        {false, "==ERROR== no GPU\n", "no line begins with \"ID\""},
        {false, "\"ID\",\"Kernel Name\"\n", "gpu__time_duration.sum"},
        {false, HEADING, "row of units"},
        {false, HEADING "\"0\",\"1\"\n", "row of units"},
        {false, HEADING UNITS, "no kernel"},
        {false, HEADING UNITS "\"0\",\"12\",\"a\",\"omma:step#77 x\",\"1\",\"2\",\"3\",\"5\",\"4\",\"2\"\n",
         "no kernel"},
        {false, HEADING UNITS "\"0\",\"12\",\"cut off", "no kernel"},
        {true, "", "no line begins with Name"},
        {true, "Name,Total Time (ns)\n", "Projected Duration"},
        {true, "Name,Projected Duration (ns)\n", "NumGPUOps"},
        {true, "Name,Projected Duration (ns),NumGPUOps\nomma:step#0,x,1\n", "no kernel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_profile p;
        make(&p);
        char *text = om_strdup(cases[i].text);
        int err = cases[i].nsys ? om_counters_read_nsys(&p, text, "table")
                                : om_counters_read_ncu(&p, text, "table");
        assert_int_equal(err, OM_ERR_FORMAT);
        if (!strstr(om_error_message(), cases[i].says)) fail_msg("case %zu: %s", i, om_error_message());
        om_free(text);
        om_profile_fini(&p);
    }
}

/* The columns are those of the user guide of Nsight Systems for this report. */
static void nsys_tables_are_folded_into_layers(void **state)
{
    om_profile p;
    char text[] = "Processing [report.sqlite] with [nvtx_gpu_proj_trace.py]...\n"
                  "Name,Projected Start (ns),Projected Duration (ns),Orig Start (ns),Orig Duration "
                  "(ns),Style,PID,TID,NumGPUOps,Lvl,NumChild,RangeId,ParentId,RangeStack\n"
                  "omma:step#0 @0@,100,5000,90,3000,PushPop,1,1,1,2,0,5,4,:3:4:5\n"
                  "omma:counted_inference,200,30000,190,40000,PushPop,1,1,3,0,1,6,,:6\n"
                  "omma:step#0 @0@,300,4000,290,3000,PushPop,1,1,2,2,0,8,7,:6:7:8\n"
                  "omma:step#2 @1@,400,6500,390,3000,PushPop,1,1,1,2,0,9,7,:6:7:9\n";
    make(&p);
    assert_int_equal(om_counters_read_nsys(&p, text, "table"), OM_OK);
    assert_int_equal(p.layers[0].counters.kernels, 2);
    near(p.layers[0].counters.us, 4);
    near(p.layers[1].counters.us, 6.5);
    assert_true(p.layers[0].counters.occupancy < 0);
    om_profile_fini(&p);
}

/* What a tool says where it could not count; and step numbers that are none. */
static void numbers_that_are_none_are_left_out(void **state)
{
    om_profile p;
    char ncu[] = HEADING UNITS
        "\"0\",\"12\",\"a\",\"omma:step#0 @0@\",\"nan\",\"inf\",\"3\",\"-nan\",\"40\",\"25\"\n"
        "\"1\",\"12\",\"a\",\"omma:step#2 @0@\",\"1\",\"2\",\"nan\",\"5\",\"40\",\"25\"\n"
        "\"2\",\"12\",\"a\",\"omma:step#4294967296 @0@\",\"1\",\"2\",\"3\",\"5\",\"40\",\"25\"\n";
    char nsys[] = "Name,Projected Duration (ns),NumGPUOps\nomma:step#0,5000,1e300\nomma:step#0,inf,1\n"
                  "omma:step#2,6000,2\n";
    make(&p);
    assert_int_equal(om_counters_read_ncu(&p, ncu, "table"), OM_OK);
    om_counters a = p.layers[0].counters;
    assert_int_equal(a.kernels, 1);
    assert_true(a.dram_gbs < 0 && a.dram_busy < 0 && a.l2_hits < 0);
    near(a.sm_busy, .4);
    assert_int_equal(p.layers[1].counters.kernels, 0);
    assert_int_equal(om_counters_read_nsys(&p, nsys, "table"), OM_OK);
    assert_int_equal(p.layers[0].counters.kernels, 0);
    assert_int_equal(p.layers[1].counters.kernels, 2);
    om_profile_fini(&p);
}

/* A folder with a program of this name, first in PATH. */
static void put_program(char *dir, const char *name, const char *body)
{
    char path[128];
    strcpy(dir, "/tmp/omma-counters-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s", body);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int count_with(const char *name, const char *body, om_tool tool, om_profile *p)
{
    char dir[64], path[256], file[128];
    om_tool_params q = {.tool = tool, .precision = OM_PRECISION_F16, .command = "omma-itself"};
    char *before = om_strdup(getenv("PATH"));
    put_program(dir, name, body);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);
    int err = om_profile_count(p, &q);
    setenv("PATH", before, 1);
    om_free(before);
    snprintf(file, sizeof file, "%s/%s", dir, name);
    unlink(file);
    rmdir(dir);
    return err;
}

/* Writes the table where --log-file says, if the command behind it is the profile. */
#define FAKE_NCU                                                                                                       \
    "while [ $# -gt 0 ]; do case $1 in --log-file) log=$2;; omma-itself) shift; break;; esac; shift; done\n"           \
    "[ \"$*\" = 'profile model with a space.onnx --device cuda:0 --batch 4 --precision f16 --iterations 3 --quiet' ] " \
    "|| { echo \"called with: $*\" >&2; exit 3; }\n"

static void a_tool_is_run_and_read(void **state)
{
    om_profile p;
    make(&p);
    int err =
        count_with("ncu",
                   FAKE_NCU "cat >$log <<'END'\n==PROF== Connected\n" HEADING UNITS
                            "\"0\",\"12\",\"a\",\"omma:step#2 x\",\"1\",\"2\",\"3\",\"5\",\"4\",\"2\"\nEND\n",
                   OM_TOOL_NCU, &p);
    if (err) fail_msg("%s", om_error_message());
    assert_string_equal(p.counted_by, "ncu");
    near(p.layers[1].counters.us, 3);
    assert_int_equal(p.layers[0].counters.kernels, 0);
    err = count_with(
        "nsys",
        "[ $1 = stats ] && { echo 'Name,Projected Duration (us),NumGPUOps'; echo 'omma:step#0 y,7.5,1'; }\n"
        "exit 0\n",
        OM_TOOL_NSYS, &p);
    if (err) fail_msg("%s", om_error_message());
    assert_string_equal(p.counted_by, "nsys");
    near(p.layers[0].counters.us, 7.5);
    om_profile_fini(&p);
}

/* A stand-in that takes Nsight Systems' options, runs the program, and projects ranges onto kernels out of
 * its SQLite export: the last inference counts, and nothing of it is left on the disk. */
static void nsys_is_called_and_read_as_its_guide_says(void **state)
{
    static const char body[] =
        "dir=$(dirname \"$0\")\n"
        "printf '#!/bin/sh\\n[ \"$1 $2\" = \"profile model with a space.onnx\" ]\\n' >$dir/omma-itself; chmod +x "
        "$dir/omma-itself\n"
        "/usr/bin/python3 " TEST_DATA
        "/../e2e/nsys_standin.py \"$@\"; code=$?; rm $dir/omma-itself; exit $code\n";
    char parent[] = "/tmp/omma-counters-XXXXXX";
    om_profile p;
    make(&p);
    assert_non_null(mkdtemp(parent));
    setenv("TMPDIR", parent, 1);
    setenv("STANDIN_KERNELS",
           "[[[\"step#0 @0@\",[100]],[\"step#2 @1@\",[200]]],"
           "[[\"step#0 @0@\",[4.5]],[\"step#1 x\",[50]],[\"step#2 @1@\",[3,2.25]]]]",
           1);
    int err = count_with("nsys", body, OM_TOOL_NSYS, &p);
    if (err) fail_msg("%s", om_error_message());
    assert_string_equal(p.counted_by, "nsys");
    assert_int_equal(p.layers[0].counters.kernels, 1);
    near(p.layers[0].counters.us, 4.5);
    assert_int_equal(p.layers[1].counters.kernels, 2);
    near(p.layers[1].counters.us, 5.25);
    setenv("STANDIN_KERNELS", "[]", 1);
    assert_int_equal(count_with("nsys", body, OM_TOOL_NSYS, &p), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "does not contain NVTX event data"));
    assert_int_equal(rmdir(parent), 0);
    unsetenv("TMPDIR");
    unsetenv("STANDIN_KERNELS");
    om_profile_fini(&p);
}

/* A folder of that name is no program, nor is a tool waited for that nobody wants any more. */
static void a_tool_is_ended_with_the_profile(void **state)
{
    om_profile p;
    om_cancel stop;
    om_tool_params q = {.tool = OM_TOOL_NCU, .command = "omma-itself", .cancel = &stop};
    char dir[64], path[256], file[128];
    char *before = om_strdup(getenv("PATH"));
    make(&p);
    assert_int_equal(om_cancel_init(&stop), OM_OK);
    om_cancel_fire(&stop);
    put_program(dir, "ncu", "exec sleep 600\n");
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);
    assert_int_equal(om_profile_count(&p, &q), OM_ERR_CANCELLED);
    snprintf(file, sizeof file, "%s/ncu", dir);
    unlink(file);
    if (access("/usr/local/cuda/bin/ncu", X_OK)) {
        assert_int_equal(mkdir(file, 0755), 0);
        assert_int_equal(om_profile_count(&p, &q), OM_ERR_NOT_FOUND);
        rmdir(file);
    }
    rmdir(dir);
    setenv("PATH", before, 1);
    om_free(before);
    om_cancel_fini(&stop);
    om_profile_fini(&p);
}

static void a_tool_that_fails_is_quoted(void **state)
{
    om_profile p;
    make(&p);
    assert_int_equal(
        count_with("ncu", FAKE_NCU "echo '==ERROR== ERR_NVGPUCTRPERM - no' >$log; exit 1\n", OM_TOOL_NCU, &p),
        OM_ERR_DEVICE);
    assert_non_null(strstr(om_error_message(), "NVreg_RestrictProfilingToAdminUsers"));
    assert_int_equal(count_with("ncu", "echo 'this card is not mine' >&2; exit 9\n", OM_TOOL_NCU, &p),
                     OM_ERR_DEVICE);
    assert_non_null(strstr(om_error_message(), "this card is not mine"));
    assert_non_null(strstr(om_error_message(), "exit code 9"));
    assert_int_equal(count_with("nsys", "exit 2\n", OM_TOOL_NSYS, &p), OM_ERR_DEVICE);
    assert_string_equal(p.counted_by, "");
    om_profile_fini(&p);
}

static void a_tool_that_is_not_there_is_named(void **state)
{
    om_profile p;
    make(&p);
    if (access("/usr/local/cuda/bin/nsys", X_OK) == 0) skip();
    assert_int_equal(count_with("other", "exit 0\n", OM_TOOL_NSYS, &p), OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "nsight-systems"));
    om_profile_fini(&p);
}

static void counters_are_in_the_files(void **state)
{
    om_profile p, q;
    om_str text = {0};
    om_json j;
    char path[] = "/tmp/omma-counters-XXXXXX";
    make(&p);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    strcpy(p.counted_by, "ncu");
    p.layers_us = p.latency_us = 20;
    p.to_host_us = 7;
    p.layers[1].counters = (om_counters){.kernels = 2,
                                         .us = 9,
                                         .occupancy = .5,
                                         .l2_hits = .25,
                                         .dram_gbs = 1000,
                                         .dram_busy = .4,
                                         .sm_busy = -1};
    om_json_init(&j, &text, 1);
    om_json_begin_object(&j);
    om_profile_json(&p, &j);
    om_json_end_object(&j);
    assert_int_equal(om_write_file_atomic(path, text.data, text.len), OM_OK);
    if (om_profile_load(path, &q)) fail_msg("%s", om_error_message());
    assert_string_equal(q.counted_by, "ncu");
    assert_int_equal(q.layers[0].counters.kernels, 0);
    assert_int_equal(q.layers[1].counters.kernels, 2);
    near(q.layers[1].counters.dram_gbs, 1000);
    assert_true(q.layers[1].counters.sm_busy < 0);
    assert_false(q.in_place);
    near(q.to_host_us, 7);
    om_str_clear(&text);
    om_profile_csv(&q, &text);
    assert_non_null(strstr(text.data, ",dram_busy,sm_busy\n"));
    assert_non_null(strstr(text.data, ",2,9.0000,0.5000,0.2500,1000.0000,0.4000,\n"));
    assert_non_null(strstr(text.data, ",0,,,,,,\n"));
    static const char run[] = "{\"frames\":9,\"device\":{\"gather\":{\"share\":0.015},\"gpu_percent\":61}}";
    om_findings found;
    assert_int_equal(om_json_parse(run, strlen(run), &q.run), OM_OK);
    assert_int_equal(om_diagnose(&q, &found), OM_OK);
    om_str_clear(&text);
    om_profile_html(&q, &found, &text);
    assert_non_null(strstr(text.data, "Counted by ncu"));
    assert_non_null(strstr(text.data, "The GPU"));
    om_findings_fini(&found);
    om_str_fini(&text);
    om_profile_fini(&p);
    om_profile_fini(&q);
    unlink(path);
}

static int asked;

static int fake_info(om_device *d, om_device_info *out)
{
    snprintf(out->name, sizeof out->name, "Card 3000/x");
    return OM_OK;
}

static int fake_peaks(om_device *d, om_device_peaks *out)
{
    asked++;
    *out = (om_device_peaks){.f32_gflops = 50000,
                             .tf32_gflops = 400000,
                             .f16_gflops = 700000,
                             .bf16_gflops = 690000,
                             .int8_gops = 1400000,
                             .memory_gbs = 3500,
                             .cache_gbs = 6000,
                             .to_device_gbs = 55,
                             .to_host_gbs = 53};
    return OM_OK;
}

static void peaks_of_a_device_are_kept(void **state)
{
    static const om_device_ops ops = {.name = "fake", .info = fake_info, .peaks = fake_peaks};
    static const om_device_ops silent = {.name = "fake", .info = fake_info};
    om_device d = {.ops = &ops, .id = "fake:0"}, s = {.ops = &silent, .id = "fake:1"};
    om_peaks a, b;
    char dir[] = "/tmp/omma-peaks-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CACHE_HOME", dir, 1);
    assert_int_equal(om_peaks_get_device(&s, false, &a), OM_ERR_UNSUPPORTED);
    assert_int_equal(om_peaks_get_device(&d, false, &a), OM_OK);
    assert_int_equal(om_peaks_get_device(&d, false, &b), OM_OK);
    assert_int_equal(asked, 1);
    near(b.f16_gflops, 700000);
    near(b.to_host_gbs, 53);
    near(om_peaks_gflops(&b, "f16"), 700000);
    near(om_peaks_gflops(&b, "int8"), 1400000);
    near(om_peaks_gflops(&b, "f32"), 50000);
    near(om_peaks_gflops(&b, "tf32"), b.tf32_gflops);
    assert_int_equal(b.threads, 0);
    assert_int_equal(om_peaks_get_device(&d, true, &b), OM_OK);
    assert_int_equal(asked, 2);
    snprintf(path, sizeof path, "%s/omma/peaks-Card-3000-x.json", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/omma", dir);
    rmdir(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ncu_tables_are_folded_into_layers),
        cmocka_unit_test(wide_tables_are_read_to_their_end),
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(nsys_tables_are_folded_into_layers),
        cmocka_unit_test(numbers_that_are_none_are_left_out),
        cmocka_unit_test(a_tool_is_run_and_read),
        cmocka_unit_test(nsys_is_called_and_read_as_its_guide_says),
        cmocka_unit_test(a_tool_is_ended_with_the_profile),
        cmocka_unit_test(a_tool_that_fails_is_quoted),
        cmocka_unit_test(a_tool_that_is_not_there_is_named),
        cmocka_unit_test(counters_are_in_the_files),
        cmocka_unit_test(peaks_of_a_device_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
