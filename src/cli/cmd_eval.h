/* What the ways of `omma eval` share. */
#ifndef OM_CLI_CMD_EVAL_H
#define OM_CLI_CMD_EVAL_H

#include "base/json.h"
#include "cli/command.h"
#include "cli/detect.h"
#include "eval/dataset.h"

typedef struct om_eval_flags {
    om_strlist inputs;
    char *truth, *detections, *reference, *reference_device, *save, *json;
    int match, frames, reference_precision, batch; /* match: an om_eval_match_by */
    double threshold;
    bool per_class;
    char *mot, *stream;
    double min_iou;
} om_eval_flags;

/* One evaluation. */
typedef struct om_eval_job {
    const om_eval_flags *flags;
    const om_run_options *options;
    om_cancel *cancel;
} om_eval_job;

/* Gets what the model made of a picture, and the reference where there is one. */
typedef int (*om_eval_take_fn)(void *user, size_t index, const om_picture *p, const om_picture *reference);

#define OM_EVAL_CHUNK 16 /* pictures read before the models see them */

/* Pictures on their way through one model, or two. Zeroed is valid. Thread-safety: one thread. */
typedef struct om_eval_feed {
    const om_eval_job *job;
    om_run_options options[2]; /* the models'; their texts are the job's */
    om_detector model, reference;
    bool two;
    om_eval_take_fn take;
    void *user;
    size_t total; /* that are to come; 0: not known */
    om_picture pictures[OM_EVAL_CHUNK], twins[OM_EVAL_CHUNK];
    size_t waiting, done;
    int64_t begin_ns, next_tick_ns;
} om_eval_feed;

/* Makes the model ready, and the reference where one is named. On failure too the feed is to be finished. */
int om_eval_feed_init(om_eval_feed *f, const om_eval_job *job);
void om_eval_feed_fini(om_eval_feed *f);
/* The file is opened at once; the models see it when a chunk is full. `path` lives until then. */
int om_eval_feed_file(om_eval_feed *f, const char *path);
/* A reference of its own is taken. */
int om_eval_feed_frame(om_eval_feed *f, om_frame *frame, const char *path);
/* What waits goes through; OM_ERR_CANCELLED where a stop came before the first picture. */
int om_eval_feed_finish(om_eval_feed *f);
/* Frames of all inputs, `frames` of them spread evenly (0: all). */
int om_eval_feed_sources(om_eval_feed *f, const om_strlist *inputs, int frames);

/* Pictures of files, folders and globs. */
int om_eval_list_pictures(const om_strlist *inputs, om_strlist *out);
/* Where each of the names lies: below `folder`, with or without the folders that it names itself.
 * OM_ERR_NOT_FOUND says how many do not, and the first. */
int om_eval_find_files(const char *folder, const char *const *names, size_t n, om_strlist *out);
bool om_eval_is_folder(const char *path);

/* The ways. */
int om_eval_tracks(const om_eval_flags *f, const char *result);
int om_eval_labels(const om_eval_job *job, int *status);
int om_eval_words(const om_eval_job *job, om_eval_feed *feed, int *status);
int om_eval_reference(const om_eval_job *job, int *status);
/* OM_EXIT_FAILED in *status where the feed was stopped. */
void om_eval_judge_stop(const om_eval_feed *feed, int *status);
/* What the model's results are: boxes, one class, one text; or none of these. */
typedef enum om_eval_kind { OM_EVAL_BOXES, OM_EVAL_CLASSES, OM_EVAL_TEXTS, OM_EVAL_NONE } om_eval_kind;
om_eval_kind om_eval_kind_of(om_family family);
/* The text of what a reader of lines found, or "". */
const char *om_eval_text_of(const om_dets *d);
/* "person" or "class 3". */
const char *om_eval_class_name(const char *const *labels, size_t n, int id, char text[32]);

/* The report: begun with what was judged, ended by writing it where --json says. `model` NULL: none ran. */
typedef struct om_eval_report {
    const om_eval_job *job;
    om_str text, shown; /* JSON; what people see */
    om_json j;
} om_eval_report;

void om_eval_report_begin(om_eval_report *r, const om_eval_job *job, const char *kind);
void om_eval_put_num(om_eval_report *r, const char *key, double v);
void om_eval_put_count(om_eval_report *r, const char *key, size_t v);
void om_eval_put_text(om_eval_report *r, const char *key, const char *v);
/* Pictures, whether all of them were seen, and each model's speed. */
void om_eval_put_feed(om_eval_report *r, om_eval_feed *f);
/* Writes and prints both; frees. `err`: what happened before; nothing is written then. */
int om_eval_report_end(om_eval_report *r, int err);

#endif
