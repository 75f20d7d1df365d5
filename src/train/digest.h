/* Inside the room: a number that tells one text from another; no protection against intent. */
#ifndef OM_TRAIN_DIGEST_H
#define OM_TRAIN_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OM_DIGEST_START 0xcbf29ce484222325u

/* Eight bytes at a time, each mixed in by a multiplication and a turn. */
static inline uint64_t om_digest(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (uint64_t v = 0; n; p += n < 8 ? n : 8, n -= n < 8 ? n : 8, v = 0) {
        memcpy(&v, p, n < 8 ? n : 8);
        h = (h ^ v ^ ((uint64_t)(n < 8 ? n : 8) << 56)) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

static inline uint64_t om_digest_text(uint64_t h, const char *s) { return om_digest(h, s, strlen(s) + 1); }

#endif
