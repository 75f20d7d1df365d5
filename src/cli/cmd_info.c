/* omma info: what this machine offers. */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "kernel/kernel.h"
#include "media/media.h"
#include "omma/version.h"
#include "sink/sink.h"

#define MAX_DEVICES 16

typedef struct info_flags {
    bool json;
    char *probe;
} info_flags;

static const om_option flag_table[] = {
    {"json", 0, OM_OPT_BOOL, offsetof(info_flags, json), "no", 0, 0, NULL, NULL, "Options", "as JSON"},
    {"probe", 0, OM_OPT_STRING, offsetof(info_flags, probe), NULL, 0, 0, NULL, "DEVICE", NULL,
     "only whether this device works: cuda:0, cpu; 1 MB goes there and back"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

/* Everything is said once, to a writer; the plain text is made of the same calls as the JSON. */
typedef struct writer {
    om_json *json; /* NULL: plain text */
    const char *head;
} writer;

static void begin(writer *w, const char *name)
{
    w->head = name;
    if (!w->json) return;
    om_json_key(w->json, name);
    om_json_begin_array(w->json);
}

static void end(writer *w)
{
    if (w->json) om_json_end_array(w->json);
}

typedef struct field {
    const char *key, *value;
} field;

/* One thing: `line` for people, fields for programs. */
static void item(writer *w, const char *line, const field *fields, size_t n)
{
    if (!w->json) {
        printf("%-9s %s\n", w->head, line);
        w->head = "";
        return;
    }
    om_json_begin_object(w->json);
    for (size_t i = 0; i < n; i++) {
        om_json_key(w->json, fields[i].key);
        om_json_string(w->json, fields[i].value);
    }
    om_json_end_object(w->json);
}

static void value(writer *w, const char *key, const char *text)
{
    if (!w->json) {
        printf("%-9s %s\n", key, text);
        return;
    }
    om_json_key(w->json, key);
    om_json_string(w->json, text);
}

static void number(writer *w, const char *key, double v)
{
    if (!w->json) return;
    om_json_key(w->json, key);
    om_json_num(w->json, v, 1);
}

static void say_cpu(writer *w)
{
    const char *flags = om_cpu_flags_text();
    char text[256];
    if (w->json) {
        value(w, "cpu", om_cpu_model());
        number(w, "cores", om_cpu_count());
        value(w, "cpu_flags", flags);
        value(w, "kernels", om_kernels_get()->name);
        return;
    }
    snprintf(text, sizeof text, "%s, %d cores for us, %s; kernels: %s", om_cpu_model(), om_cpu_count(),
             *flags ? flags : "no vector extensions", om_kernels_get()->name);
    value(w, "cpu", text);
}

static void say_memory(writer *w)
{
    char text[96];
    double page = (double)sysconf(_SC_PAGESIZE) / 1e6;
    double all = (double)sysconf(_SC_PHYS_PAGES) * page, left = (double)sysconf(_SC_AVPHYS_PAGES) * page;
    snprintf(text, sizeof text, "%.0f MB, %.0f MB free", all, left);
    if (!w->json) value(w, "memory", text);
    number(w, "memory_mb", all);
    number(w, "memory_free_mb", left);
}

static void say_devices(writer *w, const om_backend_ops *b)
{
    om_backend_device devices[MAX_DEVICES];
    int n = b->devices ? b->devices(devices, MAX_DEVICES) : 0;
    for (int i = 0; i < n && i < MAX_DEVICES; i++) {
        const om_backend_device *d = &devices[i];
        om_str line = {0};
        om_str_addf(&line, "%-12s %s by %s: %s", d->id, d->precisions, b->name, d->name);
        item(w, om_str_get(&line),
             (const field[]){
                 {"id", d->id}, {"name", d->name}, {"backend", b->name}, {"precisions", d->precisions}},
             4);
        om_str_fini(&line);
    }
}

static void say_gpu(writer *w, const om_device_ops *kind, int index)
{
    char id[32], memory[64] = "", line[320];
    om_device *d;
    om_device_info info;
    snprintf(id, sizeof id, "%s:%d", kind->name, index);
    int err = om_device_open(id, &d);
    if (!err) err = om_device_info_get(d, &info);
    if (err < 0) snprintf(line, sizeof line, "%-12s cannot be used: %.240s", id, om_error_message());
    else {
        snprintf(memory, sizeof memory, "%.0f MB, %.0f MB free", (double)info.memory_total / 1e6,
                 (double)info.memory_free / 1e6);
        snprintf(line, sizeof line, "%-12s %s, %s", id, info.name, memory);
    }
    item(w, line,
         (const field[]){{"id", id},
                         {"name", err < 0 ? NULL : info.name},
                         {"memory", err < 0 ? NULL : memory},
                         {"problem", err < 0 ? om_error_message() : NULL}},
         4);
    om_device_close(d);
}

/* What the plug-ins' devices see; the host was told of above. */
static void say_gpus(writer *w)
{
    const om_device_ops *const *kinds;
    size_t n = om_device_kinds(&kinds);
    begin(w, "gpus");
    for (size_t i = 1; i < n; i++) {
        int count = kinds[i]->count();
        const char *why = count < 0 ? om_error_message() : "no GPU";
        char line[320];
        for (int k = 0; k < count; k++) say_gpu(w, kinds[i], k);
        if (count > 0) continue;
        snprintf(line, sizeof line, "%-12s %.240s", kinds[i]->name, why);
        item(w, line, (const field[]){{"id", kinds[i]->name}, {"problem", why}}, 2);
    }
    end(w);
}

static void say_engines(writer *w)
{
    const om_plugin_state *plugins;
    begin(w, "backends");
    for (const om_backend_ops *const *b = om_backend_list(); *b; b++) {
        const char *version = (*b)->version ? (*b)->version() : "";
        char line[512];
        snprintf(line, sizeof line, "%-12s %.100s: %.200s", (*b)->name, version, (*b)->title);
        item(w, line, (const field[]){{"name", (*b)->name}, {"version", version}, {"title", (*b)->title}}, 3);
    }
    end(w);
    begin(w, "devices");
    for (const om_backend_ops *const *b = om_backend_list(); *b; b++) say_devices(w, *b);
    end(w);
    say_gpus(w);
    size_t n = om_plugins(&plugins);
    begin(w, "plug-ins");
    for (size_t i = 0; i < n; i++) {
        char line[1024];
        snprintf(line, sizeof line, "%s: %s (%s)", plugins[i].name, plugins[i].state, plugins[i].path);
        item(w, line,
             (const field[]){
                 {"name", plugins[i].name}, {"path", plugins[i].path}, {"state", plugins[i].state}},
             3);
    }
    if (!n && !w->json) item(w, "none found: only the null backend is there", NULL, 0);
    end(w);
}

static void say_ffmpeg(writer *w)
{
    static const struct {
        const char *name;
        enum AVCodecID id;
    } codecs[] = {{"h264", AV_CODEC_ID_H264}, {"hevc", AV_CODEC_ID_HEVC},   {"vp9", AV_CODEC_ID_VP9},
                  {"av1", AV_CODEC_ID_AV1},   {"mjpeg", AV_CODEC_ID_MJPEG}, {"mpeg4", AV_CODEC_ID_MPEG4}};
    char text[160];
    snprintf(text, sizeof text, "%s (libavcodec %u.%u.%u, libavformat %u.%u.%u)", av_version_info(),
             avcodec_version() >> 16, avcodec_version() >> 8 & 255, avcodec_version() & 255,
             avformat_version() >> 16, avformat_version() >> 8 & 255, avformat_version() & 255);
    value(w, "ffmpeg", text);
    om_str names = {0};
    begin(w, "decoders");
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        const AVCodec *c = avcodec_find_decoder(codecs[i].id);
        if (w->json)
            item(w, "", (const field[]){{"codec", codecs[i].name}, {"decoder", c ? c->name : NULL}}, 2);
        else if (c) om_str_addf(&names, "%s%s", names.len ? ", " : "", codecs[i].name);
    }
    if (!w->json) item(w, om_str_get(&names), NULL, 0);
    om_str_fini(&names);
    end(w);
    const AVCodec *encoder = avcodec_find_encoder(AV_CODEC_ID_H264);
    value(w, "encoder", encoder ? encoder->name : "no H.264: video sinks cannot work");
}

static void say_parts(writer *w)
{
    char line[256] = "";
    begin(w, "sources");
    for (const om_source_ops *const *s = om_source_registry(); *s; s++) {
        if (w->json) item(w, "", (const field[]){{"name", (*s)->name}}, 1);
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", *line ? ", " : "", (*s)->name);
    }
    if (!w->json) item(w, line, NULL, 0);
    end(w);
    begin(w, "sinks");
    for (const om_sink_ops *const *s = om_sink_registry(); *s; s++) {
        char spec[96];
        snprintf(spec, sizeof spec, "%s:", (*s)->name);
        snprintf(line, sizeof line, "%-12s %s", spec, (*s)->help);
        item(w, line, (const field[]){{"name", (*s)->name}, {"target", (*s)->target}, {"help", (*s)->help}},
             3);
    }
    end(w);
}

#define PROBE_BYTES ((size_t)1 << 20)

static int there_and_back(om_device *d, uint8_t *out, uint8_t *back)
{
    void *memory;
    for (size_t i = 0; i < PROBE_BYTES; i++) out[i] = (uint8_t)(i * 7 + (i >> 8));
    int err = om_device_mem_alloc(d, PROBE_BYTES, &memory);
    if (err) return err;
    err = om_device_copy(d, OM_COPY_TO_DEVICE, memory, out, PROBE_BYTES, NULL);
    if (!err) err = om_device_copy(d, OM_COPY_TO_HOST, back, memory, PROBE_BYTES, NULL);
    if (!err && memcmp(out, back, PROBE_BYTES) != 0)
        err = om_fail(OM_ERR_DEVICE, "device %s: what came back is not what went there", d->id);
    om_device_mem_free(d, memory);
    return err;
}

static int probe(const char *id)
{
    om_device *d = NULL;
    uint8_t *both = om_alloc(2 * PROBE_BYTES);
    if (!both) return OM_ERR_NOMEM;
    (void)om_backend_list(); /* loads the plug-ins */
    int err = om_device_open(id, &d);
    if (!err) err = there_and_back(d, both, both + PROBE_BYTES);
    if (!err) printf("%s works\n", d->id);
    om_device_close(d);
    om_free(both);
    return err;
}

static int run(const om_args *args, int *status)
{
    info_flags f;
    om_json j;
    om_str text = {0};
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 0, "no arguments");
    if (!err && f.probe) {
        err = probe(f.probe);
        om_options_fini(flag_table, &f);
        return err;
    }
    if (err) return err;
    om_json_init(&j, &text, 2);
    writer w = {.json = f.json ? &j : NULL};
    om_json_begin_object(&j);
    if (f.json) value(&w, "version", om_version());
    else value(&w, "omma", om_version());
    say_cpu(&w);
    say_memory(&w);
    say_engines(&w);
    say_ffmpeg(&w);
    say_parts(&w);
    om_json_end_object(&j);
    if (f.json) puts(om_str_get(&text));
    om_str_fini(&text);
    return OM_OK;
}

const om_command om_cmd_info = {
    .name = "info",
    .summary = "what this machine offers: processors, engines, codecs",
    .usage = "[--json | --probe DEVICE]",
    .about =
        "Shows the processor and the kernels chosen for it, the devices models can run on with their precisions, which "
        "plug-ins were found and why others were not, and what can be decoded and written.",
    .examples = "omma info\nomma info --json\nomma info --probe cuda:0",
    .tables = tables,
    .run = run,
};
