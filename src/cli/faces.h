/* Faces of pictures as vectors: found, set upright, embedded. The engine room of `omma faces`. */
#ifndef OM_CLI_FACES_H
#define OM_CLI_FACES_H

#include "cli/detect.h"
#include "gallery/gallery.h"

typedef struct om_face {
    om_detection at; /* in the picture; without a detector the whole of it */
    om_dets vector;  /* its vector; empty where the landmarks made no face */
} om_face;

typedef struct om_face_list {
    om_face *items; /* best score first */
    size_t n;
    int width, height; /* of the picture */
} om_face_list;

/* Zeroed is valid. Thread-safety: one thread. */
typedef struct om_face_reader {
    om_run_options find_options;
    om_run_options *embed_options; /* the caller's */
    om_detector find, embed;
    bool finds;        /* there is a detector */
    double least_side; /* smaller faces are left out */
    const char *crops; /* folder for the upright faces, or NULL */
    uint64_t model;    /* the embedding model's fingerprint */
    size_t n_crops;
} om_face_reader;

/* Of a run's options, those that mean something for faces; the table is made at the first call. */
const om_option *om_face_options(void);

/* `embed` names the embedding model and the device for both; it outlives the reader. `detector` NULL: each
 * picture is one upright face. */
int om_face_reader_init(om_face_reader *r, om_run_options *embed, const char *detector, double conf);
void om_face_reader_fini(om_face_reader *r);
/* All faces of a picture. om_face_list_fini() also after a failure. */
int om_face_reader_read(om_face_reader *r, const char *path, om_face_list *out);
void om_face_list_fini(om_face_list *l);

#endif
