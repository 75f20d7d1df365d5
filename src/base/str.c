#include "base/str.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

void om_str_fini(om_str *s)
{
    if (!s) return;
    om_free(s->data);
    memset(s, 0, sizeof *s);
}

void om_str_clear(om_str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data) s->data[0] = 0;
}

static bool reserve(om_str *s, size_t extra)
{
    if (s->failed) return false;
    size_t need;
    if (__builtin_add_overflow(s->len, extra, &need) || __builtin_add_overflow(need, (size_t)1, &need) ||
        om_grow((void **)&s->data, &s->cap, need < 64 ? 64 : need, 1) < 0)
        s->failed = true;
    return !s->failed;
}

void om_str_addn(om_str *s, const char *bytes, size_t n)
{
    if (!reserve(s, n)) return;
    if (n) memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void om_str_add(om_str *s, const char *text) { om_str_addn(s, text, strlen(text)); }
void om_str_addc(om_str *s, char c) { om_str_addn(s, &c, 1); }

/* Our texts are read by programs: numbers keep their point whatever locale the host program has set. */
static locale_t c_locale(void) { return newlocale(LC_ALL_MASK, "C", (locale_t)0); }

void om_str_addf(om_str *s, const char *fmt, ...)
{
    if (!reserve(s, 0)) return;
    locale_t old = uselocale(c_locale());
    size_t room = s->cap - s->len;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(s->data + s->len, room, fmt, ap);
    va_end(ap);
    if (n < 0) {
        s->failed = true;
    } else if ((size_t)n >= room) {
        s->data[s->len] = 0;
        if (reserve(s, (size_t)n)) {
            va_start(ap, fmt);
            vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
            va_end(ap);
        }
    }
    uselocale(old);
    if (!s->failed) s->len += (size_t)n;
    s->data[s->len] = 0;
}

const char *om_str_get(const om_str *s) { return s->data ? s->data : ""; }

char *om_str_take(om_str *s)
{
    char *text = NULL;
    if (reserve(s, 0)) {
        text = s->data;
        text[s->len] = 0;
        s->data = NULL;
    }
    om_str_fini(s);
    return text;
}

int om_strlist_addn(om_strlist *l, const char *text, size_t n)
{
    if (om_grow((void **)&l->items, &l->cap, l->n + 1, sizeof *l->items) < 0) return OM_ERR_NOMEM;
    char *copy = om_strndup(text, n);
    if (!copy) return OM_ERR_NOMEM;
    l->items[l->n++] = copy;
    return OM_OK;
}

int om_strlist_add(om_strlist *l, const char *text) { return om_strlist_addn(l, text, strlen(text)); }

void om_strlist_fini(om_strlist *l)
{
    if (!l) return;
    for (size_t i = 0; i < l->n; i++) om_free(l->items[i]);
    om_free(l->items);
    memset(l, 0, sizeof *l);
}

#define WORD_MAX 63

static int fold(char c) { return c == '_' ? '-' : tolower((unsigned char)c); }

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Insertions, deletions, changes and swaps of neighbours; case and '-' against '_' cost nothing. */
static unsigned edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++) last[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + !same);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[nb];
}

const char *om_suggest(const char *word, const char *const *candidates, size_t n)
{
    size_t len = strlen(word);
    if (len == 0 || len > WORD_MAX) return NULL;
    const char *best = NULL;
    unsigned best_distance = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t clen = strlen(candidates[i]);
        if (clen == 0 || clen > WORD_MAX) continue;
        unsigned longer = (unsigned)(clen > len ? clen : len), limit = longer < 6 ? 1 : longer / 3;
        unsigned d = edit_distance(word, len, candidates[i], clen);
        if (d > limit || d >= longer || d >= best_distance) continue;
        best = candidates[i];
        best_distance = d;
    }
    return best;
}

int om_parse_int(const char *text, long long *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits)) return OM_ERR_ARG;
    long long value = 0;
    for (const char *p = digits; *p; p++) {
        int digit = *text == '-' ? '0' - *p : *p - '0';
        if (__builtin_mul_overflow(value, 10LL, &value) || __builtin_add_overflow(value, digit, &value))
            return OM_ERR_ARG;
    }
    *out = value;
    return OM_OK;
}

int om_parse_double(const char *text, double *out)
{
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text)) return OM_ERR_ARG;
    char *end;
    double value = strtod_l(text, &end, c_locale());
    if (end == text || *end || !isfinite(value)) return OM_ERR_ARG;
    *out = value;
    return OM_OK;
}
