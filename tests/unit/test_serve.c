/* The control socket where the process has no descriptor left for a client. What requests do is tested end to
 * end. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "serve/serve.h"

#include "folder.h"

#define WHILE_MS 400
#define LIMIT_MS 20000

static void limit_files(rlim_t n)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* It waits without work, and serves as soon as there is room. */
static void no_descriptor_is_left(void **state)
{
    om_control *c = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct rlimit usual;
    char answer[200];
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", folder_path("control"));
    assert_int_equal(om_control_open(address.sun_path, NULL, &c),
                     OM_OK); /* no request gets to the pipeline */
    assert_int_equal(om_control_start(c), OM_OK);
    struct pollfd client = {.fd = socket(AF_UNIX, SOCK_STREAM, 0), .events = POLLIN};
    int next = dup(client.fd);
    assert_true(client.fd >= 0 && next > client.fd);
    close(next);
    limit_files((rlim_t)next);
    int64_t cpu = om_process_cpu_ns();
    assert_int_equal(connect(client.fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(client.fd, "{}\n", 3, 0), 3);
    assert_int_equal(poll(&client, 1, WHILE_MS), 0);
    cpu = om_process_cpu_ns() - cpu;
    limit_files(usual.rlim_cur);
    if (cpu > WHILE_MS * OM_NS_PER_MS / 8) fail_msg("%.0f ms of work while it waits", (double)cpu / 1e6);
    assert_int_equal(poll(&client, 1, LIMIT_MS), 1);
    ssize_t n = recv(client.fd, answer, sizeof answer - 1, 0);
    assert_true(n > 0);
    answer[n] = '\0';
    assert_non_null(strstr(answer, "{\"ok\":false,\"error\":\"\\\"cmd\\\" is missing"));
    close(client.fd);
    om_control_close(c);
    assert_int_equal(access(address.sun_path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_descriptor_is_left)};
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
