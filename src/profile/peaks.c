#include "profile/peaks.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "profile/peak_kernels.h"

#define MAX_THREADS 256
#define ROUND_NS (25 * OM_NS_PER_MS) /* of one try */
#define TRIES 5
#define MAX_FILE 65536

/* What all threads of one measurement share. */
typedef struct crew {
    om_peak_kernel kernel; /* ops 0: the triad */
    size_t floats;         /* of each array of one thread */
    int threads;
} crew;

typedef struct worker {
    const crew *crew;
    om_thread thread;
    float *memory;
    double per_second; /* the best try: operations, or bytes */
} worker;

static double try_kernel(const om_peak_kernel *k, long *rounds)
{
    for (;;) {
        int64_t begin = om_now_ns();
        volatile float keep = k->run(*rounds);
        (void)keep;
        int64_t ns = om_now_ns() - begin;
        if (ns >= ROUND_NS / 2) return k->ops * (double)*rounds * 1e9 / (double)ns;
        *rounds *= 2;
    }
}

static double try_triad(float *memory, size_t n, long *rounds)
{
    for (;;) {
        int64_t begin = om_now_ns();
        for (long r = 0; r < *rounds; r++) om_peak_triad(memory, memory + n, memory + 2 * n, 0.5f, n);
        int64_t ns = om_now_ns() - begin;
        if (ns >= ROUND_NS / 2) return 12.0 * (double)n * (double)*rounds * 1e9 / (double)ns;
        *rounds *= 2;
    }
}

static void *work(void *arg)
{
    worker *w = arg;
    const crew *c = w->crew;
    long rounds = c->kernel.ops > 0 ? 10000 : 1;
    for (int i = 0; i < TRIES; i++) {
        double v =
            c->kernel.ops > 0 ? try_kernel(&c->kernel, &rounds) : try_triad(w->memory, c->floats, &rounds);
        if (v > w->per_second) w->per_second = v;
    }
    return NULL;
}

static int give_memory(const crew *c, worker *w)
{
    if (c->kernel.ops > 0) return OM_OK;
    w->memory = om_aligned_alloc(64, 3 * c->floats * sizeof(float));
    if (!w->memory) return om_fail_nomem("a measurement of memory");
    for (size_t i = 0; i < 3 * c->floats; i++) w->memory[i] = (float)(i & 255);
    return OM_OK;
}

/* All threads at once; the sum of their best, in giga a second. */
static int measure(const crew *c, double *out)
{
    worker *workers = om_calloc((size_t)c->threads, sizeof *workers);
    int err = workers ? OM_OK : OM_ERR_NOMEM;
    *out = 0;
    for (int i = 0; i < c->threads && !err; i++) {
        workers[i].crew = c;
        err = give_memory(c, &workers[i]);
    }
    for (int i = 0; i < c->threads && !err; i++)
        err = om_thread_start(&workers[i].thread, "om-peak", work, &workers[i]);
    for (int i = 0; workers && i < c->threads; i++) {
        om_thread_join(&workers[i].thread);
        *out += workers[i].per_second / 1e9;
        om_free(workers[i].memory);
    }
    om_free(workers);
    return err;
}

static size_t cache_bytes(int name, size_t otherwise)
{
    long n = sysconf(name);
    return n > 0 ? (size_t)n : otherwise;
}

static size_t bounded(size_t v, size_t low, size_t high) { return v < low ? low : v > high ? high : v; }

static int measure_all(om_peaks *p)
{
    uint32_t flags = om_cpu_flags();
    size_t last = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 32u << 20);
    size_t own = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 256u << 10);
    crew c = {.kernel = om_peak_f32(flags), .threads = p->threads};
    int err = measure(&c, &p->f32_gflops);
    c.kernel = om_peak_bf16(flags);
    if (!err && c.kernel.ops > 0) err = measure(&c, &p->bf16_gflops);
    c.kernel = om_peak_int8(flags);
    if (!err && c.kernel.ops > 0) err = measure(&c, &p->int8_gops);
    c.kernel = (om_peak_kernel){0};
    c.floats = bounded(4 * last, 96u << 20, 384u << 20) / 12 / (size_t)p->threads / 16 * 16;
    if (!err) err = measure(&c, &p->memory_gbs);
    c.floats = own / 2 / 12 / 16 * 16;
    if (!err) err = measure(&c, &p->cache_gbs);
    return err;
}

/* Each folder of the path that is missing. */
static void make_folders(const char *path)
{
    char *copy = om_strdup(path);
    for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0755) && errno != EEXIST) break;
        *slash = '/';
    }
    om_free(copy);
}

char *om_peaks_folder(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path = base && base[0] == '/'   ? om_sprintf("%s/omma/", base)
                 : home && home[0] == '/' ? om_sprintf("%s/.cache/omma/", home)
                                          : NULL;
    if (!path) return NULL;
    make_folders(path);
    path[strlen(path) - 1] = '\0';
    return path;
}

/* `threads` 0: of a GPU. */
static char *path_of(const char *model, int threads)
{
    char name[160], *out = name, *folder = om_peaks_folder(), *path;
    for (const char *in = model; *in && out < name + sizeof name - 1; in++)
        *out++ = isalnum((unsigned char)*in) ? *in : '-';
    *out = '\0';
    if (!folder) return NULL;
    path = threads ? om_sprintf("%s/peaks-%s-%d.json", folder, name, threads)
                   : om_sprintf("%s/peaks-%s.json", folder, name);
    om_free(folder);
    return path;
}

char *om_peaks_path(int threads) { return path_of(om_cpu_model(), threads); }

static const struct {
    const char *key;
    size_t offset;
    bool gpu; /* of GPUs only */
} fields[] = {{"f32_gflops", offsetof(om_peaks, f32_gflops), false},
              {"bf16_gflops", offsetof(om_peaks, bf16_gflops), false},
              {"f16_gflops", offsetof(om_peaks, f16_gflops), true},
              {"tf32_gflops", offsetof(om_peaks, tf32_gflops), true},
              {"int8_gops", offsetof(om_peaks, int8_gops), false},
              {"memory_gbs", offsetof(om_peaks, memory_gbs), false},
              {"cache_gbs", offsetof(om_peaks, cache_gbs), false},
              {"to_device_gbs", offsetof(om_peaks, to_device_gbs), true},
              {"to_host_gbs", offsetof(om_peaks, to_host_gbs), true}};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static double *field(om_peaks *p, size_t i) { return (double *)(void *)((char *)p + fields[i].offset); }

/* False where there is nothing to go by; a damaged file is measured anew. */
static bool load(const char *path, om_peaks *p)
{
    char *text = NULL;
    size_t len;
    om_json_value *root = NULL;
    bool ok = om_read_file(path, MAX_FILE, &text, &len) == OM_OK && om_json_parse(text, len, &root) == OM_OK;
    const om_json_value *cpu = ok ? om_json_get(root, "cpu") : NULL;
    ok = cpu && cpu->type == OM_JSON_STR && !strcmp(cpu->str, p->cpu);
    for (size_t i = 0; i < N_FIELDS && ok; i++) {
        if (fields[i].gpu && p->threads) continue;
        const om_json_value *v = om_json_get(root, fields[i].key);
        ok = v && v->type == OM_JSON_NUM && v->num >= 0;
        if (ok) *field(p, i) = v->num;
    }
    om_json_free(root);
    om_free(text);
    return ok && p->f32_gflops > 0 && p->memory_gbs > 0;
}

static void save(const char *path, om_peaks *p)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 2);
    om_json_begin_object(&j);
    om_json_key(&j, "cpu");
    om_json_string(&j, p->cpu);
    om_json_key(&j, "threads");
    om_json_int(&j, p->threads);
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (fields[i].gpu && p->threads) continue;
        om_json_key(&j, fields[i].key);
        om_json_num(&j, *field(p, i), 6);
    }
    om_json_end_object(&j);
    if (!text.failed) om_write_file_atomic(path, text.data, text.len);
    om_str_fini(&text);
}

int om_peaks_get(int threads, bool fresh, om_peaks *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->cpu, sizeof out->cpu, "%s", om_cpu_model());
    out->threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    char *path = om_peaks_path(out->threads);
    int err = OM_OK;
    if (fresh || !path || !load(path, out)) {
        err = measure_all(out);
        if (!err && path) save(path, out);
    }
    om_free(path);
    return err;
}

static int measure_device(om_device *d, om_peaks *out)
{
    om_device_peaks m;
    int err = om_device_peaks_measure(d, &m);
    if (err) return err;
    out->f32_gflops = m.f32_gflops;
    out->tf32_gflops = m.tf32_gflops;
    out->f16_gflops = m.f16_gflops;
    out->bf16_gflops = m.bf16_gflops;
    out->int8_gops = m.int8_gops;
    out->memory_gbs = m.memory_gbs;
    out->cache_gbs = m.cache_gbs;
    out->to_device_gbs = m.to_device_gbs;
    out->to_host_gbs = m.to_host_gbs;
    return OM_OK;
}

int om_peaks_get_device(om_device *d, bool fresh, om_peaks *out)
{
    om_device_info info = {0};
    memset(out, 0, sizeof *out);
    int err = om_device_info_get(d, &info);
    if (err) return err;
    snprintf(out->cpu, sizeof out->cpu, "%s", info.name);
    char *path = path_of(out->cpu, 0);
    if (fresh || !path || !load(path, out)) {
        err = measure_device(d, out);
        /* What was measured without its library is not kept: it may come. */
        if (!err && path && out->f32_gflops > 0) save(path, out);
    }
    om_free(path);
    return err;
}

double om_peaks_gflops(const om_peaks *p, const char *precision)
{
    if (!strcmp(precision, "int8") && p->int8_gops > 0) return p->int8_gops;
    if (!strcmp(precision, "bf16") && p->bf16_gflops > 0) return p->bf16_gflops;
    if (!strcmp(precision, "tf32") && p->tf32_gflops > 0) return p->tf32_gflops;
    if (!strcmp(precision, "f16") && p->f16_gflops > 0) return p->f16_gflops;
    return p->f32_gflops;
}
