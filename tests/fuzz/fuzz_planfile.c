/* No bytes at all make the reader of plan files touch what is not theirs: whatever it accepts has its pieces
 * within the file. Length and checksum are set right, since no fuzzer guesses them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/planfile.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

static void write_number(char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8) p[i] = (char)(v & 255);
}

static void check(const om_plan_file *f, size_t size)
{
    const char *end = f->bytes + size;
    unsigned sum = 0;
    om_size s = {1, 1};
    insist(f->model >= f->bytes && f->model_len <= (size_t)(end - f->model));
    for (size_t i = 0; i < f->model_len; i++) sum += (unsigned char)f->model[i];
    insist(f->n_blobs >= 1 && f->n_blobs <= OM_PLAN_BLOBS_MAX);
    for (int i = 0; i < f->n_blobs; i++) {
        const om_plan_blob *b = &f->blobs[i];
        insist(b->width > 0 && b->height > 0 && b->batch > 0);
        insist(b->data >= f->bytes && b->len <= (size_t)(end - b->data));
        for (size_t k = 0; k < b->len; k++) sum += (unsigned char)b->data[k];
    }
    insist(om_plan_file_size(f, 1920, 1080, &s) && s.width > 0);
    insist(f->info.min_batch <= f->info.opt_batch && f->info.opt_batch <= f->info.max_batch);
    insist(sum != 1u << 31);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    char *bytes = om_alloc(size);
    om_plan_file *f;
    if (!bytes) return 0;
    memcpy(bytes, data + 1, size - 1);
    size--;
    if (size >= OM_PLAN_HEAD_BYTES) {
        write_number(bytes + 16, size);
        write_number(bytes + 24, om_plan_checksum(bytes, size));
    }
    /* The first byte chooses an allocation that fails. */
    om_mem_fail_after(data[0] ? data[0] : -1);
    int err = om_plan_file_parse(bytes, size, "plan", &f);
    om_mem_fail_after(-1);
    insist(!err == !!f);
    if (f) check(f, size);
    om_plan_file_free(f);
    return 0;
}
