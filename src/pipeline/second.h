/* Secondary models: they look at what the primary one, or another secondary, finds. Each has its own engine,
 * queue and batches over all streams; lanes cut the crops, ask, and put the answers into their records.
 *
 * Files wait for the answers, and what is asked about a frame depends on answers to frames before it alone,
 * so that a file gives the same records whatever the threads. Live streams never wait: a late answer joins
 * the track's next record. */
#ifndef OM_PIPELINE_SECOND_H
#define OM_PIPELINE_SECOND_H

#include "pipeline/engine.h"
#include "pipeline/second_config.h"

typedef struct om_seconds om_seconds;             /* all of a run's */
typedef struct om_second_stream om_second_stream; /* what one stream has asked and remembers */
typedef struct om_second_frame om_second_frame;   /* the questions of one frame */

/* Loads, checks that the models fit their roles, compiles and starts their threads; waits for room on
 * `primary`'s device where they share it. `c` and `primary` outlive it. OM_ERR_ARG names the secondary. */
int om_seconds_create(const om_config *c, om_engine *primary, om_seconds **out);
/* Questions that wait are given up, new ones are refused; what is in the engines goes on. Any thread. */
void om_seconds_cancel(om_seconds *s);
/* Waits for what is in the engines. After om_second_stream_close() of all streams. NULL is allowed. */
void om_seconds_destroy(om_seconds *s);
/* The members of the array "secondary" of the report; `profile`: with batch sizes. NULL: none. Any thread. */
void om_seconds_json(om_seconds *s, bool profile, om_json *j);

/* `wait`: the stream waits for its answers. `answered` is called from other threads when there is something
 * new. The name outlives it. */
int om_second_stream_create(om_seconds *s, const char *name, bool wait, void (*answered)(void *user),
                            void *user, om_second_stream **out);
/* `answered` is not called any more. Any thread; repeatable; NULL is allowed. */
void om_second_stream_close(om_second_stream *st);
/* What it remembers goes; answers under way find nobody. NULL is allowed. */
void om_second_stream_destroy(om_second_stream *st);
/* How many frames may have begun and not finished. */
int om_second_stream_depth(const om_second_stream *st);

/* All of these from the lane's worker. */
/* Cuts crops from r->frame and asks. NULL: out of memory, the frame goes without. */
om_second_frame *om_second_begin(om_second_stream *st, om_result *r);
/* Takes the answers that have come, and asks what follows from them. */
void om_second_harvest(om_second_stream *st);
/* Nothing of the frame is waited for any more. */
bool om_second_ready(const om_second_frame *f);
/* Puts the answers into the result. Frames in the order in which they began; `f` is gone afterwards. */
void om_second_finish(om_second_stream *st, om_second_frame *f, om_result *r);
/* The frame goes without. NULL is not allowed. */
void om_second_abandon(om_second_frame *f);

#endif
