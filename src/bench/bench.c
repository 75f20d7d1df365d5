/* A bench from its options to its result. */
#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "bench/trial.h"
#include "profile/profile.h"

static int describe_model(om_bench *b)
{
    om_config c;
    int err = om_config_init(&c);
    if (err) return err;
    err = b->caller->configure(b->caller->user, &c.run);
    if (!err && !c.run.model) err = om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx");
    if (!err) snprintf(b->result->model, sizeof b->result->model, "%s", c.run.model);
    om_config_fini(&c);
    return err;
}

static int measure(om_bench *b)
{
    const om_bench_options *o = b->options;
    if (o->compare_batching) return om_bench_batching(b);
    int err = om_bench_accuracy(b); /* first: a wrong --reference is told before the long part */
    if (err) return err;
    return o->soak > 0 ? om_bench_soak(b) : om_bench_ladder(b);
}

int om_bench_run(const om_bench_options *o, const om_bench_caller *caller, om_cancel *cancel,
                 om_bench_result *out)
{
    om_bench b = {.options = o, .caller = caller, .cancel = cancel, .result = out};
    memset(out, 0, sizeof *out);
    out->started_us = om_wall_us();
    int err = om_bench_check(o);
    if (!err) err = describe_model(&b);
    if (!err) err = om_system_describe(&out->system_keys, &out->system_values);
    if (!err) err = measure(&b);
    if (caller->progress) caller->progress(caller->user, NULL);
    if (err == OM_ERR_CANCELLED) {
        out->interrupted = true;
        err = OM_OK;
    }
    om_bench_judge(o, out);
    return err;
}

void om_bench_result_fini(om_bench_result *r)
{
    om_free(r->rungs);
    om_free(r->soak.samples);
    om_strlist_fini(&r->system_keys);
    om_strlist_fini(&r->system_values);
    memset(r, 0, sizeof *r);
}
