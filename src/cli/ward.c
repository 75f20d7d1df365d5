#include "cli/ward.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/signals.h"

#define WAIT_MS 200

void om_ward_init(om_ward *w)
{
    const char *text = getenv(OM_WARD_ENV);
    char *end = NULL;
    *w = (om_ward){.fd = -1};
    if (!text) return;
    long fd = strtol(text, &end, 10);
    if (end != text && fd > 2 && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0) {
        w->fd = (int)fd;
        w->follows = strcmp(end, ":next") == 0;
    }
    unsetenv(OM_WARD_ENV); /* not for what this process starts */
}

void om_ward_fini(om_ward *w)
{
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    om_str_fini(&w->in);
}

static int take_line(om_str *in, om_json_value **out)
{
    char *nl = in->len ? memchr(in->data, '\n', in->len) : NULL;
    if (!nl) return OM_ERR_AGAIN;
    size_t n = (size_t)(nl - in->data);
    int err = om_json_parse(in->data, n, out);
    memmove(in->data, nl + 1, in->len - n - 1);
    in->len -= n + 1;
    in->data[in->len] = 0;
    return err;
}

int om_ward_read(int fd, om_str *in, om_json_value **out)
{
    char piece[65536];
    *out = NULL;
    for (;;) {
        int err = take_line(in, out);
        if (err != OM_ERR_AGAIN) return err;
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n == 0) return OM_ERR_EOF;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN ? OM_ERR_AGAIN : OM_ERR_EOF;
        om_str_addn(in, piece, (size_t)n);
        if (in->failed) return OM_ERR_NOMEM;
    }
}

int om_ward_write(int fd, const om_str *line)
{
    if (line->failed) return OM_ERR_NOMEM;
    for (size_t done = 0; done < line->len;) {
        ssize_t n = send(fd, line->data + done, line->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return om_fail(om_err_from_errno(errno), "the other process: %s", strerror(errno));
        done += (size_t)n;
    }
    return OM_OK;
}

static void say(om_ward *w, om_json *j)
{
    om_json_end_object(j);
    om_str_addc(j->out, '\n');
    if (om_ward_write(w->fd, j->out)) om_log(OM_LOG_DEBUG, "supervisor: %s", om_error_message());
}

static void begin(om_json *j, om_str *text, const char *event)
{
    om_json_init(j, text, 0);
    om_json_begin_object(j);
    om_json_key_string(j, "event", event);
}

static void say_event(om_ward *w, const char *event)
{
    om_json j;
    om_str text = {0};
    begin(&j, &text, event);
    say(w, &j);
    om_str_fini(&text);
}

static void say_lost(om_ward *w, const char *device, const char *cause)
{
    om_json j;
    om_str text = {0};
    begin(&j, &text, "lost");
    om_json_key_string(&j, "device", device);
    om_json_key_string(&j, "cause", cause);
    say(w, &j);
    om_str_fini(&text);
}

static void say_sizes(om_ward *w, om_pipeline *p)
{
    om_json j;
    om_str text = {0};
    om_stream_row *rows = NULL;
    size_t n = 0;
    if (om_pipeline_list(p, false, &rows, &n)) n = 0;
    begin(&j, &text, "sizes");
    om_json_key(&j, "sizes");
    om_json_begin_array(&j);
    for (size_t i = 0; i < n; i++) {
        om_json_begin_array(&j);
        om_json_int(&j, rows[i].status.width);
        om_json_int(&j, rows[i].status.height);
        om_json_end_array(&j);
    }
    om_json_end_array(&j);
    say(w, &j);
    om_str_fini(&text);
    om_free(rows);
}

/* The next command; OM_ERR_CANCELLED when it is not waited for any more. */
static int await(om_ward *w, om_json_value **out)
{
    int err;
    while ((err = om_ward_read(w->fd, &w->in, out)) == OM_ERR_AGAIN) {
        if (om_signals_seen()) return om_fail(OM_ERR_CANCELLED, "stopped before it could take over");
        struct pollfd f = {.fd = w->fd, .events = POLLIN};
        poll(&f, 1, WAIT_MS);
    }
    return err == OM_ERR_EOF ? om_fail(OM_ERR_CANCELLED, "the supervisor is gone") : err;
}

static int warm(om_pipeline *p, const om_json_value *v)
{
    const om_json_value *sizes = om_json_get_list(v, "sizes");
    int err = OM_OK;
    for (size_t i = 0; sizes && i < sizes->n && !err; i++) {
        const om_json_value *s = &sizes->children[i];
        if (s->type == OM_JSON_ARR && s->n == 2)
            err = om_pipeline_warm(p, (int)s->children[0].num, (int)s->children[1].num);
    }
    return err;
}

int om_ward_wait(om_ward *w, om_pipeline *p)
{
    for (;;) {
        om_json_value *v = NULL;
        int err = await(w, &v);
        const char *cmd = om_json_get_string(v, "cmd");
        bool go = !err && !strcmp(cmd, "go"), heat = !err && !strcmp(cmd, "warm");
        if (heat) err = warm(p, v);
        if (heat && !err) say_event(w, "ready");
        if (go) err = om_pipeline_take_over(p, v);
        om_json_free(v);
        if (err || go) return err;
    }
}

void om_ward_started(om_ward *w)
{
    if (w->fd >= 0) say_event(w, "started");
}

void om_ward_tick(om_ward *w, om_pipeline *p)
{
    om_json_value *v;
    char device[32], cause[256];
    int err;
    if (w->fd < 0) return;
    while (!(err = om_ward_read(w->fd, &w->in, &v))) {
        const char *cmd = om_json_get_string(v, "cmd");
        if (!strcmp(cmd, "hand_over")) om_pipeline_stop(p);
        if (!strcmp(cmd, "sizes")) say_sizes(w, p);
        om_json_free(v);
    }
    if (!w->told && om_pipeline_lost(p, device, cause)) {
        w->told = true;
        say_lost(w, device, cause);
    }
}

int om_ward_end(om_ward *w, om_pipeline *p)
{
    om_json j;
    om_str text = {0};
    char *report;
    if (w->fd < 0) return OM_OK;
    int err = om_pipeline_report(p, &report);
    if (err) return err;
    for (char *c = report; *c; c++)
        if (*c == '\n') *c = ' '; /* between the members; in texts they are escaped */
    begin(&j, &text, "end");
    om_pipeline_handover_json(p, &j);
    om_str_addf(&text, ",\"report\":");
    om_str_add(&text, report);
    om_free_string(report);
    om_str_add(&text, "}\n");
    err = om_ward_write(w->fd, &text);
    om_str_fini(&text);
    return err;
}
