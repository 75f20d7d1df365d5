#include "cli/text.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/utf8.h"

/* Bytes of the character at `s`, and the columns it takes. */
static size_t step(const char *s, int *columns)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = om_utf8_length(u, strlen(s));
    *columns = 1;
    if (n < 2) return 1;
    uint32_t c = u[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) c = c << 6 | (u[i] & 0x3fu);
    int w = wcwidth((wchar_t)c);
    if (w >= 0) *columns = w;
    return n;
}

int om_text_width(const char *text)
{
    int total = 0, w;
    for (const char *p = text; *p; total += w) p += step(p, &w);
    return total;
}

void om_text_clean(const char *text, char *out, size_t size)
{
    size_t at = 0;
    for (const char *p = text; *p;) {
        size_t n = om_utf8_length((const unsigned char *)p, strlen(p));
        unsigned char c = (unsigned char)*p;
        bool c1 = n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0;
        if (at + (n ? n : 1) >= size) break;
        if (n == 0 || c < 0x20 || c == 0x7f || c1) out[at++] = '?';
        else memcpy(out + at, p, n), at += n;
        p += n ? n : 1;
    }
    out[at] = '\0';
}

void om_text_clip(const char *text, int columns, char *out, size_t size)
{
    static const char more[] = "…";
    bool whole = om_text_width(text) <= columns;
    int room = whole ? columns : columns - 1, w;
    size_t at = 0;
    for (const char *p = text; *p; room -= w) {
        size_t n = step(p, &w);
        if (w > room || at + n + sizeof more > size) break;
        memcpy(out + at, p, n);
        at += n;
        p += n;
    }
    if (!whole && columns > 0 && at + sizeof more <= size) {
        memcpy(out + at, more, sizeof more - 1);
        at += sizeof more - 1;
    }
    out[at] = '\0';
}

void om_text_clip_front(const char *text, int columns, char *out, size_t size)
{
    int width = om_text_width(text), w;
    bool whole = width <= columns;
    while (!whole && *text && width > columns - 1) {
        text += step(text, &w);
        width -= w;
    }
    snprintf(out, size, "%s%s", whole || columns < 1 ? "" : "…", columns < 1 ? "" : text);
}

void om_text_wrap(const char *text, int indent, int width, om_str *out)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        int at = 0;
        for (size_t i = 0; i < line;) {
            size_t n = strcspn(text + i, " \n");
            char word[256];
            snprintf(word, sizeof word, "%.*s", (int)n, text + i);
            int w = om_text_width(word);
            if (at && at + 1 + w > width) {
                om_str_addc(out, '\n');
                at = 0;
            }
            om_str_addf(out, "%*s", at ? 1 : indent, "");
            om_str_addn(out, text + i, n);
            at += (at ? 1 : indent) + w;
            i += n + strspn(text + i + n, " ");
        }
        om_str_addc(out, '\n');
        text += line + (text[line] == '\n');
    }
}

void om_text_count(double v, char *out, size_t size)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof units[0]) {
        v /= 1000;
        u++;
    }
    snprintf(out, size, "%.*f%s", u == 0 ? 0 : v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u]);
}
