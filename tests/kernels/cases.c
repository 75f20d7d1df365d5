#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t state;

void draw_seed(uint64_t seed) { state = seed; }

uint32_t draw(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

float draw_float(float low, float high)
{
    return low + (high - low) * (float)draw(1u << 24) / (float)(1u << 24);
}

void die(const char *what)
{
    perror(what);
    exit(1);
}

guarded guarded_new(size_t size, bool at_start)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page - 1) / page * page;
    guarded g = {.length = inner + 2 * page};
    g.map = mmap(NULL, g.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED) die("mmap");
    if (mprotect(g.map, page, PROT_NONE) < 0 || mprotect(g.map + page + inner, page, PROT_NONE) < 0)
        die("mprotect");
    g.data = at_start ? g.map + page : g.map + page + inner - size;
    return g;
}

void guarded_free(guarded *g) { munmap(g->map, g->length); }
