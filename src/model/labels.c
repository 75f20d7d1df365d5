#include "model/labels.h"

#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"

#define MAX_LABELS 100000
#define MAX_FILE (16u << 20)

const char *const om_coco_names[OM_COCO_CLASSES] = {
    "person",        "bicycle",      "car",
    "motorcycle",    "airplane",     "bus",
    "train",         "truck",        "boat",
    "traffic light", "fire hydrant", "stop sign",
    "parking meter", "bench",        "bird",
    "cat",           "dog",          "horse",
    "sheep",         "cow",          "elephant",
    "bear",          "zebra",        "giraffe",
    "backpack",      "umbrella",     "handbag",
    "tie",           "suitcase",     "frisbee",
    "skis",          "snowboard",    "sports ball",
    "kite",          "baseball bat", "baseball glove",
    "skateboard",    "surfboard",    "tennis racket",
    "bottle",        "wine glass",   "cup",
    "fork",          "knife",        "spoon",
    "bowl",          "banana",       "apple",
    "sandwich",      "orange",       "broccoli",
    "carrot",        "hot dog",      "pizza",
    "donut",         "cake",         "chair",
    "couch",         "potted plant", "bed",
    "dining table",  "toilet",       "tv",
    "laptop",        "mouse",        "remote",
    "keyboard",      "cell phone",   "microwave",
    "oven",          "toaster",      "sink",
    "refrigerator",  "book",         "clock",
    "vase",          "scissors",     "teddy bear",
    "hair drier",    "toothbrush",
};

typedef struct literal {
    const char *text, *p;
} literal;

static void skip_space(literal *l)
{
    while (*l->p && strchr(" \t\r\n", *l->p)) l->p++;
}

static bool take(literal *l, char c)
{
    skip_space(l);
    if (*l->p != c) return false;
    l->p++;
    return true;
}

static int broken(const literal *l, const char *expected)
{
    return om_fail(OM_ERR_FORMAT, "class names: byte %zu: expected %s", (size_t)(l->p - l->text), expected);
}

/* `digits` hexadecimal ones as a number, -1 if they are not all there. */
static long read_hex(literal *l, int digits)
{
    long v = 0;
    for (int i = 0; i < digits; i++, l->p++) {
        const char *hex = "0123456789abcdef", *at = *l->p ? strchr(hex, *l->p | 0x20) : NULL;
        if (!at) return -1;
        v = v * 16 + (at - hex);
    }
    return v;
}

static int read_escape(literal *l, om_str *out)
{
    static const char from[] = "ntr0", to[] = "\n\t\r?";
    char c = *l->p;
    if (!c) return broken(l, "a character after '\\'");
    l->p++;
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
        long v = read_hex(l, digits);
        if (v <= 0 || v > 0x10ffff) return broken(l, "hexadecimal digits of a character");
        char bytes[4];
        om_str_addn(out, bytes, om_utf8_encode((uint32_t)v, bytes));
        return OM_OK;
    }
    const char *at = strchr(from, c);
    om_str_addc(out, at ? to[at - from] : c);
    return OM_OK;
}

static int read_string(literal *l, om_str *out)
{
    skip_space(l);
    char quote = *l->p;
    if (quote != '\'' && quote != '"') return broken(l, "a quoted name");
    l->p++;
    om_str_clear(out);
    while (*l->p != quote) {
        if (!*l->p) return broken(l, "the closing quote");
        if (*l->p == '\\') {
            l->p++;
            int e = read_escape(l, out);
            if (e) return e;
        } else {
            om_str_addc(out, *l->p++);
        }
    }
    l->p++;
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int read_key(literal *l, long *key)
{
    skip_space(l);
    char quote = *l->p == '\'' || *l->p == '"' ? *l->p++ : 0;
    if (*l->p < '0' || *l->p > '9') return broken(l, "a class number");
    for (*key = 0; *l->p >= '0' && *l->p <= '9'; l->p++) {
        *key = *key * 10 + (*l->p - '0');
        if (*key >= MAX_LABELS) return broken(l, "a class number below 100000");
    }
    if (quote && *l->p++ != quote) return broken(l, "the closing quote");
    return take(l, ':') ? OM_OK : broken(l, "':'");
}

static int put(om_strlist *out, size_t first, long key, const char *name)
{
    while (out->n <= first + (size_t)key) {
        char number[24] = "";
        long at = (long)(out->n - first);
        om_str text = {0};
        om_str_addf(&text, "%ld", at);
        strncpy(number, om_str_get(&text), sizeof number - 1);
        om_str_fini(&text);
        int e = om_strlist_add(out, at == key ? name : number);
        if (e) return e;
        if (at == key) return OM_OK;
    }
    char *copy = om_strdup(name);
    if (!copy) return OM_ERR_NOMEM;
    om_free(out->items[first + (size_t)key]);
    out->items[first + (size_t)key] = copy;
    return OM_OK;
}

int om_labels_parse(const char *text, om_strlist *out)
{
    literal l = {text, text};
    om_str name = {0};
    size_t first = out->n;
    bool dict = take(&l, '{');
    int e = dict || take(&l, '[') ? OM_OK : broken(&l, "'{' or '['");
    const char close = dict ? '}' : ']';
    for (long key = 0; !e && !take(&l, close); key++) {
        if (dict) e = read_key(&l, &key);
        else if (key >= MAX_LABELS) e = broken(&l, "fewer names");
        if (!e) e = read_string(&l, &name);
        if (!e) e = put(out, first, key, om_str_get(&name));
        if (!e && !take(&l, ',')) {
            skip_space(&l);
            if (*l.p != close) e = broken(&l, dict ? "',' or '}'" : "',' or ']'");
        }
    }
    om_str_fini(&name);
    return e;
}

void om_labels_write(const char *const *names, int n, om_str *out)
{
    om_str_addc(out, '{');
    for (int i = 0; i < n; i++) {
        char quote = strchr(names[i], '\'') && !strchr(names[i], '"') ? '"' : '\'';
        om_str_addf(out, "%s%d: %c", i ? ", " : "", i, quote);
        for (const char *p = names[i]; *p; p++) {
            if (*p == quote || *p == '\\') om_str_addc(out, '\\');
            if (*p == '\n') om_str_add(out, "\\n");
            else om_str_addc(out, *p);
        }
        om_str_addc(out, quote);
    }
    om_str_addc(out, '}');
}

int om_labels_read(const char *path, om_strlist *out)
{
    char *data = NULL;
    size_t len = 0, used = 0;
    int e = om_read_file(path, MAX_FILE, &data, &len);
    if (e) return e;
    const char *p = data;
    if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) p += 3;
    if (memchr(data, 0, len)) e = om_fail(OM_ERR_FORMAT, "%s: not a text of class names", path);
    while (!e && *p) {
        size_t n = strcspn(p, "\n"), keep = n;
        while (keep > 0 && strchr(" \t\r", p[keep - 1])) keep--;
        e = om_strlist_addn(out, p, keep);
        if (!e && keep > 0) used = out->n;
        p += n + (p[n] == '\n');
    }
    while (out->n > used) om_free(out->items[--out->n]);
    om_free(data);
    if (!e && out->n == 0) e = om_fail(OM_ERR_FORMAT, "%s: no class names in it", path);
    return e;
}
