/* What was found in a set of pictures, in the forms that training tools read. */
#ifndef OM_WORKER_ANNOTATION_H
#define OM_WORKER_ANNOTATION_H

#include "base/str.h"
#include "frame/result.h"

enum {
    OM_ANNOTATE_JSON = 1, /* DIR/detections.json: all there is to say, one picture a line */
    OM_ANNOTATE_COCO = 2, /* DIR/coco.json: category ids are class ids + 1 */
    OM_ANNOTATE_YOLO =
        4 /* DIR/labels/NAME.txt: class, centre and size in shares of the picture; DIR/classes.txt */
};

typedef struct om_annotated {
    const char *name;   /* without suffix; no two pictures have the same */
    const char *file;   /* of the picture, for COCO */
    const char *source; /* what it came from */
    bool video;         /* seq and pts_ns mean something */
    uint64_t seq;
    int64_t pts_ns;
    int width, height;
    const om_dets *dets;
} om_annotated;

typedef struct om_annotations_params {
    const char *dir; /* must be there */
    unsigned forms;  /* OM_ANNOTATE_* */
    const char *model, *engine;
    double threshold;
    om_labels labels; /* outlive the annotations */
} om_annotations_params;

/* Thread-safety: one thread. */
typedef struct om_annotations om_annotations;
int om_annotations_open(const om_annotations_params *p, om_annotations **out);
int om_annotations_add(om_annotations *a, const om_annotated *picture);
/* Finishes the files (`ok` false: those that are not whole are removed) and frees `a`. NULL is allowed. */
int om_annotations_close(om_annotations *a, bool ok);

#endif
