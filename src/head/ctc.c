/* Lines of text by connectionist temporal classification: one output [N, T, classes] or [T, N, classes]; the
 * best class of each step, repeats taken as one, without blanks. The score is the mean likelihood of the
 * characters read. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "head/alphabet.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

typedef struct ctc {
    int output;
    bool steps_first; /* [T, N, classes] */
    om_alphabet alphabet;
} ctc;

/* Whether the batch is the second dim: it is the input's, and the first dim is not. */
static bool steps_first(const om_model_desc *desc, const om_shape *s)
{
    int64_t batch = desc->n_inputs > 0 && desc->inputs[0].shape.rank == 4 ? desc->inputs[0].shape.dim[0] : 1;
    return s->dim[0] > 1 && s->dim[0] != batch && (s->dim[1] == batch || s->dim[1] == 1 || s->dim[1] < 0);
}

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "an output [N, steps, classes]";
    ctc *p = h->priv;
    int blank;
    while (p->output < desc->n_outputs && desc->outputs[p->output].shape.rank != 3) p->output++;
    if (p->output == desc->n_outputs) return om_head_misfit(desc, h->ops->name, what);
    const om_shape *s = &desc->outputs[p->output].shape;
    p->steps_first = steps_first(desc, s);
    h->n_classes = 1;
    int rc = om_alphabet_read(&p->alphabet, h);
    if (rc == OM_OK && s->dim[2] >= 0) rc = om_alphabet_fit(&p->alphabet, h, s->dim[2], 0, true, &blank);
    return rc;
}

static void fini(om_head *h)
{
    ctc *p = h->priv;
    om_alphabet_fini(&p->alphabet);
}

/* Reads `steps` rows that lie `stride` floats apart; returns the mean likelihood of what was read. `symbols`
 * has room for one a step. */
static float read_line(const om_head *h, const float *row, size_t steps, size_t stride, int64_t classes,
                       int blank, om_ctc_symbol *symbols, char *text)
{
    const ctc *p = h->priv;
    size_t n = (size_t)classes, read = 0;
    double sum = 0;
    bool probabilities = h->desc->probabilities || (steps && om_row_is_distribution(row, n));
    om_scores s = {row, OM_DTYPE_F32, steps, n, stride, 1};
    size_t found = h->kernels->ctc_greedy(&s, blank, symbols);
    for (size_t i = 0; i < found; i++) {
        int32_t k = symbols[i].label;
        float score = symbols[i].score;
        if (!isfinite(score)) continue;
        sum += probabilities ? score : om_row_softmax(row + symbols[i].step * stride, n, (size_t)k);
        read++;
        const char *c = om_alphabet_at(&p->alphabet, classes, blank, k);
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
    const ctc *p = h->priv;
    om_tensor t = outputs[p->output];
    int rc = om_head_expect(h, &t, p->output, 3, 0), blank;
    if (rc < 0) return rc;
    const int64_t *d = t.shape.dim, classes = d[2];
    bool steps_first = p->steps_first || (d[0] > 1 && d[1] == 1 && item == 0);
    if (item < 0 || item >= d[steps_first ? 1 : 0])
        return om_fail(OM_ERR_ARG, "%s head: no item %d in output %s", h->ops->name, item,
                       h->desc->outputs[p->output].name);
    rc = om_alphabet_fit(&p->alphabet, h, classes, 0, true, &blank);
    if (rc < 0) return rc;
    size_t steps = (size_t)d[steps_first ? 0 : 1], stride = (size_t)classes, first = 0;
    if (steps_first) { /* all of the batch is one item then, which is read with gaps */
        first = (size_t)item * stride;
        stride *= (size_t)d[1];
        om_tensor_add_batch(&t, 4);
        item = 0;
    }
    size_t longest = steps * (p->alphabet.longest ? p->alphabet.longest : 1) + 1;
    size_t room = steps * sizeof(om_ctc_symbol);
    uint8_t *mem = om_head_scratch_get(s, om_piece(longest) + om_piece(room) + om_floats_size(&t));
    if (!mem) return OM_ERR_NOMEM;
    char *text = om_take(&mem, longest);
    om_ctc_symbol *symbols = om_take(&mem, room);
    const float *row = om_floats(&t, item, &mem) + first;
    float score = read_line(h, row, steps, stride, classes, blank, symbols, text);
    return om_text_emit(h, g, text, score, out);
}

const om_head_ops om_head_ctc = {
    .name = "ctc",
    .title = "a line of text (PP-OCR, CRNN)",
    .family = OM_FAMILY_CTC,
    .conf = 0,
    .iou = 1,
    .priv_size = sizeof(ctc),
    .init = init,
    .fini = fini,
    .decode = decode,
};
