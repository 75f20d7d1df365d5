/* An answer that has to be OM_OK; its message where it is not. */
#ifndef OMMA_TESTS_CHECK_H
#define OMMA_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

static inline void assert_ok(int err)
{
    if (err) print_error("%s\n", om_error_message());
    assert_int_equal(err, OM_OK);
}

#endif
