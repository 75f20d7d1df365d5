#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/text.h"

#define MAX_COLUMNS 16
#define GAP 2

void om_table_init(om_table *t, const om_column *columns, size_t n)
{
    memset(t, 0, sizeof *t);
    t->columns = columns;
    t->n_columns = n < MAX_COLUMNS ? n : MAX_COLUMNS;
}

void om_table_fini(om_table *t)
{
    for (size_t i = 0; i < t->n; i++) om_free(t->cells[i]);
    om_free(t->cells);
    memset(t, 0, sizeof *t);
}

void om_table_cell(om_table *t, const char *fmt, ...)
{
    char text[512], clean[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    om_text_clean(text, clean, sizeof clean);
    void *cells = t->cells;
    t->failed = t->failed || om_grow(&cells, &t->cap, t->n + 1, sizeof *t->cells);
    t->cells = cells;
    if (t->failed) return;
    t->cells[t->n] = om_strdup(clean);
    if (t->cells[t->n]) t->n++;
    else t->failed = true;
}

void om_table_rule(om_table *t) { t->rule = t->n / t->n_columns; }

static int total(const int *width, size_t n)
{
    int sum = 0;
    for (size_t c = 0; c < n; c++) sum += width[c] ? width[c] + GAP : 0;
    return sum - GAP;
}

static void measure(const om_table *t, int *width)
{
    for (size_t c = 0; c < t->n_columns; c++) width[c] = om_text_width(t->columns[c].title);
    for (size_t i = 0; i < t->n; i++) {
        int w = om_text_width(t->cells[i]);
        if (w > width[i % t->n_columns]) width[i % t->n_columns] = w;
    }
}

/* Takes away what is too much: from the widest of the columns that may shrink, then whole columns. */
static void fit(const om_table *t, int *width, int room)
{
    while (total(width, t->n_columns) > room) {
        size_t widest = t->n_columns, least = t->n_columns;
        for (size_t c = 0; c < t->n_columns; c++) {
            const om_column *col = &t->columns[c];
            if (col->shrink && width[c] > col->shrink && (widest == t->n_columns || width[c] > width[widest]))
                widest = c;
            if (col->dispose && width[c] &&
                (least == t->n_columns || col->dispose > t->columns[least].dispose))
                least = c;
        }
        if (widest < t->n_columns) width[widest]--;
        else if (least < t->n_columns) width[least] = 0;
        else return;
    }
}

static void add_row(const om_table *t, const int *width, const char *const *cells, om_str *out)
{
    int owed = 0;
    for (size_t c = 0; c < t->n_columns; c++) {
        char text[512];
        if (!width[c]) continue;
        if (cells && t->columns[c].tail) om_text_clip_front(cells[c], width[c], text, sizeof text);
        else om_text_clip(cells ? cells[c] : t->columns[c].title, width[c], text, sizeof text);
        int w = om_text_width(text), left = t->columns[c].right ? width[c] - w : 0;
        if (*text) {
            om_str_addf(out, "%*s%s", owed + left, "", text);
            owed = width[c] - w - left + GAP;
        } else {
            owed += width[c] + GAP;
        }
    }
    om_str_addc(out, '\n');
}

int om_table_render(const om_table *t, int width, om_str *out)
{
    int widths[MAX_COLUMNS];
    if (t->failed) return om_fail_nomem("a table");
    measure(t, widths);
    if (width > 0) fit(t, widths, width);
    add_row(t, widths, NULL, out);
    for (size_t row = 0; row < t->n / t->n_columns; row++) {
        if (row && row == t->rule) {
            for (int i = 0; i < total(widths, t->n_columns); i++) om_str_add(out, "─");
            om_str_addc(out, '\n');
        }
        add_row(t, widths, (const char *const *)t->cells + row * t->n_columns, out);
    }
    return out->failed ? om_fail_nomem("a table") : OM_OK;
}
