/* Fields of tables of comma-separated values, as RFC 4180 has them. */
#ifndef OM_BASE_CSV_H
#define OM_BASE_CSV_H

#include "base/str.h"

/* Appends the text, in quotes where it must be; bytes that are no UTF-8 as U+FFFD. NULL: nothing. */
void om_csv_field(om_str *out, const char *text);
/* In quotes in any case. */
void om_csv_quoted(om_str *out, const char *text);

#endif
