/* Lists of streams: a line a stream, "URI [key=value ...]". */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "pipeline/config.h"

#define OM_LIST_MAX (4 << 20)

/* The next word of the line into *word, without its quotes; "#" before a word ends the line. False: there is
 * none. *bad: a quote has no end. */
static bool next_word(const char **at, const char *end, om_str *word, bool *bad)
{
    const char *p = *at;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) p++;
    om_str_clear(word);
    if (p == end || *p == '#') return false;
    bool quoted = false, any = false;
    for (; p < end && (quoted || (*p != ' ' && *p != '\t' && *p != '\r')); p++) {
        any = true;
        if (*p == '"') quoted = !quoted;
        else om_str_addc(word, *p);
    }
    *bad = quoted;
    *at = p;
    return any;
}

static int set_pair(om_stream_options *s, const char *word)
{
    char key[64];
    const char *equals = strchr(word, '=');
    if (!equals || equals == word || (size_t)(equals - word) >= sizeof(key))
        return om_fail(OM_ERR_ARG,
                       "'%.80s': expected key=value behind the URI (a URI with spaces goes in quotes)", word);
    memcpy(key, word, (size_t)(equals - word));
    key[equals - word] = '\0';
    return om_option_set(om_stream_option_table, s, key, equals + 1);
}

/* A line that holds a stream fills *s; *any: it does. */
static int read_line(const char *line, const char *end, om_stream_options *s, bool *any)
{
    om_str word = {0};
    bool bad = false;
    int err = OM_OK;
    *any = false;
    while (!err && next_word(&line, end, &word, &bad)) {
        if (bad) err = om_fail(OM_ERR_ARG, "a quote has no end");
        else if (word.failed) err = OM_ERR_NOMEM;
        else if (*any) err = set_pair(s, om_str_get(&word));
        else err = om_option_set(om_stream_option_table, s, "uri", om_str_get(&word));
        *any = true;
    }
    om_str_fini(&word);
    return err;
}

static int load_line(om_config *c, const char *line, const char *end)
{
    bool any;
    om_stream_options *s = om_config_new_stream(c);
    if (!s) return OM_ERR_NOMEM;
    int err = memchr(line, '\0', (size_t)(end - line)) ? om_fail(OM_ERR_ARG, "not text") : OM_OK;
    any = false;
    if (!err) err = read_line(line, end, s, &any);
    if (!err && any) return om_config_stream(c, s);
    om_options_fini(om_stream_option_table, s);
    return err;
}

static int load_text(om_config *c, const char *path, const char *text, size_t len)
{
    const char *end = text + len;
    int number = 1;
    bool marked = len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3); /* as some editors begin a file */
    for (const char *line = marked ? text + 3 : text; line < end; number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        int err = load_line(c, line, stop);
        if (err) return om_fail_prefix(err, "%s:%d", path, number);
        line = stop + (stop < end);
    }
    return OM_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

int om_config_load_list(om_config *c, const char *path)
{
    char *text;
    size_t len;
    if (ends_with(path, ".yaml") || ends_with(path, ".yml")) return om_config_load_yaml(c, path);
    int err = om_read_file(path, OM_LIST_MAX, &text, &len);
    if (err) return err == OM_ERR_NOMEM ? err : om_fail(OM_ERR_ARG, "%s", om_error_message());
    err = load_text(c, path, text, len);
    om_free(text);
    return err;
}
