/* The flags of `omma bench`, and what they must be to each other. */
#include <string.h>

#include "base/error.h"
#include "bench/bench.h"

#define FLAG(field) offsetof(om_bench_options, field)

const om_option om_bench_option_table[] = {
    {"input", 'i', OM_OPT_LIST, FLAG(inputs), NULL, 0, 0, NULL, "URI", "Ladder",
     "a clip that plays in a loop as a camera would, or an rtsp:// or http:// stream; of several, streams take turns"},
    {"ladder", 0, OM_OPT_STRING, FLAG(ladder), "1,10,30,50,70,...", 0, 0, NULL, "N,N,...", NULL,
     "numbers of streams to try, rising; with '...' at the end it goes on until a limit breaks"},
    {"fps", 0, OM_OPT_DOUBLE, FLAG(fps), "5", 0.01, 1000, NULL, NULL, NULL,
     "frames a second the model sees of each stream; a clip is decoded at its own pace"},
    {"warmup", 0, OM_OPT_TIME, FLAG(warmup), "4s", 0, 3600, NULL, NULL, NULL,
     "of each rung, from the first frame on; not measured"},
    {"duration", 0, OM_OPT_TIME, FLAG(duration), "10s", 0.2, 86400, NULL, NULL, NULL,
     "measured of each rung"},
    {"bisect", 0, OM_OPT_BOOL, FLAG(bisect), "yes", 0, 0, NULL, NULL, NULL,
     "look for the breaking point between the last rung that held and the first that did not"},
    {"streams", 0, OM_OPT_INT, FLAG(streams), "0", 0, 100000, NULL, "N", NULL,
     "judge this many streams (measured if no rung is); 0: the most that held"},
    {"max-streams", 0, OM_OPT_INT, FLAG(max_streams), "1000", 1, 100000, NULL, NULL, NULL,
     "where a ladder that goes on ends"},
    {"seed", 0, OM_OPT_INT64, FLAG(seed), "1", 0, 9e15, NULL, NULL, NULL,
     "spreads the moments at which clips begin"},

    {"min-fps", 0, OM_OPT_DOUBLE, FLAG(min_fps), "0", 0, 1000, NULL, NULL,
     "Limits that are required; 0: none",
     "frames a second of every stream; 0: nine tenths of --fps, or of the clip's own where that is lower"},
    {"max-latency", 0, OM_OPT_DOUBLE, FLAG(max_latency), "200", 0, 1e6, NULL, "MS", NULL, "mean latency"},
    {"max-p99", 0, OM_OPT_DOUBLE, FLAG(max_p99), "0", 0, 1e6, NULL, "MS", NULL,
     "99th percentile of latencies"},
    {"max-drops", 0, OM_OPT_DOUBLE, FLAG(max_drops), "2", 0, 100, NULL, "PERCENT", NULL,
     "frames lost, of those the model was to see"},
    {"min-accuracy", 0, OM_OPT_DOUBLE, FLAG(min_accuracy), "95", 0, 100, NULL, "PERCENT", NULL,
     "agreement with --reference or --truth (AP50)"},
    {"max-gpu-memory", 0, OM_OPT_DOUBLE, FLAG(max_gpu_memory), "22", 0, 10000, NULL, "GB", NULL,
     "memory of the GPU"},
    {"strict", 0, OM_OPT_BOOL, FLAG(strict), "no", 0, 0, NULL, NULL, NULL,
     "what is required and was not measured fails too"},

    {"max-cpu", 0, OM_OPT_DOUBLE, FLAG(max_cpu), "60", 0, 100, NULL, "PERCENT",
     "Limits that are advised; 0: none", "load of the cores this process may use"},
    {"max-gpu", 0, OM_OPT_DOUBLE, FLAG(max_gpu), "90", 0, 100, NULL, "PERCENT", NULL, "load of the GPU"},
    {"max-network", 0, OM_OPT_DOUBLE, FLAG(max_network), "500", 0, 1e6, NULL, "MBIT", NULL,
     "video a second, in million bits"},

    {"reference", 0, OM_OPT_STRING, FLAG(reference), NULL, 0, 0, NULL, "MODEL", "Accuracy",
     "whose boxes -m should find too: the model before it was quantised, or a larger one of the same classes"},
    {"truth", 0, OM_OPT_STRING, FLAG(truth), NULL, 0, 0, NULL, "FILE|DIR", NULL,
     "labels of the pictures in --sample instead: COCO's JSON, or a folder of YOLO's text files"},
    {"sample", 0, OM_OPT_STRING, FLAG(sample), NULL, 0, 0, NULL, "CLIP", NULL,
     "clip or folder of pictures for it; default: the inputs that are files"},
    {"sample-frames", 0, OM_OPT_INT, FLAG(sample_frames), "60", 1, 10000, NULL, NULL, NULL,
     "frames both models see, spread over the clip"},

    {"compare-batching", 0, OM_OPT_BOOL, FLAG(compare_batching), "no", 0, 0, NULL, NULL, "Other ways",
     "instead of a ladder: --streams cameras (4), as fast as they go, with an engine each and with one for all"},
    {"rounds", 0, OM_OPT_INT, FLAG(rounds), "3", 1, 99, NULL, NULL, NULL,
     "of --compare-batching: each way once a round; medians count"},
    {"max-batching-loss", 0, OM_OPT_DOUBLE, FLAG(max_batching_loss), "10", 0, 100, NULL, "PERCENT", NULL,
     "what cameras on one engine may be slower together than a camera alone"},
    {"soak", 0, OM_OPT_DOUBLE, FLAG(soak), "0", 0, 10000, NULL, "HOURS", NULL,
     "instead of a ladder: --streams streams for so long; memory, handles, threads and latency must not rise"},
    {"sample-period", 0, OM_OPT_TIME, FLAG(sample_period), "0", 0, 3600, NULL, "SEC", NULL,
     "between looks of a soak; 0: chosen"},
    {"faults", 0, OM_OPT_INT64, FLAG(faults), "-1", -1, 9e15, NULL, "SEED", NULL,
     "in a soak: take streams away and add them again, at moments that the seed chooses; -1: never"},

    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", "Output",
     "write everything as JSON; '-': standard output, in place of the tables"},
    {"csv", 0, OM_OPT_STRING, FLAG(csv), NULL, 0, 0, NULL, "FILE", NULL,
     "write a row a rung; '-': standard output, in place of the tables"},
    {"html", 0, OM_OPT_STRING, FLAG(html), NULL, 0, 0, NULL, "FILE", NULL,
     "write one page with plots that needs no other file"},
    {0},
};

#define MOST 100000

static int next_number(const char **at, int *out)
{
    long n = 0;
    const char *s = *at;
    while (*s >= '0' && *s <= '9' && n <= MOST) n = 10 * n + (*s++ - '0');
    if (s == *at || n < 1 || n > MOST) return OM_ERR_ARG;
    *at = s;
    *out = (int)n;
    return OM_OK;
}

int om_bench_rungs_parse(const char *text, om_bench_rungs *out)
{
    const char *at = text;
    memset(out, 0, sizeof *out);
    for (;;) {
        if (!strcmp(at, "...") && out->n) {
            out->endless = true;
            return OM_OK;
        }
        int n, top = out->n ? out->rungs[out->n - 1] : 0;
        if (out->n == (int)(sizeof out->rungs / sizeof out->rungs[0]) || next_number(&at, &n) || n <= top ||
            (*at && *at != ','))
            break;
        out->rungs[out->n++] = n;
        if (!*at) return OM_OK;
        at++;
    }
    return om_fail(OM_ERR_ARG,
                   "--ladder '%s': expected up to 64 rising numbers of streams, as in 1,10,30 or 1,10,30,...",
                   text);
}

int om_bench_rungs_next(const om_bench_rungs *l, int streams, int most)
{
    for (int i = 0; i < l->n; i++)
        if (l->rungs[i] > streams) return l->rungs[i];
    if (!l->endless || streams >= most) return 0;
    /* The last step again and again; large numbers in steps of an eighth, or the way would be long. */
    int step = l->n > 1 ? l->rungs[l->n - 1] - l->rungs[l->n - 2] : l->rungs[0];
    if (step < streams / 8) step = streams / 8;
    return streams + step < most ? streams + step : most;
}

static bool is_remote(const char *uri) { return strstr(uri, "://") && strncmp(uri, "file://", 7); }

static int check_soak(const om_bench_options *o)
{
    if (o->soak > 0 && !o->streams)
        return om_fail(OM_ERR_ARG, "--soak: say how many streams with --streams N");
    if (o->faults >= 0 && o->soak <= 0) return om_fail(OM_ERR_ARG, "--faults belongs to --soak HOURS");
    if (o->sample_period > 0 && o->soak * 3600 < 10 * o->sample_period)
        return om_fail(OM_ERR_ARG, "--sample-period %g s: a soak of %g s must hold ten of them",
                       o->sample_period, o->soak * 3600);
    return OM_OK;
}

int om_bench_check(const om_bench_options *o)
{
    om_bench_rungs ladder;
    if (!o->inputs.n) return om_fail(OM_ERR_ARG, "no stream: name a clip or a camera with -i");
    if (o->compare_batching && o->soak > 0)
        return om_fail(OM_ERR_ARG, "--compare-batching and --soak: one at a time");
    for (size_t i = 0; i < o->inputs.n && o->compare_batching; i++)
        if (is_remote(o->inputs.items[i]))
            return om_fail(OM_ERR_ARG,
                           "--compare-batching plays as fast as it can: it takes clips, no cameras");
    if (o->truth && (o->reference || !o->sample))
        return om_fail(OM_ERR_ARG,
                       "--truth wants the labelled pictures as --sample FOLDER, and no --reference");
    if (o->sample && !o->reference && !o->truth)
        return om_fail(OM_ERR_ARG, "--sample is for --reference MODEL or --truth LABELS");
    int err = check_soak(o);
    return err ? err : om_bench_rungs_parse(o->ladder, &ladder);
}
