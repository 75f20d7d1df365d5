/* A text is taken for a CSV of pictures and classes, for a CSV of frames and classes, and for a list of
 * names: what is accepted has a class for every picture. The first byte chooses an allocation that fails. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "worker/feed.h"

static void check_pictures(const char *path, int holdout, int dummies)
{
    om_dataset d;
    om_dataset_params p = {.dummy_classes = dummies, .share = 0.4, .holdout = (om_holdout)holdout, .seed = 3};
    int err = om_dataset_load(&d, path, &p);
    insist(err ? !d.files.n && om_error_message()[0] : d.files.n >= 2 && d.classes.n >= 2);
    insist(d.n_held_out <= d.files.n);
    for (size_t i = 0; i < d.files.n; i++) insist(d.labels[i] >= 0 && (size_t)d.labels[i] < d.classes.n);
    om_dataset_fini(&d);
}

static void check_frames(const char *targets, const char *labels)
{
    om_feed *f;
    om_feed_params p = {
        .labelled = true, .targets = targets, .labels = labels, .dummy_classes = 2, .seed = 3};
    int err = om_feed_open("pattern:16x16:frames=3", &p, &f);
    insist(!err == !!f && (!err || om_error_message()[0]));
    for (int label; !err;) {
        om_frame *frame = NULL;
        err = om_feed_read(f, &frame, &label);
        if (!err) insist(label >= 0 && (size_t)label < om_feed_classes(f)->n);
        om_frame_unref(frame);
    }
    om_feed_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const char *path = put_file(data + 2, size - 2);
    om_mem_fail_after(data[0] ? data[0] : -1);
    switch (data[1] % 5) {
    case 0: check_pictures(path, OM_HOLDOUT_RANDOM, 0); break;
    case 1: check_pictures(path, OM_HOLDOUT_LAST, 0); break;
    case 2: check_pictures(path, OM_HOLDOUT_RANDOM, 3); break;
    case 3: check_frames(path, NULL); break;
    default: check_frames(NULL, path); break;
    }
    om_mem_fail_after(-1);
    return 0;
}
