/* YAML files as trees: lines in messages, what cannot be read, lack of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/yaml.h"

#include "folder.h"

static void nodes_know_their_lines(void **state)
{
    static const char text[] = "# words\na: 1\nb:\n  - x\n  - [y]\n";
    om_yaml y;
    const char *path = folder_file("a.yaml", text);
    assert_int_equal(om_yaml_load(&y, path, 1000), OM_OK);
    const yaml_node_t *root = om_yaml_root(&y);
    assert_int_equal(root->type, YAML_MAPPING_NODE);
    const yaml_node_pair_t *first = root->data.mapping.pairs.start;
    const yaml_node_t *a = om_yaml_node(&y, first[0].key), *b = om_yaml_node(&y, first[1].value);
    assert_string_equal(om_yaml_text(a), "a");
    assert_int_equal(om_yaml_line(a), 2);
    assert_int_equal(om_yaml_line(b), 4);
    assert_int_equal(om_yaml_expect_scalar(&y, a, "a"), OM_OK);
    assert_int_equal(om_yaml_expect_scalar(&y, b, "b"), OM_ERR_ARG);
    char want[400];
    snprintf(want, sizeof want, "%s:4: b must be a single value", path);
    assert_string_equal(om_error_message(), want);
    assert_int_equal(om_yaml_fail(&y, a, "%d of %s", 1, "two"), OM_ERR_ARG);
    snprintf(want, sizeof want, "%s:2: 1 of two", path);
    assert_string_equal(om_error_message(), want);
    om_fail(OM_ERR_FORMAT, "why");
    assert_int_equal(om_yaml_fail_prefix(&y, b, OM_ERR_FORMAT), OM_ERR_FORMAT);
    snprintf(want, sizeof want, "%s:4: why", path);
    assert_string_equal(om_error_message(), want);
    om_yaml_fini(&y);
    om_yaml_fini(&y);
    om_yaml_fini(NULL);
}

static void what_is_no_yaml_is_refused_by_line(void **state)
{
    om_yaml y;
    const char *path = folder_file("bad.yaml", "a: 1\nb: [x\n");
    char want[400];
    assert_int_equal(om_yaml_load(&y, path, 1000), OM_ERR_ARG);
    snprintf(want, sizeof want, "%s:3: ", path);
    assert_memory_equal(om_error_message(), want, strlen(want));
    assert_int_equal(om_yaml_load(&y, path, 10), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "larger than the 10 allowed"));
    assert_int_equal(om_yaml_load(&y, folder_path("absent.yaml"), 1000), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "absent.yaml"));
    assert_int_equal(om_yaml_load(&y, folder_file("empty.yaml", ""), 1000), OM_OK);
    assert_null(om_yaml_root(&y));
    om_yaml_fini(&y);
}

static void lack_of_memory_is_told(void **state)
{
    om_yaml y;
    const char *path = folder_file("a.yaml", "a: 1\n");
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = om_yaml_load(&y, path, 1000);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        if (!met) break;
    }
    om_yaml_fini(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_know_their_lines),
        cmocka_unit_test(what_is_no_yaml_is_refused_by_line),
        cmocka_unit_test(lack_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
