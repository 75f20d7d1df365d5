/* The bytes of an input as a file that readers open by its path, without a disk: in memory, one a program. */
#ifndef OM_TESTS_FUZZ_FILE_H
#define OM_TESTS_FUZZ_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void insist(bool holds)
{
    if (!holds) abort();
}

/* The path under which the bytes are read, until the next call. */
static inline const char *put_file(const void *data, size_t size)
{
    static char path[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    insist(fd >= 0 && !ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

#endif
