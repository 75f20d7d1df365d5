/* All that a training run is, in a file that appears whole or not at all. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/digest.h"
#include "train/trainer.h"

#define MAX_EPOCHS 10000000
#define MAX_STEPS ((int64_t)1 << 50)

static const char magic[8] = "omtrain";

typedef struct header {
    char magic[8];
    uint32_t version, kind;
    uint64_t rows, setting; /* digests: of the data, and of what was chosen */
    int32_t shape[3], epoch, best_epoch, reserved;
    int64_t step, epoch_step, right, seen, optimizer_steps;
    double loss_sum, weight_sum, best_loss, best_top1;
    uint64_t n_params, digest; /* of the rest of the header and of all that follows */
} header;

static uint64_t digest_rows(const om_rows *r, uint64_t h)
{
    h = om_digest(h, r->rows, r->n * (size_t)r->width * sizeof *r->rows);
    h = om_digest(h, r->labels, r->n * sizeof *r->labels);
    return om_digest(h, &r->classes, sizeof r->classes);
}

/* The number of epochs counts only where the learning rate follows from it. */
static uint64_t digest_setting(const om_trainer_params *p, int classes)
{
    const om_learning *l = &p->learning;
    double v[] = {l->lr, l->momentum, l->weight_decay, l->lr_min, l->lr_decay};
    int64_t n[] = {l->optimizer,
                   l->schedule,
                   l->lr_step,
                   l->lr_ramp,
                   p->batch,
                   (int64_t)p->seed,
                   l->schedule == OM_SCHEDULE_COSINE ? p->epochs : 0};
    uint64_t h = om_digest(om_digest(OM_DIGEST_START, v, sizeof v), n, sizeof n);
    return p->weights ? om_digest(h, p->weights, (size_t)classes * sizeof *p->weights) : h;
}

/* The arrays behind the header, in their order. */
typedef struct piece {
    void *data;
    size_t size;
} piece;

static size_t list_pieces(const om_trainer *t, piece out[5])
{
    size_t bytes = t->classifier.n_params * sizeof(float), n = 0;
    out[n++] = (piece){t->classifier.params, bytes};
    out[n++] = (piece){t->optimizer.first, bytes};
    if (t->optimizer.second) out[n++] = (piece){t->optimizer.second, bytes};
    out[n++] = (piece){t->best, bytes};
    out[n++] = (piece){t->history, (size_t)t->epoch * sizeof *t->history};
    return n;
}

static uint64_t digest_all(header head, const piece *pieces, size_t n)
{
    head.digest = 0;
    uint64_t h = om_digest(OM_DIGEST_START, &head, sizeof head);
    for (size_t i = 0; i < n; i++) h = om_digest(h, pieces[i].data, pieces[i].size);
    return h;
}

static void fill_header(const om_trainer *t, const om_rows *learn, const om_rows *held_out,
                        const om_trainer_params *p, header *h)
{
    const om_classifier_shape s = t->classifier.shape;
    memset(h, 0, sizeof *h);
    *h = (header){.version = 2,
                  .kind = (uint32_t)t->optimizer.kind,
                  .rows = digest_rows(held_out, digest_rows(learn, OM_DIGEST_START ^ p->source)),
                  .setting = digest_setting(p, learn->classes),
                  .shape = {s.features, s.hidden, s.classes},
                  .epoch = t->epoch,
                  .best_epoch = t->best_epoch,
                  .step = t->step,
                  .epoch_step = t->epoch_step,
                  .right = t->right,
                  .seen = t->seen,
                  .optimizer_steps = t->optimizer.steps,
                  .loss_sum = t->loss_sum,
                  .weight_sum = t->weight_sum,
                  .best_loss = t->best_loss,
                  .best_top1 = t->best_top1,
                  .n_params = t->classifier.n_params};
    memcpy(h->magic, magic, sizeof magic);
}

int om_checkpoint_write(const om_trainer *t, const om_rows *learn, const om_rows *held_out,
                        const om_trainer_params *p)
{
    om_outfile out = {0};
    header h;
    piece pieces[5];
    size_t n = list_pieces(t, pieces);
    fill_header(t, learn, held_out, p, &h);
    h.digest = digest_all(h, pieces, n);
    int err = om_outfile_open(&out, p->checkpoint);
    if (err) return err;
    err = om_outfile_write(&out, &h, sizeof h);
    for (size_t i = 0; i < n && !err; i++)
        if (pieces[i].size) err = om_outfile_write(&out, pieces[i].data, pieces[i].size);
    if (!err) return om_outfile_commit(&out);
    om_outfile_abort(&out);
    return err;
}

/* What keeps this run from going on from there. */
static int compare(const char *path, const header *h, const header *own)
{
    if (memcmp(h->magic, magic, sizeof magic))
        return om_fail(OM_ERR_FORMAT, "%s: not a checkpoint of omma's training", path);
    if (h->version != own->version)
        return om_fail(OM_ERR_FORMAT, "%s: a checkpoint of version %u; expected %u", path, h->version,
                       own->version);
    if (memcmp(h->shape, own->shape, sizeof h->shape) || h->n_params != own->n_params)
        return om_fail(OM_ERR_ARG, "%s: its head is %d-%d-%d, this one is %d-%d-%d (features-hidden-classes)",
                       path, h->shape[0], h->shape[1], h->shape[2], own->shape[0], own->shape[1],
                       own->shape[2]);
    if (h->rows != own->rows)
        return om_fail(OM_ERR_ARG, "%s: was made with other pictures, classes or another model", path);
    if (h->setting != own->setting || h->kind != own->kind)
        return om_fail(OM_ERR_ARG,
                       "%s: was made with other options of learning; give the same, or another file", path);
    return OM_OK;
}

/* Numbers that a run can have come to, in a file as long as they ask for. */
static int check_header(const char *path, const header *h, const om_rows *learn, const om_trainer_params *p,
                        uint64_t bytes)
{
    int64_t of_epoch = ((int64_t)learn->n + p->batch - 1) / p->batch;
    bool ok = h->epoch >= 0 && h->epoch <= MAX_EPOCHS && h->best_epoch >= -1 && h->best_epoch < h->epoch &&
              h->epoch_step >= 0 && (!h->epoch_step || h->epoch_step < of_epoch) &&
              h->step >= h->epoch_step && h->step <= MAX_STEPS && h->optimizer_steps >= 0 &&
              h->optimizer_steps <= MAX_STEPS && h->right >= 0 && h->right <= h->seen && h->seen <= MAX_STEPS;
    uint64_t arrays = p->learning.optimizer == OM_OPTIMIZER_ADAMW ? 4 : 3;
    if (ok &&
        bytes == sizeof *h + arrays * h->n_params * sizeof(float) + (uint64_t)h->epoch * sizeof(om_epoch))
        return OM_OK;
    return om_fail(OM_ERR_FORMAT, "%s: cut off or damaged", path);
}

static void take_header(om_trainer *t, const header *h)
{
    t->epoch = h->epoch;
    t->best_epoch = h->best_epoch;
    t->step = h->step;
    t->epoch_step = h->epoch_step;
    t->right = h->right;
    t->seen = h->seen;
    t->optimizer.steps = h->optimizer_steps;
    t->loss_sum = h->loss_sum;
    t->weight_sum = h->weight_sum;
    t->best_loss = h->best_loss;
    t->best_top1 = h->best_top1;
}

int om_checkpoint_read(om_trainer *t, const om_rows *learn, const om_rows *held_out,
                       const om_trainer_params *p)
{
    header h, own;
    piece pieces[5];
    fill_header(t, learn, held_out, p, &own);
    FILE *in = fopen(p->checkpoint, "rbe");
    if (!in) return om_fail(OM_ERR_IO, "%s: cannot be read", p->checkpoint);
    bool whole = fread(&h, sizeof h, 1, in) == 1;
    int err = whole ? compare(p->checkpoint, &h, &own)
                    : om_fail(OM_ERR_FORMAT, "%s: cut off; expected a checkpoint", p->checkpoint);
    struct stat st;
    if (!err && fstat(fileno(in), &st))
        err = om_fail(om_err_from_errno(errno), "%s: cannot be read", p->checkpoint);
    if (!err) err = check_header(p->checkpoint, &h, learn, p, (uint64_t)st.st_size);
    if (!err) err = om_grow((void **)&t->history, &t->cap, (size_t)h.epoch + 1, sizeof *t->history);
    if (!err) {
        take_header(t, &h);
        size_t n = list_pieces(t, pieces);
        for (size_t i = 0; i < n && whole; i++)
            whole = !pieces[i].size || fread(pieces[i].data, pieces[i].size, 1, in) == 1;
        if (!whole || h.digest != digest_all(h, pieces, n))
            err = om_fail(OM_ERR_FORMAT, "%s: cut off or damaged", p->checkpoint);
    }
    fclose(in);
    return err;
}
