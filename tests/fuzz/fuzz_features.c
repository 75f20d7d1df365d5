/* Bytes are taken for a file of kept features: what is accepted is whole. The key is set right, since no
 * fuzzer guesses it, and where the second byte says so the checksum too. The first byte chooses an allocation
 * that fails. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "train/digest.h"
#include "train/feature_cache.h"

enum { N = 4, WIDTH = 3, HEAD = 208, DIGEST = 40, ROWS = N * WIDTH * sizeof(float) };

static const om_feature_key key = {{0x1234, 0x5678}};

/* What om_feature_cache_write() writes before the rows. */
static void set_right(uint8_t *bytes, size_t size, bool checksum)
{
    static const uint64_t shape[] = {0x1234, 0x5678, N, WIDTH};
    memcpy(bytes, "omfeat1", 8);
    memcpy(bytes + 8, shape, sizeof shape);
    if (!checksum || size < HEAD + ROWS + N) return;
    uint64_t h = om_digest(om_digest(OM_DIGEST_START, bytes + HEAD, ROWS), bytes + HEAD + ROWS, N);
    memcpy(bytes + DIGEST, &h, sizeof h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[1 << 16];
    float rows[N * WIDTH];
    bool bad[N] = {false};
    om_features f = {.rows = rows, .n = N, .width = WIDTH, .bad = bad};
    if (size < 2 || size > sizeof bytes) return 0;
    memcpy(bytes, data + 2, size - 2);
    set_right(bytes, size - 2, data[1] & 1);
    om_mem_fail_after(data[0] ? data[0] : -1);
    bool taken = om_feature_cache_read(put_file(bytes, size - 2), &key, &f);
    om_mem_fail_after(-1);
    insist(!taken || size - 2 >= HEAD + ROWS + N);
    insist(memchr(f.engine, '\0', sizeof f.engine) != NULL);
    for (int i = 0; i < N; i++) {
        unsigned char v;
        memcpy(&v, &bad[i], 1);
        insist(v <= 1);
    }
    return 0;
}
