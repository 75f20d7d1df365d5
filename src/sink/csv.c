/* One line a detection, and one for a vector; frames without any leave none. */
#include <string.h>

#include "base/csv.h"
#include "base/error.h"
#include "sink/file_out.h"
#include "sink/registry.h"

typedef struct om_csv {
    om_file_out file;
    om_str line;
} om_csv;

static const char header[] =
    "stream,seq,pts,class_id,class,score,x,y,w,h,track,text,text_score,landmarks,quad,vector\n";

static int csv_open(om_sink *s)
{
    om_csv *c = s->priv;
    return om_file_out_open(&c->file, s->target, s->params.append, header);
}

/* "x y x y ...": numbers parted by spaces need no quotes. */
static void points(om_str *line, const float (*xy)[2], int n)
{
    for (int i = 0; i < n; i++)
        om_str_addf(line, "%s%.2f %.2f", i ? " " : "", (double)xy[i][0], (double)xy[i][1]);
}

static void detection(om_str *line, const om_result *r, const om_detection *d)
{
    om_csv_field(line, r->stream);
    om_str_addf(line, ",%llu,%.6f,%d,", (unsigned long long)r->seq, (double)r->pts_ns / 1e9, d->class_id);
    if (d->class_id >= 0 && (size_t)d->class_id < r->labels.n)
        om_csv_field(line, r->labels.names[d->class_id]);
    om_str_addf(line, ",%.4f,%.2f,%.2f,%.2f,%.2f,", (double)d->score, (double)d->x, (double)d->y,
                (double)d->w, (double)d->h);
    if (d->track >= 0) om_str_addf(line, "%lld", (long long)d->track);
    om_str_addc(line, ',');
    om_csv_field(line, d->text);
    om_str_addc(line, ',');
    if (d->text) om_str_addf(line, "%.4f", (double)d->text_score);
    om_str_addc(line, ',');
    points(line, d->landmarks, d->n_landmarks);
    om_str_addc(line, ',');
    if (d->has_quad) points(line, d->quad, 4);
    om_str_add(line, ",\n");
}

/* The columns between the frame's and the vector's stay empty. */
static void vector(om_str *line, const om_result *r)
{
    om_csv_field(line, r->stream);
    om_str_addf(line, ",%llu,%.6f,,,,,,,,,,,,,", (unsigned long long)r->seq, (double)r->pts_ns / 1e9);
    for (size_t i = 0; i < r->dets.n_vector; i++)
        om_str_addf(line, "%s%.6g", i ? " " : "", (double)r->dets.vector[i]);
    om_str_addc(line, '\n');
}

static int csv_write(om_sink *s, const om_result *r)
{
    om_csv *c = s->priv;
    size_t n = r->dets.n + (r->dets.n_vector > 0);
    for (size_t i = 0; i < n; i++) {
        om_str_clear(&c->line);
        if (i < r->dets.n) detection(&c->line, r, &r->dets.items[i]);
        else vector(&c->line, r);
        if (c->line.failed) return om_fail_nomem("a line of CSV");
        int err = om_file_out_line(&c->file, c->line.data, c->line.len);
        if (err) return err;
    }
    return OM_OK;
}

static int csv_flush(om_sink *s)
{
    om_csv *c = s->priv;
    return om_file_out_flush(&c->file);
}

static int csv_close(om_sink *s)
{
    om_csv *c = s->priv;
    om_str_fini(&c->line);
    return om_file_out_close(&c->file);
}

const om_sink_ops om_sink_csv = {
    .name = "csv",
    .flags = OM_SINK_APPENDS,
    .target = "FILE ('-': standard output)",
    .help = "one line a detection, with a header",
    .priv_size = sizeof(om_csv),
    .open = csv_open,
    .write = csv_write,
    .flush = csv_flush,
    .close = csv_close,
};
