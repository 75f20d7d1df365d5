#include "train/feature_cache.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "omma/version.h"
#include "train/digest.h"

static const char magic[8] = "omfeat1";

typedef struct header {
    char magic[8];
    uint64_t key[2], n, width, digest; /* of all that follows */
    char engine[160];
} header;

int om_feature_key_make(om_feature_key *key, const om_graph *graph, const om_model_desc *desc,
                        const om_dataset *data, const char *device)
{
    char *bytes = NULL;
    size_t len;
    int err = om_model_serialize(graph, &bytes, &len);
    if (err) return err;
    uint64_t h = om_digest(OM_DIGEST_START, bytes, len), files = OM_DIGEST_START;
    om_free(bytes);
    h = om_digest_text(h, device);
    h = om_digest_text(h, OMMA_VERSION_STRING);
    h = om_digest(h, &desc->prep, sizeof desc->prep);
    h = om_digest(h, (int[]){desc->width, desc->height, (int)desc->fit}, 3 * sizeof(int));
    for (size_t i = 0; i < data->files.n; i++) {
        struct stat st;
        files = om_digest_text(files, data->files.items[i]);
        if (stat(data->files.items[i], &st)) continue;
        int64_t v[3] = {(int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec};
        files = om_digest(files, v, sizeof v);
    }
    key->hash[0] = h;
    key->hash[1] = files;
    return OM_OK;
}

/* A byte that is neither 0 nor 1 is no bool, whatever the checksum says. */
static bool read_marks(FILE *in, bool *bad, size_t n)
{
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        int c = getc(in);
        ok = c == 0 || c == 1;
        bad[i] = c == 1;
    }
    return ok;
}

static uint64_t digest_of(const om_features *f)
{
    uint64_t h = om_digest(OM_DIGEST_START, f->rows, f->n * (size_t)f->width * sizeof *f->rows);
    return om_digest(h, f->bad, f->n * sizeof *f->bad);
}

bool om_feature_cache_read(const char *path, const om_feature_key *key, om_features *f)
{
    header h;
    FILE *in = fopen(path, "rbe");
    size_t count = f->n * (size_t)f->width;
    if (!in) return false;
    bool ok = fread(&h, sizeof h, 1, in) == 1 && !memcmp(h.magic, magic, sizeof magic) &&
              !memcmp(h.key, key->hash, sizeof h.key) && h.n == f->n && h.width == (uint64_t)f->width;
    if (ok) {
        ok = fread(f->rows, sizeof *f->rows, count, in) == count && read_marks(in, f->bad, f->n) &&
             h.digest == digest_of(f);
        if (!ok) {
            om_log(OM_LOG_WARN, "%s: damaged; its features are computed anew", path);
            memset(f->rows, 0, count * sizeof *f->rows);
            memset(f->bad, 0, f->n * sizeof *f->bad);
        }
    }
    fclose(in);
    if (!ok) return false;
    h.engine[sizeof h.engine - 1] = '\0';
    snprintf(f->engine, sizeof f->engine, "%s", h.engine);
    return true;
}

int om_feature_cache_write(const char *path, const om_feature_key *key, const om_features *f)
{
    om_outfile out = {0};
    header h = {
        .key = {key->hash[0], key->hash[1]}, .n = f->n, .width = (uint64_t)f->width, .digest = digest_of(f)};
    memcpy(h.magic, magic, sizeof magic);
    snprintf(h.engine, sizeof h.engine, "%s", f->engine);
    int err = om_outfile_open(&out, path);
    if (err) return err;
    err = om_outfile_write(&out, &h, sizeof h);
    if (!err) err = om_outfile_write(&out, f->rows, f->n * (size_t)f->width * sizeof *f->rows);
    if (!err) err = om_outfile_write(&out, f->bad, f->n * sizeof *f->bad);
    if (!err) return om_outfile_commit(&out);
    om_outfile_abort(&out);
    return err;
}
