/* The tables of Nsight Compute and Nsight Systems. */
#include "profile/counters.h"

#include <ctype.h>
#include <float.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "trace/trace.h"

#define MAX_COLUMNS 1024 /* ncu lists hundreds of the device's attributes among its metrics */

/* One line of a CSV, cut where it stands. */
typedef struct row {
    char *cell[MAX_COLUMNS];
    int n;
} row;

/* The next field at *at, its quotes taken off in place; *at moves behind its comma, or to the line's end. */
static char *take_field(char **at, bool *last)
{
    char *in = *at, *out = in, *begin = in;
    bool quoted = *in == '"';
    if (quoted) in++;
    while (*in && (quoted || (*in != ',' && *in != '\n'))) {
        if (quoted && *in == '"') {
            if (in[1] != '"') {
                quoted = false;
                in++;
                continue;
            }
            in++;
        }
        *out++ = *in++;
    }
    *last = *in != ',';
    *at = *in ? in + 1 : in;
    if (out > begin && out[-1] == '\r') out--;
    *out = '\0';
    return begin;
}

/* False at the text's end. */
static bool next_row(char **at, row *r)
{
    bool last = false;
    if (!**at) return false;
    for (r->n = 0; !last;) {
        char *field = take_field(at, &last);
        if (r->n < MAX_COLUMNS) r->cell[r->n++] = field;
    }
    return true;
}

/* Skips what the tool says before its table: the heading is the line that begins with `first`. */
static bool find_heading(char **at, const char *first, row *r)
{
    while (next_row(at, r))
        if (r->n > 1 && !strcmp(r->cell[0], first)) return true;
    return false;
}

/* The column of this name; of names that begin with it where there is none. */
static int column(const row *heading, const char *name)
{
    for (int i = 0; i < heading->n; i++)
        if (!strcmp(heading->cell[i], name)) return i;
    for (int i = 0; i < heading->n; i++)
        if (!strncmp(heading->cell[i], name, strlen(name))) return i;
    return -1;
}

static const char *cell(const row *r, int i) { return i >= 0 && i < r->n ? r->cell[i] : ""; }

/* "1,234.5"; negative: no number, as "n/a" and "nan" are. */
static double number(const char *text)
{
    char plain[64], *out = plain, *end;
    for (; *text && out < plain + sizeof plain - 1; text++)
        if (*text != ',') *out++ = *text;
    *out = '\0';
    double v = strtod(plain, &end);
    return end == plain || !(v >= 0 && v <= DBL_MAX) ? -1 : v;
}

/* What a number in this unit has to be multiplied with: to seconds, to bytes, to shares. */
static double unit(const char *text)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"%", .01},        {"ns", 1e-9},      {"us", 1e-6},      {"ms", 1e-3},    {"s", 1},
                 {"nsecond", 1e-9}, {"usecond", 1e-6}, {"msecond", 1e-3}, {"second", 1},   {"byte", 1},
                 {"Kbyte", 1e3},    {"Mbyte", 1e6},    {"Gbyte", 1e9},    {"Tbyte", 1e12}, {"B", 1},
                 {"KB", 1e3},       {"MB", 1e6},       {"GB", 1e9},       {"TB", 1e12}};
    size_t n = strcspn(text, "/"); /* a second: what is counted is per second anyway */
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (n == strlen(units[i].name) && !strncmp(text, units[i].name, n)) return units[i].factor;
    return 1;
}

/* The number behind "step#" in any of the row's fields; negative: none. */
static int step_of(const row *r)
{
    for (int i = 0; i < r->n; i++) {
        const char *found = strstr(r->cell[i], OM_TRACE_STEP);
        if (!found || !isdigit((unsigned char)found[strlen(OM_TRACE_STEP)])) continue;
        long step = strtol(found + strlen(OM_TRACE_STEP), NULL, 10);
        return step <= INT_MAX ? (int)step : -1;
    }
    return -1;
}

static om_layer *layer_of(om_profile *p, int step)
{
    for (size_t i = 0; i < p->n_layers && step >= 0; i++)
        if (p->layers[i].step == step) return &p->layers[i];
    return NULL;
}

static void clear(om_profile *p)
{
    for (size_t i = 0; i < p->n_layers; i++) p->layers[i].counters = (om_counters){.kernels = 0};
}

static const struct metric {
    const char *name;
    size_t offset;
    double scale; /* of the unit's base to the counter's */
} metrics[] = {
    {"sm__warps_active.avg.pct_of_peak_sustained_active", offsetof(om_counters, occupancy), 1},
    {"lts__t_sector_hit_rate.pct", offsetof(om_counters, l2_hits), 1},
    {"dram__bytes.sum.per_second", offsetof(om_counters, dram_gbs), 1e-9},
    {"dram__throughput.avg.pct_of_peak_sustained_elapsed", offsetof(om_counters, dram_busy), 1},
    {"sm__throughput.avg.pct_of_peak_sustained_elapsed", offsetof(om_counters, sm_busy), 1},
};
#define N_METRICS (sizeof metrics / sizeof metrics[0])
#define DURATION "gpu__time_duration.sum"

int om_counters_ncu_metrics(om_str *out)
{
    om_str_add(out, DURATION);
    for (size_t i = 0; i < N_METRICS; i++) om_str_addf(out, ",%s", metrics[i].name);
    return out->failed ? om_fail_nomem("a list of counters") : OM_OK;
}

static double *counter(om_counters *c, size_t i) { return (double *)(void *)((char *)c + metrics[i].offset); }

/* A kernel more: means are weighted by the kernels' times. */
static void add_kernel(om_counters *c, double us, const double v[N_METRICS])
{
    double before = c->us, all = before + us;
    for (size_t i = 0; i < N_METRICS; i++) {
        double *mean = counter(c, i);
        if (!c->kernels) *mean = v[i];
        else if (v[i] < 0 || *mean < 0) *mean = -1;
        else *mean = all > 0 ? (*mean * before + v[i] * us) / all : v[i];
    }
    c->us = all;
    c->kernels++;
}

int om_counters_read_ncu(om_profile *p, char *text, const char *from)
{
    row heading, units, r;
    int at[N_METRICS], duration, kernels = 0;
    clear(p);
    if (!find_heading(&text, "ID", &heading))
        return om_fail(OM_ERR_FORMAT, "%s: not a table of ncu: no line begins with \"ID\"", from);
    duration = column(&heading, DURATION);
    if (duration < 0) return om_fail(OM_ERR_FORMAT, "%s: ncu's table lacks the column %s", from, DURATION);
    for (size_t i = 0; i < N_METRICS; i++) at[i] = column(&heading, metrics[i].name);
    /* The units are a row of their own, whose kernel has no number. */
    if (!next_row(&text, &units) || cell(&units, 0)[0])
        return om_fail(OM_ERR_FORMAT, "%s: ncu's table lacks the row of units; expected --page raw", from);
    while (next_row(&text, &r)) {
        double v[N_METRICS], us = number(cell(&r, duration)) * unit(cell(&units, duration)) * 1e6;
        om_layer *l = layer_of(p, step_of(&r));
        if (!l || us < 0) continue;
        for (size_t i = 0; i < N_METRICS; i++) {
            v[i] = number(cell(&r, at[i]));
            if (v[i] >= 0) v[i] *= unit(cell(&units, at[i])) * metrics[i].scale;
        }
        add_kernel(&l->counters, us, v);
        kernels++;
    }
    return kernels ? OM_OK : om_fail(OM_ERR_FORMAT, "%s: ncu counted no kernel of this model's layers", from);
}

int om_counters_read_nsys(om_profile *p, char *text, const char *from)
{
    row heading, r;
    int found = 0;
    clear(p);
    if (!find_heading(&text, "Name", &heading))
        return om_fail(OM_ERR_FORMAT, "%s: not a table of nsys stats: no line begins with Name", from);
    int duration = column(&heading, "Projected Duration"), ops = column(&heading, "NumGPUOps");
    if (duration < 0 || ops < 0)
        return om_fail(OM_ERR_FORMAT, "%s: nsys' table lacks the column %s; expected nvtx_gpu_proj_trace",
                       from, duration < 0 ? "Projected Duration" : "NumGPUOps");
    const char *open = strchr(heading.cell[duration], '(');
    char name[16] = "ns";
    if (open) {
        size_t n = strcspn(open + 1, ")");
        if (n < sizeof name) {
            memcpy(name, open + 1, n);
            name[n] = '\0';
        }
    }
    /* In the order of time: of several inferences the last one stays. */
    while (next_row(&text, &r)) {
        double us = number(cell(&r, duration)) * unit(name) * 1e6, n = number(cell(&r, ops));
        row only = {.cell = {r.cell[0]}, .n = 1}; /* the stack of ranges names others' steps, too */
        om_layer *l = layer_of(p, step_of(&only));
        if (!l || us < 0 || n < 1 || n > INT_MAX) continue;
        l->counters = (om_counters){.kernels = (int)n,
                                    .us = us,
                                    .occupancy = -1,
                                    .l2_hits = -1,
                                    .dram_gbs = -1,
                                    .dram_busy = -1,
                                    .sm_busy = -1};
        found++;
    }
    return found ? OM_OK : om_fail(OM_ERR_FORMAT, "%s: nsys saw no kernel of this model's layers", from);
}
