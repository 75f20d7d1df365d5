/* Who decodes which stream: the GPU's decoders, and CPU cores beside them where those are full. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

#define LOOK_NS (500 * OM_NS_PER_MS)
#define PIXELS_1080P (1920.0 * 1080)
#define CORE_FPS 180 /* 1080p pictures that a core decodes a second, H.264 */
#define USUAL_FPS 25

static bool is_hybrid(const om_engine *e)
{
    int wish = e->options->decode;
    return e->hwaccel && (wish == OM_DECODE_AUTO || wish == OM_DECODE_HYBRID);
}

/* Each device's decoders have their share of the cores. */
static void init(om_pipeline *p, om_unit *u)
{
    om_device_info gpu = {0};
    double cores = (double)om_cpu_count() / p->n_units;
    const om_engine *e = u->engine;
    om_hybrid_init(&u->decoding.hybrid, cores);
    u->decoding.active = is_hybrid(e);
    if (e->options->decode != OM_DECODE_HYBRID || !u->decoding.active) return;
    if (om_device_info_get(e->decode_device, &gpu)) gpu.decoders = 0;
    bool paced = p->config.run.live;
    for (size_t i = 0; i < p->config.n_streams && !paced; i++) paced = p->config.streams[i].live == 1;
    u->decoding.streams = ((int)p->config.n_streams + p->n_units - 1) / p->n_units;
    u->decoding.first = om_hybrid_share(cores, gpu.decoders, u->decoding.streams, paced);
}

void om_decoding_init(om_pipeline *p)
{
    for (int i = 0; i < p->n_units; i++) init(p, &p->units[i]);
}

bool om_decoding_begins_on_cpu(om_unit *u)
{
    om_decoding *d = &u->decoding;
    return d->first && om_hybrid_picks(d->begun++, d->streams, d->first);
}

/* Cores that nobody uses, since the last call: neither this process nor any other. */
static double idle_cores(om_decoding *d)
{
    long long user, nice, system, idle = -1, wait = 0;
    int64_t now = om_now_ns(), cpu = om_process_cpu_ns();
    FILE *f = fopen("/proc/stat", "re");
    if (f && fscanf(f, "cpu %lld %lld %lld %lld %lld", &user, &nice, &system, &idle, &wait) < 4) idle = -1;
    if (f) fclose(f);
    double seconds = (double)(now - d->looked_ns) / 1e9, free = 0;
    if (d->looked_ns && seconds > 0) free = om_cpu_count() - (double)(cpu - d->looked_cpu_ns) / 1e9 / seconds;
    double all = (double)(idle + wait - d->looked_idle) / (double)sysconf(_SC_CLK_TCK) / seconds;
    if (d->looked_ns && idle >= 0 && all < free) free = all;
    d->looked_ns = now;
    d->looked_cpu_ns = cpu;
    d->looked_idle = idle + wait;
    return free;
}

/* What its decoding costs the CPU, in cores: of a file that is read as fast as it goes, one. Lock held. */
static double cost_of(const om_stream_run *s)
{
    double fps = s->info.fps > 0 ? s->info.fps : USUAL_FPS, pixels = (double)s->info.width * s->info.height;
    if (!s->live) return 1;
    return pixels * fps / PIXELS_1080P / CORE_FPS;
}

typedef struct candidate {
    om_stream_run *stream;
    int priority;
    double pixels;
} candidate;

/* Lowest priority, then the cheapest, first. */
static int by_rank(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->priority != y->priority) return x->priority < y->priority ? -1 : 1;
    if (x->pixels != y->pixels) return x->pixels < y->pixels ? -1 : 1;
    return x->stream->index - y->stream->index;
}

typedef struct field {
    candidate *items;
    int n, on_gpu, on_cpu;
    double cores; /* of all that the GPU decodes, were the CPU to do it */
} field;

/* Those that decode now, on the GPU, or on the CPU because they were sent there. Roster and lock held. */
static field look_at(om_pipeline *p, const om_unit *u)
{
    field all = {.items = om_calloc(p->n_streams + 1, sizeof(candidate))};
    for (size_t i = 0; i < p->n_streams && all.items; i++) {
        om_stream_run *s = p->streams[i];
        bool on_gpu = atomic_load(&s->account.source.decoder) == OM_DECODER_CUDA;
        if (s->unit != u || !s->source || s->leaving || s->paused || s->state != OM_STREAM_RUNNING) continue;
        if (!s->on_cpu && !on_gpu) continue; /* pictures, or refused */
        all.items[all.n++] = (candidate){s, s->own.priority, cost_of(s)};
        all.on_cpu += s->on_cpu;
        all.on_gpu += !s->on_cpu;
        if (!s->on_cpu) all.cores += cost_of(s);
    }
    if (all.items) qsort(all.items, (size_t)all.n, sizeof(*all.items), by_rank);
    return all;
}

/* `n` > 0: to the CPU, from the head of the list; < 0: back, from its tail. Lock held. */
static void send_some(const field *all, int n)
{
    bool to_cpu = n > 0;
    int left = to_cpu ? n : -n;
    for (int i = 0; i < all->n && left; i++) {
        om_stream_run *s = all->items[to_cpu ? i : all->n - 1 - i].stream;
        if (s->on_cpu == to_cpu) continue;
        s->on_cpu = to_cpu;
        om_source_decode_on_cpu(s->source, to_cpu);
        left--;
    }
}

/* Roster and lock held; returns how many were sent. */
static int balance(om_pipeline *p, om_unit *u, double idle)
{
    field all = look_at(p, u);
    om_hybrid_look look = {.decode_percent = u->gpu.samples ? u->gpu.last.decode_percent : -1,
                           .idle_cores = idle,
                           .cores_each = all.on_gpu ? all.cores / all.on_gpu : 1,
                           .on_gpu = all.on_gpu,
                           .on_cpu = all.on_cpu};
    int n = all.items ? om_hybrid_decide(&u->decoding.hybrid, &look) : 0;
    send_some(&all, n);
    om_free(all.items);
    return n;
}

static void look(om_pipeline *p, om_unit *u)
{
    om_decoding *d = &u->decoding;
    int64_t now = om_now_ns();
    if (!d->active || now < d->next_ns || om_device_is_lost(u->engine->decode_device, false)) return;
    d->next_ns = now + LOOK_NS;
    double idle = idle_cores(d) / p->n_units;
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    int n = p->begin_ns ? balance(p, u, idle) : 0;
    double percent = u->gpu.last.decode_percent;
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
    if (!n) return;
    bool first = n > 0 && !d->told, one = n == 1 || n == -1;
    d->told |= first;
    om_log(first ? OM_LOG_WARN : OM_LOG_INFO,
           "decoders of %s: %.0f%% busy, %.1f cores idle: %d stream%s to the %s%s",
           u->engine->decode_device->id, percent, idle, abs(n), one ? " goes" : "s go", n > 0 ? "CPU" : "GPU",
           first ? " (further changes are not told)" : "");
}

void om_decoding_look(om_pipeline *p)
{
    for (int i = 0; i < p->n_units; i++) look(p, &p->units[i]);
}
