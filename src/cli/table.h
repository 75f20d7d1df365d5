/* Aligned tables that fit the terminal: wide columns shrink first, then the least important ones go. */
#ifndef OM_CLI_TABLE_H
#define OM_CLI_TABLE_H

#include "base/str.h"

typedef struct om_column {
    const char *title;
    bool right;  /* numbers */
    int shrink;  /* may be cut down to this many columns; 0: never */
    int dispose; /* left out where there is no room, highest first; 0: never */
    bool tail;   /* what is cut down keeps its end, which tells paths apart */
} om_column;

/* Thread-safety: one thread. */
typedef struct om_table {
    const om_column *columns; /* outlive the table */
    size_t n_columns;
    char **cells; /* row by row */
    size_t n, cap;
    size_t rule; /* a line before this row; 0: none */
    bool failed; /* out of memory: renders nothing */
} om_table;

void om_table_init(om_table *t, const om_column *columns, size_t n);
void om_table_fini(om_table *t);
/* The next cell, left to right. */
void om_table_cell(om_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void om_table_rule(om_table *t);
/* Appends it, at most `width` wide; 0: as wide as it is. OM_ERR_NOMEM. */
int om_table_render(const om_table *t, int width, om_str *out);

#endif
