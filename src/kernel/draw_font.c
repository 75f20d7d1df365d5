#include "kernel/draw_font.h"

#include "kernel/draw_letters.h"

static const char *const glyphs['~' - ' ' + 1] = {
    /*   */ "",
    /* ! */ "0209 0c0c",
    /* " */ "0205 2225",
    /* # */ "231b 534b 0565 0969",
    /* $ */ "63521203061757686b5c1c0b 313d",
    /* % */ "03122325160503 620c 4958696b5c4b49",
    /* & */ "6c151322324344090b1c3c68",
    /* ' */ "0205",
    /* ( */ "2113050a1c2e",
    /* ) */ "0113252a1c0e",
    /* * */ "2228 0347 4307",
    /* + */ "343a 0767",
    /* , */ "1b1c0e",
    /* - */ "0848",
    /* . */ "0c0c",
    /* / */ "520c",
    /* 0 */ "22324355594b3c2c1b09051322",
    /* 1 */ "04222c 0c4c",
    /* 2 */ "0312425355470c5c",
    /* 3 */ "03124253564727 47585b4c1c0b",
    /* 4 */ "4c420969",
    /* 5 */ "52020646575b4c1c0b",
    /* 6 */ "53422213050b1c4c5b57461607",
    /* 7 */ "02522c",
    /* 8 */ "124253564717060312 17080b1c4c5b5847",
    /* 9 */ "0b1c3c4b595342120307184857",
    /* : */ "0707 0c0c",
    /* ; */ "1717 1b1c0e",
    /* < */ "54085c",
    /* = */ "0666 0a6a",
    /* > */ "04580c",
    /* ? */ "03124253552829 2c2c",
    /* @ */ "6b5c2c0a05235375796958563627283958",
    /* A */ "0c326c 1959",
    /* B */ "0c024253564707 4757686b5c0c",
    /* C */ "645342221305091b2c4c5b6a",
    /* D */ "020c3c5b6965533202",
    /* E */ "52020c5c 0747",
    /* F */ "52020c 0747",
    /* G */ "645342221305091b2c4c5b6a6737",
    /* H */ "020c 626c 0767",
    /* I */ "0222 121c 0c2c",
    /* J */ "2242 424a3c1c0a",
    /* K */ "020c 6208 266c",
    /* L */ "020c5c",
    /* M */ "0c0249828c",
    /* N */ "0c026c62",
    /* O */ "22425365695b4c2c1b09051322",
    /* P */ "0c025263665707",
    /* Q */ "22425365695b4c2c1b09051322 4a6d",
    /* R */ "0c025263665707 376c",
    /* S */ "63521203061757686b5c1c0b",
    /* T */ "0262 323c",
    /* U */ "020a1b2c4c5b6a62",
    /* V */ "023c62",
    /* W */ "022c456c82",
    /* X */ "026c 620c",
    /* Y */ "023762 373c",
    /* Z */ "02620c6c",
    /* [ */ "22020e2e",
    /* \ */ "025c",
    /* ] */ "02222e0e",
    /* ^ */ "052245",
    /* _ */ "0e6e",
    /* ` */ "0214",
    /* a */ "061545565c 5818090b1c4c5b",
    /* b */ "020c 061545565b4c1c0b",
    /* c */ "564515060b1c4c5b",
    /* d */ "525c 564515060b1c4c5b",
    /* e */ "0858564515060b1c4c5b",
    /* f */ "3222131c 0535",
    /* g */ "564515060b1c4c5b 555e4f1f0e",
    /* h */ "020c 061545565c",
    /* i */ "050c 0202",
    /* j */ "151e0f 1212",
    /* k */ "020c 4509 275c",
    /* l */ "020b1c",
    /* m */ "050c 061535464c 465575868c",
    /* n */ "050c 061545565c",
    /* o */ "1545565b4c1c0b0615",
    /* p */ "050f 061545565b4c1c0b",
    /* q */ "555f 564515060b1c4c5b",
    /* r */ "050c 072545",
    /* s */ "564515060718495a5b4c1c0b",
    /* t */ "131b2c3c 0535",
    /* u */ "050b1c4c5b 555c",
    /* v */ "053c65",
    /* w */ "052c476c85",
    /* x */ "055c 550c",
    /* y */ "053c 653c2e1f0f",
    /* z */ "05550c5c",
    /* { */ "3222131607181d2e3e",
    /* | */ "010e",
    /* } */ "0212232637282d1e0e",
    /* ~ */ "081727495968",
};

#define MISSING "02525c0c02 025c 520c"
#define TALL_TOP 4.5f      /* what reaches above is made lower where a mark comes on top of it */
#define LOWER 0.7f         /* from the height of capitals to that of small letters */
#define NARROWER 0.85f     /* the same for their width */
#define UNDER_MARK 0.75f   /* from the height of capitals to one that leaves room for a mark */
#define RAISED_SCALE 0.55f /* superscripts */
#define RAISED_BY (-4.5f)
#define MARK_APART 1.0f

static int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

void om_font_place(const om_glyph_part *part, int x, int y, float *px, float *py)
{
    float rise = (float)(OM_FONT_BASELINE - y);
    *px = (float)x * part->scale_x + part->dx;
    *py = (float)OM_FONT_BASELINE - (rise > 0 ? rise * part->scale_y : rise) + part->dy;
}

/* The edges of strokes as they are placed. */
static void extent(const om_glyph_part *part, float *right, float *top)
{
    *right = 0;
    *top = OM_FONT_HEIGHT;
    for (const char *p = part->strokes; *p; p += *p == ' ' ? 1 : 2) {
        float x, y;
        if (*p == ' ') continue;
        om_font_place(part, hex(p[0]), hex(p[1]), &x, &y);
        if (x > *right) *right = x;
        if (y < *top) *top = y;
    }
}

static void single(om_glyph *g, const char *strokes)
{
    float top;
    *g = (om_glyph){.parts = {{strokes, 1, 1, 0, 0}}, .n = 1, .marked = -1};
    extent(&g->parts[0], &g->width, &top);
    if (!*strokes) g->width = OM_FONT_SPACE;
}

static void resize(om_glyph *g, float x, float y, float dy)
{
    for (int i = 0; i < g->n; i++) {
        om_glyph_part *p = &g->parts[i];
        p->scale_x *= x;
        p->scale_y *= y;
        p->dx *= x;
        p->dy = p->dy * y + dy;
    }
    g->width *= x;
}

/* Where a mark goes beside a letter, not above or below it. */
static bool goes_beside(uint32_t mark) { return mark == 0x315 || mark == 0x31b; }
static bool goes_to_the_foot(uint32_t mark) { return mark == 0x328 || mark == OM_MARK_TAIL; }

/* Room for marks above what is as high as a capital. */
static void make_room(om_glyph *g)
{
    float right, top, least = OM_FONT_HEIGHT;
    for (int i = 0; i < g->n; i++) {
        extent(&g->parts[i], &right, &top);
        if (top < least) least = top;
    }
    if (least < TALL_TOP) resize(g, 1, UNDER_MARK, 0);
}

bool om_font_add_mark(om_glyph *g, uint32_t mark)
{
    const char *strokes = om_letter_mark(mark);
    if (!strokes || g->n == OM_GLYPH_PARTS) return false;
    om_glyph_part part = {strokes, 1, 1, 0, 0};
    float width, top, right;
    extent(&part, &width, &top);
    bool above = top < TALL_TOP && !goes_beside(mark);
    if (goes_beside(mark)) part.dx = g->width + (mark == 0x315 ? MARK_APART : 0);
    else if (goes_to_the_foot(mark)) part.dx = g->width - width + (mark == OM_MARK_TAIL ? MARK_APART : 0);
    else if (above && g->marked >= 0) part.dx = g->marked + MARK_APART;
    else part.dx = (g->width - width) / 2;
    if (above && g->marked < 0) make_room(g);
    if (part.dx < 0) { /* wider than the letter */
        for (int i = 0; i < g->n; i++) g->parts[i].dx -= part.dx;
        g->width -= part.dx;
        part.dx = 0;
    }
    right = part.dx + width;
    if (above) g->marked = right;
    if (right > g->width) g->width = right;
    g->parts[g->n++] = part;
    return true;
}

uint32_t om_font_without_dot(uint32_t code, uint32_t mark)
{
    bool below = mark >= 0x323 && mark <= 0x331;
    if (below) return code;
    return code == 'i' || code == 0x456 ? 0x131 : code == 'j' ? 0x237 : code;
}

static bool known(uint32_t code, om_glyph *g)
{
    const char *strokes = code >= ' ' && code <= '~' ? glyphs[code - ' '] : om_letter_strokes(code);
    if (strokes) {
        single(g, strokes);
        return true;
    }
    const om_composition *c = om_letter_composition(code);
    if (!c) return false;
    bool marked = c->mark > OM_LETTER_RAISED;
    if (!known(marked ? om_font_without_dot(c->base, c->mark) : c->base, g)) return false;
    if (c->mark == OM_LETTER_SMALL) resize(g, NARROWER, LOWER, 0);
    if (c->mark == OM_LETTER_RAISED) resize(g, RAISED_SCALE, RAISED_SCALE, RAISED_BY);
    return !marked || om_font_add_mark(g, c->mark);
}

bool om_font_glyph(uint32_t code, om_glyph *g)
{
    if (known(code, g)) return true;
    single(g, MISSING);
    return false;
}
