/* Streams looked at side by side, and the pictures kept of them: the engine room of `omma collect`. */
#ifndef OM_CLI_COLLECT_H
#define OM_CLI_COLLECT_H

#include "cli/detect.h"
#include "quant/collection.h"
#include "worker/picture_encode.h"

typedef struct om_collect_params {
    const char *folder;
    const om_strlist *inputs;
    int count, distance, format, quality;
    double hard_share;           /* 0..1 */
    double interval_s;           /* between pictures looked at; 0: by the length of a file, 2 s of a camera */
    double duration_s;           /* of a camera; 0: until the collection is full */
    const om_run_options *model; /* NULL: none looks */
    om_cancel *cancel;
    bool quiet;
} om_collect_params;

typedef struct om_collector om_collector;

/* Goes on with what the folder holds already, or begins it. OM_ERR_ARG: no picture's room is left in --count.
 */
int om_collector_create(const om_collect_params *p, om_collector **out);
/* To the end of all inputs, or until it is cancelled. *failed: inputs that could not be read (told already).
 */
int om_collector_run(om_collector *c, size_t *failed);
/* Writes manifest and contact sheet. */
int om_collector_finish(om_collector *c);
void om_collector_destroy(om_collector *c);
const om_collection *om_collector_set(const om_collector *c);

#endif
