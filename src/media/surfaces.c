#include "media/surfaces.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/frame_av.h"

#define POLL_NS (100 * OM_NS_PER_MS)

/* Of a picture that is on its way. */
typedef struct holder {
    om_surfaces *surfaces;
    om_event *written; /* made with the first picture and used for each; NULL: the device has none */
    bool busy;
} holder;

struct om_surfaces {
    om_ref ref;           /* the decoder's, and one a picture */
    om_device *device;    /* outlives all pictures */
    om_stream *writes;    /* asked for by the decoder's thread alone, while there is a decoder */
    pthread_mutex_t lock; /* guards held, limit, and which holders are busy */
    pthread_cond_t back;
    int held, limit, wish;
    const char *refused;
    holder holders[OM_SURFACES_MAX];
    holder eventless; /* of any number of pictures */
};

int om_surfaces_create(om_device *d, om_stream *writes, int wish, om_surfaces **out)
{
    om_surfaces *s = *out = om_calloc(1, sizeof *s);
    if (!s) return OM_ERR_NOMEM;
    om_ref_init(&s->ref);
    pthread_mutex_init(&s->lock, NULL);
    om_cond_init(&s->back);
    s->device = d;
    s->writes = writes;
    for (int i = 0; i < OM_SURFACES_MAX; i++) s->holders[i].surfaces = s;
    s->eventless.surfaces = s;
    s->wish = s->limit = wish < 1 ? 1 : wish;
    return OM_OK;
}

int om_surfaces_fit(om_surfaces *s, int room)
{
    pthread_mutex_lock(&s->lock);
    int limit = s->limit = s->wish < room ? s->wish : room;
    pthread_mutex_unlock(&s->lock);
    return limit;
}

void om_surfaces_refuse(om_surfaces *s, const char *why) { s->refused = why; }

const char *om_surfaces_refused(const om_surfaces *s) { return s->refused; }

int om_surfaces_wait(om_surfaces *s, om_cancel *cancel)
{
    int rc = OM_OK;
    pthread_mutex_lock(&s->lock);
    while (s->held >= s->limit && rc == OM_OK) {
        om_cond_wait_until(&s->back, &s->lock, om_now_ns() + POLL_NS);
        if (om_cancelled(cancel)) rc = om_fail(OM_ERR_CANCELLED, "cancelled");
        else if (om_device_is_lost(s->device, false)) rc = OM_ERR_DEVICE_LOST;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void came_back(void *arg)
{
    holder *h = arg;
    om_surfaces *s = h->surfaces;
    pthread_mutex_lock(&s->lock);
    h->busy = false;
    s->held--;
    pthread_cond_signal(&s->back);
    pthread_mutex_unlock(&s->lock);
    om_surfaces_unref(s);
}

/* Lock held. More pictures than there are surfaces have no event of their own. */
static holder *free_holder(om_surfaces *s)
{
    for (int i = 0; i < OM_SURFACES_MAX; i++)
        if (!s->holders[i].busy) return &s->holders[i];
    return &s->eventless;
}

/* Who waits for the picture waits for its own surface then, not for all that other decoders have begun. */
static void mark_written(om_surfaces *s, holder *h, om_frame *f)
{
    if (h == &s->eventless) return;
    if (!h->written && om_device_event_create(s->device, &h->written) < 0) h->written = NULL;
    if (h->written && om_device_event_record(s->device, h->written, s->writes) == OM_OK)
        f->written = h->written;
}

void om_surfaces_hold(om_surfaces *s, om_frame *f)
{
    pthread_mutex_lock(&s->lock);
    holder *h = free_holder(s);
    h->busy = true;
    s->held++;
    pthread_mutex_unlock(&s->lock);
    mark_written(s, h, f);
    om_ref_inc(&s->ref);
    om_frame_on_release(f, came_back, h);
}

void om_surfaces_unref(om_surfaces *s)
{
    if (!s || !om_ref_dec(&s->ref)) return;
    for (int i = 0; i < OM_SURFACES_MAX; i++) om_device_event_destroy(s->device, s->holders[i].written);
    pthread_cond_destroy(&s->back);
    pthread_mutex_destroy(&s->lock);
    om_free(s);
}
