#include "pipeline/hybrid.h"

#include <math.h>

/* Measured on an H200: full decoders are told as less than 100, as each is now and then between two streams.
 */
#define HOT_PERCENT 85
#define COOL_PERCENT 60
#define HOT_LOOKS 4
#define COOL_LOOKS 8
#define STARVED_LOOKS 2
#define HOLD_LOOKS 40
#define RESERVE .2 /* of the cores */
/* 1080p pictures a second: a core, a hardware unit (H.264). */
#define CORE_FPS 180
#define DECODER_FPS 680

void om_hybrid_init(om_hybrid *h, double cores) { *h = (om_hybrid){.cores = cores}; }

double om_hybrid_reserve(double cores) { return fmax(1, RESERVE * cores); }

int om_hybrid_share(double cores, int decoders, int n, bool paced)
{
    double usable = cores - om_hybrid_reserve(cores), cpu = usable * CORE_FPS;
    if (usable <= 0 || n < 2) return 0;
    int part = (int)(n * cpu / (cpu + (decoders > 0 ? decoders : 1) * DECODER_FPS));
    return !paced && part > (int)usable ? (int)usable : part;
}

bool om_hybrid_picks(int i, int n, int part)
{
    return n > 0 && (long long)(i % n + 1) * part / n > (long long)(i % n) * part / n;
}

static void count_looks(int *counter, bool so) { *counter = so ? *counter + 1 : 0; }

/* Half of what there is room for, and never many at a time: their decoders have to be made. */
static int how_many(double room, const om_hybrid_look *l)
{
    double each = l->cores_each > 0.001 ? l->cores_each : 1;
    int n = (int)(room / each / 2 + .5), most = l->on_gpu / 8;
    if (most < 1) most = 1;
    if (n > most) n = most;
    return n < 1 && room >= each ? 1 : n;
}

int om_hybrid_decide(om_hybrid *h, const om_hybrid_look *l)
{
    double reserve = om_hybrid_reserve(h->cores), room = l->idle_cores - reserve;
    if (h->hold) h->hold--;
    count_looks(&h->hot, l->decode_percent >= HOT_PERCENT);
    count_looks(&h->cool, l->decode_percent >= 0 && l->decode_percent < COOL_PERCENT);
    count_looks(&h->starved, l->idle_cores < reserve / 4);
    int back = l->on_cpu > 8 ? l->on_cpu / 8 : 1;
    if (l->on_cpu && (h->starved >= STARVED_LOOKS || h->cool >= COOL_LOOKS)) {
        if (h->starved) h->hold = HOLD_LOOKS;
        h->starved = h->cool = 0;
        return -back;
    }
    if (!l->on_gpu || h->hold || h->hot < HOT_LOOKS || room <= 0) return 0;
    h->hot = 0;
    return how_many(room, l);
}
