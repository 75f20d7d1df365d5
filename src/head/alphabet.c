#include "head/alphabet.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"

#define MAX_FILE (16u << 20)
#define MAX_CHARS 200000

/* One line that holds all characters: each of them becomes an entry. */
static int split_line(om_alphabet *a)
{
    om_strlist one = a->chars;
    a->chars = (om_strlist){0};
    const char *p = one.items[0];
    size_t left = strlen(p);
    int rc = OM_OK;
    while (left && rc == OM_OK) {
        size_t n = om_utf8_length((const unsigned char *)p, left);
        if (!n) n = 1;
        rc = om_strlist_addn(&a->chars, p, n);
        p += n;
        left -= n;
    }
    om_strlist_fini(&one);
    return rc;
}

/* An empty line is an entry like any other, but for what stands behind the last line's end. */
static int parse(om_alphabet *a, const char *text)
{
    int rc = OM_OK;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3;
    while (*text && rc == OM_OK) {
        size_t n = strcspn(text, "\n"), keep = n;
        while (keep && text[keep - 1] == '\r') keep--;
        rc = om_strlist_addn(&a->chars, text, keep);
        text += n + (text[n] == '\n');
        if (a->chars.n > MAX_CHARS)
            return om_fail(OM_ERR_FORMAT, "%s: more than %d characters", a->source, MAX_CHARS);
    }
    if (rc == OM_OK && a->chars.n == 1) rc = split_line(a);
    if (rc == OM_OK && !a->chars.n) rc = om_fail(OM_ERR_FORMAT, "%s: no characters in it", a->source);
    for (size_t i = 0; rc == OM_OK && i < a->chars.n; i++)
        if (strlen(a->chars.items[i]) > a->longest) a->longest = strlen(a->chars.items[i]);
    return rc;
}

static int read_file(om_alphabet *a, const char *path)
{
    char *data = NULL;
    size_t len = 0;
    snprintf(a->source, sizeof a->source, "%s", path);
    int rc = om_read_file(path, MAX_FILE, &data, &len);
    if (rc == OM_OK && memchr(data, 0, len))
        rc = om_fail(OM_ERR_FORMAT, "%s: not a text of characters", path);
    if (rc == OM_OK) rc = parse(a, data);
    om_free(data);
    return rc;
}

int om_alphabet_read(om_alphabet *a, const om_head *h)
{
    static const char *const keys[] = {"character", "alphabet"};
    int rc = OM_ERR_NOT_FOUND;
    if (h->params.alphabet) {
        rc = read_file(a, h->params.alphabet);
    } else {
        for (size_t i = 0; i < sizeof keys / sizeof *keys && rc == OM_ERR_NOT_FOUND; i++) {
            const char *text = om_model_desc_meta(h->desc, keys[i]);
            if (!text) continue;
            snprintf(a->source, sizeof a->source, "metadata %s", keys[i]);
            rc = parse(a, text);
        }
        if (rc == OM_ERR_NOT_FOUND)
            return om_fail(OM_ERR_ARG,
                           "%s head: the model's metadata has no alphabet (key 'character'); --alphabet FILE "
                           "gives one, a character a line",
                           h->ops->name);
    }
    if (rc == OM_OK && !a->longest) rc = om_fail(OM_ERR_FORMAT, "%s: no characters in it", a->source);
    return rc;
}

void om_alphabet_fini(om_alphabet *a) { om_strlist_fini(&a->chars); }

int om_alphabet_fit(const om_alphabet *a, const om_head *h, int64_t classes, int own_blank, bool space,
                    int *blank)
{
    int64_t n = (int64_t)a->chars.n;
    int wish = h->params.blank == OM_BLANK_OWN ? own_blank : h->params.blank;
    if (classes < 2)
        return om_fail(OM_ERR_ARG, "%s head: an output of %lld classes; more were expected", h->ops->name,
                       (long long)classes);
    if (wish >= classes)
        return om_fail(OM_ERR_ARG, "%s head: blank %d: the model's classes are 0 to %lld", h->ops->name, wish,
                       (long long)classes - 1);
    *blank = wish == OM_BLANK_LAST ? (int)(classes - 1) : wish;
    if (n == classes || n == classes - 1 || (space && n == classes - 2)) return OM_OK;
    return om_fail(
        OM_ERR_ARG,
        "%s head: the outputs have %lld classes, but %s has %lld characters; expected %lld%s, or %lld "
        "with the blank among them",
        h->ops->name, (long long)classes, a->source, (long long)n, (long long)classes - 1,
        space ? " (or one less, without the space)" : "", (long long)classes);
}

const char *om_alphabet_at(const om_alphabet *a, int64_t classes, int blank, int k)
{
    size_t i = (int64_t)a->chars.n == classes || k < blank ? (size_t)k : (size_t)k - 1;
    return i < a->chars.n ? a->chars.items[i] : " ";
}
