/* UTF-8, strictly: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef OM_BASE_UTF8_H
#define OM_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `s` (`n` bytes left), 0 if it is none. */
static inline size_t om_utf8_length(const unsigned char *s, size_t n)
{
    if (n == 0) return 0;
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                 : (s[0] & 0xf0) == 0xe0        ? 3
                 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return len;
}

/* The same, and which character it is; *c is left alone where it is none. */
static inline size_t om_utf8_decode(const unsigned char *s, size_t n, uint32_t *c)
{
    size_t len = om_utf8_length(s, n);
    if (len == 0) return 0;
    uint32_t code = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) code = code << 6 | (s[i] & 0x3fu);
    *c = code;
    return len;
}

/* Writes the code point's bytes and returns how many. */
static inline size_t om_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00u >> len & 0xf0u) | c);
    return len;
}

#endif
