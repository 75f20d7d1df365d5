/* A text file written line by line: after any failure it ends with a whole line. */
#ifndef OM_SINK_FILE_OUT_H
#define OM_SINK_FILE_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Zeroed is valid and closed. Thread-safety: one thread. */
typedef struct om_file_out {
    int fd;
    bool open, regular, append;
    bool told;        /* that its name is gone and cannot be made anew */
    const char *path; /* the sink's */
    const char *head; /* the caller's: what a file begins with; NULL: nothing */
    int64_t whole;    /* bytes of whole lines on disk, where regular */
    om_str buffer;    /* whole lines not yet written */
} om_file_out;

/* "-" is standard output. An existing file is replaced, or with `append` written on behind its end. A FIFO is
 * opened by the first write, which waits for a reader. A file whose name goes away while it is written, as by
 * logrotate, is begun anew under that name; where that cannot be, it is tried again at each flush, and what
 * comes meanwhile goes where the old one is. */
int om_file_out_open(om_file_out *f, const char *path, bool append, const char *head);
/* Takes the line (with its newline) into the buffer; writes when the buffer is large. */
int om_file_out_line(om_file_out *f, const char *line, size_t len);
/* Writes the buffer out. On failure what was written of the last line is cut off again. */
int om_file_out_flush(om_file_out *f);
int om_file_out_close(om_file_out *f);
/* Closes without writing. */
void om_file_out_discard(om_file_out *f);

#endif
