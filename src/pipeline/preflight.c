#include "pipeline/preflight.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/log.h"
#include "sink/sink.h"

/* Measured; docs/operations.md tells how. */
#define MB_RUN 150         /* a run without streams */
#define MB_STREAM_1080P 30 /* of a 1080p stream, decoded on the CPU */
#define MB_DECODER 114     /* of a 1080p stream, decoded on a GPU */
#define MBIT_CAMERA 4      /* a 1080p camera, H.264 */
#define HANDLES_RUN 96
#define HANDLES_STREAM 4 /* a camera's sockets */

/* On the network, that is: not a file, and not a device of this machine. */
static bool is_camera(const char *uri)
{
    return strstr(uri, "://") && strncasecmp(uri, "file:", 5) && strncasecmp(uri, "v4l2:", 5);
}

static size_t own_sinks(const om_config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->sinks.n; i++) n += om_sink_is_per_stream(c->sinks.items[i]);
    return n;
}

/* A number behind "KEY:" of /proc/meminfo, in MB; negative: there is none. */
static double meminfo_mb(const char *key)
{
    char line[256];
    double kb = -1;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) kb = strtod(line + strlen(key), NULL);
    if (f) fclose(f);
    return kb < 0 ? -1 : kb / 1024;
}

static double read_number(const char *path)
{
    char text[64];
    FILE *f = fopen(path, "re");
    bool read = f && fgets(text, sizeof text, f);
    if (f) fclose(f);
    char *end;
    double v = read ? strtod(text, &end) : -1;
    return read && end != text ? v : -1; /* "max" is none */
}

/* What is left of this group's share, where there is a limit. */
static double free_mb(void)
{
    double mb = meminfo_mb("MemAvailable:");
    double limit = read_number("/sys/fs/cgroup/memory.max"),
           used = read_number("/sys/fs/cgroup/memory.current");
    double left = limit > 0 && used >= 0 ? (limit - used) / 1e6 : -1;
    return left >= 0 && (mb < 0 || left < mb) ? left : mb;
}

/* The fastest interface that is up; negative: none tells. */
static double link_mbit(void)
{
    double best = -1;
    DIR *d = opendir("/sys/class/net");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300];
        if (e->d_name[0] == '.' || !strcmp(e->d_name, "lo")) continue;
        snprintf(path, sizeof path, "/sys/class/net/%s/speed", e->d_name);
        double v = read_number(path);
        if (v > best) best = v;
    }
    if (d) closedir(d);
    return best;
}

double om_preflight_link_mbit(const om_run_options *o)
{
    return o->link_mbit > 0 ? o->link_mbit : link_mbit();
}

void om_preflight_look(const om_config *c, om_preflight_facts *out)
{
    struct rlimit files = {0};
    *out = (om_preflight_facts){.streams = c->n_streams};
    for (size_t i = 0; i < c->n_streams; i++) out->cameras += is_camera(c->streams[i].uri);
    bool profiled = c->run.profile || c->run.metrics_file;
    size_t each = HANDLES_STREAM + own_sinks(c) + profiled;
    out->handles_needed = (int64_t)(HANDLES_RUN + c->n_streams * each);
    getrlimit(RLIMIT_NOFILE, &files);
    out->handles_soft = (int64_t)files.rlim_cur;
    out->handles_hard = files.rlim_max == RLIM_INFINITY ? INT64_MAX : (int64_t)files.rlim_max;
    out->memory_needed_mb = MB_RUN + (double)c->n_streams * MB_STREAM_1080P;
    out->memory_free_mb = free_mb();
    out->network_needed_mbit = (double)out->cameras * MBIT_CAMERA;
    out->network_mbit = om_preflight_link_mbit(&c->run);
}

bool om_preflight_decoders(const om_device_info *gpu, size_t streams, om_str *out)
{
    double need = (double)streams * MB_DECODER, there = (double)gpu->memory_free / 1e6;
    bool short_of = need > there;
    if (!streams || gpu->memory_free <= 0) return false;
    om_str_addf(
        out,
        "decoders: %zu streams need about %.0f MB of the GPU's memory if they are 1080p; %.0f MB are free",
        streams, need, there);
    if (gpu->decoders > 0) om_str_addf(out, ", %d decoder%s", gpu->decoders, gpu->decoders == 1 ? "" : "s");
    if (short_of) om_str_add(out, "; what it does not take is decoded on the CPU");
    return short_of;
}

static void raise_files(const om_preflight_facts *f)
{
    int64_t want = f->handles_needed < 65536 ? 65536 : f->handles_needed; /* room for streams that come */
    struct rlimit files = {.rlim_max = (rlim_t)f->handles_hard};
    if (f->handles_hard == INT64_MAX) files.rlim_max = RLIM_INFINITY;
    files.rlim_cur = (rlim_t)(want < f->handles_hard ? want : f->handles_hard);
    bool raised =
        f->handles_soft < want && f->handles_soft < f->handles_hard && !setrlimit(RLIMIT_NOFILE, &files);
    int64_t now = raised ? (int64_t)files.rlim_cur : f->handles_soft;
    om_log(now < f->handles_needed ? OM_LOG_WARN : OM_LOG_INFO,
           "files: %zu streams may open %lld; the limit is %lld%s", f->streams, (long long)f->handles_needed,
           (long long)now, now < f->handles_needed ? " and cannot be raised: see 'ulimit -Hn'" : "");
}

void om_preflight(const om_config *c)
{
    om_preflight_facts f;
    om_preflight_look(c, &f);
    raise_files(&f);
    if (f.memory_free_mb >= 0)
        om_log(
            f.memory_needed_mb > f.memory_free_mb ? OM_LOG_WARN : OM_LOG_INFO,
            "memory: %zu streams need about %.0f MB if they are 1080p and decoded on the CPU; %.0f MB are free",
            f.streams, f.memory_needed_mb, f.memory_free_mb);
    if (f.cameras && f.network_mbit > 0)
        om_log(f.network_needed_mbit > 0.8 * f.network_mbit ? OM_LOG_WARN : OM_LOG_INFO,
               "network: %zu cameras send about %.0f Mbit/s at %d each; the link carries %.0f", f.cameras,
               f.network_needed_mbit, MBIT_CAMERA, f.network_mbit);
}
