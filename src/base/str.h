/* Growing text and lists of texts. */
#ifndef OM_BASE_STR_H
#define OM_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

/* A growing, always terminated text. Zeroed is valid and empty. After an allocation failure `failed` stays
 * set and further appends do nothing, so that a writer checks once at the end. Thread-safety: one thread. */
typedef struct om_str {
    char *data; /* NULL while empty */
    size_t len, cap;
    bool failed;
} om_str;

void om_str_fini(om_str *s);
void om_str_clear(om_str *s); /* keeps the memory */
void om_str_add(om_str *s, const char *text);
void om_str_addn(om_str *s, const char *bytes, size_t n);
void om_str_addc(om_str *s, char c);
void om_str_addf(om_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Never NULL. */
const char *om_str_get(const om_str *s);
/* Hands the text to the caller (om_free), or NULL if an append failed. The om_str is empty afterwards. */
char *om_str_take(om_str *s);

/* A list of owned texts. Zeroed is valid and empty. */
typedef struct om_strlist {
    char **items;
    size_t n, cap;
} om_strlist;

int om_strlist_add(om_strlist *l, const char *text);
int om_strlist_addn(om_strlist *l, const char *text, size_t n);
void om_strlist_fini(om_strlist *l);

/* The candidate nearest to `word` by edit distance, or NULL if none is near enough to suggest. */
const char *om_suggest(const char *word, const char *const *candidates, size_t n);

/* Reads the whole file; at most `max` bytes, else OM_ERR_FORMAT. *data is terminated with a NUL beyond *len;
 * om_free. */
int om_read_file(const char *path, size_t max, char **data, size_t *len);
/* Writes a file beside it, syncs, renames: readers see the old file or the new one. */
int om_write_file_atomic(const char *path, const void *data, size_t len);

/* Strict numbers: the whole text must be one. OM_ERR_ARG without touching the slot's message otherwise. */
int om_parse_int(const char *text, long long *out);
int om_parse_double(const char *text, double *out);

#endif
