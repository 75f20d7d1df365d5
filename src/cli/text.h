/* Text as a terminal shows it. Thread-safety: functions without state. */
#ifndef OM_CLI_TEXT_H
#define OM_CLI_TEXT_H

#include <stddef.h>

#include "base/str.h"

/* Columns that valid UTF-8 takes; a byte that is none takes one. */
int om_text_width(const char *text);
/* Copies `text` with control characters and bytes that are not UTF-8 as '?': a name must not steer the
 * terminal. */
void om_text_clean(const char *text, char *out, size_t size);
/* Copies at most `columns` of it, "…" at the end where something is missing. */
void om_text_clip(const char *text, int columns, char *out, size_t size);
/* As om_text_clip(), but what is missing is the begin. */
void om_text_clip_front(const char *text, int columns, char *out, size_t size);
/* Appends `text` wrapped at `width`, every line behind `indent` spaces; '\n' in it begins a new line. */
void om_text_wrap(const char *text, int indent, int width, om_str *out);
/* "1.23 G", "45.6 M", "789": three figures. */
void om_text_count(double v, char *out, size_t size);

#endif
