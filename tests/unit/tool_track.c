/* A tracker over boxes in a MOTChallenge file, as a test or a benchmark wants it:
 *
 *     tool_track TRACKER FILE [OPTION=VALUE ...]   prints the boxes that have a track, in the same form
 *     tool_track TRACKER FILE repeat=N ...         goes through the file N times, prints updates a second
 *     tool_track assign                            reads "rows cols gate" and the costs, again and again;
 * prints each row's column
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "omma/error.h"
#include "track/track.h"

#define MAX_FRAMES 100000

static om_dets *frames;
static int last_frame;

static int load(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];
    if (!f) return -1;
    frames = om_calloc(MAX_FRAMES, sizeof(*frames));
    while (frames && fgets(line, sizeof line, f)) {
        int frame, class_id = 0;
        float id, x, y, w, h, score;
        int n = sscanf(line, "%d,%f,%f,%f,%f,%f,%f,%d", &frame, &id, &x, &y, &w, &h, &score, &class_id);
        if (n < 7 || frame < 0 || frame >= MAX_FRAMES) continue;
        om_detection *d = om_dets_add(&frames[frame]);
        if (!d) break;
        d->x = x, d->y = y, d->w = w, d->h = h, d->score = score;
        d->class_id = n > 7 ? class_id : 0;
        if (frame > last_frame) last_frame = frame;
    }
    fclose(f);
    return frames ? 0 : -1;
}

static int option(om_track_params *p, int *repeat, const char *text)
{
    const struct {
        const char *name;
        double *d;
        int *i;
    } known[] = {{"high=", &p->high, NULL},     {"low=", &p->low, NULL},
                 {"start=", &p->start, NULL},   {"match=", &p->match, NULL},
                 {"buffer=", NULL, &p->buffer}, {"min_hits=", NULL, &p->min_hits},
                 {"repeat=", NULL, repeat}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        size_t n = strlen(known[k].name);
        if (strncmp(text, known[k].name, n) != 0) continue;
        if (known[k].d) *known[k].d = atof(text + n);
        else *known[k].i = atoi(text + n);
        return 0;
    }
    p->agnostic = !strcmp(text, "agnostic");
    return p->agnostic ? 0 : -1;
}

static int pass(om_tracker *t, bool print)
{
    for (int f = 0; f <= last_frame; f++) {
        if (!frames[f].n && f == 0) continue;
        int err = om_tracker_update(t, (uint64_t)f, 1, 1, &frames[f]);
        if (err) return err;
        for (size_t i = 0; i < frames[f].n && print; i++) {
            const om_detection *d = &frames[f].items[i];
            if (d->track < 0) continue;
            printf("%d,%lld,%g,%g,%g,%g,%g,-1,-1,-1\n", f, (long long)d->track, (double)d->x, (double)d->y,
                   (double)d->w, (double)d->h, (double)d->score);
        }
    }
    return OM_OK;
}

static int assign(void)
{
    om_assign_work w = {0};
    int rows, cols, err = OM_OK;
    float gate;
    while (!err && scanf("%d %d %f", &rows, &cols, &gate) == 3 && rows > 0 && cols > 0) {
        float *cost = om_calloc((size_t)rows * (size_t)cols, sizeof(*cost));
        int *row_col = om_calloc((size_t)rows, sizeof(*row_col));
        err = cost && row_col ? OM_OK : OM_ERR_NOMEM;
        for (int i = 0; i < rows * cols && !err; i++)
            if (scanf("%f", &cost[i]) != 1) err = OM_ERR_FORMAT;
        if (!err) err = om_assign(&w, cost, rows, cols, gate, row_col);
        for (int i = 0; i < rows && !err; i++) printf("%d%c", row_col[i], i + 1 < rows ? ' ' : '\n');
        om_free(cost);
        om_free(row_col);
    }
    om_assign_fini(&w);
    return err ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "assign")) return assign();
    om_track_params p;
    om_tracker *t = NULL;
    int repeat = 0;
    om_track_params_default(&p);
    const om_tracker_ops *ops = argc > 2 ? om_tracker_ops_for(argv[1]) : NULL;
    for (int i = 3; i < argc; i++)
        if (option(&p, &repeat, argv[i])) ops = NULL;
    if (!ops || load(argv[2])) {
        fputs(
            "usage: tool_track TRACKER FILE [high= low= start= match= buffer= min_hits= agnostic repeat=]\n",
            stderr);
        return 2;
    }
    int err = om_tracker_create(ops, &p, &t);
    int64_t begin = om_now_ns();
    for (int i = 0; i < (repeat ? repeat : 1) && !err; i++) err = pass(t, !repeat);
    double seconds = (double)(om_now_ns() - begin) / 1e9;
    if (repeat) printf("%.1f\n", (double)last_frame * repeat / seconds);
    if (err) fprintf(stderr, "%s\n", om_error_message());
    om_tracker_destroy(t);
    for (int f = 0; f < MAX_FRAMES; f++) om_dets_fini(&frames[f]);
    om_free(frames);
    return err ? 1 : 0;
}
