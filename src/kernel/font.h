/* Characters from a file, for texts in letters that omma does not draw itself: GNU Unifont's .hex form, a
 * line "CODE:ROWS" a character, 16 rows of 8, 16, 24 or 32 pixels in hexadecimal digits. */
#ifndef OM_KERNEL_FONT_H
#define OM_KERNEL_FONT_H

#include <stdint.h>

#define OM_BITMAP_ROWS 16

/* Thread-safety: any number of threads; nothing changes once it is loaded. */
typedef struct om_font om_font;

/* OM_ERR_NOT_FOUND, OM_ERR_FORMAT (with the line), OM_ERR_NOMEM. The caller's to destroy, after everything
 * that draws with it. */
int om_font_load(const char *path, om_font **out);
void om_font_destroy(om_font *f);
/* A character's rows, columns / 8 bytes each, the left pixel in the highest bit; NULL where the font (or all
 * of it: NULL) lacks it. */
const uint8_t *om_font_rows(const om_font *f, uint32_t code, int *columns);

#endif
