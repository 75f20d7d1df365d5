/* What tuning measured before: a text file for each kind of GPU and version of cuDNN. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

#define CACHE_VERSION "4"

static char *cache_path(om_device *device, const char *dir)
{
    om_device_info info;
    if (!dir || om_device_info_get(device, &info)) return NULL;
    for (char *c = info.name; *c; c++)
        if (*c == ' ' || *c == '/') *c = '-';
    return om_sprintf("%s/cuda-%s-cudnn-%s-v" CACHE_VERSION ".tactics", dir, info.name, omcu_cudnn_version());
}

/* A line is "key<TAB>tactic name<TAB>nanoseconds". */
static const char *find_line(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == '\t') return line + n + 1;
    return NULL;
}

bool omcu_memo_recall(const char *text, const char *key, char out[64], double *ns)
{
    const char *value = find_line(text, key);
    if (!value) return false;
    size_t n = strcspn(value, "\t\n");
    snprintf(out, 64, "%.*s", (int)n, value);
    *ns = value[n] == '\t' ? strtod(value + n + 1, NULL) : 0;
    return true;
}

int omcu_memo_load(om_device *device, const char *cache_dir, om_str *memo)
{
    char *path = cache_path(device, cache_dir), *text = NULL;
    size_t len = 0;
    if (path && access(path, R_OK) == 0 && om_read_file(path, 16u << 20, &text, &len) == OM_OK)
        om_str_addn(memo, text, len);
    om_free(path);
    om_free(text);
    return memo->failed ? OM_ERR_NOMEM : OM_OK;
}

int omcu_memo_save(om_device *device, const char *cache_dir, const om_str *memo)
{
    om_outfile f = {0};
    char *path = cache_path(device, cache_dir);
    if (!path) return OM_OK;
    int err = om_outfile_open(&f, path);
    if (!err) err = om_outfile_write(&f, om_str_get(memo), strlen(om_str_get(memo)));
    if (!err) err = om_outfile_commit(&f);
    else om_outfile_abort(&f);
    om_free(path);
    return err;
}

char *omcu_memo_find(const om_str *memo, const char *key)
{
    const char *value = find_line(om_str_get(memo), key);
    return value ? om_sprintf("%.*s", (int)strcspn(value, "\t\n"), value) : NULL;
}
