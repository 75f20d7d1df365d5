#include "base/csv.h"

#include <string.h>

void om_csv_field(om_str *out, const char *text)
{
    if (!text) return;
    if (strpbrk(text, ",\"\r\n")) om_csv_quoted(out, text);
    else om_str_add(out, text);
}

void om_csv_quoted(om_str *out, const char *text)
{
    om_str_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"') om_str_addc(out, '"');
        om_str_addc(out, *text);
    }
    om_str_addc(out, '"');
}
