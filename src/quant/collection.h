/* Pictures to calibrate with: which of those that come by are kept, and what they cover. The files are the
 * caller's; this holds their records, at most so many, and reads and writes them as a manifest. */
#ifndef OM_QUANT_COLLECTION_H
#define OM_QUANT_COLLECTION_H

#include "base/json.h"
#include "quant/sight.h"

#define OM_MANIFEST "manifest.json"

/* Why a picture is harder than others. */
typedef enum om_hard {
    OM_HARD_FEW = 1,    /* no object, where there mostly are some */
    OM_HARD_MANY = 2,   /* more than nine of ten pictures have */
    OM_HARD_UNSURE = 4, /* half of its boxes have a middling score */
    OM_HARD_BLUR = 8,   /* much less sharp than the stream's others */
    OM_HARD_DARK = 16
} om_hard;
#define OM_HARD_COUNT 5
const char *om_hard_name(unsigned bit);

typedef struct om_sample {
    char *file; /* in the collection's folder */
    int stream;
    double pts;      /* seconds in its stream */
    int64_t time_us; /* wall clock */
    int width, height;
    om_sight sight;
    unsigned hard;
    int nearest; /* bits between it and the most alike of its stream when it came */
} om_sample;

typedef struct om_collected_stream {
    char *uri, *name;       /* uri: without its password */
    double position;        /* seconds looked at so far */
    bool done;              /* to its end */
    uint64_t looked, alike; /* pictures looked at; refused because one like it is there */
    size_t kept;
    double sharpness; /* running mean of what was looked at */
} om_collected_stream;

#define OM_COUNT_BINS 32 /* objects in a picture: 0, 1 ... 31 and more */

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_collection {
    om_sample *items;
    size_t n, most, cap;
    om_collected_stream *streams;
    size_t n_streams;
    int distance;      /* pictures of a stream that differ in fewer bits are the same */
    double hard_share; /* of the pictures that may be kept for being hard */
    int64_t created_us, updated_us;
    char *model;                     /* NULL: no model looked */
    uint64_t counted[OM_COUNT_BINS]; /* pictures looked at, by their objects */
} om_collection;

void om_collection_fini(om_collection *c);
/* The stream's number; a new one where it is not known. */
int om_collection_stream(om_collection *c, const char *uri, const char *name);
/* Notes that a picture was looked at, and how hard it is. */
unsigned om_collection_look(om_collection *c, int stream, const om_sight *s);
/* Whether it should be kept; *victim: in whose place, or -1. *nearest as in om_sample. */
bool om_collection_wants(om_collection *c, int stream, const om_sight *s, unsigned hard, int *victim,
                         int *nearest);
/* Keeps a record, in the victim's place (whose file goes to *gone, the caller's to remove and free) or as a
 * further one. Takes over s->file, on failure too. */
int om_collection_put(om_collection *c, const om_sample *s, int victim, char **gone);

/* FOLDER/manifest.json, atomically. */
int om_collection_save(om_collection *c, const char *folder);
/* OM_ERR_NOT_FOUND: there is none. Records whose files are gone are left out; *lost: how many. */
int om_collection_load(const char *path, om_collection *c, size_t *lost);

#define OM_LUMA_BINS 8   /* of 32 levels each */
#define OM_MOTION_BINS 5 /* up to 0, 1 %, 5 %, 20 %, more */
#define OM_OBJECT_BINS 5 /* 0, 1-2, 3-5, 6-10, more */
#define OM_NIGHT_LUMA 60

/* Pictures by what they show. */
typedef struct om_coverage {
    size_t n, counted; /* pictures; those that a model looked at */
    size_t luma[OM_LUMA_BINS], motion[OM_MOTION_BINS], objects[OM_OBJECT_BINS], hours[24],
        hard[OM_HARD_COUNT];
    size_t night;
} om_coverage;

int om_luma_bin(double luma);
int om_motion_bin(double share);
int om_object_bin(int objects);
extern const char *const om_motion_bin_names[OM_MOTION_BINS], *const om_object_bin_names[OM_OBJECT_BINS];
void om_coverage_of(const om_collection *c, om_coverage *out);
/* As an object's members. */
void om_coverage_json(const om_coverage *v, om_json *j);
/* What is thin: a sentence each. */
int om_coverage_gaps(const om_coverage *v, om_strlist *out);

#endif
