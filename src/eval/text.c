/* How far a line of text is from the true one. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "eval/sheet.h"

/* Characters as numbers; a byte that is no part of one stands for itself, beyond all code points. */
static size_t characters(const char *text, uint32_t *out)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t left = strlen(text), n = 0;
    while (left) {
        size_t len = om_utf8_length(s, left);
        uint32_t c = len ? s[0] : 0x110000u + s[0];
        if (len > 1) c &= 0x7fu >> len;
        for (size_t i = 1; i < len; i++) c = c << 6 | (s[i] & 0x3f);
        out[n++] = c;
        s += len ? len : 1;
        left -= len ? len : 1;
    }
    return n;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

int om_text_distance(const char *a, const char *b, size_t *distance, size_t *length)
{
    size_t room_a = strlen(a) + 1, room_b = strlen(b) + 1;
    uint32_t *x = om_alloc(room_a * sizeof *x), *y = om_alloc(room_b * sizeof *y);
    size_t *row = om_alloc((room_b + 1) * sizeof *row);
    int err = x && y && row ? OM_OK : OM_ERR_NOMEM;
    if (!err) {
        size_t n = characters(a, x), m = characters(b, y);
        for (size_t k = 0; k <= m; k++) row[k] = k;
        for (size_t i = 1; i <= n; i++) {
            size_t corner = row[0];
            row[0] = i;
            for (size_t k = 1; k <= m; k++) {
                size_t kept = corner + (x[i - 1] != y[k - 1]);
                corner = row[k];
                row[k] = least(kept, least(row[k], row[k - 1]) + 1);
            }
        }
        *distance = row[m];
        *length = m;
    }
    om_free(x);
    om_free(y);
    om_free(row);
    return err;
}

int om_text_scores_add(om_text_scores *s, const char *found, const char *truth)
{
    size_t distance, length;
    int err = om_text_distance(found, truth, &distance, &length);
    if (err) return err;
    s->lines++;
    s->equal += !distance;
    s->errors += distance;
    s->characters += length;
    return OM_OK;
}

double om_text_scores_exact(const om_text_scores *s)
{
    return s->lines ? (double)s->equal / (double)s->lines : NAN;
}

double om_text_scores_cer(const om_text_scores *s)
{
    return s->characters ? (double)s->errors / (double)s->characters : NAN;
}
