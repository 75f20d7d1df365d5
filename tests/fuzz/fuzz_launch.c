/* Bytes are taken for the YAML of a launch: what is accepted has jobs with names of their own that fit a
 * machine. The first byte chooses an allocation that fails. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "fuzz_file.h"
#include "worker/launch.h"

static void check(const om_launch_config *c)
{
    int all = 0;
    insist(c->n > 0);
    for (size_t i = 0; i < c->n; i++) {
        const om_job *j = &c->jobs[i];
        insist(j->name && *j->name && !strchr(j->name, '/') && j->command && *j->command);
        insist(j->copies >= 1 && j->repeat >= 1 && CPU_COUNT(&j->set) > 0);
        for (size_t k = 0; k < j->env.n; k++) insist(strchr(j->env.items[k], '=') > j->env.items[k]);
        for (size_t k = 0; k < i; k++) insist(strcmp(c->jobs[k].name, j->name) != 0);
        all += j->copies;
    }
    insist(all <= 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    om_launch_config c;
    const char *path = put_file(data + 1, size - 1);
    om_mem_fail_after(data[0] ? data[0] : -1);
    int err = om_launch_config_load(&c, path);
    om_mem_fail_after(-1);
    if (!err) check(&c);
    else insist(om_error_message()[0] != '\0');
    om_launch_config_fini(&c);
    return 0;
}
