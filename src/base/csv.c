#include "base/csv.h"

#include <string.h>

#include "base/utf8.h"

/* One character; what is no UTF-8 becomes U+FFFD, as in JSON. Its bytes. */
static size_t add_character(om_str *out, const char *text)
{
    size_t n = om_utf8_length((const unsigned char *)text, strnlen(text, 4));
    if (n) om_str_addn(out, text, n);
    else om_str_add(out, "\xef\xbf\xbd");
    return n ? n : 1;
}

void om_csv_field(om_str *out, const char *text)
{
    if (!text) return;
    if (strpbrk(text, ",\"\r\n")) om_csv_quoted(out, text);
    else
        while (*text) text += add_character(out, text);
}

void om_csv_quoted(om_str *out, const char *text)
{
    om_str_addc(out, '"');
    while (*text) {
        if (*text == '"') om_str_addc(out, '"');
        text += add_character(out, text);
    }
    om_str_addc(out, '"');
}
