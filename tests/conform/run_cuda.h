/* What the tests of whole runs on a GPU share: clips, a run on the test's own engine, its books. */
#ifndef OM_TEST_RUN_CUDA_H
#define OM_TEST_RUN_CUDA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "cuda_plugin.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"

#define STREAMS 6

static const char *clips;
static om_device *gpu;

static inline void check(int err)
{
    if (err) fail_msg("%s", om_error_message());
}

static inline const char *clip(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", clips, name);
    if (access(path, R_OK) == 0) return path;
    printf("left out: no %s\n", path);
    return NULL;
}

typedef struct seen {
    atomic_ullong all;
    unsigned long long frames[STREAMS], last[STREAMS]; /* of one worker at a time */
    atomic_int disorder;
    unsigned long long trap_at; /* 0: never */
    int64_t trapped_ns;
    atomic_llong first_after_ns; /* the first result a while after the fault */
} seen;

static int (*trap)(int index);

static void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    int i = r->stream_index;
    if (s->frames[i]++ && r->seq <= s->last[i]) atomic_fetch_add(&s->disorder, 1);
    s->last[i] = r->seq;
    if (atomic_fetch_add(&s->all, 1) + 1 == s->trap_at) {
        s->trapped_ns = om_now_ns();
        trap(0);
    }
}

static om_pipeline *make_empty(seen *s, const char *const *options)
{
    om_pipeline *p;
    char model[512];
    const char *data = getenv("OMMA_TEST_DATA");
    memset(s, 0, sizeof(*s));
    snprintf(model, sizeof model, "%s/shapes.onnx", data ? data : TEST_DATA);
    check(om_pipeline_create(&p));
    check(om_pipeline_set(p, "model", model));
    check(om_pipeline_set(p, "device", "gpunull:0"));
    check(om_pipeline_set(p, "fallback", "null:500"));
    check(om_pipeline_set(p, "decode", "cuda")); /* idle cores take no stream away */
    for (; options && *options; options += 2) check(om_pipeline_set(p, options[0], options[1]));
    return p;
}

static inline om_pipeline *make(seen *s, const char *path, const char *const *options)
{
    om_pipeline *p = make_empty(s, options);
    check(om_pipeline_on_result(p, on_result, s));
    for (int i = 0; i < STREAMS; i++) check(om_pipeline_add_stream(p, path, NULL));
    return p;
}

static inline uint64_t check_books(om_pipeline *p, const seen *s)
{
    uint64_t dropped = 0;
    for (int i = 0; i < STREAMS; i++) {
        om_stream_stats st;
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.in_flight, 0);
        assert_int_equal(st.received, st.inferred + st.dropped + st.skipped);
        assert_int_equal(st.inferred, s->frames[i]);
        dropped += st.dropped;
    }
    assert_int_equal(atomic_load(&s->disorder), 0);
    return dropped;
}

/* 0, or the exit status of a program that has nothing to test. */
static inline int open_both(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    int status = open_cuda(&gpu);
    if (status || om_device_find("gpunull")) return status;
    printf("the plug-in omma-gpunull.so is not there, or came before omma-cuda.so: set OMMA_PLUGINS\n");
    return 1;
}

#endif
