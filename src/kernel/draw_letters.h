/* The letters beyond ASCII that omma draws itself, by code point. Private to the font. */
#ifndef OM_KERNEL_DRAW_LETTERS_H
#define OM_KERNEL_DRAW_LETTERS_H

#include <stdint.h>

/* What a composition does to its base, where that is not a combining mark's code point. */
#define OM_LETTER_SAME 1   /* looks like it */
#define OM_LETTER_SMALL 2  /* its capital at the height of small letters, as most of Cyrillic has it */
#define OM_LETTER_RAISED 3 /* half as large, at the top */
#define OM_MARK_TAIL 0x321 /* the descender of Cyrillic capitals */

typedef struct om_composition {
    uint16_t code, base, mark;
} om_composition;

/* Strokes as draw_font.h has them; NULL where there are none. */
const char *om_letter_strokes(uint32_t code);
const char *om_letter_mark(uint32_t code);
/* What a letter is made of; NULL for those that have strokes, or are not known. */
const om_composition *om_letter_composition(uint32_t code);

#endif
