#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "media/source_ops.h"

/* Query keys whose values are secrets. */
static const char *const secret_keys[] = {"password", "passwd", "pwd",    "pass", "token",
                                          "secret",   "key",    "apikey", "auth", "sig"};

static bool all_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i])) return false;
    return true;
}

/* Digits, up to the end or to what follows an address in a sentence. */
static bool is_port(const char *s, size_t n)
{
    size_t digits = 0;
    while (digits < n && isdigit((unsigned char)s[digits])) digits++;
    return digits == n || isspace((unsigned char)s[digits]) || strchr("'\",;)", s[digits]);
}

/* Where the port that is no port begins in the text after "://": a password without its '@' there. NULL:
 * nowhere. */
static const char *stray_password(const char *rest, size_t authority)
{
    if (authority == 0 || rest[0] == '[') return NULL;
    const char *colon = memchr(rest, ':', authority);
    return colon && !is_port(colon + 1, (size_t)(rest + authority - colon - 1)) ? colon : NULL;
}

static size_t authority_len(const char *rest, size_t len)
{
    size_t n = strcspn(rest, "/?#");
    return n < len ? n : len;
}

/* How many bytes of the text after "://" are the user's name and password with their '@'. A password may hold
 * '/'. */
size_t om_uri_userinfo(const char *rest, size_t len)
{
    size_t authority = authority_len(rest, len);
    const char *at = memrchr(rest, '@', authority);
    if (!at && stray_password(rest, authority)) at = memrchr(rest, '@', len);
    return at ? (size_t)(at + 1 - rest) : 0;
}

static bool is_secret(const char *key, size_t n)
{
    for (size_t i = 0; i < sizeof secret_keys / sizeof *secret_keys; i++)
        if (strlen(secret_keys[i]) == n && strncasecmp(secret_keys[i], key, n) == 0) return true;
    return false;
}

/* One URI after its "://", up to its end. */
static void add_redacted(om_str *out, const char *rest, size_t len)
{
    const char *p = rest, *end = rest + len;
    for (size_t skip; (skip = om_uri_userinfo(p, (size_t)(end - p)));) p += skip;
    const char *stray = stray_password(p, authority_len(p, (size_t)(end - p)));
    if (stray) {
        om_str_addn(out, p, (size_t)(stray + 1 - p));
        om_str_add(out, "***");
        return;
    }
    const char *query = memchr(p, '?', (size_t)(end - p));
    om_str_addn(out, p, (size_t)((query ? query : end) - p));
    while (query && query < end) {
        const char *key = query + 1;
        const char *stop = key;
        while (stop < end && *stop != '&') stop++;
        const char *equals = memchr(key, '=', (size_t)(stop - key));
        bool secret = equals && is_secret(key, (size_t)(equals - key));
        om_str_addn(out, query, (size_t)((secret ? equals + 1 : stop) - query));
        if (secret) om_str_add(out, "***");
        query = stop;
    }
}

char *om_uri_redact(const char *uri)
{
    om_str out = {0};
    const char *p = uri, *mark;
    while ((mark = strstr(p, "://"))) {
        const char *rest = mark + 3;
        size_t len = 0;
        while (rest[len] && strncmp(rest + len, "://", 3) != 0) len++; /* an address may hold another */
        om_str_addn(&out, p, (size_t)(rest - p));
        add_redacted(&out, rest, len);
        p = rest + len;
    }
    om_str_add(&out, p);
    return om_str_take(&out);
}

static bool name_char(unsigned char c) { return isalnum(c) || c == '-' || c == '_' || c == '.' || c >= 0x80; }

/* The last part of a path, without trailing slashes. */
static void last_part(const char **s, size_t *len)
{
    while (*len > 0 && (*s)[*len - 1] == '/') --*len;
    const char *slash = memrchr(*s, '/', *len);
    if (!slash) return;
    *len -= (size_t)(slash + 1 - *s);
    *s = slash + 1;
}

/* What names the source: host or last part of the path. */
static void name_part(const char **s, size_t *len)
{
    const char *scheme = strstr(*s, "://");
    if (scheme && strncmp(*s, "file://", 7) != 0) {
        const char *rest = scheme + 3;
        size_t n = strcspn(rest, "?#");
        size_t skip = om_uri_userinfo(rest, n);
        rest += skip;
        n -= skip;
        size_t host = strcspn(rest, "/");
        *s = rest;
        *len = n;
        if (host + 1 < n) {
            last_part(s, len);
            return;
        }
        if (host < n) *len = host;
        const char *port = memrchr(rest, ':', *len);
        if (port) *len = (size_t)(port - rest);
        return;
    }
    if (strncmp(*s, "file:", 5) == 0) *s += 5;
    if (strncmp(*s, "images:", 7) == 0) *s += 7;
    *len = strlen(*s);
    const char *full = *s;
    last_part(s, len);
    if (*s > full && memchr(*s, '*', *len)) { /* a glob is named by its folder */
        *len = (size_t)(*s - full);
        *s = full;
        last_part(s, len);
    }
}

char *om_uri_name(const char *uri)
{
    if (strncmp(uri, "pattern:", 8) == 0) return om_strdup("pattern");
    const char *part = uri;
    size_t len = 0;
    name_part(&part, &len);
    const char *dot = memrchr(part, '.', len);
    bool suffix =
        dot && dot > part && part + len - dot <= 5 && !all_digits(dot + 1, (size_t)(part + len - dot - 1));
    bool host = strstr(uri, "://") && !strchr(part, '/');
    if (suffix && (!host || strchr(strstr(uri, "://") + 3, '/'))) len = (size_t)(dot - part);
    om_str out = {0};
    for (size_t i = 0; i < len; i++) om_str_addc(&out, name_char((unsigned char)part[i]) ? part[i] : '_');
    if (strspn(om_str_get(&out), "._") == out.len) {
        om_str_clear(&out);
        om_str_add(&out, "stream");
    }
    return om_str_take(&out);
}
