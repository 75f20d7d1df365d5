/* Bytes are taken for a worker's CSV, or for the summary of a pipeline, as a launch reads them after its
 * jobs: any bytes are read to the end, and the figures made of them can be sorted. The first byte chooses an
 * allocation that fails, the second one which file it is. */
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "worker/launch_stats.h"

static char dir[64], csv[128], report[128];

static void clean_up(void)
{
    unlink(csv);
    unlink(report);
    rmdir(dir);
}

static void make_folder(void)
{
    strcpy(dir, "/tmp/fuzz_metrics_XXXXXX");
    insist(mkdtemp(dir) != NULL);
    snprintf(csv, sizeof csv, "%s/M_x_P_1_metrics.csv", dir);
    snprintf(report, sizeof report, "%s/report.json", dir);
    atexit(clean_up);
}

/* The one file of the folder is a link to the bytes in memory. */
static void show(bool as_report)
{
    static int shown = -1;
    const char *path = put_file("", 0);
    if (shown == as_report) return;
    shown = as_report;
    unlink(csv);
    unlink(report);
    insist(!symlink(path, as_report ? report : csv));
}

static void check(const om_launch_stats *s)
{
    for (int i = 0; i < OM_PHASES && s->steps; i++) {
        const om_phase *p = &s->phases[i];
        for (size_t k = 0; k < s->steps; k++) insist(isfinite(p->ms[k]) && (!k || p->ms[k] >= p->ms[k - 1]));
        insist(p->p50 <= p->p95 && p->p95 <= p->p99 && p->p99 <= p->max);
    }
    insist(!isnan(s->sum_error) && s->sum_error >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    om_launch_stats s;
    if (!*dir) make_folder();
    show(data[1] & 1);
    put_file(data + 2, size - 2);
    om_mem_fail_after(data[0] ? data[0] : -1);
    int err = om_launch_stats_read(&s, dir, NULL);
    om_mem_fail_after(-1);
    if (!err) check(&s);
    om_launch_stats_fini(&s);
    return 0;
}
