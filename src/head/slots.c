/* Plates of fixed places: one output [N, places, classes] or [N, places * classes]; the best class of each
 * place, where one class says that nothing stands there. The score is the mean likelihood of the characters
 * read. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "head/alphabet.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

typedef struct slots {
    int output;
    om_alphabet alphabet;
} slots;

/* Classes of one place. A flat output is parted by the alphabet's length. */
static int64_t classes_of(const slots *p, const om_shape *s)
{
    return s->rank == 3 ? s->dim[2] : (int64_t)p->alphabet.chars.n;
}

static int check(const slots *p, const om_head *h, const om_shape *s, int *blank)
{
    int64_t classes = classes_of(p, s);
    int rc = om_alphabet_fit(&p->alphabet, h, classes, OM_BLANK_LAST, false, blank);
    if (rc < 0 || s->rank == 3 || s->dim[1] < 0 || s->dim[1] % classes == 0) return rc;
    return om_fail(OM_ERR_ARG,
                   "%s head: output %s has %lld numbers, which are no whole places of %lld characters (%s)",
                   h->ops->name, h->desc->outputs[p->output].name, (long long)s->dim[1], (long long)classes,
                   p->alphabet.source);
}

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "an output [N, places, classes] or [N, places*classes]";
    slots *p = h->priv;
    int blank;
    while (p->output < desc->n_outputs && desc->outputs[p->output].shape.rank != 3 &&
           desc->outputs[p->output].shape.rank != 2)
        p->output++;
    if (p->output == desc->n_outputs) return om_head_misfit(desc, h->ops->name, what);
    const om_shape *s = &desc->outputs[p->output].shape;
    h->n_classes = 1;
    int rc = om_alphabet_read(&p->alphabet, h);
    if (rc == OM_OK && classes_of(p, s) >= 0) rc = check(p, h, s, &blank);
    return rc;
}

static void fini(om_head *h)
{
    slots *p = h->priv;
    om_alphabet_fini(&p->alphabet);
}

static float read_plate(const slots *p, const float *row, size_t places, size_t classes, int blank,
                        bool probabilities, char *text)
{
    double sum = 0;
    size_t read = 0;
    if (!probabilities && places) probabilities = om_row_is_distribution(row, classes);
    for (size_t i = 0; i < places; i++, row += classes) {
        size_t k = om_row_best(row, classes);
        if ((int)k == blank || !isfinite(row[k])) continue;
        float likely = probabilities ? row[k] : om_row_softmax(row, classes, k);
        sum += likely;
        read++;
        const char *c = om_alphabet_at(&p->alphabet, (int64_t)classes, blank, (int)k);
        size_t len = strlen(c);
        memcpy(text, c, len);
        text += len;
    }
    *text = 0;
    return read ? (float)(sum / (double)read) : 0;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const slots *p = h->priv;
    const om_tensor *t = &outputs[p->output];
    int blank, rc = om_head_expect(h, t, p->output, h->desc->outputs[p->output].shape.rank, item);
    if (rc == OM_OK) rc = check(p, h, &t->shape, &blank);
    if (rc < 0) return rc;
    size_t classes = (size_t)classes_of(p, &t->shape);
    size_t places = (size_t)(t->shape.rank == 3 ? t->shape.dim[1] : t->shape.dim[1] / (int64_t)classes);
    size_t longest = places * p->alphabet.longest + 1;
    uint8_t *mem = om_head_scratch_get(s, om_piece(longest) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    char *text = om_take(&mem, longest);
    float score =
        read_plate(p, om_floats(t, item, &mem), places, classes, blank, h->desc->probabilities, text);
    return om_text_emit(h, g, text, score, out);
}

const om_head_ops om_head_slots = {
    .name = "slots",
    .title = "a plate's text in fixed places",
    .family = OM_FAMILY_SLOTS,
    .conf = 0,
    .iou = 1,
    .priv_size = sizeof(slots),
    .init = init,
    .fini = fini,
    .decode = decode,
};
