/* HOTA (Luiten et al. 2021): at 19 overlaps the geometric mean of how well boxes and how well identities are
 * found. Pairs of a frame are chosen once, for the best agreement of whole tracks. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/mot_frames.h"

#define OM_ALPHAS 19
#define OM_EPSILON 2.220446049250313e-16

typedef struct om_hota_match {
    int truth_id, result_id;
    double iou;
} om_hota_match;

typedef struct om_hota {
    om_mot_pair *pair;
    double *alignment; /* of each object with each track */
    double *together;  /* boxes that agree, of each object with each track */
    om_hota_match *matches;
    size_t n, cap;
} om_hota;

/* How much of an object's boxes and a track's boxes go together: overlaps, shared among all that overlap. */
static void align(om_hota *h)
{
    om_mot_pair *p = h->pair;
    size_t cols = p->n_result_ids;
    for (size_t n = 0; n < p->n_frames; n++) {
        const om_mot_frame *f = &p->frames[n];
        om_mot_pair_overlaps(p, f);
        for (size_t i = 0; i < f->n_truth; i++)
            for (size_t k = 0; k < f->n_result; k++) {
                double row = 0, col = 0, v = p->iou[i * f->n_result + k];
                for (size_t j = 0; j < f->n_result; j++) row += p->iou[i * f->n_result + j];
                for (size_t j = 0; j < f->n_truth; j++) col += p->iou[j * f->n_result + k];
                double all = row + col - v;
                if (all <= OM_EPSILON) continue;
                h->alignment[(size_t)p->truth_id[f->truth + i] * cols +
                             (size_t)p->result_id[f->result + k]] += v / all;
            }
    }
    for (size_t i = 0; i < p->n_truth_ids; i++)
        for (size_t k = 0; k < cols; k++) {
            double *a = &h->alignment[i * cols + k];
            *a /= (double)p->truth_count[i] + (double)p->result_count[k] - *a;
        }
}

static int match(om_hota *h)
{
    om_mot_pair *p = h->pair;
    for (size_t n = 0; n < p->n_frames; n++) {
        const om_mot_frame *f = &p->frames[n];
        om_mot_pair_overlaps(p, f);
        for (size_t i = 0; i < f->n_truth * f->n_result; i++) {
            size_t object = (size_t)p->truth_id[f->truth + i / f->n_result];
            size_t track = (size_t)p->result_id[f->result + i % f->n_result];
            p->cost[i] = (float)-(h->alignment[object * p->n_result_ids + track] * p->iou[i]);
        }
        int err = om_assign(&p->work, p->cost, (int)f->n_truth, (int)f->n_result, INFINITY, p->row_col);
        if (!err) err = om_grow((void **)&h->matches, &h->cap, h->n + f->n_truth, sizeof(*h->matches));
        if (err) return err;
        for (size_t i = 0; i < f->n_truth; i++) {
            if (p->row_col[i] < 0) continue;
            size_t k = (size_t)p->row_col[i];
            h->matches[h->n++] = (om_hota_match){p->truth_id[f->truth + i], p->result_id[f->result + k],
                                                 p->iou[i * f->n_result + k]};
        }
    }
    return OM_OK;
}

static void add_alpha(om_hota *h, double alpha, om_mot_scores *out)
{
    const om_mot_pair *p = h->pair;
    size_t cols = p->n_result_ids, hits = 0;
    double overlap = 0, association = 0;
    memset(h->together, 0, p->n_truth_ids * cols * sizeof(*h->together));
    for (size_t i = 0; i < h->n; i++) {
        const om_hota_match *m = &h->matches[i];
        if (m->iou < alpha - OM_EPSILON) continue;
        hits++;
        overlap += m->iou;
        h->together[(size_t)m->truth_id * cols + (size_t)m->result_id]++;
    }
    for (size_t i = 0; i < p->n_truth_ids * cols; i++) {
        double both = h->together[i];
        if (both > 0)
            association +=
                both * both / ((double)p->truth_count[i / cols] + (double)p->result_count[i % cols] - both);
    }
    double either = (double)(out->objects + out->predictions - hits);
    double deta = either > 0 ? (double)hits / either : 0, assa = hits ? association / (double)hits : 0;
    out->deta += deta / OM_ALPHAS;
    out->assa += assa / OM_ALPHAS;
    out->loca += (hits ? overlap / (double)hits : 1) / OM_ALPHAS;
    out->hota += sqrt(deta * assa) / OM_ALPHAS;
}

int om_mot_hota(om_mot_pair *p, om_mot_scores *out)
{
    size_t cells = p->n_truth_ids * p->n_result_ids + 1;
    om_hota h = {.pair = p,
                 .alignment = om_calloc(cells, sizeof(double)),
                 .together = om_calloc(cells, sizeof(double))};
    int err = h.alignment && h.together ? OM_OK : OM_ERR_NOMEM;
    if (!err) align(&h);
    if (!err) err = match(&h);
    for (int i = 1; i <= OM_ALPHAS && !err; i++) add_alpha(&h, 0.05 * i, out);
    om_free(h.alignment);
    om_free(h.together);
    om_free(h.matches);
    return err;
}
