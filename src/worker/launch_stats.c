#include "worker/launch_stats.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/csv_labels.h"

#define FILE_MAX ((size_t)1 << 30)
#define LOSS 5

const char *const om_phase_names[OM_PHASES] = {"read", "prep", "exec", "total"};

static int add_row(om_launch_stats *s, const double v[OM_PHASES])
{
    if (s->steps == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        for (int i = 0; i < OM_PHASES; i++) {
            double *grown = om_realloc_array(s->phases[i].ms, cap, sizeof *grown);
            if (!grown) return OM_ERR_NOMEM;
            s->phases[i].ms = grown;
        }
        s->cap = cap;
    }
    for (int i = 0; i < OM_PHASES; i++) s->phases[i].ms[s->steps] = v[i];
    s->steps++;
    double off = v[3] > 0 ? fabs(v[0] + v[1] + v[2] - v[3]) / v[3] : 0;
    if (off > s->sum_error) s->sum_error = off;
    return OM_OK;
}

static int read_row(om_launch_stats *s, const om_strlist *fields, size_t columns)
{
    double v[OM_PHASES];
    bool whole = fields->n == columns && columns > LOSS;
    for (int i = 0; i < OM_PHASES && whole; i++)
        whole = om_parse_double(fields->items[i + 1], &v[i]) == OM_OK && isfinite(v[i]);
    if (!whole) {
        s->torn++;
        return OM_OK;
    }
    if (*fields->items[LOSS]) om_parse_double(fields->items[LOSS], &s->loss);
    return add_row(s, v);
}

static int read_file(om_launch_stats *s, const char *path)
{
    om_strlist fields = {0};
    char *text = NULL, *at;
    size_t len, columns = 0;
    int line = 0, failed = OM_OK, err = om_read_file(path, FILE_MAX, &text, &len);
    at = text;
    for (size_t i = 0; i < len; i++) /* as a file may hold that was open when a machine went down */
        if (!text[i]) text[i] = '?';
    if (!err && len && text[len - 1] != '\n') s->torn++;
    while (!err && om_csv_next(&at, &line, &fields, &failed)) {
        err = failed;
        if (!columns) columns = fields.n;
        else if (!err) err = read_row(s, &fields, columns);
    }
    om_strlist_fini(&fields);
    om_free(text);
    s->files++;
    return err;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest number that at least a share q is not above. */
static double quantile(const double *v, size_t n, double q)
{
    size_t at = (size_t)ceil(q * (double)n);
    return v[at ? at - 1 : 0];
}

static void settle(om_launch_stats *s)
{
    for (int i = 0; i < OM_PHASES && s->steps; i++) {
        om_phase *p = &s->phases[i];
        double sum = 0;
        for (size_t k = 0; k < s->steps; k++) sum += p->ms[k];
        qsort(p->ms, s->steps, sizeof *p->ms, by_size);
        p->mean = sum / (double)s->steps;
        p->p50 = quantile(p->ms, s->steps, 0.5);
        p->p95 = quantile(p->ms, s->steps, 0.95);
        p->p99 = quantile(p->ms, s->steps, 0.99);
        p->max = p->ms[s->steps - 1];
    }
    s->steps_per_s = s->phases[3].mean > 0 ? 1e3 / s->phases[3].mean : 0;
}

/* What tells a file from one of the same name that was written since. om_free(); NULL: not there. */
static char *mark_of(const char *path)
{
    struct stat st;
    if (stat(path, &st)) return NULL;
    return om_sprintf("%jd.%09ld %jd %ju %s", (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                      (intmax_t)st.st_size, (uintmax_t)st.st_ino, path);
}

static bool was_there(const char *path, const om_strlist *before)
{
    char *mark = before && before->n ? mark_of(path) : NULL;
    bool found = false;
    for (size_t i = 0; mark && i < before->n && !found; i++) found = !strcmp(mark, before->items[i]);
    om_free(mark);
    return found;
}

/* The tables of a folder; globfree(). */
static int find_tables(const char *dir, glob_t *found)
{
    om_str pattern = {0};
    memset(found, 0, sizeof *found);
    for (const char *p = dir; *p; p++) { /* a folder's name is no pattern */
        if (strchr("*?[\\", *p)) om_str_addc(&pattern, '\\');
        om_str_addc(&pattern, *p);
    }
    om_str_add(&pattern, "/M_*_metrics.csv");
    int err = pattern.failed ? om_fail_nomem("a job's tables") : OM_OK;
    if (!err && glob(om_str_get(&pattern), 0, NULL, found) == GLOB_NOSPACE)
        err = om_fail_nomem("a job's tables");
    om_str_fini(&pattern);
    return err;
}

static int note(const char *path, om_strlist *out)
{
    char *mark = mark_of(path);
    int err = mark ? om_strlist_add(out, mark) : OM_OK;
    om_free(mark);
    return err;
}

int om_launch_files_note(const char *dir, om_strlist *out)
{
    glob_t found;
    char *report = om_sprintf("%s/report.json", dir);
    int err = report ? find_tables(dir, &found) : OM_ERR_NOMEM;
    if (!err) err = note(report, out);
    for (size_t i = 0; report && i < found.gl_pathc && !err; i++) err = note(found.gl_pathv[i], out);
    if (report) globfree(&found);
    om_free(report);
    return err;
}

/* A pipeline's own summary; one that is not there or is none is no error. */
static void read_report(om_launch_stats *s, const char *dir, const om_strlist *before)
{
    char *path = om_sprintf("%s/report.json", dir), *text = NULL;
    om_json_value *v = NULL;
    size_t len;
    bool ours = path && !was_there(path, before);
    if (ours && !om_read_file(path, FILE_MAX, &text, &len) && !om_json_parse(text, len, &v)) {
        const om_json_value *totals = v->type == OM_JSON_OBJ ? om_json_get(v, "totals") : NULL;
        const om_json_value *latency =
            totals && totals->type == OM_JSON_OBJ ? om_json_get(totals, "latency_ms") : NULL;
        s->pipeline = totals != NULL;
        s->frames = om_json_get_num(totals, "inferred", NAN);
        s->fps = om_json_get_num(totals, "fps", NAN);
        s->latency_p50 = om_json_get_num(latency, "p50", NAN);
        s->latency_p95 = om_json_get_num(latency, "p95", NAN);
        s->latency_p99 = om_json_get_num(latency, "p99", NAN);
    }
    om_json_free(v);
    om_free(text);
    om_free(path);
    om_error_clear();
}

int om_launch_stats_read(om_launch_stats *s, const char *dir, const om_strlist *before)
{
    glob_t found;
    memset(s, 0, sizeof *s);
    s->loss = s->frames = s->fps = s->latency_p50 = s->latency_p95 = s->latency_p99 = NAN;
    int err = find_tables(dir, &found);
    for (size_t i = 0; i < found.gl_pathc && !err; i++)
        if (!was_there(found.gl_pathv[i], before)) err = read_file(s, found.gl_pathv[i]);
    globfree(&found);
    if (!err) settle(s);
    if (!err) read_report(s, dir, before);
    if (err) om_launch_stats_fini(s);
    return err;
}

void om_launch_stats_fini(om_launch_stats *s)
{
    for (int i = 0; i < OM_PHASES; i++) om_free(s->phases[i].ms);
    memset(s, 0, sizeof *s);
}
