/* Pages of one file that need no other: head, style, small parts. Drawings are the caller's <svg>.
 *
 * Classes of the style: t0..t7 (fill and background of eight colours), l0..l3 (strokes), .line, .grid, .roof,
 * .dash, text.axis, .plot around an <svg>, .tiles around tiles, .finding, .legend, .table around a <table>
 * ("sort": a click on a heading sorts; "left": names and values; "facts": words and
 * figures), .bars around <figure>s, .dim.
 * Thread-safety: as om_str's. */
#ifndef OM_BASE_HTML_H
#define OM_BASE_HTML_H

#include "base/str.h"

/* Text with what HTML gives a meaning replaced; fit for attributes too. */
void om_html_text(om_str *out, const char *text);
/* Begins the page up to its <h1>; `what` stands behind the title in the browser's tab: "omma profile". */
void om_html_begin(om_str *out, const char *title, const char *what);
void om_html_end(om_str *out);
/* A large figure with its label, for <div class="tiles">. */
void om_html_tile(om_str *out, const char *label, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* An <ul> or <ol> of texts; nothing where there are none. */
void om_html_list(om_str *out, const char *tag, const om_strlist *l);
/* Cells of a table that sorts. */
void om_html_cell_num(om_str *out, double v, int decimals);
void om_html_cell_text(om_str *out, const char *text);
/* A heading with a table of two columns. */
void om_html_pairs(om_str *out, const char *heading, const om_strlist *keys, const om_strlist *values);

#endif
