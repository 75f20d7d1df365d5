/* What a secondary model is configured with: a map of YAML's `secondary:` list, or --secondary KEY=VALUE,...
 */
#ifndef OM_PIPELINE_SECOND_CONFIG_H
#define OM_PIPELINE_SECOND_CONFIG_H

#include "pipeline/config.h"

#define OM_SECOND_MAX 32 /* models: sets of them are bits of 32 */
#define OM_SECOND_CORNERS 4

typedef enum om_second_crop {
    OM_CROP_AUTO,      /* the quad where the parent's answer has one, else upright */
    OM_CROP_UPRIGHT,   /* the parent's box */
    OM_CROP_QUAD,      /* straightened by the quad, or by four landmarks */
    OM_CROP_LANDMARKS, /* a face by its five, onto the template; by four as QUAD */
    OM_CROP_WHOLE      /* what the parent saw (of a parent that finds no boxes), or the picture */
} om_second_crop;

typedef enum om_second_each { OM_EACH_AUTO, OM_EACH_FRAME, OM_EACH_TRACK } om_second_each;

struct om_second_options {
    char *name, *parent;
    om_strlist parent_classes;
    double min_score, max_score;
    om_size min_size;
    double margin;
    int crop; /* om_second_crop */
    char *corners;
    double tall;
    om_strlist turn_classes;
    double turn_score;
    int each; /* om_second_each */
    int every;
    double refresh, better, confident;
    int agree, max_asks, budget, most, priority, queue, batch;
    char *save_crops, *gallery;
    double threshold;
    om_run_options run; /* about the model and its engine; the rest of it is blank */
};

extern const om_option om_second_option_table[];

/* "key=value,..." (lists joined by ';', a comma of a value written "\,"), or the model's file alone.
 * OM_ERR_ARG names the key. */
int om_config_add_second(om_config *c, const char *spec);
/* A blank one for a reader to fill by the table; om_config_second() then checks it, names it and counts it
 * in, or frees its content on failure. NULL when out of memory or there are too many. */
om_second_options *om_config_new_second(om_config *c);
int om_config_second(om_config *c, om_second_options *o);
/* Reads the specs among the run's options (--secondary) into the list; again: no-op. */
int om_config_read_seconds(om_config *c);
/* What can be said without the models: parents are there and make no circle, rules agree. */
int om_config_check_seconds(const om_config *c);
void om_config_free_seconds(om_config *c);
/* The parent's place in the list, or one of these. */
#define OM_PARENT_PRIMARY (-1)
#define OM_PARENT_FRAME (-2)
int om_second_parent(const om_config *c, const om_second_options *o, int *out);

#endif
