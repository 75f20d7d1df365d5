/* A run that listens: the control socket, on which `omma ctl` and other programs add, remove and ask for
 * streams. The serve room's public header.
 *
 * A request is one JSON object on a line, its answer another: {"ok":true, ...} or {"ok":false,"error":"..."}.
 *
 *   {"cmd":"add","uri":"rtsp://...","name":"gate","priority":2}    any key of a stream
 *   {"cmd":"remove","name":"gate"}   likewise pause, resume
 *   {"cmd":"set","name":"gate","fps":5}                            priority, weight, fps, every
 *   {"cmd":"list"}                   with "name": that one
 *   {"cmd":"stats"}                  the sums
 *   {"cmd":"report"}                 what --report would write now */
#ifndef OM_SERVE_SERVE_H
#define OM_SERVE_SERVE_H

#include "pipeline/pipeline.h"

/* Longer lines are refused. */
#define OM_CONTROL_LINE_MAX 65536

/* Answers one request, in one line without its end. Any thread. */
void om_control_answer(om_pipeline *p, const char *request, size_t len, om_str *answer);

typedef struct om_control om_control;

/* Makes the socket, for this user alone (0600); what a run that is gone has left there is replaced.
 * OM_ERR_ARG: another run listens there, or `path` is something else or too long. */
int om_control_open(const char *path, om_pipeline *p, om_control **out);
/* Begins to listen; the pipeline has been started. */
int om_control_start(om_control *c);
/* Ends, and removes the socket. NULL is allowed. */
void om_control_close(om_control *c);

#endif
