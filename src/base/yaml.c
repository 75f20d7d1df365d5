#include "base/yaml.h"

#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

int om_yaml_load(om_yaml *y, const char *path, size_t max)
{
    yaml_parser_t parser;
    char *text;
    size_t len;
    memset(y, 0, sizeof *y);
    y->path = path;
    int err = om_read_file(path, max, &text, &len);
    if (err) return err == OM_ERR_NOMEM ? err : om_fail(OM_ERR_ARG, "%s", om_error_message());
    if (!yaml_parser_initialize(&parser)) {
        om_free(text);
        return om_fail_nomem("the YAML parser");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&parser, &y->doc)) {
        err = om_fail(OM_ERR_ARG, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "not YAML");
        memset(y, 0, sizeof *y);
    }
    yaml_parser_delete(&parser);
    om_free(text);
    return err;
}

void om_yaml_fini(om_yaml *y)
{
    if (!y) return;
    yaml_document_delete(&y->doc);
    memset(y, 0, sizeof *y);
}

const yaml_node_t *om_yaml_root(om_yaml *y) { return yaml_document_get_root_node(&y->doc); }

const yaml_node_t *om_yaml_node(om_yaml *y, int id) { return yaml_document_get_node(&y->doc, id); }

const char *om_yaml_text(const yaml_node_t *n) { return (const char *)n->data.scalar.value; }

int om_yaml_line(const yaml_node_t *n) { return (int)n->start_mark.line + 1; }

int om_yaml_fail(const om_yaml *y, const yaml_node_t *n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    om_failv(OM_ERR_ARG, fmt, ap);
    va_end(ap);
    return om_yaml_fail_prefix(y, n, OM_ERR_ARG);
}

int om_yaml_fail_prefix(const om_yaml *y, const yaml_node_t *n, int code)
{
    return om_fail_prefix(code, "%s:%d", y->path, om_yaml_line(n));
}

int om_yaml_expect_scalar(const om_yaml *y, const yaml_node_t *n, const char *what)
{
    if (n->type == YAML_SCALAR_NODE) return OM_OK;
    return om_yaml_fail(y, n, "%s must be a single value", what);
}
