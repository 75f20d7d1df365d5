/* Where a worker's pictures come from, and what each shows where it is known: a source, or a folder of class
 * folders, or a CSV of pictures. */
#ifndef OM_WORKER_FEED_H
#define OM_WORKER_FEED_H

#include "media/media.h"
#include "train/dataset.h"

typedef struct om_feed_params {
    bool loop;           /* start again at the end */
    bool labelled;       /* classes are wanted */
    const char *targets; /* of a source: a CSV of frame,class, each line from that frame on; NULL: none */
    const char *labels;  /* a file with a class name a line, which the classes are among; NULL: none */
    int dummy_classes;   /* where no classes are known: drawn by the seed */
    uint64_t seed;
    om_cancel *cancel;
} om_feed_params;

/* Thread-safety: one thread. */
typedef struct om_feed om_feed;

int om_feed_open(const char *uri, const om_feed_params *p, om_feed **out);
/* The next picture, the caller's, and its class (-1: not wanted). OM_ERR_EOF at the end. */
int om_feed_read(om_feed *f, om_frame **out, int *label);
void om_feed_close(om_feed *f);

const char *om_feed_shown(const om_feed *f);          /* the address, without passwords */
const om_source_info *om_feed_info(const om_feed *f); /* constant */
uint64_t om_feed_pictures(const om_feed *f);          /* read so far */
const om_strlist *om_feed_classes(const om_feed *f);  /* names; dummies are numbers */
/* One sentence on where classes come from. */
const char *om_feed_origin(const om_feed *f);

#endif
