#include "pipeline/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/media.h"
#include "pipeline/second_config.h"
#include "pipeline/tracking.h"
#include "sink/sink.h"

int om_config_init(om_config *c)
{
    memset(c, 0, sizeof(*c));
    return om_options_init(om_run_option_table, &c->run);
}

void om_config_fini(om_config *c)
{
    om_options_fini(om_run_option_table, &c->run);
    for (size_t i = 0; i < c->n_streams; i++) om_options_fini(om_stream_option_table, &c->streams[i]);
    om_free(c->streams);
    om_strlist_fini(&c->sinks);
    om_config_free_seconds(c);
    memset(c, 0, sizeof(*c));
}

typedef bool (*taken_fn)(void *user, const char *name);

/* "vtest", then "vtest-2", "vtest-3" for further streams of that name. */
static char *unique_name(const char *uri, taken_fn taken, void *user)
{
    char *base = om_uri_name(uri);
    if (!base) return NULL;
    size_t end = OM_STREAM_NAME_MAX - 12;
    if (strlen(base) > end) {
        while (end && ((unsigned char)base[end] & 0xc0) == 0x80) end--; /* not within a letter */
        base[end] = '\0';
    }
    if (!taken(user, base)) return base;
    char *name = NULL;
    for (size_t n = 2; !name; n++) {
        name = om_sprintf("%s-%zu", base, n);
        if (!name) break;
        if (!taken(user, name)) break;
        om_free(name);
        name = NULL;
    }
    om_free(base);
    return name;
}

static int check_name(const char *name, taken_fn taken, void *user)
{
    if (taken(user, name)) return om_fail(OM_ERR_ARG, "two streams are named '%s': names must differ", name);
    if (!*name || strchr(name, '/'))
        return om_fail(OM_ERR_ARG,
                       "stream name '%s': it becomes part of file names, so it must not be empty or hold '/'",
                       name);
    if (strlen(name) > OM_STREAM_NAME_MAX)
        return om_fail(OM_ERR_ARG, "stream name '%.40s...': longer than %d bytes", name, OM_STREAM_NAME_MAX);
    return OM_OK;
}

int om_stream_options_check(om_stream_options *s, bool (*taken)(void *user, const char *name), void *user)
{
    if (!s->uri || !*s->uri) return om_fail(OM_ERR_ARG, "a stream needs a uri");
    if (s->name) return check_name(s->name, taken, user);
    s->name = unique_name(s->uri, taken, user);
    return s->name ? OM_OK : OM_ERR_NOMEM;
}

static om_stream_options *find_stream(const om_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_streams; i++)
        if (c->streams[i].name && !strcmp(c->streams[i].name, name)) return &c->streams[i];
    return NULL;
}

static bool name_taken(void *user, const char *name) { return find_stream(user, name) != NULL; }

int om_config_remove_stream(om_config *c, const char *name)
{
    om_stream_options *s = find_stream(c, name);
    if (!s) return om_fail(OM_ERR_NOT_FOUND, "no stream '%s'", name);
    om_options_fini(om_stream_option_table, s);
    c->n_streams--;
    memmove(s, s + 1, (size_t)(&c->streams[c->n_streams] - s) * sizeof(*s));
    return OM_OK;
}

int om_config_set_stream(om_config *c, const char *name, const char *const *options)
{
    om_stream_options *s = find_stream(c, name);
    int err = s ? OM_OK : om_fail(OM_ERR_NOT_FOUND, "no stream '%s'", name);
    for (int i = 0; !err && options[i]; i += 2) {
        const om_option *o = om_option_find(om_stream_option_table, options[i]);
        bool renames = o && !strcmp(o->name, "name") && strcmp(options[i + 1], name);
        if (renames) err = check_name(options[i + 1], name_taken, c);
    }
    for (; !err && options[0]; options += 2)
        err = om_option_set(om_stream_option_table, s, options[0], options[1]);
    return err;
}

om_stream_options *om_config_new_stream(om_config *c)
{
    void *items = c->streams;
    if (om_grow(&items, &c->cap_streams, c->n_streams + 1, sizeof(*c->streams))) return NULL;
    c->streams = items;
    om_stream_options *s = &c->streams[c->n_streams];
    memset(s, 0, sizeof(*s));
    return om_options_init(om_stream_option_table, s) ? NULL : s;
}

int om_config_stream(om_config *c, om_stream_options *s)
{
    int err = om_stream_options_check(s, name_taken, c);
    if (err) om_options_fini(om_stream_option_table, s);
    else c->n_streams++;
    return err;
}

int om_config_add_stream(om_config *c, const char *uri, const char *name)
{
    om_stream_options *s = om_config_new_stream(c);
    if (!s) return OM_ERR_NOMEM;
    s->uri = om_strdup(uri);
    if (name) s->name = om_strdup(name);
    if (!s->uri || (name && !s->name)) {
        om_options_fini(om_stream_option_table, s);
        return OM_ERR_NOMEM;
    }
    return om_config_stream(c, s);
}

static int check_batches(const om_run_options *o)
{
    int max = o->batch_size ? o->batch_size : o->batch_max;
    if (o->batch_size && o->batch_max && o->batch_size != o->batch_max)
        return om_fail(OM_ERR_ARG, "--batch-size %d and --batch-max %d contradict each other: give one",
                       o->batch_size, o->batch_max);
    if (max && o->batch_min > max)
        return om_fail(OM_ERR_ARG, "--batch-min %d is above the largest batch, %d", o->batch_min, max);
    if (o->batch_min > 1 && o->batch_timeout_ms <= 0)
        return om_fail(OM_ERR_ARG,
                       "--batch-min needs --batch-timeout-ms: else the last frames would wait for ever");
    return OM_OK;
}

/* The file behind 'kind:', without './'; NULL where a sink has none. */
static const char *file_of(const char *spec)
{
    const char *colon = strchr(spec, ':');
    if (!colon || !strncmp(spec, "null:", 5)) return NULL;
    const char *file = colon + 1;
    while (!strncmp(file, "./", 2)) file += 2;
    return file;
}

static bool same_file(const char *a, const char *b)
{
    const char *x = file_of(a), *y = file_of(b);
    return x && y && !strcmp(x, y);
}

static int check_sinks(const om_config *c)
{
    for (size_t i = 0; i < c->sinks.n; i++) {
        const char *spec = c->sinks.items[i];
        const om_sink_ops *ops = om_sink_ops_for(spec);
        if (!ops) return OM_ERR_ARG;
        bool many = c->n_streams > 1 || om_config_keeps(c);
        if (ops->flags & OM_SINK_PER_STREAM && many && !strstr(spec, "%s"))
            return om_fail(OM_ERR_ARG,
                           "-o %s makes one file a stream: put %%s into its name, which becomes the stream's",
                           spec);
        for (size_t k = 0; k < i; k++)
            if (same_file(spec, c->sinks.items[k]))
                return om_fail(OM_ERR_ARG, "-o %s and -o %s: two sinks cannot write the same file",
                               c->sinks.items[k], spec);
    }
    return OM_OK;
}

bool om_config_keeps(const om_config *c) { return c->run.keep || (c->run.control && *c->run.control); }

int om_config_check(const om_config *c)
{
    const om_run_options *o = &c->run;
    uint32_t mask;
    if (!o->model || !*o->model)
        return om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx (or model: in the config)");
    if (!c->n_streams && !om_config_keeps(c))
        return om_fail(OM_ERR_ARG,
                       "no stream: name at least one video with -i URI (or streams: in the config)");
    if (o->head) {
        int family = om_family_parse(o->head);
        if (family < 0) return family;
    }
    if (o->cpu_mask && om_cpu_mask_parse(o->cpu_mask, &mask)) return OM_ERR_ARG;
    if (o->rtsp_transport && strcmp(o->rtsp_transport, "tcp") && strcmp(o->rtsp_transport, "udp") &&
        strcmp(o->rtsp_transport, "auto"))
        return om_fail(OM_ERR_ARG, "--rtsp-transport '%s': expected tcp, udp or auto", o->rtsp_transport);
    if (o->reconnect_min > o->reconnect_max)
        return om_fail(OM_ERR_ARG, "--reconnect-min %gs is above --reconnect-max, %gs", o->reconnect_min,
                       o->reconnect_max);
    om_tracking tracking;
    int64_t cap;
    int err = om_gpu_memory_parse(o->gpu_memory, 0, &cap);
    if (!err) err = check_batches(o);
    if (!err) err = om_tracking_of(o, (float)o->conf, &tracking);
    if (!err) err = om_config_check_seconds(c);
    return err ? err : check_sinks(c);
}

static int check_file(const char *what, const char *path)
{
    struct stat st;
    if (!path || !*path || !strcmp(path, "-")) return OM_OK;
    if (stat(path, &st)) return om_fail(OM_ERR_NOT_FOUND, "%s '%s' does not exist", what, path);
    return OM_OK;
}

int om_config_check_files(const om_config *c)
{
    int err = check_file("model", c->run.model);
    if (!err) err = check_file("labels file", c->run.labels);
    if (!err) err = check_file("font", c->run.font);
    for (size_t i = 0; i < c->n_seconds && !err; i++) {
        err = check_file("secondary model", c->seconds[i].run.model);
        if (!err) err = check_file("gallery", c->seconds[i].gallery);
    }
    for (size_t i = 0; i < c->n_streams && !err; i++) {
        const char *uri = c->streams[i].uri;
        if (strstr(uri, "://") || !strncmp(uri, "pattern:", 8) || strpbrk(uri, "*?[")) continue;
        err = check_file("video", uri);
    }
    return err;
}
