/* The watched side of `omma run --supervise`: a run that says when its GPU is lost, and one that waits, with
 * its model loaded, until it may go on where that one stops. Lines of JSON over a socket:
 *
 *   from the supervisor   {"cmd":"sizes"}  {"cmd":"warm","sizes":[[1920,1080],...]}  {"cmd":"hand_over"}
 *                         {"cmd":"go","streams":[...]}
 *   to it                 {"event":"lost","device":"cuda:0","cause":"..."}  {"event":"sizes","sizes":[...]}
 *                         {"event":"ready"}  {"event":"started"}
 * {"event":"end","streams":[...],"report":{...}} */
#ifndef OM_CLI_WARD_H
#define OM_CLI_WARD_H

#include "pipeline/pipeline.h"

#define OM_WARD_ENV "OMMA_SUPERVISED" /* "FD", or "FD:next" for one that waits */

/* Thread-safety: one thread. */
typedef struct om_ward {
    int fd; /* -1: nobody watches */
    bool follows, told;
    om_str in;
} om_ward;

/* Before there are threads. */
void om_ward_init(om_ward *w);
void om_ward_fini(om_ward *w);
/* For om_pipeline_on_ready() of one that waits: compiles, says that it is ready, and takes over. */
int om_ward_wait(om_ward *w, om_pipeline *p);
void om_ward_started(om_ward *w);
/* Now and then while the run goes on. */
void om_ward_tick(om_ward *w, om_pipeline *p);
/* Once it has ended: where everything stands, and its report. */
int om_ward_end(om_ward *w, om_pipeline *p);

/* For both sides. Takes a whole line, without its end, out of *in, which grows from the socket. OM_ERR_AGAIN:
 * none is there yet; OM_ERR_EOF: nobody is at the other end. Parsed into *out. */
int om_ward_read(int fd, om_str *in, om_json_value **out);
int om_ward_write(int fd, const om_str *line);

#endif
