/* A folder of a test's own, and files in it. */
#ifndef OMMA_TESTS_FOLDER_H
#define OMMA_TESTS_FOLDER_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/str.h"

static char folder[] = "/tmp/omma-test-XXXXXX";

/* A group's setup and teardown; the second takes what is in it along. */
static inline int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int folder_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline int folder_remove(void **state)
{
    (void)state;
    return nftw(folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Of a file in it; holds for the next seven calls. */
static inline const char *folder_path(const char *name)
{
    static char paths[8][256];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Writes the file; its path, as above. */
static inline const char *folder_file(const char *name, const char *text)
{
    const char *path = folder_path(name);
    assert_int_equal(om_write_file_atomic(path, text, strlen(text)), OM_OK);
    return path;
}

#endif
