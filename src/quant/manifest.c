/* The collection's records as JSON beside its pictures. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "quant/collection.h"

#define VERSION 1
#define MOST_BYTES ((size_t)256 << 20)
#define MOST_SAMPLES 1000000

static void put_stream(om_json *j, const om_collected_stream *s)
{
    om_json_begin_object(j);
    om_json_key_string(j, "name", s->name);
    om_json_key_string(j, "uri", s->uri);
    om_json_key_num(j, "position", s->position, 6);
    om_json_key(j, "done");
    om_json_bool(j, s->done);
    om_json_key_int(j, "looked", (int64_t)s->looked);
    om_json_key_int(j, "alike", (int64_t)s->alike);
    om_json_key_int(j, "kept", (int64_t)s->kept);
    om_json_key_num(j, "sharpness", s->sharpness, 4);
    om_json_end_object(j);
}

static void put_sample(om_json *j, const om_sample *s)
{
    char hash[OM_SIGHT_WORDS * 16 + 1];
    for (int i = 0; i < OM_SIGHT_WORDS; i++)
        snprintf(hash + i * 16, 17, "%016llx", (unsigned long long)s->sight.hash[i]);
    om_json_begin_object(j);
    om_json_key_string(j, "file", s->file);
    om_json_key_int(j, "stream", s->stream);
    om_json_key_num(j, "pts", s->pts, 6);
    om_json_key_int(j, "time_us", s->time_us);
    om_json_key_int(j, "width", s->width);
    om_json_key_int(j, "height", s->height);
    om_json_key_string(j, "hash", hash);
    om_json_key_num(j, "brightness", (double)s->sight.luma, 2);
    om_json_key_num(j, "contrast", (double)s->sight.contrast, 2);
    om_json_key_num(j, "sharpness", (double)s->sight.sharpness, 3);
    om_json_key_num(j, "motion", (double)s->sight.motion, 4);
    if (s->sight.objects >= 0) {
        om_json_key_int(j, "objects", s->sight.objects);
        om_json_key_int(j, "unsure", s->sight.unsure);
    }
    om_json_key(j, "hard");
    om_json_begin_array(j);
    for (int i = 0; i < OM_HARD_COUNT; i++)
        if (s->hard & 1u << i) om_json_string(j, om_hard_name(1u << i));
    om_json_end_array(j);
    om_json_key_int(j, "nearest", s->nearest);
    om_json_end_object(j);
}

static void put_all(const om_collection *c, om_json *j)
{
    om_coverage v;
    om_coverage_of(c, &v);
    om_json_begin_object(j);
    om_json_key_int(j, "version", VERSION);
    om_json_key_int(j, "created_us", c->created_us);
    om_json_key_int(j, "updated_us", c->updated_us);
    om_json_key_string(j, "model", c->model);
    om_json_key_int(j, "count", (int64_t)c->most);
    om_json_key_int(j, "distance", c->distance);
    om_json_key(j, "coverage");
    om_json_begin_object(j);
    om_coverage_json(&v, j);
    om_json_end_object(j);
    om_json_key(j, "counted");
    om_json_begin_array(j);
    for (int i = 0; i < OM_COUNT_BINS; i++) om_json_uint(j, c->counted[i]);
    om_json_end_array(j);
    om_json_key(j, "streams");
    om_json_begin_array(j);
    for (size_t i = 0; i < c->n_streams; i++) put_stream(j, &c->streams[i]);
    om_json_end_array(j);
    om_json_key(j, "pictures");
    om_json_begin_array(j);
    for (size_t i = 0; i < c->n; i++) put_sample(j, &c->items[i]);
    om_json_end_array(j);
    om_json_end_object(j);
}

int om_collection_save(om_collection *c, const char *folder)
{
    om_str text = {0};
    om_json j;
    c->updated_us = om_wall_us();
    om_json_init(&j, &text, 1);
    put_all(c, &j);
    om_str_addc(&text, '\n');
    char *path = om_sprintf("%s/" OM_MANIFEST, folder);
    int err = text.failed || !path ? om_fail_nomem("the manifest")
                                   : om_write_file_atomic(path, text.data, text.len);
    om_free(path);
    om_str_fini(&text);
    return err;
}

/* What is read, with where it comes from for messages. */
typedef struct reader {
    const char *path;
    char where[64];
} reader;

static int wrong(const reader *r, const char *key, const char *expected)
{
    return om_fail(OM_ERR_FORMAT, "%s: %s'%s': expected %s", r->path, r->where, key, expected);
}

static int get_num(const reader *r, const om_json_value *o, const char *key, double least, double most,
                   double *out)
{
    const om_json_value *v = om_json_get(o, key);
    char expected[80];
    if (v && v->type == OM_JSON_NUM && v->num >= least && v->num <= most) {
        *out = v->num;
        return OM_OK;
    }
    snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
    return wrong(r, key, expected);
}

static int get_text(const reader *r, const om_json_value *o, const char *key, char **out)
{
    const om_json_value *v = om_json_get(o, key);
    if (!v || v->type != OM_JSON_STR) return wrong(r, key, "a text");
    *out = om_strdup(v->str);
    return *out ? OM_OK : OM_ERR_NOMEM;
}

static int read_stream(const reader *r, const om_json_value *o, om_collection *c)
{
    char *uri = NULL, *name = NULL;
    double position = -1, looked = 0, alike = 0, sharpness = 0;
    int err = get_text(r, o, "uri", &uri);
    if (!err) err = get_text(r, o, "name", &name);
    if (!err) err = get_num(r, o, "position", -1, 1e12, &position);
    if (!err) err = get_num(r, o, "looked", 0, 1e15, &looked);
    if (!err) err = get_num(r, o, "alike", 0, 1e15, &alike);
    if (!err) err = get_num(r, o, "sharpness", 0, 255, &sharpness);
    size_t before = c->n_streams;
    int at = err ? err : om_collection_stream(c, uri, name);
    if (at >= 0 && c->n_streams == before) err = wrong(r, "uri", "a stream that is not there yet");
    else if (at >= 0) {
        const om_json_value *done = om_json_get(o, "done");
        om_collected_stream *s = &c->streams[at];
        s->position = position;
        s->looked = (uint64_t)looked;
        s->alike = (uint64_t)alike;
        s->sharpness = sharpness;
        s->done = done && done->type == OM_JSON_BOOL && done->boolean;
    } else err = at;
    om_free(uri);
    om_free(name);
    return err;
}

static int read_hash(const reader *r, const om_json_value *o, uint64_t *out)
{
    const om_json_value *v = om_json_get(o, "hash");
    bool fits = v && v->type == OM_JSON_STR && strlen(v->str) == OM_SIGHT_WORDS * 16 &&
                strspn(v->str, "0123456789abcdef") == OM_SIGHT_WORDS * 16;
    if (!fits) return wrong(r, "hash", "64 hexadecimal digits");
    for (int i = 0; i < OM_SIGHT_WORDS; i++) {
        unsigned long long word;
        char part[17];
        memcpy(part, v->str + i * 16, 16);
        part[16] = '\0';
        if (sscanf(part, "%llx", &word) != 1) return wrong(r, "hash", "64 hexadecimal digits");
        out[i] = word;
    }
    return OM_OK;
}

static unsigned read_hard(const om_json_value *o)
{
    const om_json_value *list = om_json_get_list(o, "hard");
    unsigned hard = 0;
    for (size_t i = 0; list && i < list->n; i++)
        for (int k = 0; k < OM_HARD_COUNT; k++)
            if (list->children[i].type == OM_JSON_STR &&
                !strcmp(list->children[i].str, om_hard_name(1u << k)))
                hard |= 1u << k;
    return hard;
}

static int read_sight(const reader *r, const om_json_value *o, om_sight *s)
{
    double luma = 0, contrast = 0, sharpness = 0, motion = 0, objects = -1, unsure = -1;
    int err = read_hash(r, o, s->hash);
    if (!err) err = get_num(r, o, "brightness", 0, 256, &luma);
    if (!err) err = get_num(r, o, "contrast", 0, 256, &contrast);
    if (!err) err = get_num(r, o, "sharpness", 0, 256, &sharpness);
    if (!err) err = get_num(r, o, "motion", 0, 1, &motion);
    if (!err && om_json_get(o, "objects")) err = get_num(r, o, "objects", 0, 1e6, &objects);
    if (!err && om_json_get(o, "unsure")) err = get_num(r, o, "unsure", 0, 1e6, &unsure);
    if (err) return err;
    s->luma = (float)luma;
    s->contrast = (float)contrast;
    s->sharpness = (float)sharpness;
    s->motion = (float)motion;
    s->objects = (int)objects;
    s->unsure = (int)unsure;
    return OM_OK;
}

static int read_sample(const reader *r, const om_json_value *o, om_collection *c, const char *folder,
                       size_t *lost)
{
    om_sample s = {.hard = read_hard(o)};
    double stream = 0, pts = 0, us = 0, width = 0, height = 0, nearest = 0;
    char *gone = NULL;
    int err = read_sight(r, o, &s.sight);
    if (!err && !c->n_streams) err = wrong(r, "stream", "streams in the manifest");
    if (!err) err = get_num(r, o, "stream", 0, (double)c->n_streams - 1, &stream);
    if (!err) err = get_num(r, o, "pts", -1e12, 1e12, &pts);
    if (!err) err = get_num(r, o, "time_us", 0, 9e15, &us);
    if (!err) err = get_num(r, o, "width", 1, 1e6, &width);
    if (!err) err = get_num(r, o, "height", 1, 1e6, &height);
    if (!err) err = get_num(r, o, "nearest", 0, OM_SIGHT_BITS, &nearest);
    if (!err) err = get_text(r, o, "file", &s.file);
    if (err) return err;
    if (strchr(s.file, '/')) {
        om_free(s.file);
        return wrong(r, "file", "a name in the manifest's own folder");
    }
    char *path = om_sprintf("%s/%s", folder, s.file);
    bool there = path && access(path, R_OK) == 0;
    if (!path) err = OM_ERR_NOMEM;
    om_free(path);
    if (err || !there) {
        om_free(s.file);
        *lost += !err;
        return err;
    }
    s.stream = (int)stream;
    s.pts = pts;
    s.time_us = (int64_t)us;
    s.width = (int)width;
    s.height = (int)height;
    s.nearest = (int)nearest;
    return om_collection_put(c, &s, -1, &gone);
}

static int read_all(reader *r, const om_json_value *o, om_collection *c, const char *folder, size_t *lost)
{
    double version = 0, created = 0, updated = 0, most = 1, distance = 0;
    int err = get_num(r, o, "version", VERSION, VERSION, &version);
    if (!err) err = get_num(r, o, "created_us", 0, 9e15, &created);
    if (!err) err = get_num(r, o, "updated_us", 0, 9e15, &updated);
    if (!err) err = get_num(r, o, "count", 1, MOST_SAMPLES, &most);
    if (!err) err = get_num(r, o, "distance", 0, OM_SIGHT_BITS, &distance);
    const om_json_value *streams = om_json_get_list(o, "streams"),
                        *pictures = om_json_get_list(o, "pictures"),
                        *counted = om_json_get_list(o, "counted"), *model = om_json_get(o, "model");
    if (!err && !streams) err = wrong(r, "streams", "a list");
    if (!err && !pictures) err = wrong(r, "pictures", "a list");
    if (!err && pictures->n > MOST_SAMPLES) err = wrong(r, "pictures", "fewer of them");
    if (err) return err;
    c->created_us = (int64_t)created;
    c->updated_us = (int64_t)updated;
    c->most = (size_t)most;
    c->distance = (int)distance;
    if (model && model->type == OM_JSON_STR && !(c->model = om_strdup(model->str))) return OM_ERR_NOMEM;
    for (size_t i = 0; counted && i < counted->n && i < OM_COUNT_BINS; i++)
        if (counted->children[i].type == OM_JSON_NUM && counted->children[i].num >= 0)
            c->counted[i] = (uint64_t)fmin(counted->children[i].num, 1e15);
    for (size_t i = 0; i < streams->n && !err; i++) {
        snprintf(r->where, sizeof r->where, "stream %zu: ", i);
        err = read_stream(r, &streams->children[i], c);
    }
    for (size_t i = 0; i < pictures->n && !err; i++) {
        snprintf(r->where, sizeof r->where, "picture %zu: ", i);
        err = read_sample(r, &pictures->children[i], c, folder, lost);
    }
    return err;
}

int om_collection_load(const char *path, om_collection *c, size_t *lost)
{
    reader r = {.path = path};
    char *text = NULL, *folder = NULL;
    om_json_value *v = NULL;
    size_t len;
    memset(c, 0, sizeof *c);
    *lost = 0;
    if (access(path, F_OK) != 0) return om_fail(OM_ERR_NOT_FOUND, "%s: there is no such file", path);
    int err = om_read_file(path, MOST_BYTES, &text, &len);
    if (!err && (err = om_json_parse(text, len, &v)) != OM_OK) om_fail_prefix(err, "%s", path);
    const char *slash = strrchr(path, '/');
    if (!err && !(folder = slash ? om_strndup(path, (size_t)(slash - path)) : om_strdup(".")))
        err = OM_ERR_NOMEM;
    if (!err) err = read_all(&r, v, c, folder, lost);
    om_json_free(v);
    om_free(folder);
    om_free(text);
    if (err) om_collection_fini(c);
    return err;
}
