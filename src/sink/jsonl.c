/* One JSON object a frame, one line each. The names are a contract: docs/results.md. */
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "sink/file_out.h"
#include "sink/record.h"
#include "sink/registry.h"

typedef struct om_jsonl {
    om_file_out file;
    om_str line;
} om_jsonl;

static int jsonl_open(om_sink *s)
{
    om_jsonl *j = s->priv;
    return om_file_out_open(&j->file, s->target, s->params.append, NULL);
}

static void record(om_json *j, const om_result *r)
{
    char when[OM_ISO_TIME_SIZE];
    om_iso_time(r->wall_us, when);
    om_json_begin_object(j);
    om_json_key(j, "stream");
    om_json_string(j, r->stream);
    om_json_key(j, "seq");
    om_json_uint(j, r->seq);
    om_json_key(j, "pts");
    om_json_num(j, (double)r->pts_ns / 1e9, 6);
    om_json_key(j, "time");
    om_json_string(j, when);
    om_json_key(j, "width");
    om_json_int(j, r->width);
    om_json_key(j, "height");
    om_json_int(j, r->height);
    om_json_key(j, "objects");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->dets.n; i++) om_json_object(j, r, i);
    om_json_end_array(j);
    om_json_picture_answers(j, r);
    om_json_vector(j, &r->dets);
    om_json_end_object(j);
}

static int jsonl_write(om_sink *s, const om_result *r)
{
    om_jsonl *j = s->priv;
    om_json w;
    om_str_clear(&j->line);
    om_json_init(&w, &j->line, 0);
    record(&w, r);
    om_str_addc(&j->line, '\n');
    if (j->line.failed) return om_fail_nomem("a record");
    return om_file_out_line(&j->file, j->line.data, j->line.len);
}

static int jsonl_flush(om_sink *s)
{
    om_jsonl *j = s->priv;
    return om_file_out_flush(&j->file);
}

static int jsonl_close(om_sink *s)
{
    om_jsonl *j = s->priv;
    om_str_fini(&j->line);
    return om_file_out_close(&j->file);
}

const om_sink_ops om_sink_jsonl = {
    .name = "jsonl",
    .flags = OM_SINK_APPENDS,
    .target = "FILE ('-': standard output)",
    .help = "one JSON object a frame, one a line",
    .priv_size = sizeof(om_jsonl),
    .open = jsonl_open,
    .write = jsonl_write,
    .flush = jsonl_flush,
    .close = jsonl_close,
};
