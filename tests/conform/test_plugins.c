/* Plug-ins that do not load, each with its reason:   test_plugins FOLDER, where meson built some of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/error.h"
#include "base/thread.h"

static char folder[] = "/tmp/omma-plugins-XXXXXX";

static const om_plugin_state *find(const char *name)
{
    const om_plugin_state *all;
    size_t n = om_plugins(&all);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0) return &all[i];
    fail_msg("plug-in '%s' was not tried", name);
    return NULL;
}

static void test_reasons(void **state)
{
    static const struct {
        const char *name, *part;
    } bad[] = {{"old", "another version"},
               {"mute", "no omma_plugin()"},
               {"hollow", "neither a backend nor a device"},
               {"garbage", "omma-garbage.so"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const om_plugin_state *p = find(bad[i].name);
        assert_false(p->loaded);
        assert_non_null(strstr(p->path, bad[i].name));
        if (!strstr(p->state, bad[i].part)) fail_msg("'%s' does not say '%s'", p->state, bad[i].part);
    }
}

/* A broken one is passed over for the build's own, where that was built; else it is named. */
static void test_broken_named(void **state)
{
    const om_backend_ops *ops;
    const char *device;
    int rc = om_backend_select("cuda:0", &ops, &device);
    if (rc == OM_OK) {
        assert_string_equal(ops->name, "cuda");
        return;
    }
    assert_int_equal(rc, OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "omma-cuda.so, which does not load: "));
}

static void test_device_alone(void **state)
{
    om_device *d;
    assert_true(find("gadget")->loaded);
    assert_non_null(om_device_find("gadget"));
    assert_int_equal(om_device_open("gadget:0", &d), OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "(gadget: its cable is unplugged)"));
}

static void *list(void *arg)
{
    *(const void **)arg = om_backend_list();
    return NULL;
}

static void test_concurrent(void **state)
{
    om_thread threads[4];
    const void *got[4] = {0};
    for (int i = 0; i < 4; i++) assert_int_equal(om_thread_start(&threads[i], "list", list, &got[i]), OM_OK);
    for (int i = 0; i < 4; i++) {
        om_thread_join(&threads[i]);
        assert_non_null(got[i]);
    }
}

static void write_garbage(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f) exit(1);
    fputs("not a shared object\n", f);
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc != 2 || !mkdtemp(folder)) return 2;
    write_garbage("omma-garbage.so");
    write_garbage("omma-cuda.so");
    char env[4096];
    snprintf(env, sizeof env, "/nonexistent::%s:%s", folder, argv[1]);
    setenv("OMMA_PLUGINS", env, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_named),
        cmocka_unit_test(test_concurrent),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_device_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char path[128];
    snprintf(path, sizeof path, "%s/omma-garbage.so", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/omma-cuda.so", folder);
    unlink(path);
    rmdir(folder);
    return failed ? 1 : 0;
}
