/* The JSON writer and reader. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"

static void write_record(om_json *j)
{
    om_json_begin_object(j);
    om_json_key(j, "stream");
    om_json_string(j, "gate");
    om_json_key(j, "seq");
    om_json_uint(j, UINT64_MAX);
    om_json_key(j, "low");
    om_json_int(j, INT64_MIN);
    om_json_key(j, "objects");
    om_json_begin_array(j);
    om_json_begin_object(j);
    om_json_key(j, "box");
    om_json_begin_array(j);
    om_json_num(j, 1.5, 2);
    om_json_num(j, 20, 2);
    om_json_end_array(j);
    om_json_end_object(j);
    om_json_begin_object(j);
    om_json_end_object(j);
    om_json_end_array(j);
    om_json_key(j, "empty");
    om_json_begin_array(j);
    om_json_end_array(j);
    om_json_key(j, "ok");
    om_json_bool(j, true);
    om_json_key(j, "none");
    om_json_string(j, NULL);
    om_json_key(j, "off");
    om_json_bool(j, false);
    om_json_key(j, "null");
    om_json_null(j);
    om_json_end_object(j);
}

static const char record[] =
    "{\"stream\":\"gate\",\"seq\":18446744073709551615,\"low\":-9223372036854775808,"
    "\"objects\":[{\"box\":[1.5,20]},{}],\"empty\":[],\"ok\":true,\"none\":null,\"off\":false,\"null\":null}";

static const char pretty[] = "[\n  1,\n  {\n    \"a\": []\n  }\n]";

static void punctuation_is_placed(void **state)
{
    om_str out = {0};
    om_json j;
    om_json_init(&j, &out, 0);
    write_record(&j);
    assert_string_equal(om_str_get(&out), record);

    om_str_clear(&out);
    om_json_init(&j, &out, 2);
    om_json_begin_array(&j);
    om_json_int(&j, 1);
    om_json_begin_object(&j);
    om_json_key(&j, "a");
    om_json_begin_array(&j);
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_json_end_array(&j);
    assert_string_equal(om_str_get(&out), pretty);
    om_str_fini(&out);
}

static void assert_written(const char *text, const char *want)
{
    om_str out = {0};
    om_json j;
    om_json_init(&j, &out, 0);
    om_json_string(&j, text);
    assert_string_equal(om_str_get(&out), want);
    om_str_fini(&out);
}

static void strings_are_escaped(void **state)
{
    assert_written("", "\"\"");
    assert_written("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    assert_written("\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    assert_written("K\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x9a\x97",
                   "\"K\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x9a\x97\"");
}

#define FFFD "\xef\xbf\xbd"

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    assert_written("a\x80"
                   "b",
                   "\"a" FFFD "b\"");
    assert_written("\xff\xfe", "\"" FFFD FFFD "\"");
    assert_written("cut \xe2\x82", "\"cut " FFFD FFFD "\"");
    assert_written("\xc0\x80 overlong", "\"" FFFD FFFD " overlong\"");
    assert_written("\xe0\x9f\xbf", "\"" FFFD FFFD FFFD "\"");
    assert_written("\xed\xa0\x80 surrogate", "\"" FFFD FFFD FFFD " surrogate\"");
    assert_written("\xf0\x8f\xbf\xbf", "\"" FFFD FFFD FFFD FFFD "\"");
    assert_written("\xf4\x90\x80\x80", "\"" FFFD FFFD FFFD FFFD "\"");
    assert_written("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"");
    assert_written("\xc3\"", "\"" FFFD "\\\"\"");
}

static const char *number(double v, int decimals)
{
    static om_str out;
    static char text[400];
    om_json j;
    om_str_clear(&out);
    om_json_init(&j, &out, 0);
    om_json_num(&j, v, decimals);
    snprintf(text, sizeof text, "%s", om_str_get(&out));
    om_str_fini(&out);
    return text;
}

static void numbers_are_short(void **state)
{
    assert_string_equal(number(0, 3), "0");
    assert_string_equal(number(-0.0, 3), "0");
    assert_string_equal(number(-0.0001, 3), "0");
    assert_string_equal(number(-0.0001, 9), "-0.0001");
    assert_string_equal(number(-1e-12, 9), "0");
    assert_string_equal(number(0.5, 3), "0.5");
    assert_string_equal(number(0.9999, 3), "1");
    assert_string_equal(number(-12.3456, 2), "-12.35");
    assert_string_equal(number(100, 0), "100");
    assert_string_equal(number(99.5, 0), "100");
    assert_string_equal(number(1234567890.25, 3), "1234567890.25");
    assert_string_equal(number(0.1, 17), "0.1");
    assert_string_equal(number(1.0 / 3, 17), "0.3333333333333333");
    assert_string_equal(number(0.05, 6), "0.05");
    assert_string_equal(number(1e15, 3), "1e+15");
    assert_string_equal(number(1e300, 3), "1e+300");
    assert_string_equal(number(-DBL_MAX, 0), "-1.7976931348623157e+308");
    assert_string_equal(number(1e-20, 20), "0.00000000000000000001");
    assert_string_equal(number(DBL_MIN, 6), "0");
    assert_string_equal(number(5, -1), "5");
    assert_string_equal(number(NAN, 3), "null");
    assert_string_equal(number(INFINITY, 3), "null");
    assert_string_equal(number(-INFINITY, 3), "null");
}

static void numbers_equal_printf_s(void **state)
{
    uint32_t seed = 1;
    char want[64];
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        double v = ((double)seed - 2147483648.0) / (double)(1u << (seed >> 27));
        int decimals = (int)(seed >> 8) % 7;
        double got = strtod(number(v, decimals), NULL);
        snprintf(want, sizeof want, "%.*f", decimals, v);
        /* a tie may go the other way: half a last place at most */
        assert_true(fabs(got - v) <= 0.5000001 * pow(10, -decimals) + fabs(v) * DBL_EPSILON);
        assert_true(fabs(got - strtod(want, NULL)) <= 1.0000001 * pow(10, -decimals));
        assert_true(strlen(number(v, decimals)) <= strlen(want));
    }
}

static void members_are_written_in_one_call(void **state)
{
    static char *items[] = {"a", "b\"c"};
    om_strlist list = {.items = items, .n = 2}, none = {0};
    om_str out = {0};
    om_json j;
    om_json_init(&j, &out, 0);
    om_json_begin_object(&j);
    om_json_key_string(&j, "text", "x");
    om_json_key_string(&j, "none", NULL);
    om_json_key_int(&j, "low", INT64_MIN);
    om_json_key_uint(&j, "high", UINT64_MAX);
    om_json_key_bool(&j, "yes", true);
    om_json_key_num(&j, "short", 1.23456, 3);
    om_json_key_num(&j, "unknown", NAN, 3);
    om_json_key_texts(&j, "list", &list);
    om_json_key_texts(&j, "empty", &none);
    om_json_end_object(&j);
    assert_string_equal(om_str_get(&out), "{\"text\":\"x\",\"none\":null,\"low\":-9223372036854775808,"
                                          "\"high\":18446744073709551615,\"yes\":true,\"short\":1.235,"
                                          "\"unknown\":null,\"list\":[\"a\",\"b\\\"c\"],\"empty\":[]}");
    om_str_fini(&out);
}

static om_json_value *parse(const char *text)
{
    om_json_value *v = NULL;
    int rc = om_json_parse(text, strlen(text), &v);
    if (rc != OM_OK) fail_msg("%s: %s", text, om_error_message());
    return v;
}

static void whole_text_is_read(void **state)
{
    om_json_value *v = parse(" {\"a\":[1,-2.5e1,true,false,null,\"x\"],\"b\":{\"c\":{}},\"a2\":\"\"} \n");
    const om_json_value *a = om_json_get(v, "a");
    assert_int_equal(v->n, 3);
    assert_int_equal(a->type, OM_JSON_ARR);
    assert_int_equal(a->n, 6);
    assert_true(a->children[0].num == 1);
    assert_true(a->children[1].num == -25);
    assert_true(a->children[2].boolean);
    assert_int_equal(a->children[3].type, OM_JSON_BOOL);
    assert_false(a->children[3].boolean);
    assert_int_equal(a->children[4].type, OM_JSON_NULL);
    assert_string_equal(a->children[5].str, "x");
    assert_int_equal(om_json_get(om_json_get(v, "b"), "c")->type, OM_JSON_OBJ);
    assert_string_equal(om_json_get(v, "a2")->str, "");
    assert_null(om_json_get(v, "d"));
    assert_null(om_json_get(a, "a"));
    assert_null(om_json_get(NULL, "a"));
    om_json_free(v);
    v = parse("{\"k\":1,\"k\":2}");
    assert_true(om_json_get(v, "k")->num == 2);
    om_json_free(v);
    om_json_free(NULL);
}

static void escapes_are_read(void **state)
{
    om_json_value *v = parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude97 K\xc3\xb6ln\"");
    assert_string_equal(v->str, "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\x97 K\xc3\xb6ln");
    om_json_free(v);
}

static void numbers_are_read(void **state)
{
    static const struct {
        const char *text;
        double want;
    } cases[] = {{"0", 0},
                 {"-0", 0},
                 {"10", 10},
                 {"0.5", 0.5},
                 {"1E+2", 100},
                 {"1e-2", 0.01},
                 {"123456789012345678", 123456789012345678.0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_json_value *v = parse(cases[i].text);
        assert_int_equal(v->type, OM_JSON_NUM);
        assert_true(v->num == cases[i].want);
        om_json_free(v);
    }
}

static void mistakes_name_the_byte(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "JSON: expected a value at byte 0"},
        {"  ", "JSON: expected a value at byte 2"},
        {"tru", "JSON: expected a value at byte 0"},
        {"nul", "JSON: expected a value at byte 0"},
        {"[1,]", "JSON: expected a value at byte 3"},
        {"[1 2]", "JSON: expected ',' or ']' at byte 3"},
        {"[1", "JSON: expected ',' or ']' at byte 2"},
        {"{", "JSON: expected a key in quotes at byte 1"},
        {"{a:1}", "JSON: expected a key in quotes at byte 1"},
        {"{\"a\" 1}", "JSON: expected ':' at byte 5"},
        {"{\"a\":1,}", "JSON: expected a key in quotes at byte 7"},
        {"{\"a\":1]", "JSON: expected ',' or '}' at byte 6"},
        {"1 2", "JSON: something after the end at byte 2"},
        {"01", "JSON: something after the end at byte 1"},
        {"+1", "JSON: expected a value at byte 0"},
        {"1.", "JSON: expected a value at byte 2"},
        {".5", "JSON: expected a value at byte 0"},
        {"1e", "JSON: expected a value at byte 2"},
        {"-", "JSON: expected a value at byte 1"},
        {"1e999", "JSON: a number out of range at byte 0"},
        {"NaN", "JSON: expected a value at byte 0"},
        {"\"abc", "JSON: a string without its end at byte 0"},
        {"\"a\nb\"", "JSON: a control character in a string at byte 2"},
        {"\"\\x\"", "JSON: unknown escape at byte 2"},
        {"\"\\", "JSON: unknown escape at byte 2"},
        {"\"\\u12g4\"", "JSON: expected four hex digits at byte 5"},
        {"\"\\ud800\"", "JSON: half a surrogate pair at byte 1"},
        {"\"\\ud800\\u0041\"", "JSON: half a surrogate pair at byte 1"},
        {"\"\\udc00\"", "JSON: half a surrogate pair at byte 1"},
        {"\"\\u0000\"", "JSON: a NUL character at byte 1"},
        {"\"\x80\"", "JSON: bytes that are not UTF-8 at byte 1"},
        {"\"\xed\xa0\x80\"", "JSON: bytes that are not UTF-8 at byte 1"},
        {"\xef\xbb\xbf{}", "JSON: expected a value at byte 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_json_value *v = (om_json_value *)&cases;
        assert_int_equal(om_json_parse(cases[i].text, strlen(cases[i].text), &v), OM_ERR_FORMAT);
        assert_string_equal(om_error_message(), cases[i].message);
        assert_null(v);
    }
    om_json_value *v;
    assert_int_equal(om_json_parse("[1]xyz", 3, &v), OM_OK);
    om_json_free(v);
    assert_int_equal(om_json_parse("\"a\0b\"", 5, &v), OM_ERR_FORMAT);
}

static void members_are_read_by_type(void **state)
{
    om_json_value *v =
        parse("{\"n\":2.5,\"s\":\"x\",\"l\":[1],\"e\":[],\"z\":null,\"n2\":1,\"n2\":\"last\"}");
    assert_true(om_json_get_num(v, "n", -1) == 2.5);
    assert_true(om_json_get_num(v, "s", -1) == -1);
    assert_true(om_json_get_num(v, "z", 7) == 7);
    assert_true(om_json_get_num(v, "n2", 7) == 7);
    assert_true(isnan(om_json_get_num(v, "absent", NAN)));
    assert_true(om_json_get_num(NULL, "n", 3) == 3);
    assert_string_equal(om_json_get_string(v, "s"), "x");
    assert_string_equal(om_json_get_string(v, "n2"), "last");
    assert_string_equal(om_json_get_string(v, "n"), "");
    assert_string_equal(om_json_get_string(NULL, "s"), "");
    assert_int_equal(om_json_get_list(v, "l")->n, 1);
    assert_int_equal(om_json_get_list(v, "e")->n, 0);
    assert_null(om_json_get_list(v, "s"));
    assert_null(om_json_get_list(om_json_get(v, "l"), "l"));
    assert_null(om_json_get_list(NULL, "l"));
    om_json_free(v);
}

static int parse_nested(int depth, char open, char close)
{
    char text[400];
    om_json_value *v;
    memset(text, open, (size_t)depth);
    memset(text + depth, close, (size_t)depth);
    int rc = om_json_parse(text, (size_t)depth * 2, &v);
    om_json_free(v);
    return rc;
}

static void nesting_is_bounded(void **state)
{
    assert_int_equal(parse_nested(64, '[', ']'), OM_OK);
    assert_int_equal(parse_nested(65, '[', ']'), OM_ERR_FORMAT);
    assert_string_equal(om_error_message(), "JSON: nested deeper than 64 levels at byte 64");
    om_json_value *v;
    assert_int_equal(om_json_parse("[[],[],[[]],{}]", 15, &v), OM_OK);
    om_json_free(v);
    size_t huge = 1 << 20;
    char *text = om_alloc(huge);
    memset(text, '[', huge);
    assert_int_equal(om_json_parse(text, huge, &v), OM_ERR_FORMAT);
    om_free(text);
}

static void write_value(om_json *j, const om_json_value *v)
{
    switch (v->type) {
    case OM_JSON_NULL: om_json_null(j); break;
    case OM_JSON_BOOL: om_json_bool(j, v->boolean); break;
    case OM_JSON_NUM: om_json_num(j, v->num, 17); break;
    case OM_JSON_STR: om_json_string(j, v->str); break;
    case OM_JSON_ARR:
        om_json_begin_array(j);
        for (size_t i = 0; i < v->n; i++) write_value(j, &v->children[i]);
        om_json_end_array(j);
        break;
    case OM_JSON_OBJ:
        om_json_begin_object(j);
        for (size_t i = 0; i < v->n; i++) {
            om_json_key(j, v->keys[i]);
            write_value(j, &v->children[i]);
        }
        om_json_end_object(j);
        break;
    }
}

static void what_is_written_is_read_again(void **state)
{
    static const char text[] =
        "{\"k\\n\":[0.1,1e+300,-7,3.141592653589793,\"\\u0001\xe2\x82\xac\\\\\"],\"o\":{\"\":null},\"t\":true}";
    for (int indent = 0; indent <= 4; indent += 2) {
        om_str first = {0}, second = {0};
        om_json j;
        om_json_value *v = parse(text);
        om_json_init(&j, &first, indent);
        write_value(&j, v);
        om_json_free(v);
        v = parse(om_str_get(&first));
        om_json_init(&j, &second, 0);
        write_value(&j, v);
        om_json_free(v);
        assert_string_equal(om_str_get(&second), text);
        om_str_fini(&first);
        om_str_fini(&second);
    }
}

static void lack_of_memory_is_reported(void **state)
{
    static const char text[] = "{\"a\":[1,\"two\",{\"b\":[]}],\"c\":\"three\"}";
    om_json_value *v;
    long n = 0;
    for (;; n++) {
        om_mem_fail_after(n);
        int rc = om_json_parse(text, sizeof text - 1, &v);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) break;
        assert_int_equal(rc, OM_ERR_NOMEM);
        assert_null(v);
        assert_non_null(strstr(om_error_message(), "out of memory"));
    }
    assert_true(n > 10);
    om_json_free(v);
    for (n = 0;; n++) {
        om_str out = {0};
        om_json j;
        om_mem_fail_after(n);
        om_json_init(&j, &out, 2);
        write_record(&j);
        om_json_num(&j, 1e300, 3);
        om_json_num(&j, 0.123456789, 9);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(out.failed, met);
        om_str_fini(&out);
        if (!met) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(punctuation_is_placed),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(numbers_equal_printf_s),
        cmocka_unit_test(members_are_written_in_one_call),
        cmocka_unit_test(whole_text_is_read),
        cmocka_unit_test(escapes_are_read),
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(mistakes_name_the_byte),
        cmocka_unit_test(members_are_read_by_type),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
