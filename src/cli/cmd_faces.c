/* omma faces: who is in a picture, by vectors in a gallery file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/faces.h"
#include "cli/table.h"
#include "media/media.h"

#define MOST_MATCHES 100
#define SAME_PICTURE 0.99999f /* likeness of what is one picture, or its copy */

typedef struct faces_flags {
    char *detector, *crops, *json;
    double face_conf, min_size, threshold;
    int top;
} faces_flags;

#define FLAG(field) offsetof(faces_flags, field)

static const om_option flag_table[] = {
    {"detector", 0, OM_OPT_STRING, FLAG(detector), NULL, 0, 0, NULL, "FILE", "Faces",
     "model that finds faces with five landmarks; without one each picture is one upright face"},
    {"face-conf", 0, OM_OPT_DOUBLE, FLAG(face_conf), "-1", -1, 1, NULL, NULL, NULL,
     "least score of a face; -1: as the detector has it"},
    {"min-size", 0, OM_OPT_DOUBLE, FLAG(min_size), "20", 0, 100000, NULL, "PIXELS", NULL,
     "smaller faces are left out"},
    {"crops", 0, OM_OPT_STRING, FLAG(crops), NULL, 0, 0, NULL, "DIR", NULL,
     "write the faces, set upright, as pictures"},
    {"threshold", 0, OM_OPT_DOUBLE, FLAG(threshold), "0.4", -1, 1, NULL, "COSINE", "Search",
     "least likeness of a match; what fits depends on the model"},
    {"top", 0, OM_OPT_INT, FLAG(top), "1", 1, MOST_MATCHES, NULL, NULL, NULL, "names a face, best first"},
    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", NULL,
     "write what was found; '-': standard output, in place of the table"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = om_face_options();
    return all;
}

/* A verb's work. */
typedef struct job {
    const faces_flags *flags;
    om_run_options *options;
    const om_args *args;
    const char *path; /* the gallery's */
    om_gallery *gallery;
    om_face_reader reader;
    int *status;
    om_str out; /* of --json */
    om_json j;
} job;

static int open_reader(job *w)
{
    if (!w->options->model) return om_fail(OM_ERR_ARG, "no embedding model: name one with -m MODEL.onnx");
    int err = om_face_reader_init(&w->reader, w->options, w->flags->detector, w->flags->face_conf);
    w->reader.least_side = w->flags->min_size;
    w->reader.crops = w->flags->crops;
    return err;
}

/* Vectors of another model resemble nothing. */
static int check_model(const job *w)
{
    uint64_t made_with = om_gallery_model(w->gallery);
    if (!made_with || made_with == w->reader.model) return OM_OK;
    return om_fail(OM_ERR_ARG,
                   "%s was made with another embedding model than %s; enrol anew, or name the one it has",
                   w->path, w->options->model);
}

static int finish_json(job *w)
{
    om_json_end_object(&w->j);
    om_str_addc(&w->out, '\n');
    if (w->out.failed) return om_fail_nomem("the JSON");
    if (strcmp(w->flags->json, "-")) return om_write_file_atomic(w->flags->json, w->out.data, w->out.len);
    fputs(w->out.data, stdout);
    return OM_OK;
}

static bool table_wanted(const job *w)
{
    return !w->options->quiet && !(w->flags->json && !strcmp(w->flags->json, "-"));
}

static int print_table(om_table *t)
{
    om_str out = {0};
    int err = om_table_render(t, om_console_columns(stdout, 0), &out);
    if (!err) fputs(om_str_get(&out), stdout);
    om_str_fini(&out);
    om_table_fini(t);
    return err;
}

static const om_face *largest(const om_face_list *l)
{
    const om_face *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const om_face *f = &l->items[i];
        if (f->vector.n_vector && (!best || f->at.w * f->at.h > best->at.w * best->at.h)) best = f;
    }
    return best;
}

/* 1: added. 0: that name has this very picture already, which would add nothing. */
static int add_face(job *w, const char *name, const char *path, const om_dets *face)
{
    om_gallery_hit hits[MOST_MATCHES];
    int n = om_gallery_search(w->gallery, face->vector, face->n_vector, SAME_PICTURE, hits, MOST_MATCHES);
    for (int i = 0; i < n; i++)
        if (!strcmp(hits[i].name, name)) return 0;
    if (n > 0)
        om_log(OM_LOG_WARN, "%s: the same picture is enrolled as '%s'; it is found by the earlier name", path,
               hits[0].name);
    int err = n < 0 ? n : om_gallery_add(w->gallery, name, face->vector, face->n_vector);
    return err ? err : 1;
}

/* The gallery is made with the first vector: only that tells its length. */
static int enrol_picture(job *w, const char *name, const char *path)
{
    om_face_list faces;
    int added = 0, err = om_face_reader_read(&w->reader, path, &faces);
    const om_face *f = err ? NULL : largest(&faces);
    if (!err && !f)
        err = om_fail(OM_ERR_NOT_FOUND, "%s: no face of at least %g pixels", path, w->flags->min_size);
    if (!err && !w->gallery) err = om_gallery_create(f->vector.n_vector, w->reader.model, &w->gallery);
    if (!err) added = add_face(w, name, path, &f->vector);
    if (added < 0) err = added;
    if (!err && !added && !w->options->quiet) printf("%s: %s is there already\n", name, path);
    if (!err && added && !w->options->quiet) {
        printf("%s: %s, a face of %.0fx%.0f", name, path, (double)f->at.w, (double)f->at.h);
        if (faces.n > 1) printf(", the largest of %zu", faces.n);
        putchar('\n');
    }
    om_face_list_fini(&faces);
    return err;
}

static int list_pictures(const om_args *args, size_t from, om_strlist *out)
{
    int err = OM_OK;
    for (size_t i = from; i < args->n_positional && !err; i++) {
        const char *path = args->positional[i];
        struct stat st;
        bool there = stat(path, &st) == 0;
        if (there ? S_ISDIR(st.st_mode) : strpbrk(path, "*?[") != NULL) err = om_picture_list(path, out);
        else err = om_strlist_add(out, path);
    }
    if (!err && !out->n) err = om_fail(OM_ERR_ARG, "no picture: name at least one file, folder or glob");
    return err;
}

/* All or nothing: a picture without a face leaves the file as it was. */
static int enrol(job *w)
{
    om_strlist paths = {0};
    if (w->args->n_positional < 4) return om_fail(OM_ERR_ARG, "expected enrol GALLERY NAME PICTURE...");
    const char *name = w->args->positional[2];
    int err = list_pictures(w->args, 3, &paths);
    if (!err) err = om_outfile_check(w->path);
    if (!err && access(w->path, F_OK) == 0) err = om_gallery_open(w->path, &w->gallery);
    if (!err) err = open_reader(w);
    if (!err && w->gallery) err = check_model(w);
    for (size_t i = 0; i < paths.n && !err; i++) err = enrol_picture(w, name, paths.items[i]);
    if (!err) err = om_gallery_save(w->gallery, w->path);
    om_strlist_fini(&paths);
    return err;
}

static void json_face(job *w, const om_face *f, const om_gallery_hit *hits, int n)
{
    om_json *j = &w->j;
    const float box[] = {f->at.x, f->at.y, f->at.w, f->at.h};
    om_json_begin_object(j);
    om_json_key(j, "score");
    om_json_num(j, (double)f->at.score, 4);
    om_json_key(j, "box");
    om_json_begin_array(j);
    for (int i = 0; i < 4; i++) om_json_num(j, (double)box[i], 2);
    om_json_end_array(j);
    om_json_key(j, "matches");
    om_json_begin_array(j);
    for (int i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key(j, "name");
        om_json_string(j, hits[i].name);
        om_json_key(j, "score");
        om_json_num(j, (double)hits[i].score, 4);
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_end_object(j);
}

static void face_rows(om_table *t, const char *path, const om_face *f, const om_gallery_hit *hits, int n)
{
    for (int i = 0; i < (n ? n : 1); i++) {
        om_table_cell(t, "%s", path);
        om_table_cell(t, "%.0f,%.0f", (double)f->at.x, (double)f->at.y);
        om_table_cell(t, "%.0fx%.0f", (double)f->at.w, (double)f->at.h);
        om_table_cell(t, "%s", n ? hits[i].name : "-");
        if (n) om_table_cell(t, "%.3f", (double)hits[i].score);
        else om_table_cell(t, "-");
    }
}

static int search_faces(job *w, const char *path, const om_face_list *faces, om_table *t)
{
    om_gallery_hit hits[MOST_MATCHES];
    om_json_begin_object(&w->j);
    om_json_key(&w->j, "image");
    om_json_string(&w->j, path);
    om_json_key(&w->j, "width");
    om_json_int(&w->j, faces->width);
    om_json_key(&w->j, "height");
    om_json_int(&w->j, faces->height);
    om_json_key(&w->j, "faces");
    om_json_begin_array(&w->j);
    int err = OM_OK;
    for (size_t i = 0; i < faces->n && !err; i++) {
        const om_face *f = &faces->items[i];
        int n = 0;
        if (f->vector.n_vector)
            n = om_gallery_search(w->gallery, f->vector.vector, f->vector.n_vector,
                                  (float)w->flags->threshold, hits, w->flags->top);
        if (n < 0) err = n;
        else json_face(w, f, hits, n);
        if (!err) face_rows(t, path, f, hits, n);
    }
    om_json_end_array(&w->j);
    om_json_end_object(&w->j);
    return err;
}

/* A picture that cannot be read is told and left out. */
static int search(job *w)
{
    static const om_column columns[] = {{"picture", false, 16, 0},
                                        {"at", false, 0, 2},
                                        {"size", false, 0, 1},
                                        {"name", false, 8, 0},
                                        {"likeness", true, 0, 0}};
    om_strlist paths = {0};
    om_table t;
    if (w->args->n_positional < 3) return om_fail(OM_ERR_ARG, "expected search GALLERY PICTURE...");
    int err = list_pictures(w->args, 2, &paths);
    if (!err) err = om_gallery_open(w->path, &w->gallery);
    if (!err && !om_gallery_count(w->gallery)) om_log(OM_LOG_WARN, "%s: nobody is in it", w->path);
    if (!err) err = open_reader(w);
    if (!err) err = check_model(w);
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    om_json_key(&w->j, "images");
    om_json_begin_array(&w->j);
    for (size_t i = 0; i < paths.n && !err; i++) {
        om_face_list faces;
        struct stat st;
        err = om_face_reader_read(&w->reader, paths.items[i], &faces);
        if (!err) err = search_faces(w, paths.items[i], &faces, &t);
        else if (!faces.width && (err == OM_ERR_FORMAT || stat(paths.items[i], &st))) {
            om_command_fail(err);
            *w->status = OM_EXIT_FAILED;
            err = OM_OK;
        }
        om_face_list_fini(&faces);
    }
    om_json_end_array(&w->j);
    if (!err && table_wanted(w)) err = print_table(&t);
    else om_table_fini(&t);
    om_strlist_fini(&paths);
    return err;
}

/* A name with its entries: the first one's number, and how many. */
typedef struct person {
    const char *name;
    size_t first, n;
} person;

static int by_name(const void *a, const void *b)
{
    const person *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static int by_entry(const void *a, const void *b)
{
    const person *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* The names in the order in which they were enrolled. om_free(). */
static person *people_of(const om_gallery *g, size_t *n)
{
    size_t all = om_gallery_count(g), kept = 0;
    person *p = om_calloc(all + 1, sizeof *p);
    if (!p) return NULL;
    for (size_t i = 0; i < all; i++) p[i] = (person){om_gallery_name(g, i), i, 1};
    qsort(p, all, sizeof *p, by_name);
    for (size_t i = 0; i < all; i++) {
        if (kept && !strcmp(p[kept - 1].name, p[i].name)) p[kept - 1].n++;
        else p[kept++] = p[i];
    }
    qsort(p, kept, sizeof *p, by_entry);
    *n = kept;
    return p;
}

static int list(job *w)
{
    static const om_column columns[] = {{"name", false, 8, 0}, {"pictures", true, 0, 0}};
    om_table t;
    size_t n = 0;
    int err = om_args_expect(w->args, 2, "list GALLERY");
    if (!err) err = om_gallery_open(w->path, &w->gallery);
    person *people = err ? NULL : people_of(w->gallery, &n);
    if (!people) return err ? err : OM_ERR_NOMEM;
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    om_json_key(&w->j, "numbers");
    om_json_uint(&w->j, om_gallery_dim(w->gallery));
    om_json_key(&w->j, "names");
    om_json_begin_array(&w->j);
    for (size_t i = 0; i < n; i++) {
        om_table_cell(&t, "%s", people[i].name);
        om_table_cell(&t, "%zu", people[i].n);
        om_json_begin_object(&w->j);
        om_json_key(&w->j, "name");
        om_json_string(&w->j, people[i].name);
        om_json_key(&w->j, "pictures");
        om_json_uint(&w->j, people[i].n);
        om_json_end_object(&w->j);
    }
    om_json_end_array(&w->j);
    om_free(people);
    if (table_wanted(w)) return print_table(&t);
    om_table_fini(&t);
    return OM_OK;
}

static int remove_name(job *w)
{
    int err = om_args_expect(w->args, 3, "remove GALLERY NAME");
    if (!err) err = om_gallery_open(w->path, &w->gallery);
    if (err) return err;
    const char *name = w->args->positional[2];
    size_t n = om_gallery_remove(w->gallery, name);
    if (!n) return om_fail(OM_ERR_NOT_FOUND, "%s: nobody is called '%s'", w->path, name);
    err = om_gallery_save(w->gallery, w->path);
    if (!err && !w->options->quiet) printf("%s: %zu entr%s removed\n", name, n, n == 1 ? "y" : "ies");
    return err;
}

static const struct verb {
    const char *name;
    int (*work)(job *w);
    bool reports; /* has what --json is for */
} verbs[] = {
    {"enrol", enrol, false}, {"search", search, true}, {"list", list, true}, {"remove", remove_name, false}};
#define N_VERBS (sizeof verbs / sizeof *verbs)

static const struct verb *find_verb(const om_args *args, int *err)
{
    const char *names[N_VERBS];
    const char *word = args->n_positional ? args->positional[0] : "";
    for (size_t i = 0; i < N_VERBS; i++) {
        if (!strcmp(word, verbs[i].name)) return &verbs[i];
        names[i] = verbs[i].name;
    }
    const char *near = om_suggest(word, names, N_VERBS);
    if (near) *err = om_fail(OM_ERR_ARG, "'%s': did you mean '%s'?", word, near);
    else *err = om_fail(OM_ERR_ARG, "expected enrol, search, list or remove, then a gallery's file");
    return NULL;
}

static int work(job *w, const struct verb *v)
{
    if (w->args->n_positional < 2) return om_fail(OM_ERR_ARG, "%s what? name the gallery's file", v->name);
    if (w->flags->json && !v->reports) return om_fail(OM_ERR_ARG, "--json: %s has nothing to write", v->name);
    w->path = w->args->positional[1];
    om_json_init(&w->j, &w->out, 2);
    om_json_begin_object(&w->j);
    om_json_key(&w->j, "gallery");
    om_json_string(&w->j, w->path);
    int err = om_outfile_check(w->flags->json);
    if (!err) err = v->work(w);
    if (!err && w->flags->json) err = finish_json(w);
    om_str_fini(&w->out);
    om_gallery_destroy(w->gallery);
    om_face_reader_fini(&w->reader);
    return err;
}

static int run(const om_args *args, int *status)
{
    faces_flags f;
    om_run_options o;
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_option_set(om_run_option_table, &o, "mode", "latency");
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_apply(args, om_face_options(), &o);
    if (!err) err = om_command_setup("omma faces", &o);
    const struct verb *v = err ? NULL : find_verb(args, &err);
    job w = {.flags = &f, .options = &o, .args = args, .status = status};
    if (v) err = work(&w, v);
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_faces = {
    .name = "faces",
    .summary = "who is in a picture, by a gallery of known faces",
    .usage = "enrol GALLERY NAME PICTURE... -m EMBEDDING [--detector MODEL]\n"
             "search GALLERY PICTURE... -m EMBEDDING [--detector MODEL]\n"
             "list GALLERY\n"
             "remove GALLERY NAME",
    .about =
        "Finds faces, sets them upright by their five landmarks (onto the template that ArcFace models are trained with), "
        "makes a vector of each and keeps it in the gallery's file under a name, or looks for the names whose vectors are "
        "nearest by cosine. Enrolling takes the largest face of each picture. A name may have many pictures; more are "
        "added by enrolling again. A gallery belongs to the embedding model it was made with.",
    .examples =
        "omma faces enrol team.gal Ada ada1.jpg ada2.jpg -m embedding.onnx --detector centerface.onnx\n"
        "omma faces search team.gal party.jpg -m embedding.onnx --detector centerface.onnx --top 3\n"
        "omma faces list team.gal\n"
        "omma faces remove team.gal Ada",
    .tables = tables,
    .run = run,
};
