/* One word a picture: a class or a line of text, from a CSV or from folders named for classes; and how well a
 * model's words agree. */
#ifndef OM_EVAL_SHEET_H
#define OM_EVAL_SHEET_H

#include "base/str.h"

typedef struct om_sheet_row {
    char *file, *word;
} om_sheet_row;

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_sheet {
    om_sheet_row *rows; /* in the file's order; of folders, by name */
    size_t n, cap;
} om_sheet;

void om_sheet_fini(om_sheet *s);
/* A CSV (RFC 4180) of two columns, picture and word; further ones are not read. A first row whose picture is
 * called file, filename, image, path or name is a heading. OM_ERR_FORMAT names file and line; OM_ERR_ARG: no
 * rows, or a picture twice. */
int om_sheet_read_csv(const char *path, om_sheet *out);
/* FOLDER/WORD/PICTURE: `file` is WORD/PICTURE. Files that are no pictures are left out. OM_ERR_ARG: no folder
 * in it holds pictures. */
int om_sheet_read_folders(const char *folder, om_sheet *out);

/* The least number of characters to insert, to leave out or to change that makes `b` of `a`, both UTF-8; a
 * byte that is none is a character. *length gets the characters of `b`. OM_ERR_NOMEM. */
int om_text_distance(const char *a, const char *b, size_t *distance, size_t *length);

/* Lines of text against true ones. Zeroed is valid. */
typedef struct om_text_scores {
    size_t lines, equal;
    size_t characters; /* of the true lines */
    size_t errors;     /* distances */
} om_text_scores;

int om_text_scores_add(om_text_scores *s, const char *found, const char *truth);
double om_text_scores_exact(const om_text_scores *s); /* share of lines; NAN: no lines */
double om_text_scores_cer(const om_text_scores *s);   /* errors a true character; NAN: no characters */

/* Classes against true ones. Zeroed is valid. */
typedef struct om_class_scores {
    size_t pictures, top1, top5;
} om_class_scores;

/* `ranked`: the model's classes, best first. */
void om_class_scores_add(om_class_scores *s, const int *ranked, size_t n, int truth);

#endif
