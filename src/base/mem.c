#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define OFF (-1L)

static atomic_long countdown = OFF;
static atomic_bool injected;

void om_mem_fail_after(long n)
{
    atomic_store(&injected, false);
    atomic_store(&countdown, n < 0 ? OFF : n);
}

bool om_mem_injected(void) { return atomic_load(&injected); }

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = secure_getenv("OMMA_FAIL_ALLOC");
    if (!text) return;
    char *end;
    long n = strtol(text, &end, 10);
    if (end != text && !*end) om_mem_fail_after(n);
}

static bool meets_fault(void)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) < 0) return false;
    if (atomic_fetch_sub(&countdown, 1) != 0) return false;
    atomic_store(&injected, true);
    return true;
}

static bool allowed(size_t size) { return size <= PTRDIFF_MAX && !meets_fault(); }

static void *checked(void *p, size_t size)
{
    if (!p) om_fail(OM_ERR_NOMEM, "out of memory: %zu bytes", size);
    return p;
}

static void *too_large(size_t count, size_t size)
{
    om_fail(OM_ERR_NOMEM, "out of memory: %zu items of %zu bytes", count, size);
    return NULL;
}

/* No bytes still give a block, so that NULL means failure and nothing else. */
void *om_alloc(size_t size) { return checked(allowed(size) ? malloc(size ? size : 1) : NULL, size); }

void *om_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) return too_large(count, size);
    return checked(allowed(total) ? calloc(1, total ? total : 1) : NULL, total);
}

void *om_realloc(void *p, size_t size)
{
    return checked(allowed(size) ? realloc(p, size ? size : 1) : NULL, size);
}

void *om_realloc_array(void *p, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) return too_large(count, size);
    return om_realloc(p, total);
}

void *om_aligned_alloc(size_t align, size_t size)
{
    void *p = NULL;
    if (align < sizeof(void *)) align = sizeof(void *);
    if (!allowed(size) || posix_memalign(&p, align, size ? size : 1) != 0) p = NULL;
    return checked(p, size);
}

char *om_strdup(const char *s) { return om_strndup(s, strlen(s)); }

char *om_strndup(const char *s, size_t n)
{
    n = strnlen(s, n);
    char *p = om_alloc(n + 1);
    if (!p) return NULL;
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *om_sprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        om_fail(OM_ERR_INTERNAL, "cannot format '%s'", fmt);
        return NULL;
    }
    char *text = om_alloc((size_t)n + 1);
    if (!text) return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void om_free(void *p) { free(p); }

int om_grow(void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return OM_OK;
    size_t want = *cap > SIZE_MAX / 2 ? need : *cap * 2;
    if (want < need) want = need;
    if (want < 8) want = 8;
    /* Callers cast the address of a typed pointer: copied as bytes, since void * is another type to the
     * compiler. */
    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = om_realloc_array(old, want, size);
    if (!grown) return OM_ERR_NOMEM;
    memcpy(items, &grown, sizeof grown);
    *cap = want;
    return OM_OK;
}

int64_t om_mem_peak(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1) break;
    if (f) fclose(f);
    return (int64_t)kib * 1024;
}
