/* Who is who: named vectors of length 1 in one file, searched by cosine. The room's public header. */
#ifndef OM_GALLERY_GALLERY_H
#define OM_GALLERY_GALLERY_H

#include <stddef.h>
#include <stdint.h>

#define OM_GALLERY_DIM_MAX 65536
#define OM_GALLERY_NAME_MAX 255

/* A name may have several vectors: each picture of a person is an entry.
 * Thread-safety: searching and reading from any number of threads; adding, removing from one, with no other
 * inside. */
typedef struct om_gallery om_gallery;

typedef struct om_gallery_hit {
    const char *name; /* the gallery's, until it changes */
    float score;      /* cosine of the nearest of the name's vectors, -1 to 1 */
    size_t entry;     /* which of them, in the order of om_gallery_name() */
} om_gallery_hit;

/* An empty one. `dim`: numbers of a vector. `model`: the fingerprint of the embedding model that the vectors
 * come from; vectors of different models have nothing to say to each other. 0: not known, fits any. */
int om_gallery_create(size_t dim, uint64_t model, om_gallery **out);
void om_gallery_destroy(om_gallery *g);
/* OM_ERR_FORMAT says what is wrong: no gallery, a later version, cut off, damaged. */
int om_gallery_open(const char *path, om_gallery **out);
/* Atomic: readers see the old file or the new one. */
int om_gallery_save(const om_gallery *g, const char *path);

size_t om_gallery_count(const om_gallery *g);
size_t om_gallery_dim(const om_gallery *g);
uint64_t om_gallery_model(const om_gallery *g);
const char *om_gallery_name(const om_gallery *g, size_t entry);
const float *om_gallery_vector(const om_gallery *g, size_t entry);

/* Copies both; the vector is brought to length 1. OM_ERR_ARG: a name that is empty, too long or holds control
 * characters; a vector of another length, of nothing but zeros, or with what is no number. */
int om_gallery_add(om_gallery *g, const char *name, const float *vector, size_t n);
/* Drops all entries of a name; returns how many. */
size_t om_gallery_remove(om_gallery *g, const char *name);

/* The `most` nearest names at or above `least`, nearest first (of equal ones the one enrolled first), a name
 * once. Returns how many, or OM_ERR_ARG for a vector that does not fit. */
int om_gallery_search(const om_gallery *g, const float *vector, size_t n, float least, om_gallery_hit *hits,
                      int most);

/* What tells two model files apart. */
int om_gallery_fingerprint(const char *model_path, uint64_t *out);

#endif
