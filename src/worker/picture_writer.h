/* Picture files, encoded and written by several threads. */
#ifndef OM_WORKER_PICTURE_WRITER_H
#define OM_WORKER_PICTURE_WRITER_H

#include "worker/picture_encode.h"

typedef struct om_picture_totals {
    uint64_t pictures, bytes;
} om_picture_totals;

/* Thread-safety: put and close from one thread. */
typedef struct om_picture_writer om_picture_writer;

/* `threads` 0: as this process's cores want. */
int om_picture_writer_create(om_picture_format format, int quality, int threads, om_picture_writer **out);
/* Takes a reference of the frame and a copy of the path; waits while all are busy. A file appears whole or
 * not at all. Once a picture could not be written every call fails with that message (OM_ERR_FULL, OM_ERR_IO,
 * ...). */
int om_picture_writer_put(om_picture_writer *w, om_frame *frame, const char *path);
/* Waits for what is under way and frees `w`, also on failure: returns the first error. `totals` may be NULL.
 */
int om_picture_writer_close(om_picture_writer *w, om_picture_totals *totals);

/* A small file, whole or not at all, without a wait for the disk. */
int om_file_put(const char *path, const void *data, size_t size);
/* Makes a folder and those above it that are not there. */
int om_folder_make(const char *path);

#endif
