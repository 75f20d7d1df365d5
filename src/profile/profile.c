#include "profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/error.h"
#include "base/mem.h"

const char *om_roof_name(om_roof r)
{
    static const char *const names[] = {"compute", "memory", "copy", "overhead"};
    return names[r];
}

static void layer_fini(om_layer *l)
{
    om_free(l->name);
    om_free(l->type);
    om_strlist_fini(&l->members);
}

void om_profile_fini(om_profile *p)
{
    for (size_t i = 0; i < p->n_layers; i++) layer_fini(&p->layers[i]);
    for (size_t i = 0; i < p->n_fusions; i++) {
        om_free(p->fusions[i].where);
        om_free(p->fusions[i].why);
    }
    om_free(p->layers);
    om_free(p->fusions);
    om_free(p->model);
    om_free(p->device);
    om_free(p->engine);
    om_free(p->engine_version);
    om_free(p->requested);
    om_free(p->gap);
    om_strlist_fini(&p->notes);
    om_strlist_fini(&p->system_keys);
    om_strlist_fini(&p->system_values);
    om_json_free(p->run);
    om_free(p->outputs);
    memset(p, 0, sizeof *p);
}

int om_profile_agree(const om_profile *reference, const om_profile *other, double *cosine, double *error)
{
    const float *a = reference->outputs, *b = other->outputs;
    double aa = 0, bb = 0, ab = 0, dd = 0;
    if (!a || !b || reference->n_outputs != other->n_outputs)
        return om_fail(OM_ERR_ARG, "the outputs differ in size: %zu and %zu numbers", reference->n_outputs,
                       other->n_outputs);
    for (size_t i = 0; i < reference->n_outputs; i++) {
        double d = (double)a[i] - b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
        ab += (double)a[i] * b[i];
        dd += d * d;
    }
    *cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb ? 1 : 0;
    *error = aa > 0 ? sqrt(dd / aa) : dd > 0 ? 1 : 0;
    return OM_OK;
}

static int by_time(const void *a, const void *b)
{
    const om_layer *x = *(const om_layer *const *)a, *y = *(const om_layer *const *)b;
    return x->us != y->us ? (x->us < y->us) - (x->us > y->us) : (x > y) - (x < y);
}

void om_profile_order(const om_profile *p, size_t *out)
{
    const om_layer **l = om_calloc(p->n_layers + 1, sizeof *l);
    for (size_t i = 0; i < p->n_layers; i++) out[i] = i;
    if (!l) return; /* in their own order then */
    for (size_t i = 0; i < p->n_layers; i++) l[i] = &p->layers[i];
    qsort(l, p->n_layers, sizeof *l, by_time);
    for (size_t i = 0; i < p->n_layers; i++) out[i] = (size_t)(l[i] - p->layers);
    om_free(l);
}

static int by_sum(const void *a, const void *b)
{
    const om_type_sum *x = a, *y = b;
    return x->us != y->us ? (x->us < y->us) - (x->us > y->us) : strcmp(x->type, y->type);
}

size_t om_profile_types(const om_profile *p, om_type_sum *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        size_t k = 0;
        while (k < n && strcmp(out[k].type, l->type)) k++;
        if (k == max) continue;
        if (k == n) out[n++] = (om_type_sum){.type = l->type};
        out[k].count++;
        out[k].us += l->us;
        out[k].macs += l->macs;
        out[k].bytes += l->bytes;
    }
    qsort(out, n, sizeof *out, by_sum);
    return n;
}

/* Fields; empty: not told. */
static void add_counters(const om_counters *c, om_str *out)
{
    const double v[] = {c->us, c->occupancy, c->l2_hits, c->dram_gbs, c->dram_busy, c->sm_busy};
    om_str_addf(out, ",%d", c->kernels);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        if (c->kernels && v[i] >= 0) om_str_addf(out, ",%.4f", v[i]);
        else om_str_addc(out, ',');
}

static void add_stages(const om_json_value *owner, const char *stream, om_str *out)
{
    static const char *const keys[] = {"mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"};
    const om_json_value *stages = om_json_get_list(owner, "stages");
    for (size_t i = 0; stages && i < stages->n; i++) {
        const om_json_value *s = &stages->children[i];
        om_csv_field(out, stream);
        om_str_addf(out, ",%s,%.0f", om_json_get_string(s, "stage"), om_json_get_num(s, "count", 0));
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            om_str_addf(out, ",%.5f", om_json_get_num(s, keys[k], 0));
        om_str_addc(out, '\n');
    }
}

/* A stream without a name: all of them. */
static void add_run(const om_json_value *run, om_str *out)
{
    const om_json_value *streams = om_json_get_list(run, "streams");
    om_str_add(out, "stream,stage,count,mean_ms,p50_ms,p95_ms,p99_ms,max_ms\n");
    add_stages(run, "", out);
    for (size_t i = 0; streams && i < streams->n; i++)
        add_stages(&streams->children[i], om_json_get_string(&streams->children[i], "name"), out);
}

void om_profile_csv(const om_profile *p, om_str *out)
{
    if (!p->n_layers && p->run) {
        add_run(p->run, out);
        return;
    }
    om_str_add(
        out,
        "layer,name,type,engine_type,implementation,precision,shape,us,percent,least_us,most_us,macs,bytes,"
        "gflops,gbytes_s,reach,bound,operators");
    if (p->counted_by[0])
        om_str_add(out, ",kernels,counted_us,occupancy,l2_hits,dram_gbytes_s,dram_busy,sm_busy");
    om_str_addc(out, '\n');
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        om_str_addf(out, "%zu,", i);
        om_csv_quoted(out, l->name);
        om_str_addc(out, ',');
        om_csv_quoted(out, l->type);
        om_str_addf(out, ",%s,%s,%s,%s,%.2f,%.2f,%.2f,%.2f,%lld,%lld,%.3f,%.3f,%.4f,%s,", l->engine_type,
                    l->exec, l->precision, l->shape, l->us, p->layers_us > 0 ? 100 * l->us / p->layers_us : 0,
                    l->least_us, l->most_us, (long long)l->macs, (long long)l->bytes, l->gflops, l->gbs,
                    l->reach, om_roof_name(l->roof));
        om_str members = {0};
        for (size_t k = 0; k < l->members.n; k++)
            om_str_addf(&members, "%s%s", k ? "; " : "", l->members.items[k]);
        om_csv_quoted(out, om_str_get(&members));
        om_str_fini(&members);
        if (p->counted_by[0]) add_counters(&l->counters, out);
        om_str_addc(out, '\n');
    }
}
