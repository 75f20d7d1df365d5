/* Writes the thumbnail of a raw picture as JPEG, for the tests to open with another decoder:
 *
 *   tool_thumbnail FORMAT WIDTHxHEIGHT MATRIX RANGE FITxFIT QUALITY IN.raw OUT.jpg
 *
 * FORMAT is a name of om_pixfmt (nv12, p010, ...), MATRIX 601|709|2020, RANGE limited|full; IN.raw holds the
 * planes one behind the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "device/device.h"

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "tool_thumbnail: %s\n", what);
    exit(1);
}

static om_pixfmt format_of(const char *name)
{
    for (om_pixfmt f = OM_PIX_NONE + 1; f < OM_PIX_COUNT; f++)
        if (strcmp(om_pixfmt_get(f)->name, name) == 0) return f;
    die("unknown format");
    return OM_PIX_NONE;
}

static void read_planes(om_frame *f, const char *path)
{
    char *data;
    size_t len, at = 0;
    if (om_read_file(path, (size_t)1 << 30, &data, &len) < 0) die(om_error_message());
    for (int p = 0; p < om_pixfmt_get(f->image.fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(f->image.fmt, p, f->image.width, f->image.height, &bytes, &rows);
        if (len - at < (size_t)bytes * (size_t)rows) die("the file is too short");
        for (int y = 0; y < rows; y++, at += (size_t)bytes)
            memcpy(f->image.plane[p] + (ptrdiff_t)y * f->image.stride[p], data + at, (size_t)bytes);
    }
    om_free(data);
}

int main(int argc, char **argv)
{
    int w, h, most_w, most_h;
    om_frame *f;
    om_device *d;
    uint8_t *jpeg;
    size_t size;
    if (argc != 9 || sscanf(argv[2], "%dx%d", &w, &h) != 2 || sscanf(argv[5], "%dx%d", &most_w, &most_h) != 2)
        die("usage: tool_thumbnail FORMAT WxH MATRIX RANGE WxH QUALITY IN.raw OUT.jpg");
    if (om_frame_create(format_of(argv[1]), w, h, &f) < 0 || om_device_open("cpu", &d) < 0)
        die(om_error_message());
    f->image.matrix = argv[3][0] == '6'   ? OM_MATRIX_BT601
                      : argv[3][0] == '7' ? OM_MATRIX_BT709
                                          : OM_MATRIX_BT2020;
    f->image.range = argv[4][0] == 'f' ? OM_RANGE_FULL : OM_RANGE_LIMITED;
    read_planes(f, argv[7]);
    if (om_device_thumbnail(d, f, most_w, most_h, atoi(argv[6]), &jpeg, &size) < 0) die(om_error_message());
    if (om_write_file_atomic(argv[8], jpeg, size) < 0) die(om_error_message());
    om_free(jpeg);
    om_frame_unref(f);
    om_device_close(d);
    return 0;
}
