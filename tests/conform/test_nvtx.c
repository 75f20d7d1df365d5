/* omma's spans as NVTX ranges: told to a tool that watches the process, whether or not a trace is recorded,
 * and to nobody where there is none. NVTX looks for its tool once a process: each case is one. test_nvtx
 * TOOL.so     runs itself with and without; status 77 where omma-cuda.so is not built */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/error.h"
#include "base/mem.h"
#include "trace/trace.h"

static int watched(void)
{
    om_plugin_state const *states;
    bool loaded = false;
    (void)om_backend_list();
    for (size_t i = om_plugins(&states); i-- > 0;)
        loaded = loaded || (states[i].loaded && strstr(states[i].path, "omma-cuda.so"));
    if (!loaded) return 77;
    om_trace_begin("a span", 7);
    om_trace_begin("inside", -1);
    if (om_trace_has_tool()) {
        char name[] = OM_TRACE_STEP "3 /model.0/conv";
        om_trace_tool_begin(name, 3);
        memset(name, 'x', sizeof name - 1); /* names of steps need not stay */
        om_trace_tool_end();
    }
    om_trace_end("inside");
    om_trace_end("a span");
    om_trace_async("infer", 5, true);
    om_trace_async("infer", 6, true);
    om_trace_async("infer", 5, false);
    om_trace_async("infer", 5, false); /* nobody began it */
    om_trace_async("infer", 6, false);
    return om_trace_has_tool() ? 1 : 2;
}

/* The exit status of this program run as its own child. */
static int again(const char *self)
{
    char command[4200];
    snprintf(command, sizeof command, "'%s' --child", self);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int told(const char *path)
{
    static const char expected[] =
        "push a span 7\npush inside -1\npush step#3 /model.0/conv 3\npop\npop\npop\n"
        "start infer 41\nstart infer 42\nend 41\nend 42\n";
    char *text;
    size_t len;
    if (om_read_file(path, 1 << 20, &text, &len)) return printf("%s\n", om_error_message()), 1;
    /* Spans of what was loaded after it may come first. */
    bool good = !strncmp(text, "domain omma\n", 12) && len >= sizeof expected - 1 &&
                !strcmp(text + len - (sizeof expected - 1), expected);
    if (!good) printf("the tool was told:\n%s", text);
    om_free(text);
    return !good;
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    if (!strcmp(argv[1], "--child")) return watched();
    char path[] = "/tmp/omma-nvtx-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    unsetenv("NVTX_INJECTION64_PATH");
    int status = again(argv[0]);
    if (status == 77) printf("skipped: omma-cuda.so is not built\n");
    if (status == 77) return unlink(path), 77;
    int failed = status != 2;
    if (failed) printf("without a tool: status %d, expected 2\n", status);
    setenv("NVTX_INJECTION64_PATH", argv[1], 1);
    setenv("OMMA_TEST_NVTX", path, 1);
    status = again(argv[0]);
    if (status != 1) printf("with a tool: status %d, expected 1\n", status);
    failed = failed || status != 1 || told(path);
    unlink(path);
    return failed;
}
