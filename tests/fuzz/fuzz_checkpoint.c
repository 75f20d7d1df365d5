/* Bytes are taken for a checkpoint: what is accepted can be learnt on from. Its magic, shape and digests of
 * the data are set right, since no fuzzer guesses them, and where the second byte says so the checksum too.
 * The first byte chooses an allocation that fails. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "train/digest.h"
#include "train/trainer.h"

enum { WIDTH = 3, CLASSES = 2, ROWS = 8, HEAD = 144, FREE = 44, PARAMS = 128, DIGEST = 136 };

static const float rows[ROWS * WIDTH] = {1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1,
                                         1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0};
static const int labels[ROWS] = {0, 1, 0, 1, 0, 1, 0, 1};
static const om_rows learn = {rows, labels, 6, WIDTH, CLASSES};
static const om_rows held = {rows + 6 * WIDTH, labels + 6, 2, WIDTH, CLASSES};

static om_trainer_params params(int kind)
{
    return (om_trainer_params){.learning = {.optimizer = kind, .lr = 0.1, .momentum = 0.9, .lr_step = 10},
                               .batch = 2,
                               .epochs = 4,
                               .seed = 5};
}

/* A checkpoint of two steps, as it is written; the same for every input. */
static const uint8_t *sample(int kind, size_t *size)
{
    static uint8_t kept[2][4096];
    static size_t sizes[2];
    if (!sizes[kind]) {
        char path[] = "/tmp/fuzz_checkpoint_XXXXXX";
        int fd = mkstemp(path);
        om_trainer t;
        om_trainer_params p = params(kind);
        p.checkpoint = path;
        p.max_steps = 5;
        insist(fd >= 0 && !om_trainer_init(&t, &learn, &held, &p, 0) &&
               !om_trainer_run(&t, &learn, &held, &p));
        om_trainer_fini(&t);
        close(fd);
        FILE *in = fopen(path, "rb");
        insist(in != NULL);
        sizes[kind] = fread(kept[kind], 1, sizeof *kept, in);
        fclose(in);
        unlink(path);
    }
    *size = sizes[kind];
    return kept[kind];
}

static void set_right(uint8_t *bytes, size_t size, int kind, bool checksum)
{
    size_t n;
    const uint8_t *right = sample(kind, &n);
    memcpy(bytes, right, FREE);
    memcpy(bytes + PARAMS, right + PARAMS, DIGEST - PARAMS);
    if (!checksum) return;
    memset(bytes + DIGEST, 0, sizeof(uint64_t));
    uint64_t h = om_digest(om_digest(OM_DIGEST_START, bytes, HEAD), bytes + HEAD, size - HEAD);
    memcpy(bytes + DIGEST, &h, sizeof h);
}

static void learn_on(const char *path, int kind)
{
    om_trainer t;
    om_trainer_params p = params(kind);
    p.checkpoint = path;
    p.resume = true;
    if (om_trainer_init(&t, &learn, &held, &p, 0)) {
        insist(om_error_message()[0] != '\0');
        return;
    }
    insist(t.epoch >= 0 && t.best_epoch < t.epoch && t.epoch_step >= 0 && t.seen >= t.right);
    p.checkpoint = NULL;
    if (!om_trainer_run(&t, &learn, &held, &p)) insist(t.epoch >= p.epochs);
    om_trainer_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[1 << 16];
    if (size < 2 || size > sizeof bytes) return 0;
    int kind = data[1] & 1;
    size_t n, sent = size - 2;
    const uint8_t *right = sample(kind, &n);
    memcpy(bytes, right, n);
    memcpy(bytes + FREE, data + 2, sent);
    if (data[1] & 4) n = FREE + sent; /* else what is not sent stays right */
    if (n < HEAD) n = HEAD;
    if (FREE + sent > n) n = FREE + sent;
    set_right(bytes, n, kind, data[1] & 2);
    om_mem_fail_after(data[0] ? data[0] : -1);
    learn_on(put_file(bytes, n), kind);
    om_mem_fail_after(-1);
    return 0;
}
