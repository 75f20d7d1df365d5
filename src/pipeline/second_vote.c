#include "pipeline/second_vote.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define CHAR_MAX_BYTES 4

void om_votes_fini(om_votes *v)
{
    for (int i = 0; i < v->n_texts; i++) om_free(v->texts[i].text);
    *v = (om_votes){0};
}

/* Bytes of the character at `p`: a byte that begins none is one by itself. */
static int char_bytes(const char *p)
{
    unsigned char c = (unsigned char)*p;
    int n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    for (int i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80) return i;
    return n;
}

static int length_of(const char *text)
{
    int n = 0;
    for (; *text; text += char_bytes(text)) n++;
    return n;
}

static const char *char_at(const char *text, int at)
{
    while (at-- > 0) text += char_bytes(text);
    return text;
}

static int weakest(const om_votes *v)
{
    int least = 0;
    for (int i = 1; i < v->n_texts; i++)
        if (v->texts[i].weight < v->texts[least].weight) least = i;
    return least;
}

int om_votes_add_text(om_votes *v, const char *text, float score)
{
    int i = 0;
    if (!*text) return OM_OK;
    double weight = score > 0 ? (double)score : 0;
    for (; i < v->n_texts; i++)
        if (!strcmp(v->texts[i].text, text)) break;
    if (i == v->n_texts) {
        char *copy = om_strdup(text);
        if (!copy) return om_fail_nomem("a vote");
        if (i < OM_VOTE_TEXTS) v->n_texts++;
        else om_free(v->texts[i = weakest(v)].text);
        v->texts[i] = (om_vote_text){.text = copy, .length = length_of(copy)};
    }
    v->texts[i].count++;
    v->texts[i].weight += weight;
    v->n++;
    v->weight += weight;
    return OM_OK;
}

void om_votes_add_class(om_votes *v, int32_t id, float score)
{
    int i = 0;
    double weight = score > 0 ? (double)score : 0;
    v->n++;
    v->weight += weight;
    while (i < v->n_classes && v->classes[i].id != id) i++;
    if (i == OM_VOTE_CLASSES) return; /* a model that is so much in doubt will not settle on a late-comer */
    if (i == v->n_classes) {
        v->classes[i].id = id;
        v->classes[i].count = 0;
        v->classes[i].weight = 0;
        v->n_classes++;
    }
    v->classes[i].count++;
    v->classes[i].weight += weight;
}

/* The length with the most weight behind it; of equal ones the one that came first. */
static int best_length(const om_votes *v, double *weight, int *count)
{
    int best = 0;
    *weight = -1;
    *count = 0;
    for (int i = 0; i < v->n_texts; i++) {
        double sum = 0;
        int n = 0;
        for (int k = 0; k < v->n_texts; k++) {
            if (v->texts[k].length != v->texts[i].length) continue;
            sum += v->texts[k].weight;
            n += v->texts[k].count;
        }
        if (sum <= *weight) continue;
        *weight = sum;
        *count = n;
        best = v->texts[i].length;
    }
    return best;
}

/* The character with the most weight at this place of texts of this length; returns the weight. */
static double best_char(const om_votes *v, int length, int at, const char **out)
{
    double best = -1;
    for (int i = 0; i < v->n_texts; i++) {
        if (v->texts[i].length != length) continue;
        const char *c = char_at(v->texts[i].text, at);
        int bytes = char_bytes(c);
        double sum = 0;
        for (int k = 0; k < v->n_texts; k++) {
            if (v->texts[k].length != length) continue;
            const char *other = char_at(v->texts[k].text, at);
            if (char_bytes(other) == bytes && !memcmp(c, other, (size_t)bytes)) sum += v->texts[k].weight;
        }
        if (sum <= best) continue;
        best = sum;
        *out = c;
    }
    return best;
}

static int count_of(const om_votes *v, const char *text)
{
    for (int i = 0; i < v->n_texts; i++)
        if (!strcmp(v->texts[i].text, text)) return v->texts[i].count;
    return 0;
}

static int whole_text(const om_votes *v, char **text, float *score, int *agree)
{
    int best = 0;
    for (int i = 1; i < v->n_texts; i++)
        if (v->texts[i].weight > v->texts[best].weight) best = i;
    *text = om_strdup(v->texts[best].text);
    *score = (float)(v->texts[best].weight / v->n);
    *agree = v->texts[best].count;
    return *text ? OM_OK : om_fail_nomem("a vote");
}

int om_votes_text(const om_votes *v, bool whole, char **text, float *score, int *agree)
{
    *text = NULL;
    *score = 0;
    *agree = 0;
    if (!v->n_texts) return OM_OK;
    if (whole) return whole_text(v, text, score, agree);
    double weight, shares = 0;
    int count, length = best_length(v, &weight, &count);
    char *out = om_alloc((size_t)length * CHAR_MAX_BYTES + 1), *end = out;
    if (!out) return om_fail_nomem("a vote");
    for (int at = 0; at < length; at++) {
        const char *c = "";
        double best = best_char(v, length, at, &c);
        int bytes = char_bytes(c);
        memcpy(end, c, (size_t)bytes);
        end += bytes;
        shares += weight > 0 ? best / weight : 0;
    }
    *end = '\0';
    *text = out;
    *score = length ? (float)(shares / length * weight / count) : 0;
    *agree = count_of(v, out);
    return OM_OK;
}

int32_t om_votes_class(const om_votes *v, float *score, int *agree)
{
    int best = 0;
    *score = 0;
    *agree = 0;
    if (!v->n_classes) return -1;
    for (int i = 1; i < v->n_classes; i++)
        if (v->classes[i].weight > v->classes[best].weight) best = i;
    *score = (float)(v->classes[best].weight / v->n);
    *agree = v->classes[best].count;
    return v->classes[best].id;
}
