#include "train/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"

#define HEADER 128 /* a multiple of 64, as the format asks */

int om_npy_write(const char *dir, const char *name, om_dtype dtype, const void *data, size_t rows,
                 size_t columns)
{
    const char *type = dtype == OM_DTYPE_F32 ? "<f4" : dtype == OM_DTYPE_I32 ? "<i4" : "<u4";
    char head[HEADER], shape[64];
    om_outfile out = {0};
    if (columns) snprintf(shape, sizeof shape, "(%zu, %zu)", rows, columns);
    else snprintf(shape, sizeof shape, "(%zu,)", rows);
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = HEADER - 10;
    head[9] = 0;
    int n = snprintf(head + 10, sizeof head - 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                     type, shape);
    head[10 + n] = ' ';
    head[HEADER - 1] = '\n';
    char *path = om_sprintf("%s/%s.npy", dir, name);
    int err = path ? om_outfile_open(&out, path) : OM_ERR_NOMEM;
    if (!err) {
        err = om_outfile_write(&out, head, sizeof head);
        if (!err) err = om_outfile_write(&out, data, rows * (columns ? columns : 1) * om_dtype_size(dtype));
        if (!err) err = om_outfile_commit(&out);
        else om_outfile_abort(&out);
    }
    om_free(path);
    return err;
}
