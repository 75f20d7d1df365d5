/* Every allocation of omma goes through here, so that tests can make the n-th one fail. */
#ifndef OM_BASE_MEM_H
#define OM_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL on failure, with OM_ERR_NOMEM's sentence in the error slot. Sizes that overflow fail too. */
void *om_alloc(size_t size);
void *om_calloc(size_t count, size_t size);
void *om_realloc(void *p, size_t size); /* on failure the old block stays */
void *om_realloc_array(void *p, size_t count, size_t size);
void *om_aligned_alloc(size_t align, size_t size); /* align: power of two; freed by om_free */
char *om_strdup(const char *s);
char *om_strndup(const char *s, size_t n);
char *om_sprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* caller frees with om_free */
void om_free(void *p);

/* Grows *items (elements of `size` bytes, *cap of them) so that `need` fit; 0 or OM_ERR_NOMEM, old array
 * kept. */
int om_grow(void **items, size_t *cap, size_t need, size_t size);

/* Bytes of memory that were resident at most since this program began; what started it, and the C library's
 * ru_maxrss counts, is not among them. 0: not known. */
int64_t om_mem_peak(void);

/* Fault injection: after `n` further successful allocations the next one fails, once; n < 0 switches it off.
 * Process-wide. Returns through om_mem_injected() whether the fault was met. The environment variable
 * OMMA_FAIL_ALLOC=n sets it at start. */
void om_mem_fail_after(long n);
bool om_mem_injected(void);

#endif
