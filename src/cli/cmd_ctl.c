/* omma ctl: asks a run that goes on, through its control socket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/table.h"
#include "cli/text.h"

#define ANSWER_MAX (256 << 20)
#define PATIENCE_S 30

typedef struct ctl_flags {
    char *control;
    bool json;
} ctl_flags;

static const om_option ctl_flag_table[] = {
    {"control", 'c', OM_OPT_STRING, offsetof(ctl_flags, control), NULL, 0, 0, NULL, "SOCKET", "Control",
     "the run's socket: what its --control says"},
    {"json", 0, OM_OPT_BOOL, offsetof(ctl_flags, json), "no", 0, 0, NULL, NULL, NULL,
     "print the run's answer as it came, one JSON object"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {ctl_flag_table, om_stream_option_table, NULL};
    return all;
}

typedef struct verb {
    const char *name, *cmd;
    int least, most;  /* further words */
    bool options;     /* a stream's may be given */
    const char *what; /* the words */
} verb;

static const verb verbs[] = {
    {"add", "add", 1, 1, true, "a URI"},
    {"remove", "remove", 1, 1, false, "a stream's name"},
    {"pause", "pause", 1, 1, false, "a stream's name"},
    {"resume", "resume", 1, 1, false, "a stream's name"},
    {"set", "set", 1, 1, true, "a stream's name"},
    {"list", "list", 0, 1, false, "at most a stream's name"},
    {"stats", "stats", 0, 0, false, "nothing"},
};
#define N_VERBS (sizeof verbs / sizeof verbs[0])

static int find_verb(const om_args *args, const verb **out)
{
    const char *names[N_VERBS];
    *out = NULL;
    if (!args->n_positional)
        return om_fail(OM_ERR_ARG, "do what? add, remove, pause, resume, set, list or stats");
    for (size_t i = 0; i < N_VERBS; i++) {
        names[i] = verbs[i].name;
        if (!strcmp(names[i], args->positional[0])) *out = &verbs[i];
    }
    if (*out) return OM_OK;
    const char *near = om_suggest(args->positional[0], names, N_VERBS);
    return om_fail(OM_ERR_ARG, "unknown '%s'%s%s%s", args->positional[0], near ? "; did you mean '" : "",
                   near ? near : "; add, remove, pause, resume, set, list and stats are there",
                   near ? "'?" : "");
}

static int check_words(const om_args *args, const verb *v)
{
    int n = (int)args->n_positional - 1;
    if (n < v->least || n > v->most)
        return om_fail(OM_ERR_ARG, "%s: expected %s, not %d words", v->name, v->what, n);
    for (size_t i = 0; i < args->n; i++) {
        const om_arg *a = &args->items[i];
        if (a->table != om_stream_option_table) continue;
        bool is_word =
            !strcmp(a->option->name, "uri") || (!strcmp(a->option->name, "name") && strcmp(v->name, "add"));
        if (!v->options || is_word) return om_fail(OM_ERR_ARG, "%s takes no --%s", v->name, a->option->name);
    }
    return OM_OK;
}

/* The options that were given, checked here: a wrong one never reaches the run. */
static int add_options(const om_args *args, om_json *j)
{
    om_stream_options own;
    int err = om_options_init(om_stream_option_table, &own);
    if (!err) err = om_args_apply(args, om_stream_option_table, &own);
    for (size_t i = 0; i < args->n && !err; i++) {
        om_str text = {0};
        const om_arg *a = &args->items[i];
        if (a->table != om_stream_option_table) continue;
        err = om_option_get(om_stream_option_table, &own, a->option->name, &text);
        om_json_key(j, a->option->name);
        om_json_string(j, om_str_get(&text));
        om_str_fini(&text);
    }
    om_options_fini(om_stream_option_table, &own);
    return err;
}

static int make_request(const om_args *args, const verb *v, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 0);
    om_json_begin_object(&j);
    om_json_key(&j, "cmd");
    om_json_string(&j, v->cmd);
    if (args->n_positional > 1) {
        om_json_key(&j, !strcmp(v->name, "add") ? "uri" : "name");
        om_json_string(&j, args->positional[1]);
    }
    int err = add_options(args, &j);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
    return err ? err : out->failed ? OM_ERR_NOMEM : OM_OK;
}

static int connect_to(const char *path, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    *out = -1;
    if (!path || !*path) return om_fail(OM_ERR_ARG, "which run? --control SOCKET, as it was started with");
    if (strlen(path) >= sizeof(address.sun_path))
        return om_fail(OM_ERR_ARG, "--control %s: too long for a socket's path", path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return om_fail(om_err_from_errno(errno), "%s: %s", path, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int why = errno;
        close(fd);
        return om_fail(om_err_from_errno(why), "%s: no run listens there (%s)", path, strerror(why));
    }
    *out = fd;
    return OM_OK;
}

static int exchange(int fd, const om_str *request, om_str *answer)
{
    char bytes[65536];
    for (size_t sent = 0; sent < request->len;) {
        ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return om_fail(OM_ERR_IO, "the run does not take the request: %s", strerror(errno));
        sent += (size_t)n;
    }
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return om_fail(OM_ERR_TIMEOUT, "no answer within %d s", PATIENCE_S);
        if (n < 0) return om_fail(OM_ERR_IO, "no answer: %s", strerror(errno));
        if (n == 0) return om_fail(OM_ERR_IO, "the run hung up before its answer was whole");
        om_str_addn(answer, bytes, (size_t)n);
        if (answer->failed || answer->len > ANSWER_MAX) return om_fail_nomem("the answer");
        if (bytes[n - 1] == '\n') return OM_OK;
    }
}

static void print_list(const om_json_value *answer)
{
    static const om_column columns[] = {
        {"stream", false, 16, 0}, {"state", false, 0, 0},   {"size", false, 0, 5}, {"prio", true, 0, 4},
        {"received", true, 0, 6}, {"inferred", true, 0, 0}, {"lost", true, 0, 3},  {"fps", true, 0, 0},
        {"p99 ms", true, 0, 1},   {"error", false, 20, 2},
    };
    const om_json_value *streams = om_json_get(answer, "streams");
    om_table t;
    om_str out = {0};
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; streams && i < streams->n; i++) {
        const om_json_value *s = &streams->children[i];
        om_table_cell(&t, "%s", om_json_get_string(s, "name"));
        om_table_cell(&t, "%s", om_json_get_string(s, "state"));
        if (om_json_get_num(s, "width", 0) > 0)
            om_table_cell(&t, "%.0fx%.0f", om_json_get_num(s, "width", 0), om_json_get_num(s, "height", 0));
        else om_table_cell(&t, "%s", "");
        om_table_cell(&t, "%.0f", om_json_get_num(s, "priority", 0));
        om_table_cell(&t, "%.0f", om_json_get_num(s, "received", 0));
        om_table_cell(&t, "%.0f", om_json_get_num(s, "inferred", 0));
        om_table_cell(&t, "%.0f", om_json_get_num(s, "dropped", 0));
        om_table_cell(&t, "%.1f", om_json_get_num(s, "fps", 0));
        om_table_cell(&t, "%.1f", om_json_get_num(s, "latency_ms_p99", 0));
        char clean[300];
        om_text_clean(om_json_get_string(s, "error"), clean, sizeof clean);
        om_table_cell(&t, "%s", clean);
    }
    om_table_render(&t, om_console_columns(stdout, 0), &out);
    if (streams && streams->n) fputs(om_str_get(&out), stdout);
    else puts("no streams");
    om_table_fini(&t);
    om_str_fini(&out);
}

/* "weights 30, surfaces 1200, driver 480, in MB of cuda:0, at most 4000" */
static void print_gpu_memory(const om_json_value *m)
{
    const om_json_value *now = m ? om_json_get(m, "now") : NULL;
    if (!now) return;
    printf("gpu       ");
    for (size_t i = 0; i < now->n; i++)
        if (now->children[i].num >= 0.5) printf("%s %.0f, ", now->keys[i], now->children[i].num);
    printf("in MB of %s", om_json_get_string(m, "device"));
    if (om_json_get_num(m, "cap", 0) > 0) printf(", at most %.0f", om_json_get_num(m, "cap", 0));
    printf("\n");
}

static void print_stats(const om_json_value *a)
{
    const om_json_value *states = om_json_get(a, "states");
    printf("streams   %.0f", om_json_get_num(a, "streams", 0));
    for (size_t i = 0; states && i < states->n; i++)
        printf("%s%.0f %s", i ? ", " : " (", states->children[i].num, states->keys[i]);
    printf("%s\n", states && states->n ? ")" : "");
    printf("frames    received %.0f, inferred %.0f, skipped %.0f, dropped %.0f, in flight %.0f\n",
           om_json_get_num(a, "received", 0), om_json_get_num(a, "inferred", 0),
           om_json_get_num(a, "skipped", 0), om_json_get_num(a, "dropped", 0),
           om_json_get_num(a, "in_flight", 0));
    printf("latency   %.1f ms p50, %.1f ms p99\n", om_json_get_num(a, "latency_ms_p50", 0),
           om_json_get_num(a, "latency_ms_p99", 0));
    if (om_json_get_num(a, "network_mbit_s", 0) > 0)
        printf("network   %.1f Mbit/s\n", om_json_get_num(a, "network_mbit_s", 0));
    print_gpu_memory(om_json_get(a, "gpu_memory"));
    if (*om_json_get_string(a, "policy")) printf("policy    %s\n", om_json_get_string(a, "policy"));
}

/* The run's own words on failure. */
static int show(const verb *v, const om_json_value *a)
{
    const om_json_value *ok = om_json_get(a, "ok");
    if (!ok || ok->type != OM_JSON_BOOL || !ok->boolean)
        return om_fail(OM_ERR_IO, "%s",
                       *om_json_get_string(a, "error") ? om_json_get_string(a, "error")
                                                       : "the run's answer makes no sense");
    if (!strcmp(v->name, "add")) printf("%s\n", om_json_get_string(a, "name"));
    if (!strcmp(v->name, "list")) print_list(a);
    if (!strcmp(v->name, "stats")) print_stats(a);
    return OM_OK;
}

static int ask(const om_args *args, const ctl_flags *flags, const verb *v)
{
    om_str request = {0}, answer = {0};
    om_json_value *parsed = NULL;
    int fd = -1, err = make_request(args, v, &request);
    if (!err) err = connect_to(flags->control, &fd);
    if (!err) err = exchange(fd, &request, &answer);
    if (!err) err = om_json_parse(om_str_get(&answer), answer.len, &parsed);
    if (!err && flags->json) {
        fputs(om_str_get(&answer), stdout);
        const om_json_value *ok = om_json_get(parsed, "ok");
        if (!ok || !ok->boolean) err = om_fail(OM_ERR_IO, "%s", om_json_get_string(parsed, "error"));
    } else if (!err) {
        err = show(v, parsed);
    }
    if (fd >= 0) close(fd);
    om_json_free(parsed);
    om_str_fini(&request);
    om_str_fini(&answer);
    return err;
}

static int run(const om_args *args, int *status)
{
    ctl_flags flags;
    const verb *v;
    int err = om_options_init(ctl_flag_table, &flags);
    if (!err) err = om_args_apply(args, ctl_flag_table, &flags);
    if (!err) err = find_verb(args, &v);
    if (!err) err = check_words(args, v);
    if (!err) err = ask(args, &flags, v);
    om_options_fini(ctl_flag_table, &flags);
    *status = OM_EXIT_OK;
    return err;
}

const om_command om_cmd_ctl = {
    .name = "ctl",
    .summary = "add, remove and watch the streams of a run that goes on",
    .usage = "add URI [--name NAME] [STREAM OPTIONS] --control SOCKET\n"
             "remove|pause|resume NAME --control SOCKET\n"
             "set NAME [--priority N] [--weight W] [--fps N] [--every N] --control SOCKET\n"
             "list [NAME] | stats --control SOCKET",
    .about =
        "Speaks to an 'omma run' that was started with --control SOCKET. 'add' prints the name that the stream got. A removed "
        "stream's frames under way still reach the sinks, and its counters stay in the report. A paused camera is "
        "disconnected; a paused file stands still. The socket takes one JSON object a line, so other programs can use it as "
        "well; docs/operations.md describes it.",
    .examples =
        "omma run -m yolov8n.onnx --control /run/user/1000/omma.sock -o jsonl:boxes.jsonl\n"
        "omma ctl add rtsp://camera/stream1 --name gate --priority 2 --control /run/user/1000/omma.sock\n"
        "omma ctl set gate --fps 5 --control /run/user/1000/omma.sock\n"
        "omma ctl list --json --control /run/user/1000/omma.sock",
    .tables = tables,
    .run = run,
};
