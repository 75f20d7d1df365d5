/* Requests to a run that has not started, and lists of streams: whatever comes, the answer is JSON that says
 * whether it was done. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "serve/serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

static void ask(om_pipeline *p, const char *text, size_t len)
{
    om_str answer = {0};
    om_json_value *v = NULL;
    om_control_answer(p, text, len, &answer);
    insist(!answer.failed && !strchr(om_str_get(&answer), '\n'));
    insist(om_json_parse(om_str_get(&answer), answer.len, &v) == OM_OK);
    const om_json_value *ok = om_json_get(v, "ok");
    insist(ok && ok->type == OM_JSON_BOOL && (ok->boolean || om_json_get(v, "error")));
    om_json_free(v);
    om_str_fini(&answer);
}

/* A request a line. */
static void ask_lines(const char *text, size_t len)
{
    om_pipeline *p;
    insist(om_pipeline_create(&p) == OM_OK);
    for (const char *end = text + len; text < end;) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        ask(p, text, (size_t)(stop - text));
        text = stop + 1;
    }
    om_pipeline_destroy(p);
}

static void load_list(const char *text, size_t len)
{
    static char path[64];
    om_config c;
    snprintf(path, sizeof path, "/tmp/fuzz-control-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    if (!f) return;
    fwrite(text, 1, len, f);
    fclose(f);
    insist(om_config_init(&c) == OM_OK);
    om_config_load_list(&c, path);
    om_config_fini(&c);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (data[0] & 1) load_list((const char *)data + 1, size - 1);
    else ask_lines((const char *)data + 1, size - 1);
    return 0;
}
