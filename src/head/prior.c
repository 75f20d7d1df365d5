#include "head/prior.h"

#include <math.h>

#include "base/error.h"
#include "head/number.h"

static const char ssd300[] =
    "8,30,60,2;16,60,111,2,3;32,111,162,2,3;64,162,213,2,3;100,213,264,2;300,264,315,2";
static const char mobilenet[] =
    "16,60,105,2,3;32,105,150,2,3;64,150,195,2,3;100,195,240,2,3;150,240,285,2,3;300,285,330,2,3";

const char *om_priors_known(size_t count)
{
    return count == 8732 ? ssd300 : count == 3000 ? mobilenet : NULL;
}

int om_priors_parse(om_priors *p, const char *head, const char *text)
{
    const char *from = text;
    for (p->n = 0; *text; p->n++) {
        double v[3 + OM_PRIOR_RATIOS];
        int n = p->n < OM_PRIOR_GRIDS ? om_group_read(&text, v, 3 + OM_PRIOR_RATIOS) : -1;
        for (int i = 0; i < n; i++)
            if (!(v[i] > 0 && v[i] < 1e6)) n = -1;
        if (n < 3)
            return om_fail(
                OM_ERR_ARG,
                "%s head: priors '%.80s'; expected step, smallest size, largest size and ratios, a "
                "group for each grid, as in '%s'",
                head, from, ssd300);
        struct om_prior_grid *grid = &p->grid[p->n];
        grid->step = (float)v[0];
        grid->smallest = (float)v[1];
        grid->largest = (float)v[2];
        grid->n_ratios = n - 3;
        for (int i = 3; i < n; i++) grid->ratio[i - 3] = (float)v[i];
    }
    return OM_OK;
}

static size_t across(float size, float step) { return (size_t)ceilf(size / step - 1e-4f); }

static size_t in_grid(const struct om_prior_grid *grid, const om_geometry *g)
{
    return across((float)g->dst_w, grid->step) * across((float)g->dst_h, grid->step) *
           (size_t)(2 + 2 * grid->n_ratios);
}

size_t om_priors_count(const om_priors *p, const om_geometry *g)
{
    size_t n = 0;
    for (int k = 0; k < p->n; k++) n += in_grid(&p->grid[k], g);
    return n;
}

static float least(float a, float b) { return a < b ? a : b; }

void om_priors_at(const om_priors *p, const om_geometry *g, size_t i, float box[4])
{
    int k = 0;
    for (; k < p->n - 1 && i >= in_grid(&p->grid[k], g); k++) i -= in_grid(&p->grid[k], g);
    const struct om_prior_grid *grid = &p->grid[k];
    size_t each = (size_t)(2 + 2 * grid->n_ratios), cell = i / each, kind = i % each;
    size_t columns = across((float)g->dst_w, grid->step);
    float w = grid->smallest, h = grid->smallest;
    if (kind == 1) w = h = sqrtf(grid->smallest * grid->largest);
    if (kind > 1) {
        float root = sqrtf(grid->ratio[(kind - 2) / 2]);
        w *= kind % 2 ? 1 / root : root;
        h *= kind % 2 ? root : 1 / root;
    }
    box[0] = least(((float)(cell % columns) + 0.5f) * grid->step, (float)g->dst_w);
    box[1] = least(((float)(cell / columns) + 0.5f) * grid->step, (float)g->dst_h);
    box[2] = least(w, (float)g->dst_w);
    box[3] = least(h, (float)g->dst_h);
}
