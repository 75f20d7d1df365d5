/* Reads a source to its end and prints what happened as one JSON object: the e2e tests' window on the media
 * room.
 *
 *   tool_source [--live] [--loop] [--frames] [--max N] [--threads N] [--udp] [--auto] [--timeout MS]
 *               [--cancel MS] [--reconnect MIN MAX] [--epochs N] [--until-key] [--credentials FILE]
 *               [--economy LEVEL] [--relax N LEVEL] [--decode-size WxH] URI
 *
 * --frames adds an array with each picture's number, packet, times and MD5 over its planes, as ffmpeg's
 * framemd5. --reconnect: pauses between MIN and MAX ms; prints a line "epoch KB FILES THREADS" to stderr at
 * the first picture of each connection: what the process holds; --epochs: ends after so many.
 * --relax: another economy after N pictures. */
#include <dirent.h>
#include <libavutil/md5.h>
#include <libavutil/mem.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "media/media.h"

typedef struct settings {
    om_source_params params;
    const char *uri;
    long long max, cancel_ms;
    bool frames;
    long long epochs, relax_at;
    om_economy relax_to;
    long long seen_epochs;
} settings;

typedef struct canceller {
    om_cancel *cancel;
    int64_t at_ns;
    om_cancel *quit;
} canceller;

static void *fire_later(void *arg)
{
    canceller *c = arg;
    if (om_cancel_sleep_until(c->quit, c->at_ns) == OM_OK) om_cancel_fire(c->cancel);
    return NULL;
}

static void md5_planes(const om_image *img, char hex[33])
{
    struct AVMD5 *md5 = av_md5_alloc();
    uint8_t sum[16];
    if (!md5) exit(1);
    av_md5_init(md5);
    for (int i = 0; i < om_pixfmt_get(img->fmt)->planes; i++) {
        int bytes, rows;
        om_pixfmt_plane_size(img->fmt, i, img->width, img->height, &bytes, &rows);
        for (int y = 0; y < rows; y++)
            av_md5_update(md5, img->plane[i] + (ptrdiff_t)y * img->stride[i], (size_t)bytes);
    }
    av_md5_final(md5, sum);
    av_free(md5);
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

static void print_frame(om_json *j, const om_frame *f)
{
    char hex[33];
    md5_planes(&f->image, hex);
    om_json_begin_object(j);
    om_json_key(j, "seq");
    om_json_uint(j, f->seq);
    om_json_key(j, "packet");
    om_json_uint(j, f->packet);
    om_json_key(j, "epoch");
    om_json_uint(j, f->epoch);
    om_json_key(j, "pts");
    om_json_num(j, (double)f->pts_ns / 1e9, 6);
    om_json_key(j, "wall_us");
    om_json_int(j, f->wall_us);
    om_json_key(j, "due_ns");
    om_json_int(j, f->due_ns);
    om_json_key(j, "out_ns");
    om_json_int(j, om_now_ns());
    om_json_key(j, "key");
    om_json_bool(j, f->key);
    om_json_key(j, "size");
    om_json_begin_array(j);
    om_json_int(j, f->image.width);
    om_json_int(j, f->image.height);
    om_json_end_array(j);
    om_json_key(j, "format");
    om_json_string(j, om_pixfmt_get(f->image.fmt)->name);
    om_json_key(j, "full");
    om_json_bool(j, f->image.range == OM_RANGE_FULL);
    om_json_key(j, "md5");
    om_json_string(j, hex);
    om_json_end_object(j);
}

static void print_info(om_json *j, const om_source *s)
{
    om_json_key(j, "kind");
    om_json_string(j, s->info.kind);
    om_json_key(j, "codec");
    om_json_string(j, s->info.codec);
    om_json_key(j, "fps");
    om_json_num(j, s->info.fps, 3);
    om_json_key(j, "duration");
    om_json_num(j, s->info.duration_s, 3);
    om_json_key(j, "live");
    om_json_bool(j, s->info.live);
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n - 2;
}

static long resident_kb(void)
{
    long whole = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &whole, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * sysconf(_SC_PAGESIZE) / 1024;
}

/* At the first picture of a connection. */
static void note_epoch(settings *set, uint32_t epoch)
{
    malloc_trim(0);
    set->seen_epochs++;
    fprintf(stderr, "%u %ld %d %d\n", epoch, resident_kb(), entries("/proc/self/fd"),
            entries("/proc/self/task"));
}

static int read_all(om_json *j, om_source *s, settings *set)
{
    int rc = OM_OK;
    if (set->frames) {
        om_json_key(j, "frames");
        om_json_begin_array(j);
    }
    for (long long n = 0; n < set->max && rc == OM_OK; n++) {
        om_frame *f = NULL;
        rc = om_source_read(s, &f);
        if (rc == OM_OK && set->frames) print_frame(j, f);
        if (rc == OM_OK && set->relax_at == n + 1) om_source_economy(s, set->relax_to);
        if (rc == OM_OK && set->params.reconnect && f->epoch >= set->seen_epochs) note_epoch(set, f->epoch);
        if (set->epochs && set->seen_epochs >= set->epochs) n = set->max;
        om_frame_unref(f);
    }
    if (set->frames) om_json_end_array(j);
    return rc;
}

static void print_counts(om_json *j, om_source_counts *c)
{
    const struct {
        const char *name;
        atomic_ullong *v;
    } all[] = {{"received", &c->received}, {"decoded", &c->decoded},      {"no_output", &c->no_output},
               {"corrupt", &c->corrupt},   {"unread", &c->unread},        {"no_key", &c->no_key},
               {"economy", &c->economy},   {"reconnects", &c->reconnects}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        om_json_key(j, all[i].name);
        om_json_uint(j, atomic_load(all[i].v));
    }
}

static int run(settings *set, om_json *j)
{
    om_source_counts counts = {0};
    om_source *s = NULL;
    int64_t begin = om_now_ns();
    om_json_begin_object(j);
    int rc = om_source_open(set->uri, &set->params, &counts, &s);
    om_json_key(j, "open_ms");
    om_json_num(j, (double)(om_now_ns() - begin) / 1e6, 1);
    if (rc == OM_OK) {
        print_info(j, s);
        rc = read_all(j, s, set);
    }
    om_json_key(j, "rc");
    om_json_int(j, rc);
    om_json_key(j, "error");
    om_json_string(j, rc == OM_OK || rc == OM_ERR_EOF ? "" : om_error_message());
    om_source_close(s);
    print_counts(j, &counts);
    om_json_key(j, "ms");
    om_json_num(j, (double)(om_now_ns() - begin) / 1e6, 1);
    om_json_end_object(j);
    return rc;
}

static settings parse(int argc, char **argv)
{
    settings set = {.max = 1LL << 40, .cancel_ms = -1};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(a, "--live") == 0) set.params.live = true;
        else if (strcmp(a, "--loop") == 0) set.params.loop = true;
        else if (strcmp(a, "--frames") == 0) set.frames = true;
        else if (strcmp(a, "--udp") == 0) set.params.rtsp_transport = "udp";
        else if (strcmp(a, "--auto") == 0) set.params.rtsp_transport = "auto";
        else if (strcmp(a, "--until-key") == 0) set.params.until_key = true;
        else if (strcmp(a, "--credentials") == 0 && ++i) set.params.credentials = value;
        else if (strcmp(a, "--decode-size") == 0 && ++i) om_parse_size(value, &set.params.decode_size);
        else if (strcmp(a, "--economy") == 0 && ++i) set.params.economy = (om_economy)atoi(value);
        else if (strcmp(a, "--epochs") == 0 && ++i) set.epochs = atoll(value);
        else if (strcmp(a, "--relax") == 0 && i + 2 < argc) {
            set.relax_at = atoll(argv[++i]);
            set.relax_to = (om_economy)atoi(argv[++i]);
        } else if (strcmp(a, "--reconnect") == 0 && i + 2 < argc) {
            set.params.reconnect = true;
            set.params.backoff_ms = atoi(argv[++i]);
            set.params.backoff_max_ms = atoi(argv[++i]);
        } else if (strcmp(a, "--max") == 0 && ++i) set.max = atoll(value);
        else if (strcmp(a, "--threads") == 0 && ++i) set.params.decode_threads = atoi(value);
        else if (strcmp(a, "--timeout") == 0 && ++i)
            set.params.open_timeout_ms = set.params.read_timeout_ms = atoi(value);
        else if (strcmp(a, "--cancel") == 0 && ++i) set.cancel_ms = atoll(value);
        else set.uri = a;
    }
    return set;
}

int main(int argc, char **argv)
{
    settings set = parse(argc, argv);
    if (!set.uri) {
        fprintf(stderr, "usage: tool_source [options] URI\n");
        return 2;
    }
    om_media_quiet();
    om_cancel cancel, quit;
    if (om_cancel_init(&cancel) != OM_OK || om_cancel_init(&quit) != OM_OK) return 1;
    set.params.cancel = &cancel;
    canceller later = {&cancel, om_now_ns() + set.cancel_ms * OM_NS_PER_MS, &quit};
    om_thread thread = {0};
    if (set.cancel_ms >= 0 && om_thread_start(&thread, "cancel", fire_later, &later) != OM_OK) return 1;
    om_str out = {0};
    om_json json;
    om_json_init(&json, &out, 0);
    run(&set, &json);
    om_cancel_fire(&quit);
    om_thread_join(&thread);
    om_cancel_fini(&quit);
    om_cancel_fini(&cancel);
    puts(om_str_get(&out));
    om_str_fini(&out);
    return 0;
}
