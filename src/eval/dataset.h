/* Pictures with what is truly on them, read from COCO's JSON or YOLO's text files, and found boxes in COCO's
 * form of results. */
#ifndef OM_EVAL_DATASET_H
#define OM_EVAL_DATASET_H

#include "base/option.h"
#include "eval/detection.h"

typedef struct om_eval_image {
    char *file; /* as the data set names it */
    int64_t id;
    int width, height; /* 0: not told yet */
    size_t first, n;   /* YOLO: its objects in the list */
} om_eval_image;

typedef struct om_eval_category {
    char *name; /* NULL: it has none */
    int64_t id;
} om_eval_category;

/* Zeroed is valid and empty. Pictures and classes lie in rising order of their ids; boxes have their places.
 * Thread-safety: one thread. */
typedef struct om_eval_set {
    om_eval_image *images;
    size_t n_images, cap_images;
    om_eval_category *classes;
    size_t n_classes, cap_classes;
    om_eval_boxes truth;
    bool fractions; /* YOLO: boxes are shares of a picture whose size was not told yet */
    size_t strays;  /* COCO: annotations of pictures that are not listed, left out; YOLO: files of labels
                       without a picture */
    size_t muted;   /* COCO: annotations of id 0, see om_eval_box */
} om_eval_set;

void om_eval_set_fini(om_eval_set *s);
/* Classes 0 to n - 1; the first n_names of them with these names. */
int om_eval_set_add_classes(om_eval_set *s, size_t n, const char *const *names, size_t n_names);

/* COCO: {"images":[{"id","file_name","width","height"}],"annotations":[{"id","image_id","category_id","bbox",
 * "area","iscrowd"}],"categories":[{"id","name"}]}. `area` and `iscrowd` may lack: then w * h and 0.
 * OM_ERR_FORMAT names the file, the entry and what was expected. */
int om_eval_read_coco(const char *path, om_eval_set *out);

/* YOLO: `folder`/STEM.txt for each of the pictures, "class cx cy w h" in shares of the picture, or "class x y
 * x y ..." for an outline; no file: nothing is on it. Ids are places in the list, classes 0 to the highest.
 * OM_ERR_FORMAT names file and line; OM_ERR_ARG: none of the pictures has labels, or two share a stem. */
int om_eval_read_yolo(const char *folder, const om_strlist *pictures, om_eval_set *out);

/* Tells the size of picture `i`. OM_ERR_ARG where the data set says another: labels of another picture. */
int om_eval_set_size(om_eval_set *s, size_t i, int width, int height);

/* COCO's results: [{"image_id","category_id","bbox","score"}, ...]. Of a data set read from YOLO's files,
 * image_id is a picture's stem or file name. Boxes of classes that the set does not have are left out and
 * counted in *foreign. OM_ERR_FORMAT names the entry; OM_ERR_ARG: a picture that is not in the set. */
int om_eval_read_found(const char *path, const om_eval_set *s, om_eval_boxes *out, size_t *foreign);
/* Appends one box as an entry of such a list. */
void om_eval_write_found(om_str *out, const om_eval_set *s, const om_eval_box *b, bool first);

/* How a model's classes are the data set's. */
typedef enum om_eval_match_by {
    OM_EVAL_MATCH_AUTO, /* by name where both have names; by order where that contradicts none and there are
                           equally many; else by id */
    OM_EVAL_MATCH_NAME,
    OM_EVAL_MATCH_ORDER, /* the model's k-th is that with the k-th id */
    OM_EVAL_MATCH_ID
} om_eval_match_by;
extern const om_choice om_eval_match_choices[];

/* Zeroed is valid and empty. */
typedef struct om_eval_map {
    int *of; /* of each class of the model: the place among the set's, or -1; owned */
    size_t n;
    size_t unmatched; /* classes of the set that the model does not have */
    char *examples;   /* names of some of them, parted by ", "; owned; NULL: none */
} om_eval_map;

/* `labels`: the model's names, n_labels of them (0: none); `n_classes`: its classes (0: not known).
 * OM_ERR_ARG says both sides' classes where they cannot be matched. */
int om_eval_match_classes(const om_eval_set *s, const char *const *labels, size_t n_labels, int n_classes,
                          om_eval_match_by how, om_eval_map *out);
void om_eval_map_fini(om_eval_map *m);

/* "Traffic light", "traffic_light" and "traffic-light" are one name. */
bool om_eval_same_name(const char *a, const char *b);
/* The name without folders and suffix: [*stem, *stem + n) of `file`. */
size_t om_eval_stem(const char *file, const char **stem);

#endif
