#include "backend/planfile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"

#define MAGIC "OMMAPLAN"
#define MAGIC_LEN 8
#define FILE_MAX_BYTES ((size_t)1 << 36)
#define HEAD_MAX ((size_t)1 << 22) /* of the description */
#define ALIGN 64
#define FAR ((size_t)1 << 52)

static uint64_t read_number(const char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}

static void write_number(char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8) p[i] = (char)(v & 255);
}

uint64_t om_plan_checksum(const void *file, size_t len)
{
    const char *p = (const char *)file + OM_PLAN_HEAD_BYTES;
    len -= OM_PLAN_HEAD_BYTES;
    uint64_t h = read_number((const char *)file + 8, 8) ^ 0xcbf29ce484222325u ^ len;
    for (; len >= 8; p += 8, len -= 8) {
        h = (h ^ read_number(p, 8)) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    if (len) h = (h ^ read_number(p, (int)len)) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

bool om_plan_file_is(const void *bytes, size_t len)
{
    return len >= MAGIC_LEN && !memcmp(bytes, MAGIC, MAGIC_LEN);
}

void om_plan_file_free(om_plan_file *f)
{
    if (!f) return;
    om_free(f->path);
    om_free(f->bytes);
    om_free(f);
}

/* The description, being read. */
typedef struct reader {
    om_plan_file *f;
    const char *key; /* that is missing or wrong; NULL: none so far */
} reader;

static const om_json_value *member(reader *r, const om_json_value *v, const char *key, om_json_type type)
{
    const om_json_value *m = om_json_get(v, key);
    if (m && m->type == type) return m;
    if (!r->key) r->key = key;
    return NULL;
}

static void take_text(reader *r, const om_json_value *v, const char *key, char *out, size_t size)
{
    const om_json_value *m = member(r, v, key, OM_JSON_STR);
    if (m && strlen(m->str) < size) snprintf(out, size, "%s", m->str);
    else if (!r->key) r->key = key;
}

static double take_number(reader *r, const om_json_value *v, const char *key, double min, double max)
{
    const om_json_value *m = member(r, v, key, OM_JSON_NUM);
    if (m && m->num >= min && m->num <= max && m->num == floor(m->num)) return m->num;
    if (!r->key) r->key = key;
    return min;
}

static int take_choice(reader *r, const om_json_value *v, const char *key, const om_choice *choices)
{
    const om_json_value *m = member(r, v, key, OM_JSON_STR);
    for (; m && choices->name; choices++)
        if (!strcmp(choices->name, m->str)) return choices->value;
    if (!r->key) r->key = key;
    return 0;
}

/* A piece of the file behind the description. */
static const char *take_piece(reader *r, const om_json_value *v, size_t *len)
{
    double size = (double)r->f->size;
    size_t at = (size_t)take_number(r, v, "offset", OM_PLAN_HEAD_BYTES, size);
    *len = (size_t)take_number(r, v, "length", 0, size);
    if (r->key) return NULL;
    if (*len > r->f->size - at) {
        r->key = "length";
        return NULL;
    }
    return r->f->bytes + at;
}

static void take_blobs(reader *r, const om_json_value *list)
{
    om_plan_file *f = r->f;
    if (list && (list->n < 1 || list->n > OM_PLAN_BLOBS_MAX) && !r->key) r->key = "compiled";
    for (size_t i = 0; list && i < list->n && !r->key; i++) {
        const om_json_value *v = &list->children[i];
        om_plan_blob *b = &f->blobs[f->n_blobs];
        b->width = (int)take_number(r, v, "width", 1, 1 << 20);
        b->height = (int)take_number(r, v, "height", 1, 1 << 20);
        b->batch = (int)take_number(r, v, "batch", 1, 1 << 20);
        b->data = take_piece(r, v, &b->len);
        f->n_blobs += !r->key;
    }
}

static void take_info(reader *r, const om_json_value *v)
{
    om_plan_info *p = &r->f->info;
    take_text(r, v, "omma", p->omma, sizeof p->omma);
    take_text(r, v, "backend", p->backend, sizeof p->backend);
    take_text(r, v, "engine", p->engine, sizeof p->engine);
    take_text(r, v, "device", p->device, sizeof p->device);
    take_text(r, v, "machine", p->machine, sizeof p->machine);
    take_text(r, v, "made_of", p->model, sizeof p->model);
    take_text(r, v, "family", p->family, sizeof p->family);
    take_text(r, v, "note", p->note, sizeof p->note);
    p->precision = (om_precision)take_choice(r, v, "precision", om_precision_choices);
    p->mode = (om_mode)take_choice(r, v, "mode", om_mode_choices);
    p->normalize = take_choice(r, v, "normalize", om_normalize_choices);
    p->channels = take_choice(r, v, "channels", om_channels_choices);
    p->fit = take_choice(r, v, "fit", om_fit_choices);
    p->threads = (int)take_number(r, v, "threads", 0, 1 << 16);
    p->min_batch = (int)take_number(r, v, "min_batch", 1, 1 << 20);
    p->opt_batch = (int)take_number(r, v, "opt_batch", p->min_batch, 1 << 20);
    p->max_batch = (int)take_number(r, v, "max_batch", p->opt_batch, 1 << 20);
    p->made_us = (int64_t)take_number(r, v, "made_us", 0, 9e15);
}

static int read_description(om_plan_file *f, const char *text, size_t len)
{
    reader r = {.f = f};
    om_json_value *v = NULL;
    int err = om_json_parse(text, len, &v);
    if (err) return err == OM_ERR_NOMEM ? err : om_fail_prefix(err, "the description");
    take_info(&r, v);
    const om_json_value *model = member(&r, v, "model", OM_JSON_OBJ);
    if (model) f->model = take_piece(&r, model, &f->model_len);
    take_blobs(&r, member(&r, v, "compiled", OM_JSON_ARR));
    om_json_free(v);
    if (r.key) return om_fail(OM_ERR_FORMAT, "the description's '%s' is missing or wrong", r.key);
    return OM_OK;
}

static int check_head(const char *bytes, size_t len, size_t *description)
{
    if (!om_plan_file_is(bytes, len)) return om_fail(OM_ERR_FORMAT, "not a plan file");
    if (len < OM_PLAN_HEAD_BYTES)
        return om_fail(OM_ERR_FORMAT, "cut short: %zu bytes, %d are the head alone", len, OM_PLAN_HEAD_BYTES);
    uint64_t format = read_number(bytes + 8, 4), size = read_number(bytes + 16, 8);
    *description = (size_t)read_number(bytes + 12, 4);
    if (format != OM_PLAN_FORMAT)
        return om_fail(OM_ERR_FORMAT, "plan format %llu; this omma reads %u: build it anew",
                       (unsigned long long)format, OM_PLAN_FORMAT);
    if (size > len)
        return om_fail(OM_ERR_FORMAT, "cut short: %zu bytes of %llu", len, (unsigned long long)size);
    if (size < len) return om_fail(OM_ERR_FORMAT, "%zu bytes too many at its end", len - (size_t)size);
    if (*description > HEAD_MAX || *description > len - OM_PLAN_HEAD_BYTES)
        return om_fail(OM_ERR_FORMAT, "the description's length cannot be %zu", *description);
    if (om_plan_checksum(bytes, len) != read_number(bytes + 24, 8))
        return om_fail(OM_ERR_FORMAT, "damaged: its checksum is another");
    return OM_OK;
}

int om_plan_file_parse(char *bytes, size_t len, const char *path, om_plan_file **out)
{
    size_t description = 0;
    om_plan_file *f = om_calloc(1, sizeof *f);
    *out = NULL;
    if (!f) {
        om_free(bytes);
        return OM_ERR_NOMEM;
    }
    f->bytes = bytes;
    f->size = len;
    f->path = om_strdup(path);
    int err = f->path ? check_head(bytes, len, &description) : OM_ERR_NOMEM;
    if (!err) err = read_description(f, bytes + OM_PLAN_HEAD_BYTES, description);
    if (!err) {
        *out = f;
        return OM_OK;
    }
    om_plan_file_free(f);
    return err == OM_ERR_NOMEM ? err : om_fail_prefix(err, "%s", path);
}

int om_plan_file_load(const char *path, om_plan_file **out)
{
    char *bytes;
    size_t len;
    *out = NULL;
    int err = om_read_file(path, FILE_MAX_BYTES, &bytes, &len);
    return err ? err : om_plan_file_parse(bytes, len, path, out);
}

static const char *choice_name(const om_choice *c, int value)
{
    while (c->name && c->value != value) c++;
    return c->name ? c->name : "";
}

static size_t aligned(size_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static void describe(const om_plan_info *p, size_t model_len, const om_plan_blob *blobs, int n_blobs,
                     size_t at, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 0);
    om_json_begin_object(&j);
    om_json_key_string(&j, "omma", p->omma);
    om_json_key_string(&j, "backend", p->backend);
    om_json_key_string(&j, "engine", p->engine);
    om_json_key_string(&j, "device", p->device);
    om_json_key_string(&j, "machine", p->machine);
    om_json_key_string(&j, "made_of", p->model);
    om_json_key_string(&j, "family", p->family);
    om_json_key_string(&j, "note", p->note);
    om_json_key_string(&j, "precision", choice_name(om_precision_choices, (int)p->precision));
    om_json_key_string(&j, "mode", choice_name(om_mode_choices, (int)p->mode));
    om_json_key_string(&j, "normalize", choice_name(om_normalize_choices, p->normalize));
    om_json_key_string(&j, "channels", choice_name(om_channels_choices, p->channels));
    om_json_key_string(&j, "fit", choice_name(om_fit_choices, p->fit));
    om_json_key_int(&j, "threads", p->threads);
    om_json_key_int(&j, "min_batch", p->min_batch);
    om_json_key_int(&j, "opt_batch", p->opt_batch);
    om_json_key_int(&j, "max_batch", p->max_batch);
    om_json_key_int(&j, "made_us", p->made_us);
    om_json_key(&j, "model");
    om_json_begin_object(&j);
    om_json_key_int(&j, "offset", (int64_t)at);
    om_json_key_int(&j, "length", (int64_t)model_len);
    om_json_end_object(&j);
    om_json_key(&j, "compiled");
    om_json_begin_array(&j);
    at = aligned(at + model_len);
    for (int i = 0; i < n_blobs; i++) {
        om_json_begin_object(&j);
        om_json_key_int(&j, "width", blobs[i].width);
        om_json_key_int(&j, "height", blobs[i].height);
        om_json_key_int(&j, "batch", blobs[i].batch);
        om_json_key_int(&j, "offset", (int64_t)at);
        om_json_key_int(&j, "length", (int64_t)blobs[i].len);
        om_json_end_object(&j);
        at = aligned(at + blobs[i].len);
    }
    om_json_end_array(&j);
    om_json_end_object(&j);
}

/* Room for the description however many digits its places take: they depend on its length. */
static size_t description_room(const om_plan_info *p, size_t model_len, const om_plan_blob *blobs,
                               int n_blobs)
{
    om_str text = {0};
    describe(p, model_len, blobs, n_blobs, FAR, &text);
    size_t room = text.failed ? 0 : aligned(OM_PLAN_HEAD_BYTES + text.len) - OM_PLAN_HEAD_BYTES;
    om_str_fini(&text);
    return room;
}

/* Gathers the file. The checksum runs over all of it, so it is made in one piece. */
static char *assemble(const om_plan_info *p, const void *model, size_t model_len, const om_plan_blob *blobs,
                      int n_blobs, size_t *size)
{
    om_str text = {0};
    size_t room = description_room(p, model_len, blobs, n_blobs), at = OM_PLAN_HEAD_BYTES + room;
    if (!room) return NULL;
    describe(p, model_len, blobs, n_blobs, at, &text);
    *size = aligned(at + model_len);
    for (int i = 0; i < n_blobs; i++) *size = aligned(*size + blobs[i].len);
    char *bytes = text.failed ? NULL : om_calloc(1, *size);
    if (bytes) {
        memcpy(bytes, MAGIC, MAGIC_LEN);
        write_number(bytes + 8, OM_PLAN_FORMAT, 4);
        write_number(bytes + 12, room, 4);
        write_number(bytes + 16, *size, 8);
        memset(bytes + OM_PLAN_HEAD_BYTES, ' ', room);
        memcpy(bytes + OM_PLAN_HEAD_BYTES, text.data, text.len);
        memcpy(bytes + at, model, model_len);
        at = aligned(at + model_len);
        for (int i = 0; i < n_blobs; i++) {
            if (blobs[i].len) memcpy(bytes + at, blobs[i].data, blobs[i].len);
            at = aligned(at + blobs[i].len);
        }
        write_number(bytes + 24, om_plan_checksum(bytes, *size), 8);
    }
    om_str_fini(&text);
    return bytes;
}

int om_plan_file_write(const char *path, const om_plan_info *info, const void *model, size_t model_len,
                       const om_plan_blob *blobs, int n_blobs)
{
    size_t size = 0;
    if (n_blobs < 1 || n_blobs > OM_PLAN_BLOBS_MAX)
        return om_fail(OM_ERR_ARG, "%d sizes and batches: expected 1 to %d", n_blobs, OM_PLAN_BLOBS_MAX);
    char *bytes = assemble(info, model, model_len, blobs, n_blobs, &size);
    if (!bytes) return om_fail_nomem("a plan file");
    int err = om_write_file_atomic(path, bytes, size);
    om_free(bytes);
    return err;
}
