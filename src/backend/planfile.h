/* Plan files: a model with what it was compiled for, and the engine's own compiled form where it has one.
 *
 * A file is a head of 32 bytes ("OMMAPLAN", format, length of the description, length of the file,
 * checksum), the description as JSON, the model's bytes as ONNX, and a compiled form for each size
 * and batch. A file that is cut short, damaged or of another format is refused. Where only the machine, the
 * engine or omma is another, the model inside is compiled anew and a warning says so. The compiled forms are
 * read by the engine's own code, which trusts them: take plan files, like programs, from where you trust. */
#ifndef OM_BACKEND_PLANFILE_H
#define OM_BACKEND_PLANFILE_H

#include <stdatomic.h>

#include "backend/backend.h"

#define OM_PLAN_FORMAT 1u
#define OM_PLAN_HEAD_BYTES 32
#define OM_PLAN_BLOBS_MAX 64

/* A compiled form, or the wish for one where the backend has none (len 0). */
typedef struct om_plan_blob {
    int width, height, batch;
    const char *data;
    size_t len;
} om_plan_blob;

/* What a plan was made for. Texts are cut where they are too long. */
typedef struct om_plan_info {
    char omma[32], backend[32], engine[64]; /* versions of omma and of the backend */
    char device[64];                        /* as --device takes it */
    char machine[192];                      /* the device's name */
    char model[128], family[32];            /* file that it was made of; family */
    char note[160];                         /* the engine's, of the first compiled form */
    om_precision precision;
    om_mode mode;
    int threads;
    int min_batch, opt_batch, max_batch;
    int normalize, channels, fit; /* as om_model_desc_set_input() */
    int64_t made_us;              /* wall clock */
} om_plan_info;

/* Thread-safety: constant once loaded, except for `said`. */
struct om_plan_file {
    char *path;
    om_plan_info info;
    char *bytes; /* the whole file; owned */
    size_t size;
    const char *model; /* points into it, as the blobs' data */
    size_t model_len;
    om_plan_blob blobs[OM_PLAN_BLOBS_MAX];
    int n_blobs;
    bool fresh;       /* compile anew whatever is there */
    atomic_bool said; /* that it does not fit here */
};

/* Whether the bytes begin as a plan does. */
bool om_plan_file_is(const void *bytes, size_t len);
/* Reads and checks the file. OM_ERR_FORMAT says what is wrong with it. */
int om_plan_file_load(const char *path, om_plan_file **out);
/* The same of bytes in memory, which it takes over (om_free), on failure too. */
int om_plan_file_parse(char *bytes, size_t len, const char *path, om_plan_file **out);
void om_plan_file_free(om_plan_file *f);
/* Atomic. `blobs`: at most OM_PLAN_BLOBS_MAX. */
int om_plan_file_write(const char *path, const om_plan_info *info, const void *model, size_t model_len,
                       const om_plan_blob *blobs, int n_blobs);
/* Of a whole file, at least its head: of format, description's length and all that is behind the head. */
uint64_t om_plan_checksum(const void *file, size_t len);

/* Loads an ONNX file, or the model inside of a plan file. *file gets the plan, the caller's, or NULL; `file`
 * NULL: nobody wants it. */
int om_plan_file_open(const char *path, om_graph **graph, om_plan_file **file);
/* Overrides that the plan was made with; NULL: none. */
void om_plan_file_describe(const om_plan_file *f, om_model_desc *desc);
/* `device` where somebody asked for one, else the plan's. `f` NULL: `device`. Valid while both are. */
const char *om_plan_file_device(const om_plan_file *f, const char *device);
/* The batch that a plan is best at on a device, or 0. */
int om_plan_file_batch(const om_plan_file *f, bool gpu);

/* Of the sizes that the plan holds the one that a picture of this size comes out largest in, the smallest of
 * equals. False: there is no plan. */
bool om_plan_file_size(const om_plan_file *f, int width, int height, om_size *out);

/* The device's name as the backend tells it: a plan is made for one. */
void om_plan_machine(const om_backend_ops *ops, const char *device, char *out, size_t size);
/* NULL: it was made for this backend, device, machine and omma; else one sentence why not. */
const char *om_plan_file_misfit(const om_plan_file *f, const om_backend_ops *ops, const char *device,
                                char why[512]);

#endif
