/* A file that appears whole or not at all, for writers that do not hold the whole text in memory. */
#ifndef OM_BASE_FILE_H
#define OM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Thread-safety: one thread. Zeroed is valid and closed. */
typedef struct om_outfile {
    int fd;     /* only while path is set */
    char *path; /* owned; where the file will be */
    char *tmp;  /* owned; where it is written, NULL for what cannot be renamed over (a pipe, /dev/null) */
    bool lazy;  /* the user's: renamed without waiting for the disk, where thousands are written */
} om_outfile;

/* Makes a file of its own name beside `path`, so that others may write the same path at the same time: the
 * last one to commit wins. On failure nothing is left. */
int om_outfile_open(om_outfile *f, const char *path);
/* Before the work that leads to it: whether the file could be written. What is there stays as it is. NULL,
 * "-" and what is no ordinary file (a pipe, /dev/stdout) are let pass; what only writing tells (a full disk)
 * is not found. */
int om_outfile_check(const char *path);
int om_outfile_write(om_outfile *f, const void *data, size_t len);
/* Syncs, closes and renames; on failure the temporary file is gone and the old one untouched. Closes either
 * way. */
int om_outfile_commit(om_outfile *f);
/* Closes and removes the temporary file; a closed one: no-op. */
void om_outfile_abort(om_outfile *f);

/* An empty file of its own in $TMPDIR, else /tmp: omma-WHAT-xxxxxx and `suffix`. *path: the caller's to
 * unlink and om_free(); NULL on failure. */
int om_temp_file(const char *what, const char *suffix, char **path);

#endif
