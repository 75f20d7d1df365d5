/* omma profile --ladder: one model in several precisions, speed beside agreement. */
#ifndef OM_CLI_PROFILE_LADDER_H
#define OM_CLI_PROFILE_LADDER_H

#include "profile/profile.h"

typedef struct om_ladder_params {
    const char *precisions;           /* "f32,bf16,int8" */
    const char *int8_model;           /* what is measured for int8; NULL: the model */
    const char *json;                 /* file or "-"; NULL: none */
    const om_profile_params *measure; /* model and all but precision, outputs and what progress is told */
    bool quiet;
} om_ladder_params;

/* Measures each, writes the JSON and prints the table. What the device does not compute in is skipped and
 * said. OM_ERR_ARG: no list of precisions; OM_ERR_UNSUPPORTED: none of them is to be had. */
int om_ladder_run(const om_ladder_params *p);

#endif
