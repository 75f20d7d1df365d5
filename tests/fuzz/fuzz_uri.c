/* A text is taken for a source's address: its shown form, its name, the pattern it may describe. The first
 * byte chooses an allocation that fails. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/media.h"
#include "media/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is shown once is shown the same again: nothing secret is left in it to take out. */
static void check_redact(const char *uri)
{
    char *once = om_uri_redact(uri);
    char *twice = once ? om_uri_redact(once) : NULL;
    if (once && twice && strcmp(once, twice) != 0) abort();
    om_free(once);
    om_free(twice);
}

static void check_name(const char *uri)
{
    char *name = om_uri_name(uri);
    if (name && (!name[0] || strpbrk(name, "/: \n\"") || strcmp(name, "..") == 0)) abort();
    om_free(name);
}

static void check_pattern(const char *text)
{
    om_pattern_params p;
    char *uri = om_sprintf("pattern:%s", text);
    if (uri && om_pattern_parse(uri, &p) == 0) {
        int x, y, w, h;
        om_pattern_truth(&p, p.frames, p.shapes - 1, &x, &y, &w, &h);
        if (x < 0 || y < 0 || x + w > p.width || y + h > p.height) abort();
    }
    om_free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    char *text = malloc(size);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    om_mem_fail_after(data[0] < 128 ? -1 : data[0] - 128);
    check_redact(text);
    check_name(text);
    check_pattern(text);
    om_mem_fail_after(-1);
    free(text);
    return 0;
}
