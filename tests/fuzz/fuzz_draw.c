/* A text is drawn with a font: whatever the two are, nothing is touched beside the picture, and the width
 * that is told beforehand is the one that comes out. Allocation that fails, height, place, the text up to a
 * NUL, the font. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "kernel/draw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const om_pixfmt formats[] = {OM_PIX_I420, OM_PIX_NV12, OM_PIX_GRAY8, OM_PIX_I444};
    if (size < 5) return 0;
    char text[256];
    size_t len = strnlen((const char *)data + 4, size - 4), rest = 4 + len + (4 + len < size);
    size_t kept = len < sizeof text - 1 ? len : sizeof text - 1;
    memcpy(text, data + 4, kept);
    text[kept] = '\0';
    const char *path = put_file(data + rest, size - rest);
    om_font *font;
    om_mem_fail_after(data[0] ? data[0] : -1);
    int err = om_font_load(path, &font);
    om_mem_fail_after(-1);
    insist(!err == !!font && (!err || om_error_message()[0]));
    om_frame *f;
    insist(om_frame_create(formats[data[3] % 4], 97, 61, &f) == OM_OK);
    int height = 4 + data[1] % 80, x = (int8_t)data[2], y = (int8_t)data[3];
    om_color color = {255, 200, 100, data[3] | 1};
    insist(om_draw_text(&f->image, x, y, height, text, font, color) ==
           om_draw_text_width(height, text, font));
    om_dets d = {0};
    om_detection *det = om_dets_add(&d);
    insist(det != NULL);
    *det = (om_detection){(float)x, (float)y, 20, 20, .score = 0.5f, .track = data[1]};
    insist(om_dets_set_text(&d, det, text, 0.5f) == OM_OK);
    om_draw_dets(&f->image, &d, NULL, font);
    om_dets_fini(&d);
    om_frame_unref(f);
    om_font_destroy(font);
    return 0;
}
