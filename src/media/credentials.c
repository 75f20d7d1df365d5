#include "media/credentials.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "media/source_ops.h"

#define FILE_MAX_BYTES (1 << 20)
#define LOGIN_MAX 127 /* what FFmpeg keeps of it, in the address' spelling */

typedef struct span {
    const char *at;
    size_t n;
} span;

void om_credentials_wipe(char *text)
{
    if (!text) return;
    volatile char *p = text;
    while (*p) *p++ = 0;
    om_free(text);
}

static span word(const char **p, const char *end)
{
    while (*p < end && (**p == ' ' || **p == '\t')) ++*p;
    span w = {*p, 0};
    while (*p < end && **p != ' ' && **p != '\t') ++*p;
    w.n = (size_t)(*p - w.at);
    return w;
}

static bool is(span w, const char *text, size_t n) { return w.n == n && strncasecmp(w.at, text, n) == 0; }

/* "host" fits every port of it; `authority` is host[:port]. */
static bool fits(span w, const char *authority, size_t n)
{
    if (is(w, "*", 1) || is(w, authority, n)) return true;
    const char *colon = memrchr(authority, ':', n);
    bool port = colon && !memchr(colon, ']', n - (size_t)(colon - authority));
    return port && is(w, authority, (size_t)(colon - authority));
}

static void add_escaped(om_str *out, span w)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < w.n; i++) {
        unsigned char c = (unsigned char)w.at[i];
        if (isalnum(c) || strchr("-._~", c)) {
            om_str_addc(out, (char)c);
            continue;
        }
        om_str_addc(out, '%');
        om_str_addc(out, hex[c >> 4]);
        om_str_addc(out, hex[c & 15]);
    }
}

/* "user:password@" for this authority, from the file's text; nothing where no line fits. */
static int find_login(const char *file, const char *text, const char *authority, size_t n, om_str *out)
{
    int number = 0;
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *last = end > line && end[-1] == '\r' ? end - 1 : end;
        number++;
        span host = word(&line, last), user = word(&line, last);
        if (!host.n || host.at[0] == '#') continue;
        while (line < last && (*line == ' ' || *line == '\t')) line++;
        span password = {line, (size_t)(last - line)};
        if (!user.n || !password.n)
            return om_fail(OM_ERR_FORMAT, "%s:%d: expected HOST[:PORT] USER PASSWORD", file, number);
        if (!fits(host, authority, n)) continue;
        add_escaped(out, user);
        om_str_addc(out, ':');
        add_escaped(out, password);
        if (out->len > LOGIN_MAX)
            return om_fail(OM_ERR_FORMAT, "%s:%d: name and password are too long: FFmpeg takes %d letters",
                           file, number, LOGIN_MAX);
        om_str_addc(out, '@');
        return out->failed ? OM_ERR_NOMEM : OM_OK;
    }
    return OM_OK;
}

/* Some editors begin a file with a mark of its encoding. */
static const char *after_mark(const char *text) { return strncmp(text, "\xef\xbb\xbf", 3) ? text : text + 3; }

int om_credentials_apply(const char *file, const char *uri, char **out)
{
    *out = NULL;
    const char *mark = strstr(uri, "://"), *rest = mark ? mark + 3 : uri;
    char *text = NULL;
    size_t len = 0;
    om_str login = {0}, whole = {0};
    int rc = OM_OK;
    if (file && mark && !om_uri_userinfo(rest, strlen(rest))) {
        rc = om_read_file(file, FILE_MAX_BYTES, &text, &len);
        if (rc == OM_OK) rc = find_login(file, after_mark(text), rest, strcspn(rest, "/?#"), &login);
    }
    if (rc == OM_OK) {
        om_str_addn(&whole, uri, (size_t)(rest - uri));
        om_str_add(&whole, om_str_get(&login));
        om_str_add(&whole, rest);
        *out = om_str_take(&whole);
        if (!*out) rc = OM_ERR_NOMEM;
    }
    om_credentials_wipe(text);
    om_credentials_wipe(om_str_take(&login));
    return rc;
}
