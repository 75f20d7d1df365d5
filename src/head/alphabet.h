/* The characters that a text model's classes stand for. Private to the room. */
#ifndef OM_HEAD_ALPHABET_H
#define OM_HEAD_ALPHABET_H

#include "base/str.h"
#include "head/head.h"

/* Zeroed is valid and empty. Thread-safety: constant once read. */
typedef struct om_alphabet {
    om_strlist chars;
    size_t longest;  /* bytes of the longest character */
    char source[96]; /* for messages: the file, or the metadata's key */
} om_alphabet;

/* From h->params.alphabet, else from the model's metadata (`character`, as PP-OCR writes it, or `alphabet`):
 * a character a line, or all of them in one line. OM_ERR_ARG where there is none. */
int om_alphabet_read(om_alphabet *a, const om_head *h);
void om_alphabet_fini(om_alphabet *a);

/* Which class is no character, of `classes`. OM_ERR_ARG: the alphabet's length does not fit so many classes;
 * a blank may be in it or not, and `space` allows one to be left out behind all others. */
int om_alphabet_fit(const om_alphabet *a, const om_head *h, int64_t classes, int own_blank, bool space,
                    int *blank);
/* The text of a class that is not the blank. */
const char *om_alphabet_at(const om_alphabet *a, int64_t classes, int blank, int k);

#endif
