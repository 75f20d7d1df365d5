#include "quant/collection.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/mem.h"

#define DARK 60
#define BLUR 0.6     /* of the stream's usual sharpness */
#define LEARNT 20    /* pictures that tell what is usual */
#define EASY_ALIKE 2 /* hard pictures may be this much more alike */

const char *const om_motion_bin_names[] = {"still", "up to 1 %", "up to 5 %", "up to 20 %", "more"};
const char *const om_object_bin_names[] = {"0", "1-2", "3-5", "6-10", "more"};
static const char *const hard_names[] = {"few", "many", "unsure", "blur", "dark"};

const char *om_hard_name(unsigned bit)
{
    for (int i = 0; i < OM_HARD_COUNT; i++)
        if (bit == 1u << i) return hard_names[i];
    return "";
}

void om_collection_fini(om_collection *c)
{
    for (size_t i = 0; i < c->n; i++) om_free(c->items[i].file);
    for (size_t i = 0; i < c->n_streams; i++) {
        om_free(c->streams[i].uri);
        om_free(c->streams[i].name);
    }
    om_free(c->items);
    om_free(c->streams);
    om_free(c->model);
    memset(c, 0, sizeof *c);
}

int om_collection_stream(om_collection *c, const char *uri, const char *name)
{
    for (size_t i = 0; i < c->n_streams; i++)
        if (!strcmp(c->streams[i].uri, uri)) return (int)i;
    om_collected_stream *grown = om_realloc_array(c->streams, c->n_streams + 1, sizeof *grown);
    if (!grown) return OM_ERR_NOMEM;
    c->streams = grown;
    om_collected_stream *s = &grown[c->n_streams];
    *s = (om_collected_stream){.uri = om_strdup(uri), .name = om_strdup(name), .position = -1};
    if (!s->uri || !s->name) {
        om_free(s->uri);
        om_free(s->name);
        return OM_ERR_NOMEM;
    }
    return (int)c->n_streams++;
}

/* More than nine of ten have fewer. */
static bool many(const om_collection *c, int objects)
{
    uint64_t fewer = 0, all = 0;
    for (int i = 0; i < OM_COUNT_BINS; i++) {
        all += c->counted[i];
        if (i < objects) fewer += c->counted[i];
    }
    return all >= LEARNT && objects > 1 && fewer * 10 > all * 9;
}

static bool few(const om_collection *c, int objects)
{
    uint64_t all = 0;
    for (int i = 0; i < OM_COUNT_BINS; i++) all += c->counted[i];
    return !objects && all >= LEARNT && c->counted[0] * 2 < all;
}

unsigned om_collection_look(om_collection *c, int stream, const om_sight *s)
{
    om_collected_stream *of = &c->streams[stream];
    unsigned hard = 0;
    if ((double)s->luma < DARK) hard |= OM_HARD_DARK;
    if (of->looked >= LEARNT && (double)s->sharpness < of->sharpness * BLUR) hard |= OM_HARD_BLUR;
    of->looked++;
    double weight = of->looked < LEARNT ? 1.0 / (double)of->looked : 1.0 / LEARNT;
    of->sharpness += ((double)s->sharpness - of->sharpness) * weight;
    if (s->objects < 0) return hard;
    if (many(c, s->objects)) hard |= OM_HARD_MANY;
    if (few(c, s->objects)) hard |= OM_HARD_FEW;
    if (s->unsure && s->unsure * 2 >= s->objects) hard |= OM_HARD_UNSURE;
    c->counted[s->objects < OM_COUNT_BINS ? s->objects : OM_COUNT_BINS - 1]++;
    return hard;
}

static int nearest_of(const om_collection *c, int stream, const om_sight *s)
{
    int least = OM_SIGHT_BITS;
    for (size_t i = 0; i < c->n; i++) {
        if (c->items[i].stream != stream) continue;
        int d = om_sight_distance(&c->items[i].sight, s);
        if (d < least) least = d;
    }
    return least;
}

static size_t count_hard(const om_collection *c, unsigned any)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) n += (c->items[i].hard & any) != 0;
    return n;
}

/* The least telling picture of the stream that has most: first those that are not hard, unless the hard ones
 * have more than their share. */
static int find_victim(const om_collection *c, int stream)
{
    size_t most = c->streams[stream].kept;
    int from = stream, victim = -1;
    for (size_t i = 0; i < c->n_streams; i++)
        if (c->streams[i].kept > most + 1) most = c->streams[i].kept, from = (int)i;
    bool spare = (double)count_hard(c, ~0u) <= c->hard_share * (double)c->most;
    for (int pass = 0; pass < 2 && victim < 0; pass++)
        for (size_t i = 0; i < c->n; i++) {
            const om_sample *s = &c->items[i];
            if (s->stream != from || (spare && !pass && s->hard)) continue;
            if (victim < 0 || s->nearest < c->items[victim].nearest) victim = (int)i;
        }
    return victim;
}

/* No one reason may take more than its part of what the hard ones have. */
static unsigned bounded(const om_collection *c, unsigned hard)
{
    unsigned left = 0;
    size_t room = (size_t)(c->hard_share * (double)c->most / 2) + 1;
    for (int i = 0; i < OM_HARD_COUNT; i++)
        if (hard & 1u << i && count_hard(c, 1u << i) < room) left |= 1u << i;
    return left;
}

bool om_collection_wants(om_collection *c, int stream, const om_sight *s, unsigned hard, int *victim,
                         int *nearest)
{
    unsigned counts = hard ? bounded(c, hard) : 0;
    *victim = -1;
    *nearest = nearest_of(c, stream, s);
    if (*nearest < (counts ? c->distance / EASY_ALIKE : c->distance)) {
        c->streams[stream].alike++;
        return false;
    }
    if (c->n < c->most) return true;
    *victim = find_victim(c, stream);
    if (*victim < 0) return false;
    const om_sample *v = &c->items[*victim];
    bool poorer = c->streams[v->stream].kept > c->streams[stream].kept + 1;
    return poorer || (counts && !v->hard) || *nearest > v->nearest;
}

int om_collection_put(om_collection *c, const om_sample *s, int victim, char **gone)
{
    void *items = c->items;
    *gone = NULL;
    int err = victim < 0 ? om_grow(&items, &c->cap, c->n + 1, sizeof *c->items) : OM_OK;
    c->items = items;
    if (err) {
        om_free(s->file);
        return err;
    }
    size_t at = victim < 0 ? c->n++ : (size_t)victim;
    if (victim >= 0) {
        *gone = c->items[at].file;
        c->streams[c->items[at].stream].kept--;
    }
    c->items[at] = *s;
    c->streams[s->stream].kept++;
    return OM_OK;
}

int om_luma_bin(double luma)
{
    int i = (int)(luma / (256.0 / OM_LUMA_BINS));
    return i < 0 ? 0 : i >= OM_LUMA_BINS ? OM_LUMA_BINS - 1 : i;
}

int om_motion_bin(double share)
{
    return share <= 0 ? 0 : share <= 0.01 ? 1 : share <= 0.05 ? 2 : share <= 0.2 ? 3 : 4;
}

int om_object_bin(int objects)
{
    return objects < 1 ? 0 : objects < 3 ? 1 : objects < 6 ? 2 : objects < 11 ? 3 : 4;
}

void om_coverage_of(const om_collection *c, om_coverage *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < c->n; i++) {
        const om_sample *s = &c->items[i];
        time_t seconds = (time_t)(s->time_us / 1000000);
        struct tm at;
        out->n++;
        out->luma[om_luma_bin((double)s->sight.luma)]++;
        out->night += (double)s->sight.luma < OM_NIGHT_LUMA;
        out->motion[om_motion_bin((double)s->sight.motion)]++;
        if (s->time_us && localtime_r(&seconds, &at)) out->hours[at.tm_hour]++;
        for (int k = 0; k < OM_HARD_COUNT; k++) out->hard[k] += (s->hard & 1u << k) != 0;
        if (s->sight.objects < 0) continue;
        out->counted++;
        out->objects[om_object_bin(s->sight.objects)]++;
    }
}

static void put_counts(om_json *j, const char *key, const size_t *v, int n)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (int i = 0; i < n; i++) om_json_uint(j, v[i]);
    om_json_end_array(j);
}

static void put_named(om_json *j, const char *key, const char *const *names, const size_t *v, int n)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    for (int i = 0; i < n; i++) {
        om_json_key(j, names[i]);
        om_json_uint(j, v[i]);
    }
    om_json_end_object(j);
}

void om_coverage_json(const om_coverage *v, om_json *j)
{
    om_json_key(j, "pictures");
    om_json_uint(j, v->n);
    om_json_key(j, "night");
    om_json_uint(j, v->night);
    put_counts(j, "brightness", v->luma, OM_LUMA_BINS);
    put_named(j, "motion", om_motion_bin_names, v->motion, OM_MOTION_BINS);
    if (v->counted) put_named(j, "objects", om_object_bin_names, v->objects, OM_OBJECT_BINS);
    put_counts(j, "hours", v->hours, 24);
    put_named(j, "hard", hard_names, v->hard, OM_HARD_COUNT);
}

int om_coverage_gaps(const om_coverage *v, om_strlist *out)
{
    int err = OM_OK;
    if (!v->n) return om_strlist_add(out, "there is no picture");
    if (v->night * 50 < v->n)
        err = om_strlist_add(out, "hardly a dark picture: collect at night too, if the model works then");
    if (!err && v->night == v->n)
        err = om_strlist_add(out, "dark pictures alone: collect by day too, if the model works then");
    if (!err && v->motion[0] + v->motion[1] == v->n && v->n > 1)
        err = om_strlist_add(out, "nothing moves in any picture");
    if (!err && v->counted && v->objects[0] == v->counted)
        err = om_strlist_add(out, "no picture has an object");
    if (!err && v->counted && !v->objects[0]) err = om_strlist_add(out, "no picture is without an object");
    return err;
}
