/* Errors, memory, log, clock, processor. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ref.h"
#include "omma/version.h"

static void error_slot_holds_last_message(void **state)
{
    om_error_clear();
    assert_string_equal(om_error_message(), "");
    assert_int_equal(om_fail(OM_ERR_IO, "%s: %d", "disk", 5), OM_ERR_IO);
    assert_string_equal(om_error_message(), "disk: 5");
    assert_int_equal(om_fail_prefix(OM_ERR_FORMAT, "node '%s'", "conv"), OM_ERR_FORMAT);
    assert_string_equal(om_error_message(), "node 'conv': disk: 5");
    om_fail(OM_ERR_ARG, "again: %s", om_error_message());
    assert_string_equal(om_error_message(), "again: node 'conv': disk: 5");
    assert_int_equal(om_fail_nomem("a frame"), OM_ERR_NOMEM);
    assert_string_equal(om_error_message(), "out of memory for a frame");
}

static void error_slot_cuts_long_messages(void **state)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    om_fail(OM_ERR_IO, "%s", text);
    size_t n = strlen(om_error_message());
    assert_true(n > 500 && n < 5000);
    om_fail_prefix(OM_ERR_IO, "short");
    assert_int_equal(strlen(om_error_message()), n);
    assert_memory_equal(om_error_message(), "short: xxx", 10);
    om_fail_prefix(OM_ERR_IO, "%s", text);
    assert_int_equal(strlen(om_error_message()), n);
}

static void every_code_has_its_name(void **state)
{
    assert_string_equal(om_err_name(OM_OK), "ok");
    assert_string_equal(om_err_name(OM_ERR_NOMEM), "out of memory");
    assert_string_equal(om_err_name(OM_ERR_INTERNAL), "internal error");
    assert_string_equal(om_err_name(-15), "unknown error");
    assert_string_equal(om_err_name(1), "unknown error");
    assert_string_equal(om_err_name(INT32_MIN), "unknown error");
    for (int i = OM_ERR_INTERNAL; i < 0; i++)
        for (int k = i + 1; k <= 0; k++) assert_string_not_equal(om_err_name(i), om_err_name(k));
    assert_int_equal(om_err_from_errno(ENOENT), OM_ERR_NOT_FOUND);
    assert_int_equal(om_err_from_errno(ENOSPC), OM_ERR_FULL);
    assert_int_equal(om_err_from_errno(EDQUOT), OM_ERR_FULL);
    assert_int_equal(om_err_from_errno(ENOMEM), OM_ERR_NOMEM);
    assert_int_equal(om_err_from_errno(EACCES), OM_ERR_IO);
}

static void nth_allocation_fails_once(void **state)
{
    om_mem_fail_after(2);
    void *a = om_alloc(1), *b = om_alloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_false(om_mem_injected());
    assert_null(om_alloc(1));
    assert_true(om_mem_injected());
    assert_non_null(strstr(om_error_message(), "out of memory"));
    void *c = om_alloc(1);
    assert_non_null(c);
    om_mem_fail_after(-1);
    assert_false(om_mem_injected());
    om_free(a);
    om_free(b);
    om_free(c);
}

#define FAILS_THEN_WORKS(call)                                                                               \
    do {                                                                                                     \
        om_error_clear();                                                                                    \
        om_mem_fail_after(0);                                                                                \
        assert_null(call);                                                                                   \
        assert_true(om_mem_injected());                                                                      \
        assert_string_not_equal(om_error_message(), "");                                                     \
        void *block = call;                                                                                  \
        assert_non_null(block);                                                                              \
        om_free(block);                                                                                      \
    } while (0)

static void every_allocator_can_fail(void **state)
{
    FAILS_THEN_WORKS(om_alloc(10));
    FAILS_THEN_WORKS(om_alloc(0));
    FAILS_THEN_WORKS(om_calloc(3, 4));
    FAILS_THEN_WORKS(om_realloc(NULL, 7));
    FAILS_THEN_WORKS(om_realloc_array(NULL, 7, 3));
    FAILS_THEN_WORKS(om_aligned_alloc(64, 100));
    FAILS_THEN_WORKS(om_strdup("text"));
    FAILS_THEN_WORKS(om_strndup("text", 2));
    FAILS_THEN_WORKS(om_sprintf("%d", 5));
    om_mem_fail_after(-1);
}

static void sizes_that_overflow_fail(void **state)
{
    assert_null(om_alloc(SIZE_MAX));
    assert_null(om_calloc(SIZE_MAX / 2, 3));
    assert_null(om_realloc_array(NULL, SIZE_MAX / 2, 3));
    assert_null(om_aligned_alloc(64, SIZE_MAX - 8));
    assert_non_null(strstr(om_error_message(), "out of memory"));
}

static void blocks_hold_what_they_should(void **state)
{
    int *zeros = om_calloc(100, sizeof *zeros);
    for (int i = 0; i < 100; i++) assert_int_equal(zeros[i], 0);
    om_free(zeros);
    for (size_t align = 1; align <= 4096; align *= 2) {
        void *p = om_aligned_alloc(align, 3);
        assert_int_equal((uintptr_t)p % align, 0);
        om_free(p);
    }
    char *s = om_strndup("frame", 3), *t = om_strndup("ab", 10), *u = om_sprintf("%s-%d", "x", 7);
    assert_string_equal(s, "fra");
    assert_string_equal(t, "ab");
    assert_string_equal(u, "x-7");
    om_free(s);
    om_free(t);
    om_free(u);
    om_free(NULL);
}

static void grow_keeps_items_and_survives_failure(void **state)
{
    int *items = NULL;
    size_t cap = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(om_grow((void **)&items, &cap, i + 1, sizeof *items), OM_OK);
        assert_true(cap > i);
        items[i] = (int)i;
    }
    for (int i = 0; i < 1000; i++) assert_int_equal(items[i], i);
    int *before = items;
    size_t cap_before = cap;
    om_mem_fail_after(0);
    assert_int_equal(om_grow((void **)&items, &cap, cap + 1, sizeof *items), OM_ERR_NOMEM);
    assert_ptr_equal(items, before);
    assert_int_equal(cap, cap_before);
    assert_int_equal(om_grow((void **)&items, &cap, SIZE_MAX / 2, sizeof *items), OM_ERR_NOMEM);
    assert_int_equal(items[999], 999);
    om_free(items);
    om_mem_fail_after(-1);
}

typedef struct heard {
    int count;
    om_log_level level;
    char line[4096];
} heard;

static void hear(void *user, om_log_level level, const char *line)
{
    heard *h = user;
    h->count++;
    h->level = level;
    strncpy(h->line, line, sizeof h->line - 1);
}

static void log_reaches_the_receiver_by_level(void **state)
{
    heard h = {0};
    om_log(OM_LOG_ERROR, "nobody listens");
    om_log_set(hear, &h, OM_LOG_WARN);
    om_log(OM_LOG_INFO, "too quiet");
    assert_int_equal(h.count, 0);
    om_log(OM_LOG_WARN, "stream %d", 4);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.level, OM_LOG_WARN);
    assert_string_equal(h.line, "stream 4");
    om_log_set(NULL, NULL, OM_LOG_DEBUG);
    om_log(OM_LOG_ERROR, "nobody listens");
    assert_int_equal(h.count, 1);
    assert_int_equal(om_log_level_parse("error"), OM_LOG_ERROR);
    assert_int_equal(om_log_level_parse("debug"), OM_LOG_DEBUG);
    assert_int_equal(om_log_level_parse("loud"), -1);
    assert_int_equal(om_log_level_parse(NULL), -1);
}

static void iso_times(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1769860800480000, "2026-01-31T12:00:00.480Z"},
        {1769860800480999, "2026-01-31T12:00:00.480Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000000, "1969-12-31T23:59:59.000Z"},
        {951825599999999, "2000-02-29T11:59:59.999Z"},
    };
    char text[OM_ISO_TIME_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_iso_time(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
    om_iso_time(INT64_MAX, text);
    assert_true(strlen(text) < OM_ISO_TIME_SIZE);
    om_iso_time(INT64_MIN, text);
    assert_true(strlen(text) < OM_ISO_TIME_SIZE);
}

static void clocks_advance(void **state)
{
    int64_t start = om_now_ns(), cpu = om_thread_cpu_ns(), all = om_process_cpu_ns();
    while (om_thread_cpu_ns() - cpu < 2 * OM_NS_PER_MS) continue;
    assert_true(om_now_ns() - start >= 1 * OM_NS_PER_MS);
    assert_true(om_process_cpu_ns() - all >= 1 * OM_NS_PER_MS);
    assert_true(om_wall_us() > 1700000000000000);
}

static void cpu_flags_follow_the_mask(void **state)
{
    uint32_t all = om_cpu_flags(), mask = 1;
    om_cpu_mask(0);
    assert_int_equal(om_cpu_flags(), 0);
    om_cpu_mask(UINT32_MAX);
    assert_int_equal(om_cpu_flags(), all);
    assert_int_equal(om_cpu_mask_parse("none", &mask), OM_OK);
    assert_int_equal(mask, 0);
    assert_int_equal(om_cpu_mask_parse("avx512", &mask), OM_OK);
    assert_int_equal(mask, OM_CPU_AVX2 | OM_CPU_AVX512);
    assert_int_equal(om_cpu_mask_parse("0x5", &mask), OM_OK);
    assert_int_equal(mask, 5);
    static const char *const bad[] = {"", "sse", "-1", "3x", "99999999999", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(om_cpu_mask_parse(bad[i], &mask), OM_ERR_ARG);
    assert_int_equal(mask, 5);
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(!!(all & OM_CPU_AVX2), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal(!!(all & OM_CPU_AVX512), !!__builtin_cpu_supports("avx512vl"));
#endif
}

static void cpu_count_and_model(void **state)
{
    int n = om_cpu_count();
    assert_true(n >= 1 && n <= sysconf(_SC_NPROCESSORS_CONF));
    assert_true(strlen(om_cpu_model()) > 0);
}

static void last_reference_is_told(void **state)
{
    om_ref r;
    om_ref_init(&r);
    om_ref_inc(&r);
    assert_false(om_ref_dec(&r));
    assert_true(om_ref_dec(&r));
}

static void version_is_the_header_s(void **state) { assert_string_equal(om_version(), OMMA_VERSION_STRING); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_slot_holds_last_message),
        cmocka_unit_test(error_slot_cuts_long_messages),
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(nth_allocation_fails_once),
        cmocka_unit_test(every_allocator_can_fail),
        cmocka_unit_test(sizes_that_overflow_fail),
        cmocka_unit_test(blocks_hold_what_they_should),
        cmocka_unit_test(grow_keeps_items_and_survives_failure),
        cmocka_unit_test(log_reaches_the_receiver_by_level),
        cmocka_unit_test(iso_times),
        cmocka_unit_test(clocks_advance),
        cmocka_unit_test(cpu_flags_follow_the_mask),
        cmocka_unit_test(cpu_count_and_model),
        cmocka_unit_test(last_reference_is_told),
        cmocka_unit_test(version_is_the_header_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
