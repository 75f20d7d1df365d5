/* What a plan holds, for people and scripts. */
#ifndef OM_CLI_BUILD_SHOW_H
#define OM_CLI_BUILD_SHOW_H

#include "base/str.h"

typedef struct om_build_flags {
    om_strlist sizes, calib;
    char *output, *json;
    int min_batch, opt_batch, max_batch, frames, min_frames;
    bool inspect, rebuild;
} om_build_flags;

/* Prints it, or writes it as JSON where `json` says. OM_ERR_FORMAT: what is wrong with the file. */
int om_build_inspect(const char *path, const char *json);

#endif
