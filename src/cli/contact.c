#include "cli/contact.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"

#define COLUMNS 8
#define ROWS 6
#define CELL_WIDTH 240
#define CELL_HEIGHT 135
#define GAP 4
#define QUALITY 85

/* One picture, letterboxed, into its cell of the sheet. */
static int place(om_image *sheet, const om_image *img, int at, uint8_t *cell)
{
    static const om_prep prep = {.layout = OM_LAYOUT_NHWC,
                                 .channels = OM_CHANNELS_RGB,
                                 .dtype = OM_DTYPE_U8,
                                 .filter = OM_FILTER_AREA,
                                 .pad = {24, 24, 24}};
    om_geometry g;
    om_geometry_fit(OM_FIT_LETTERBOX, img->width, img->height, CELL_WIDTH, CELL_HEIGHT, &g);
    int err = om_kernels_get()->letterbox(img, &g, &prep, cell);
    int x = GAP + at % COLUMNS * (CELL_WIDTH + GAP), y = GAP + at / COLUMNS * (CELL_HEIGHT + GAP);
    for (int row = 0; row < CELL_HEIGHT && !err; row++)
        memcpy(sheet->plane[0] + (ptrdiff_t)(y + row) * sheet->stride[0] + (ptrdiff_t)x * 3,
               cell + (size_t)row * CELL_WIDTH * 3, (size_t)CELL_WIDTH * 3);
    return err;
}

static int fill(const om_collection *c, const char *folder, om_image *sheet, size_t cells, uint8_t *cell)
{
    int err = OM_OK;
    for (size_t i = 0; i < cells && !err; i++) {
        om_frame *f = NULL;
        char *path = om_sprintf("%s/%s", folder, c->items[i * c->n / cells].file);
        err = path ? om_picture_load(path, &f) : OM_ERR_NOMEM;
        om_free(path);
        if (!err) err = place(sheet, &f->image, (int)i, cell);
        om_frame_unref(f);
        if (!err || err == OM_ERR_NOMEM) continue;
        om_log(OM_LOG_WARN, "contact sheet: %s", om_error_message());
        err = OM_OK;
    }
    return err;
}

int om_contact_write(const om_collection *c, const char *folder)
{
    size_t cells = c->n < COLUMNS * ROWS ? c->n : COLUMNS * ROWS, rows = (cells + COLUMNS - 1) / COLUMNS;
    om_frame *sheet = NULL;
    if (!cells) return OM_OK;
    uint8_t *cell = om_alloc((size_t)CELL_WIDTH * CELL_HEIGHT * 3);
    char *path = om_sprintf("%s/contact.jpg", folder);
    int err = cell && path ? OM_OK : OM_ERR_NOMEM;
    if (!err)
        err = om_frame_create(OM_PIX_RGB24, GAP + COLUMNS * (CELL_WIDTH + GAP),
                              GAP + (int)rows * (CELL_HEIGHT + GAP), &sheet);
    for (int y = 0; !err && y < sheet->image.height; y++)
        memset(sheet->image.plane[0] + (ptrdiff_t)y * sheet->image.stride[0], 24,
               (size_t)sheet->image.width * 3);
    if (!err) err = fill(c, folder, &sheet->image, cells, cell);
    if (!err) err = om_picture_save(path, &sheet->image, QUALITY);
    om_frame_unref(sheet);
    om_free(cell);
    om_free(path);
    return err;
}
