/* What random cases are made of: a generator that can be seeded, and memory whose borders trap. */
#ifndef CASES_H
#define CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void draw_seed(uint64_t seed);
uint32_t draw(uint32_t n); /* 0 .. n-1 */
float draw_float(float low, float high);

void die(const char *what); /* prints what errno says and exits */

/* `size` bytes between two pages that may not be touched; they end at the second, or (at_start) start after
 * the first. */
typedef struct guarded {
    uint8_t *map, *data;
    size_t length;
} guarded;

guarded guarded_new(size_t size, bool at_start);
void guarded_free(guarded *g);

#endif
