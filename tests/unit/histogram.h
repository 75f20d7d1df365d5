/* What the tests of synthetic models count. */
#ifndef OMMA_TESTS_HISTOGRAM_H
#define OMMA_TESTS_HISTOGRAM_H

#include <stdio.h>
#include <string.h>

#include "model/graph.h"

/* Operators as "Add:8 Concat:17 ...", in the alphabet's order. */
static inline void histogram(const om_graph *g, char *out, size_t size)
{
    size_t len = 0;
    const char *last = "";
    out[0] = 0;
    for (;;) {
        const char *next = NULL;
        int count = 0;
        for (int i = 0; i < g->n_nodes; i++) {
            if (strcmp(g->nodes[i].op, last) <= 0) continue;
            if (!next || strcmp(g->nodes[i].op, next) < 0) next = g->nodes[i].op;
        }
        if (!next) return;
        for (int i = 0; i < g->n_nodes; i++) count += strcmp(g->nodes[i].op, next) == 0;
        len += (size_t)snprintf(out + len, size - len, "%s%s:%d", len ? " " : "", next, count);
        last = next;
    }
}

#endif
