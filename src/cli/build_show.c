#include "cli/build_show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend/planfile.h"
#include "base/error.h"
#include "base/json.h"

#define MAX_PARTS 16

static const char *choice_name(const om_choice *c, int value)
{
    while (c->name && c->value != value) c++;
    return c->name ? c->name : "";
}

static void time_text(int64_t us, char out[32])
{
    time_t s = (time_t)(us / 1000000);
    struct tm t;
    if (!gmtime_r(&s, &t) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t)) out[0] = 0;
}

/* NULL: it fits here; else why not. */
static const char *misfit_here(const om_plan_file *f, char why[512])
{
    const om_backend_ops *ops;
    const char *device;
    if (!om_backend_select(f->info.device, &ops, &device)) return om_plan_file_misfit(f, ops, device, why);
    snprintf(why, 512, "cannot be used: %.400s", om_error_message());
    return why;
}

/* What a compiled form holds, as the backend reads it; 0: it says nothing, or is not to be had here;
 * negative: the form is not what it should be. */
static int parts_of(const om_plan_file *f, const om_plan_blob *b, om_plan_part out[MAX_PARTS])
{
    const om_backend_ops *ops;
    const char *device;
    if (!b->len || om_backend_select(f->info.device, &ops, &device) || !ops->plan_parts) return 0;
    int n = ops->plan_parts(b->data, b->len, out, MAX_PARTS);
    return n < MAX_PARTS ? n : MAX_PARTS;
}

static void show_parts(const om_plan_file *f, const om_plan_blob *b)
{
    om_plan_part parts[MAX_PARTS];
    int n = parts_of(f, b, parts);
    if (n < 0) printf("             is refused: %s\n", om_error_message());
    for (int i = 0; i < n; i++)
        printf("             batch %d: %d steps, products %s, %.1f MB\n", parts[i].batch, parts[i].steps,
               parts[i].products, (double)parts[i].bytes / 1e6);
}

static void put_parts(om_json *j, const om_plan_file *f, const om_plan_blob *b)
{
    om_plan_part parts[MAX_PARTS];
    int n = parts_of(f, b, parts);
    if (n < 0) om_json_key_string(j, "refused", om_error_message());
    if (n <= 0) return;
    om_json_key(j, "parts");
    om_json_begin_array(j);
    for (int i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key_uint(j, "batch", (uint64_t)parts[i].batch);
        om_json_key_uint(j, "steps", (uint64_t)parts[i].steps);
        om_json_key_uint(j, "bytes", parts[i].bytes);
        om_json_key_string(j, "products", parts[i].products);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void show(const om_plan_file *f, const char *misfit)
{
    const om_plan_info *p = &f->info;
    char made[32];
    time_text(p->made_us, made);
    printf("%s: plan format %u, %.1f MB\n", f->path, OM_PLAN_FORMAT, (double)f->size / 1e6);
    printf("  made of    %s (%s), %.1f MB of ONNX inside\n", p->model, p->family, (double)f->model_len / 1e6);
    printf("  made       %s by omma %s\n", made, p->omma);
    printf("  engine     %s %s\n", p->backend, p->engine);
    printf("  device     %s: %s\n", p->device, p->machine);
    printf("  precision  %s, for %s\n", choice_name(om_precision_choices, (int)p->precision),
           choice_name(om_mode_choices, (int)p->mode));
    if (p->min_batch == p->max_batch) printf("  batch      %d\n", p->max_batch);
    else printf("  batch      %d to %d, best %d\n", p->min_batch, p->max_batch, p->opt_batch);
    for (int i = 0; i < f->n_blobs; i++) {
        const om_plan_blob *b = &f->blobs[i];
        printf("  %s%dx%d, batch %d: ", i ? "           " : "compiled   ", b->width, b->height, b->batch);
        if (b->len) printf("%.1f MB\n", (double)b->len / 1e6);
        else printf("nothing kept, compiled when it is run\n");
        show_parts(f, b);
    }
    printf("  note       %s\n", p->note);
    printf("  here       %s%s\n", misfit ? misfit : "fits",
           misfit ? ": the model inside is compiled anew" : "");
}

static void put_plan(om_json *j, const om_plan_file *f, const char *misfit)
{
    const om_plan_info *p = &f->info;
    char made[32];
    time_text(p->made_us, made);
    om_json_begin_object(j);
    om_json_key_string(j, "plan", f->path);
    om_json_key_uint(j, "format", OM_PLAN_FORMAT);
    om_json_key_uint(j, "bytes", f->size);
    om_json_key_string(j, "made_of", p->model);
    om_json_key_string(j, "family", p->family);
    om_json_key_uint(j, "model_bytes", f->model_len);
    om_json_key_string(j, "made", made);
    om_json_key_string(j, "omma", p->omma);
    om_json_key_string(j, "backend", p->backend);
    om_json_key_string(j, "engine", p->engine);
    om_json_key_string(j, "device", p->device);
    om_json_key_string(j, "machine", p->machine);
    om_json_key_string(j, "precision", choice_name(om_precision_choices, (int)p->precision));
    om_json_key_string(j, "mode", choice_name(om_mode_choices, (int)p->mode));
    om_json_key_uint(j, "min_batch", (uint64_t)p->min_batch);
    om_json_key_uint(j, "opt_batch", (uint64_t)p->opt_batch);
    om_json_key_uint(j, "max_batch", (uint64_t)p->max_batch);
    om_json_key_string(j, "note", p->note);
    om_json_key(j, "compiled");
    om_json_begin_array(j);
    for (int i = 0; i < f->n_blobs; i++) {
        om_json_begin_object(j);
        om_json_key_uint(j, "width", (uint64_t)f->blobs[i].width);
        om_json_key_uint(j, "height", (uint64_t)f->blobs[i].height);
        om_json_key_uint(j, "batch", (uint64_t)f->blobs[i].batch);
        om_json_key_uint(j, "bytes", f->blobs[i].len);
        put_parts(j, f, &f->blobs[i]);
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_key(j, "fits");
    om_json_bool(j, !misfit);
    om_json_key_string(j, "misfit", misfit);
    om_json_end_object(j);
}

static int write_json(const om_plan_file *f, const char *misfit, const char *path)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 2);
    put_plan(&j, f, misfit);
    om_str_addc(&text, '\n');
    int err = text.failed ? om_fail_nomem("the plan's description") : OM_OK;
    if (!err && !strcmp(path, "-")) fputs(om_str_get(&text), stdout);
    else if (!err) err = om_write_file_atomic(path, om_str_get(&text), text.len);
    om_str_fini(&text);
    return err;
}

int om_build_inspect(const char *path, const char *json)
{
    om_plan_file *f = NULL;
    char why[512];
    int err = om_plan_file_load(path, &f);
    if (err) return err;
    const char *misfit = misfit_here(f, why);
    if (json) err = write_json(f, misfit, json);
    else show(f, misfit);
    om_plan_file_free(f);
    return err;
}
