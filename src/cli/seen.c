#include "cli/seen.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define CLASSES_MAX 100000

int om_seen_init(om_seen *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    return OM_OK;
}

static void free_stream(om_seen_stream *s)
{
    om_seen_stream_fini(s);
    om_free(s);
}

void om_seen_fini(om_seen *s)
{
    for (size_t i = 0; i < s->n_entries; i++) free_stream(s->entries[i].stream);
    om_free(s->entries);
    om_seen_stream_fini(&s->gone);
    om_strlist_fini(&s->labels);
    pthread_mutex_destroy(&s->lock);
    memset(s, 0, sizeof *s);
}

/* Where the entry is, or would be. */
static size_t place(const om_seen *s, int index)
{
    size_t low = 0, high = s->n_entries;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->entries[mid].index < index) low = mid + 1;
        else high = mid;
    }
    return low;
}

const om_seen_stream *om_seen_at(const om_seen *s, int index)
{
    static const om_seen_stream nothing;
    size_t at = place(s, index);
    return at < s->n_entries && s->entries[at].index == index ? s->entries[at].stream : &nothing;
}

/* Lock held. NULL: out of memory, the frame is not counted. */
static om_seen_stream *entry(om_seen *s, int index)
{
    size_t at = place(s, index);
    if (at < s->n_entries && s->entries[at].index == index) return s->entries[at].stream;
    void *items = s->entries;
    if (om_grow(&items, &s->cap_entries, s->n_entries + 1, sizeof *s->entries)) return NULL;
    s->entries = items;
    om_seen_stream *stream = om_calloc(1, sizeof *stream);
    if (!stream) return NULL;
    memmove(&s->entries[at + 1], &s->entries[at], (s->n_entries++ - at) * sizeof *s->entries);
    s->entries[at] = (om_seen_entry){index, stream};
    return stream;
}

void om_seen_gone(void *user, int index, const char *name)
{
    om_seen *s = user;
    (void)name;
    pthread_mutex_lock(&s->lock);
    size_t at = place(s, index);
    if (at < s->n_entries && s->entries[at].index == index) {
        om_seen_merge(&s->gone, s->entries[at].stream);
        free_stream(s->entries[at].stream);
        memmove(&s->entries[at], &s->entries[at + 1], (--s->n_entries - at) * sizeof *s->entries);
    }
    pthread_mutex_unlock(&s->lock);
}

void om_seen_stream_fini(om_seen_stream *s)
{
    om_free(s->counts);
    memset(s, 0, sizeof *s);
}

static int make_room(om_seen_stream *s, size_t need)
{
    if (need <= s->n) return OM_OK;
    if (need > CLASSES_MAX) return OM_ERR_ARG;
    size_t n = need < 16 ? 16 : need + need / 2;
    uint64_t *counts = om_realloc_array(s->counts, n, sizeof *counts);
    if (!counts) return OM_ERR_NOMEM;
    memset(counts + s->n, 0, (n - s->n) * sizeof *counts);
    s->counts = counts;
    s->n = n;
    return OM_OK;
}

/* Lock held. */
static void keep_labels(om_seen *s, const om_frame_result *r)
{
    for (size_t i = s->labels.n; i < r->n_labels; i++)
        if (om_strlist_add(&s->labels, r->labels[i] ? r->labels[i] : "")) break;
}

void om_seen_result(void *user, const om_frame_result *r)
{
    om_seen *s = user;
    pthread_mutex_lock(&s->lock);
    om_seen_stream *stream = entry(s, r->stream_index);
    if (stream && stream->frames == 0) keep_labels(s, r);
    pthread_mutex_unlock(&s->lock);
    if (!stream) return;
    stream->frames++;
    for (size_t i = 0; i < r->n_objects; i++) {
        int id = r->objects[i].class_id;
        stream->objects++;
        if (id >= 0 && make_room(stream, (size_t)id + 1) == OM_OK) stream->counts[id]++;
    }
}

int om_seen_merge(om_seen_stream *into, const om_seen_stream *from)
{
    if (make_room(into, from->n)) return OM_ERR_NOMEM;
    for (size_t i = 0; i < from->n; i++) into->counts[i] += from->counts[i];
    into->frames += from->frames;
    into->objects += from->objects;
    return OM_OK;
}

/* The class with the next lower rank than `last` (its count, then its number); false: there is none. */
static bool next(const om_seen_stream *s, bool first, size_t *last)
{
    size_t best = s->n;
    for (size_t i = 0; i < s->n; i++) {
        bool after =
            first || s->counts[i] < s->counts[*last] || (s->counts[i] == s->counts[*last] && i > *last);
        if (s->counts[i] && after && (best == s->n || s->counts[i] > s->counts[best])) best = i;
    }
    *last = best;
    return best < s->n;
}

void om_seen_text(const om_seen *s, const om_seen_stream *stream, size_t most, om_str *out)
{
    size_t id = 0;
    for (size_t k = 0; next(stream, k == 0, &id); k++) {
        if (k == most) {
            om_str_add(out, ", …");
            return;
        }
        double mean = (double)stream->counts[id] / (double)stream->frames;
        om_str_addf(out, mean < 0.095 ? "%s%.2g " : "%s%.1f ", k ? ", " : "", mean);
        if (id < s->labels.n && s->labels.items[id][0]) om_str_add(out, s->labels.items[id]);
        else om_str_addf(out, "class %zu", id);
    }
}
