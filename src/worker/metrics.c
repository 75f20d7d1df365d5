#include "worker/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static int open_file(const char *path, int *fd)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (*fd >= 0) return OM_OK;
    return om_fail(om_err_from_errno(errno), "%s: cannot write: %s", path, strerror(errno));
}

static ssize_t write_some(int fd, const char *text, size_t n)
{
    ssize_t got;
    do got = write(fd, text, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* One write: a reader and a killer see all of it or nothing. What a full disk took of it is taken back. */
static int append(int fd, const char *path, const char *text, size_t n)
{
    ssize_t got = write_some(fd, text, n), more = 0;
    if (got > 0 && got < (ssize_t)n) more = write_some(fd, text + got, n - (size_t)got); /* says why */
    if (got > 0 && got + more == (ssize_t)n) return OM_OK;
    int bad = got < 0 || more < 0 ? errno : ENOSPC;
    off_t partial = got > 0 ? got + (more > 0 ? more : 0) : 0, end = partial ? lseek(fd, 0, SEEK_END) : 0;
    if (end > 0 && ftruncate(fd, end - partial)) bad = errno;
    return om_fail(om_err_from_errno(bad), "%s: cannot write: %s", path, strerror(bad));
}

#define COLUMNS "step,read_latency_ms,prep_latency_ms,exec_latency_ms,total_step_latency_ms,loss"
#define SPLIT_COLUMNS ",first_latency_ms,transfer_latency_ms,second_latency_ms,wait_latency_ms,transfer_bytes"

int om_metrics_open(om_metrics *m, const char *dir, const char *model, bool split)
{
    const char *head = split ? COLUMNS SPLIT_COLUMNS "\n" : COLUMNS "\n";
    m->csv = m->log = -1;
    m->split = split;
    int n =
        snprintf(m->csv_path, sizeof m->csv_path, "%s/M_%s_P_%ld_metrics.csv", dir, model, (long)getpid());
    snprintf(m->log_path, sizeof m->log_path, "%s/M_%s_P_%ld.log", dir, model, (long)getpid());
    if (n >= (int)sizeof m->csv_path) return om_fail(OM_ERR_ARG, "%s: too long a name", dir);
    int err = open_file(m->csv_path, &m->csv);
    if (!err) err = append(m->csv, m->csv_path, head, strlen(head));
    return err ? err : open_file(m->log_path, &m->log);
}

static double ms(int64_t ns) { return (double)ns / 1e6; }

int om_metrics_row_add(om_metrics *m, const om_metrics_row *row)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%lld,%.4f,%.4f,%.4f,%.4f,", (long long)row->step, ms(row->read_ns),
                     ms(row->prep_ns), ms(row->exec_ns), ms(row->total_ns));
    if (row->has_loss) n += snprintf(text + n, sizeof text - (size_t)n, "%.6f", row->loss);
    if (m->split)
        n += snprintf(text + n, sizeof text - (size_t)n, ",%.4f,%.4f,%.4f,%.4f,%lld", ms(row->first_ns),
                      ms(row->transfer_ns), ms(row->second_ns), ms(row->wait_ns), (long long)row->bytes);
    text[n++] = '\n';
    return append(m->csv, m->csv_path, text, (size_t)n);
}

void om_metrics_log(om_metrics *m, const char *text)
{
    char time[OM_ISO_TIME_SIZE], line[8400];
    om_iso_time(om_wall_us(), time);
    int n = snprintf(line, sizeof line, "%s %s\n", time, text);
    if (n >= (int)sizeof line) {
        n = sizeof line - 1;
        line[n - 1] = '\n';
    }
    if (m->log >= 0) append(m->log, m->log_path, line, (size_t)n);
}

void om_metrics_close(om_metrics *m)
{
    if (m->csv >= 0) close(m->csv);
    if (m->log >= 0) close(m->log);
    m->csv = m->log = -1;
}
