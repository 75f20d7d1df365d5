/* Embeds omma: prints every object of every frame of the given videos.
 *
 *   cc embed.c $(pkg-config --cflags --libs omma) -o embed
 *   ./embed model.onnx video.mp4 [more videos...]
 */
#include <omma/omma.h>
#include <stdio.h>

/* Called in order within a stream, from omma's worker threads; never twice at once for one stream. */
static void on_result(void *user, const om_frame_result *r)
{
    (void)user;
    for (size_t i = 0; i < r->n_objects; i++) {
        const om_detection *d = &r->objects[i];
        const char *name =
            d->class_id >= 0 && (size_t)d->class_id < r->n_labels ? r->labels[d->class_id] : "?";
        printf("%s %.2fs %s %.2f at %.0f,%.0f %.0fx%.0f\n", r->stream, r->pts, name, (double)d->score,
               (double)d->x, (double)d->y, (double)d->w, (double)d->h);
    }
}

static int fail(om_pipeline *p)
{
    fprintf(stderr, "embed: %s\n", om_error_message());
    om_pipeline_destroy(p);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: embed MODEL.onnx VIDEO...\n");
        return 2;
    }
    om_pipeline *p;
    om_stream_stats all;
    if (om_pipeline_create(&p)) return fail(NULL);
    if (om_pipeline_set(p, "model", argv[1])) return fail(p);
    if (om_pipeline_set(p, "conf", "0.4")) return fail(p); /* any option of `omma run` */
    for (int i = 2; i < argc; i++)
        if (om_pipeline_add_stream(p, argv[i], NULL)) return fail(p);
    if (om_pipeline_on_result(p, on_result, NULL)) return fail(p);
    if (om_pipeline_start(p)) return fail(p);

    /* Here the program could do other work; om_pipeline_stop() ends the run from any thread. */
    if (om_pipeline_wait(p, -1)) return fail(p);
    if (om_pipeline_stats(p, -1, &all)) return fail(p);
    fprintf(stderr, "%llu frames, %.1f a second, half of them within %.1f ms\n",
            (unsigned long long)all.inferred, all.fps, all.latency_ms_p50);
    om_pipeline_destroy(p);
    return 0;
}
