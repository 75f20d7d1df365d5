#include "backend/cuda/join.h"

#include <string.h>

#include "base/error.h"

#define MAX_CHANNELS 160 /* that the kernel makes */

static bool by_eights(const omcu_view *v)
{
    for (int i = 0; i < v->rank; i++)
        if (i != 1 && v->dim[i] != 1 && v->stride[i] % 8) return false;
    return v->offset % 8 == 0;
}

static bool same_place(const omcu_view *a, const omcu_view *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && a->type == b->type;
}

/* Nobody else reads or writes what lies between. */
static bool is_private(const omcu_program *p, int buffer, int first)
{
    for (int i = 0; i < p->n_steps; i++) {
        const omcu_step *s = &p->steps[i];
        if (i == first || i == first + 1) continue;
        for (int k = 0; k < s->n_in; k++)
            if (s->in[k].buffer == buffer) return false;
        for (int k = 0; k < s->n_out; k++)
            if (s->out[k].buffer == buffer) return false;
    }
    return p->buffers[buffer].place == OMCU_IN_ARENA;
}

static bool fits(const omcu_program *p, int i)
{
    const omcu_step *dw = &p->steps[i], *pw = &p->steps[i + 1];
    const omcu_conv *d = &dw->u.conv, *c = &pw->u.conv;
    if (dw->kind != OMCU_STEP_DEPTHWISE || pw->kind != OMCU_STEP_CONV || !dw->half || !pw->half) return false;
    bool window = d->r == 3 && d->s == 3 && d->dil_y == 1 && d->dil_x == 1 && d->groups % 8 == 0 &&
                  d->vector && !d->wide && !dw->has_res && d->act2.op == OMCU_NONE && by_eights(&dw->in[0]);
    bool point = c->groups == 1 && c->r == 1 && c->s == 1 && c->stride_y == 1 && c->stride_x == 1 &&
                 !c->pad_y && !c->pad_x && pw->tactic >= 0 && c->c == d->groups && c->kdim == c->c &&
                 c->h == d->ho && c->wd == d->wo && c->n == d->n && c->k % 8 == 0 && c->k <= MAX_CHANNELS &&
                 c->vector && !c->wide;
    bool between = c->x_n == d->y_n && c->x_h == d->y_h && c->x_w == d->y_w;
    return window && point && between && same_place(&dw->out[0], &pw->in[0]) &&
           is_private(p, dw->out[0].buffer, i) && (!pw->has_res || pw->in[3].buffer != dw->out[0].buffer);
}

void omcu_join_mark(omcu_program *p)
{
    int n = 0;
    for (int i = 0; i + 1 < p->n_steps && n < OMCU_FORM_PAIRS - 1; i++) {
        if (!fits(p, i)) continue;
        omcu_buffer *from = &p->buffers[p->steps[i].in[0].buffer];
        p->steps[i].pair = true;
        if (from->last < i + 1) from->last = i + 1;
        n++;
    }
}

static void set(omcu_program *p, int i, bool one)
{
    p->steps[i].joined = one;
    p->steps[i + 1].joins = one ? i + 1 : 0;
}

void omcu_join_tune(omcu_program *p, omcu_timer *time, void *user)
{
    for (int i = 0; i < p->n_steps; i++) {
        if (!p->steps[i].pair) continue;
        set(p, i, false);
        double first = time(user, &p->steps[i]), second = time(user, &p->steps[i + 1]);
        set(p, i, true);
        double both = time(user, &p->steps[i + 1]);
        if (both <= 0 || first <= 0 || second <= 0 || both >= first + second) set(p, i, false);
    }
}

void omcu_join_export(const omcu_program *p, char *out)
{
    int n = 0;
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].pair) out[n++] = p->steps[i].joined ? '1' : '2';
    out[n] = 0;
}

int omcu_join_recall(omcu_program *p, const char *decided)
{
    size_t n = 0, all = strlen(decided);
    for (int i = 0; i < p->n_steps; i++) {
        if (!p->steps[i].pair) continue;
        if (n < all) set(p, i, decided[n] == '1');
        n++;
    }
    return n == all ? OM_OK
                    : om_fail(OM_ERR_FORMAT, "it was made of %zu pairs of convolutions, which are %zu now",
                              all, n);
}
