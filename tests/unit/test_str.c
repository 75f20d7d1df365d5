/* Growing text, lists, suggestions, strict numbers, whole files. */
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static char dir[64];

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/omma-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) { return rmdir(dir); }

/* Until the next call. */
static const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void text_grows(void **state)
{
    om_str s = {0};
    assert_string_equal(om_str_get(&s), "");
    om_str_add(&s, "one");
    om_str_addc(&s, ' ');
    om_str_addn(&s, "two three", 3);
    om_str_addf(&s, " %d %s", 3, "four");
    assert_string_equal(om_str_get(&s), "one two 3 four");
    om_str_clear(&s);
    assert_string_equal(om_str_get(&s), "");
    for (int i = 0; i < 10000; i++) om_str_addf(&s, "%d,", i % 10);
    assert_int_equal(s.len, 20000);
    assert_int_equal(strlen(om_str_get(&s)), 20000);
    om_str_addf(&s, "%0500d", 7);
    assert_int_equal(strlen(om_str_get(&s)), 20500);
    assert_memory_equal(om_str_get(&s) + 20490, "0000000007", 11);
    char *taken = om_str_take(&s);
    assert_int_equal(strlen(taken), 20500);
    assert_null(s.data);
    om_free(taken);
    taken = om_str_take(&s);
    assert_string_equal(taken, "");
    om_free(taken);
    om_str_fini(&s);
    om_str_fini(NULL);
}

static void text_remembers_a_failure(void **state)
{
    for (long n = 0;; n++) {
        om_str s = {0};
        om_mem_fail_after(n);
        for (int i = 0; i < 100; i++) om_str_addf(&s, "%050d", i);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(s.failed, met);
        if (met) {
            size_t len = s.len;
            om_str_add(&s, "more");
            assert_int_equal(s.len, len);
            assert_null(om_str_take(&s));
            assert_false(s.failed);
        }
        om_str_fini(&s);
        if (!met) break;
    }
    om_str s = {0};
    om_mem_fail_after(0);
    assert_null(om_str_take(&s));
    om_mem_fail_after(-1);
}

static bool writes_commas(const char *name)
{
    return setlocale(LC_NUMERIC, name) && localeconv()->decimal_point[0] == ',';
}

/* One this machine has, or one made for the occasion. */
static bool use_comma_locale(void)
{
    if (writes_commas("de_DE.UTF-8") || writes_commas("fr_FR.UTF-8")) return true;
    char command[512];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", dir);
    if (system(command) == 0) setenv("LOCPATH", dir, 1);
    bool made = writes_commas("de_DE.UTF-8");
    snprintf(command, sizeof command, "rm -rf %s/de_DE.UTF-8", dir);
    return system(command) == 0 && made;
}

static void numbers_keep_their_point_in_any_locale(void **state)
{
    if (!use_comma_locale()) skip();
    om_str s = {0};
    double v = 0;
    om_str_addf(&s, "%.2f", 1.5);
    int rc = om_parse_double("2.25", &v);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(om_str_get(&s), "1.50");
    assert_int_equal(rc, OM_OK);
    assert_true(v == 2.25);
    om_str_fini(&s);
}

static void lists_own_their_texts(void **state)
{
    om_strlist l = {0};
    char text[] = "first";
    assert_int_equal(om_strlist_add(&l, text), OM_OK);
    text[0] = 'X';
    assert_int_equal(om_strlist_addn(&l, "second,third", 6), OM_OK);
    for (int i = 0; i < 50; i++) assert_int_equal(om_strlist_add(&l, "more"), OM_OK);
    assert_int_equal(l.n, 52);
    assert_string_equal(l.items[0], "first");
    assert_string_equal(l.items[1], "second");
    om_strlist_fini(&l);
    assert_int_equal(l.n, 0);
    for (long n = 0; n < 2; n++) {
        om_mem_fail_after(n);
        assert_int_equal(om_strlist_add(&l, "x"), OM_ERR_NOMEM);
        assert_int_equal(l.n, 0);
        om_strlist_fini(&l);
    }
    om_mem_fail_after(-1);
    om_strlist_fini(NULL);
}

static void suggestions(void **state)
{
    static const char *const words[] = {"model", "input", "output", "batch-size", "fps", "loop", "report"};
    static const struct {
        const char *word, *want;
    } cases[] = {
        {"modle", "model"},
        {"Model", "model"},
        {"imput", "input"},
        {"outptu", "output"},
        {"batch_size", "batch-size"},
        {"fsp", "fps"},
        {"batchsize", "batch-size"},
        {"reprot", "report"},
        {"zebra", NULL},
        {"", NULL},
        {"x", NULL},
        {"mo", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = om_suggest(cases[i].word, words, sizeof words / sizeof words[0]);
        if (cases[i].want) assert_string_equal(got ? got : "(none)", cases[i].want);
        else assert_null(got);
    }
    char endless[500];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    assert_null(om_suggest(endless, words, 7));
    const char *one = endless;
    assert_null(om_suggest("aaaa", &one, 1));
    assert_null(om_suggest("model", words, 0));
}

static void whole_numbers_are_strict(void **state)
{
    long long v = 77;
    assert_int_equal(om_parse_int("-42", &v), OM_OK);
    assert_int_equal(v, -42);
    assert_int_equal(om_parse_int("+7", &v), OM_OK);
    assert_int_equal(v, 7);
    assert_int_equal(om_parse_int("9223372036854775807", &v), OM_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(om_parse_int("-9223372036854775808", &v), OM_OK);
    assert_true(v == INT64_MIN);
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x10",
                                      "1.0",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    om_fail(OM_ERR_IO, "before");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(om_parse_int(bad[i], &v), OM_ERR_ARG);
    assert_true(v == INT64_MIN);
    assert_string_equal(om_error_message(), "before");
}

static void real_numbers_are_strict(void **state)
{
    double v = 0;
    assert_int_equal(om_parse_double("-1.5e3", &v), OM_OK);
    assert_true(v == -1500);
    assert_int_equal(om_parse_double(".5", &v), OM_OK);
    assert_true(v == 0.5);
    static const char *const bad[] = {"",     ".",     "-",    "e5", "1e",  "nan",   "inf",
                                      "-inf", "0x1p3", "1.5 ", " 1", "1,5", "1e999", "1.2.3"};
    om_fail(OM_ERR_IO, "before");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(om_parse_double(bad[i], &v), OM_ERR_ARG);
    assert_true(v == 0.5);
    assert_string_equal(om_error_message(), "before");
}

static int files_in_dir(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void files_come_back_as_written(void **state)
{
    char path[256], bytes[100000], *data;
    strcpy(path, in_dir("data"));
    size_t len;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 + i / 256);
    static const size_t sizes[] = {0, 1, 7, 8, 4096, sizeof bytes};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(om_write_file_atomic(path, bytes, sizes[i]), OM_OK);
        assert_int_equal(om_read_file(path, sizes[i], &data, &len), OM_OK);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(data, bytes, len);
        assert_int_equal(data[len], 0);
        om_free(data);
    }
    assert_int_equal(om_read_file(path, sizeof bytes - 1, &data, &len), OM_ERR_FORMAT);
    assert_null(data);
    assert_non_null(strstr(om_error_message(), path));
    assert_int_equal(files_in_dir(), 1);
    unlink(path);
}

static void files_that_cannot_be_read_say_why(void **state)
{
    char *data;
    size_t len;
    assert_int_equal(om_read_file(in_dir("absent"), 10, &data, &len), OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "absent: cannot open: No such file"));
    assert_null(data);
    assert_int_equal(om_read_file(dir, SIZE_MAX, &data, &len), OM_ERR_IO);
    assert_non_null(strstr(om_error_message(), "directory"));
    assert_int_equal(om_read_file("/dev/zero", 100000, &data, &len), OM_ERR_FORMAT);
    assert_int_equal(om_read_file("/proc/self/status", 100000, &data, &len), OM_OK);
    assert_int_equal(strlen(data), len);
    assert_true(len > 100);
    om_free(data);
}

static void files_that_cannot_be_written_leave_nothing(void **state)
{
    assert_int_equal(om_write_file_atomic(in_dir("none/file"), "x", 1), OM_ERR_NOT_FOUND);
    assert_non_null(strstr(om_error_message(), "none/file: cannot write"));
    assert_int_equal(om_write_file_atomic(dir, "x", 1), OM_ERR_IO);
    assert_non_null(strstr(om_error_message(), "directory"));
    assert_int_equal(om_write_file_atomic("/proc/omma-nothing", "x", 1), OM_ERR_NOT_FOUND);
    assert_int_equal(om_write_file_atomic("/dev/full", "x", 1), OM_ERR_FULL);
    assert_non_null(strstr(om_error_message(), "/dev/full"));
    assert_int_equal(om_write_file_atomic("/dev/null", "x", 1), OM_OK);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void unwritable_folder_is_an_error(void **state)
{
    char locked[256], inside[256];
    strcpy(locked, in_dir("locked"));
    strcpy(inside, in_dir("locked/file"));
    assert_int_equal(chmod(dir, 0711), 0);
    assert_int_equal(mkdir(locked, 0555), 0);
    /* root may write anywhere */
    bool root = geteuid() == 0;
    if (root) assert_int_equal(seteuid(65534), 0);
    int rc = om_write_file_atomic(inside, "x", 1);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, OM_ERR_IO);
    assert_non_null(strstr(om_error_message(), "locked/file: cannot write: Permission denied"));
    assert_int_equal(rmdir(locked), 0);
}

static void replacing_keeps_links_and_modes(void **state)
{
    char target[256], link[256], *data;
    size_t len;
    struct stat st;
    strcpy(target, in_dir("target"));
    strcpy(link, in_dir("link"));
    assert_int_equal(om_write_file_atomic(target, "old", 3), OM_OK);
    assert_int_equal(chmod(target, 0640), 0);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(om_write_file_atomic(link, "newer", 5), OM_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(om_read_file(target, 100, &data, &len), OM_OK);
    assert_string_equal(data, "newer");
    om_free(data);
    unlink(link);
    unlink(target);
}

static void aborted_file_leaves_the_old_one(void **state)
{
    char path[256], *data;
    strcpy(path, in_dir("kept"));
    size_t len;
    om_outfile f;
    assert_int_equal(om_write_file_atomic(path, "old", 3), OM_OK);
    assert_int_equal(om_outfile_open(&f, path), OM_OK);
    assert_int_equal(om_outfile_write(&f, "half", 4), OM_OK);
    om_outfile_abort(&f);
    om_outfile_abort(&f);
    om_outfile_abort(NULL);
    assert_int_equal(om_read_file(path, 100, &data, &len), OM_OK);
    assert_string_equal(data, "old");
    om_free(data);
    unlink(path);
}

/* As two processes may do: each writes its own, and the last one wins. */
static void two_writers_of_one_path_share_nothing(void **state)
{
    char path[256], *data;
    size_t len;
    om_outfile a, b;
    strcpy(path, in_dir("both"));
    assert_int_equal(om_outfile_open(&a, path), OM_OK);
    assert_int_equal(om_outfile_write(&a, "first, and long", 15), OM_OK);
    assert_int_equal(om_outfile_open(&b, path), OM_OK);
    assert_int_equal(om_outfile_write(&b, "second", 6), OM_OK);
    assert_int_equal(om_outfile_check(path), OM_OK);
    assert_int_equal(files_in_dir(), 2);
    assert_int_equal(om_outfile_commit(&a), OM_OK);
    assert_int_equal(om_read_file(path, 100, &data, &len), OM_OK);
    assert_string_equal(data, "first, and long");
    om_free(data);
    assert_int_equal(om_outfile_commit(&b), OM_OK);
    assert_int_equal(om_read_file(path, 100, &data, &len), OM_OK);
    assert_string_equal(data, "second");
    om_free(data);
    assert_int_equal(files_in_dir(), 1);
    unlink(path);
}

/* As long as a name may be: there is room for what it is called while it is written. */
static void the_longest_names_are_written(void **state)
{
    char name[300], path[600];
    for (size_t n = 236; n <= 256; n++) {
        for (size_t i = 0; i < n; i++)
            name[i] = i + 1 < n - n % 2 ? (i % 2 ? '\xa4' : '\xc3') : 'x'; /* of two bytes each */
        name[n] = '\0';
        snprintf(path, sizeof path, "%s", in_dir(name));
        int expected = n <= 255 ? OM_OK : OM_ERR_IO;
        assert_int_equal(om_outfile_check(path), expected);
        assert_int_equal(om_write_file_atomic(path, "x", 1), expected);
        assert_int_equal(files_in_dir(), n <= 255);
        unlink(path);
    }
    assert_non_null(strstr(om_error_message(), "File name too long"));
}

static void files_survive_lack_of_memory(void **state)
{
    char path[256], *data;
    strcpy(path, in_dir("memory"));
    size_t len;
    long n = 0;
    for (int rc = OM_ERR_NOMEM; rc != OM_OK; n++) {
        om_mem_fail_after(n);
        rc = om_write_file_atomic(path, "text", 4);
        if (rc != OM_OK) assert_int_equal(rc, OM_ERR_NOMEM);
        om_mem_fail_after(-1);
        assert_int_equal(access(path, F_OK), rc == OM_OK ? 0 : -1);
        assert_int_equal(files_in_dir(), rc == OM_OK ? 1 : 0);
    }
    assert_int_equal(n, 3);
    om_mem_fail_after(0);
    assert_int_equal(om_read_file(path, 100, &data, &len), OM_ERR_NOMEM);
    assert_null(data);
    om_mem_fail_after(1);
    assert_int_equal(om_read_file("/proc/cpuinfo", 1 << 24, &data, &len), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_remembers_a_failure),
        cmocka_unit_test(numbers_keep_their_point_in_any_locale),
        cmocka_unit_test(lists_own_their_texts),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(whole_numbers_are_strict),
        cmocka_unit_test(real_numbers_are_strict),
        cmocka_unit_test(files_come_back_as_written),
        cmocka_unit_test(files_that_cannot_be_read_say_why),
        cmocka_unit_test(files_that_cannot_be_written_leave_nothing),
        cmocka_unit_test(unwritable_folder_is_an_error),
        cmocka_unit_test(replacing_keeps_links_and_modes),
        cmocka_unit_test(aborted_file_leaves_the_old_one),
        cmocka_unit_test(two_writers_of_one_path_share_nothing),
        cmocka_unit_test(the_longest_names_are_written),
        cmocka_unit_test(files_survive_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
