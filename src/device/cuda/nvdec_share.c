/* A library that stands before NVIDIA's libnvcuvid and lets several streams share a decoder session. A GPU
 * has only so many sessions (288 on an H200, of any size), beside decoders that are fast enough for a
 * thousand slow streams. H.264 and HEVC keep nothing between pictures but surfaces, and each picture names
 * those it refers to: so streams of one format take turns on a session. A user has
 * one of its surfaces for what is decoded, referred to, not yet shown or mapped, which takes fewer than the
 * user counts. It carries NVIDIA's soname: whoever asks for that afterwards (FFmpeg) finds this one. */
#include <cuda.h>
#include <dlfcn.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device/cuda/nvdec_real.h"

#define MOST_SLOTS 32      /* NVDEC takes no more surfaces a session */
#define MOST_SURFACES 64   /* that a user may number */
#define ROOMY_SESSIONS 240 /* of those a GPU has; what is expected is spread over so many */
#define UNMAPPING 1        /* no address */
#define PATIENCE_NS 100000000

typedef struct part part;

typedef struct slot {
    part *owner; /* NULL: free */
    int surface; /* of its owner */
    uint64_t age;
    bool shown;            /* it was mapped */
    unsigned long long at; /* where it is mapped now; 0: nowhere */
} slot;

typedef struct session {
    CUvideodecoder decoder;
    CUcontext context;
    CUVIDDECODECREATEINFO as; /* as its users asked */
    bool shared;              /* else its only user's numbers are the session's */
    int pictures, mapped;     /* of a user */
    int parts;
    int users;            /* changed with both locks held */
    pthread_mutex_t lock; /* guards what follows and the order of pictures */
    pthread_cond_t freed;
    slot slots[MOST_SLOTS];
    int n_slots;
    uint64_t clock;
    part *first; /* its users */
    struct session *next;
} session;

/* What a user takes for its decoder. */
struct part {
    session *of;
    int8_t slot_of[MOST_SURFACES]; /* -1: none */
    int held;                      /* slots */
    uint64_t used;                 /* surfaces of its latest picture and those that it referred to */
    part *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows and who uses which session */
static session *sessions;
static int n_sessions, n_decoders, expected;

static _Thread_local int wish_pictures, wish_mapped;

OURS om_nvdec_wish_fn omma_nvdec_wish;
OURS void omma_nvdec_wish(int pictures, int mapped)
{
    wish_pictures = pictures;
    wish_mapped = mapped;
}

OURS om_nvdec_expect_fn omma_nvdec_expect;
OURS void omma_nvdec_expect(int decoders)
{
    pthread_mutex_lock(&lock);
    expected = decoders;
    pthread_mutex_unlock(&lock);
}

OURS om_nvdec_count_fn omma_nvdec_count;
OURS void omma_nvdec_count(int *decoders, int *now)
{
    pthread_mutex_lock(&lock);
    *decoders = n_decoders;
    *now = n_sessions;
    pthread_mutex_unlock(&lock);
}

/* Codecs whose pictures name all that they need. */
static bool can_share(const CUVIDDECODECREATEINFO *as)
{
    return (as->CodecType == cudaVideoCodec_H264 || as->CodecType == cudaVideoCodec_HEVC) &&
           wish_pictures > 0 && wish_pictures <= MOST_SLOTS && wish_mapped > 0 &&
           as->ulNumDecodeSurfaces <= MOST_SURFACES;
}

/* How many users the next session is for: what is expected, spread evenly; more as sessions run out. Lock
 * held. */
static int parts_of_next(CUcontext context)
{
    const char *test = getenv("OMMA_NVDEC_PARTS"); /* tests have few streams */
    int n = 0, most = MOST_SLOTS / wish_pictures, parts = (expected + ROOMY_SESSIONS - 1) / ROOMY_SESSIONS;
    for (const session *s = sessions; s; s = s->next) n += s->context == context;
    if (n >= ROOMY_SESSIONS / 2 && parts < 2) parts = 2;
    if (n >= ROOMY_SESSIONS) parts = most;
    if (test) parts = atoi(test);
    if (parts > MOST_SLOTS / wish_mapped) parts = MOST_SLOTS / wish_mapped;
    if (parts > most) parts = most;
    return parts < 1 ? 1 : parts;
}

/* But for the numbers of surfaces. */
static bool same_pictures(const CUVIDDECODECREATEINFO *a, const CUVIDDECODECREATEINFO *b)
{
    return a->ulWidth == b->ulWidth && a->ulHeight == b->ulHeight && a->CodecType == b->CodecType &&
           a->ChromaFormat == b->ChromaFormat && a->ulCreationFlags == b->ulCreationFlags &&
           a->bitDepthMinus8 == b->bitDepthMinus8 && a->OutputFormat == b->OutputFormat &&
           a->DeinterlaceMode == b->DeinterlaceMode && a->ulTargetWidth == b->ulTargetWidth &&
           a->ulTargetHeight == b->ulTargetHeight && a->vidLock == b->vidLock &&
           !memcmp(&a->display_area, &b->display_area, sizeof a->display_area) &&
           !memcmp(&a->target_rect, &b->target_rect, sizeof a->target_rect);
}

static session *with_room(CUcontext context, const CUVIDDECODECREATEINFO *as)
{
    for (session *s = sessions; s; s = s->next)
        if (s->shared && s->users < s->parts && s->context == context && s->pictures >= wish_pictures &&
            s->mapped >= wish_mapped && same_pictures(&s->as, as))
            return s;
    return NULL;
}

static CUresult create(CUcontext context, const CUVIDDECODECREATEINFO *as, int parts, session **out)
{
    CUVIDDECODECREATEINFO info = *as;
    session *s = calloc(1, sizeof *s);
    if (!s) return CUDA_ERROR_OUT_OF_MEMORY;
    *s = (session){.context = context, .as = *as, .shared = parts > 1, .parts = parts};
    if (s->shared) {
        s->pictures = wish_pictures;
        s->mapped = wish_mapped;
        s->n_slots = MOST_SLOTS;
        info.ulNumDecodeSurfaces = MOST_SLOTS;
        info.ulNumOutputSurfaces = (unsigned)(parts * s->mapped);
    } else if (wish_mapped > 0 && info.ulNumOutputSurfaces > (unsigned)wish_mapped) {
        info.ulNumOutputSurfaces = (unsigned)wish_mapped; /* FFmpeg asks for as many as it decodes into */
    }
    CUresult rc = nvdec_real()->cuvidCreateDecoder(&s->decoder, &info);
    if (rc) {
        free(s);
        return rc;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->next = sessions;
    sessions = s;
    n_sessions++;
    *out = s;
    return CUDA_SUCCESS;
}

static void join(session *s, part *p)
{
    *p = (part){.of = s};
    memset(p->slot_of, -1, sizeof p->slot_of);
    pthread_mutex_lock(&s->lock);
    p->next = s->first;
    s->first = p;
    s->users++;
    pthread_mutex_unlock(&s->lock);
    n_decoders++;
}

OURS CUresult CUDAAPI cuvidCreateDecoder(CUvideodecoder *out, CUVIDDECODECREATEINFO *as)
{
    CUcontext context = NULL;
    CUresult rc = CUDA_SUCCESS;
    session *s = NULL;
    if (!nvdec_real()) return CUDA_ERROR_SHARED_OBJECT_INIT_FAILED;
    part *p = calloc(1, sizeof *p);
    if (!p) return CUDA_ERROR_OUT_OF_MEMORY;
    nvdec_real()->get_current(&context);
    pthread_mutex_lock(&lock);
    if (!can_share(as)) {
        rc = create(context, as, 1, &s);
    } else if (!(s = with_room(context, as))) {
        /* Where memory has no room for many it may have some for one. */
        for (int parts = parts_of_next(context); parts;
             parts = rc == CUDA_ERROR_OUT_OF_MEMORY ? parts / 2 : 0)
            rc = create(context, as, parts, &s);
    }
    if (s) join(s, p);
    pthread_mutex_unlock(&lock);
    wish_pictures = wish_mapped = 0;
    *out = s ? (CUvideodecoder)p : NULL;
    if (!s) free(p);
    return rc;
}

static void give_back(slot *of)
{
    part *p = of->owner;
    p->slot_of[of->surface] = -1;
    p->held--;
    of->owner = NULL;
    pthread_cond_broadcast(&p->of->freed);
}

static CUresult destroy(session *s)
{
    session **at = &sessions;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    n_sessions--;
    CUresult rc = nvdec_real()->cuvidDestroyDecoder(s->decoder);
    pthread_cond_destroy(&s->freed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return rc;
}

OURS CUresult CUDAAPI cuvidDestroyDecoder(CUvideodecoder decoder)
{
    part *p = decoder;
    CUresult rc = CUDA_SUCCESS;
    if (!p) return CUDA_ERROR_INVALID_HANDLE;
    session *s = p->of;
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_slots; i++)
        if (s->slots[i].owner == p) give_back(&s->slots[i]);
    part **at = &s->first;
    while (*at != p) at = &(*at)->next;
    *at = p->next;
    bool last = --s->users == 0;
    pthread_mutex_unlock(&s->lock);
    n_decoders--;
    if (last) rc = destroy(s);
    pthread_mutex_unlock(&lock);
    free(p);
    return rc;
}

/* The surfaces that a picture refers to: where they stand. */
static int references(const session *s, CUVIDPICPARAMS *picture, int *at[16])
{
    int n = 0;
    for (int i = 0; i < 16; i++) {
        bool h264 = s->as.CodecType == cudaVideoCodec_H264;
        int *r =
            h264 ? &picture->CodecSpecific.h264.dpb[i].PicIdx : &picture->CodecSpecific.hevc.RefPicIdx[i];
        if (*r >= 0 && *r < MOST_SURFACES) at[n++] = r;
    }
    return n;
}

/* Slots that its user needs no more: shown and done with, and no picture will refer to them. */
static void release_old(part *p, uint64_t used)
{
    for (int i = 0; i < p->of->n_slots; i++) {
        slot *of = &p->of->slots[i];
        if (of->owner == p && of->shown && !of->at && !(used >> of->surface & 1)) give_back(of);
    }
}

/* Free slots beyond what other users are owed. */
static bool may_take(const part *p)
{
    const session *s = p->of;
    int spare = -(s->parts - s->users) * s->pictures;
    for (int i = 0; i < s->n_slots; i++) spare += !s->slots[i].owner;
    for (const part *other = s->first; other; other = other->next)
        if (other != p && other->held < s->pictures) spare -= s->pictures - other->held;
    return p->held < s->pictures || spare > 0;
}

static slot *find_free(part *p)
{
    if (!may_take(p)) return NULL;
    for (int i = 0; i < p->of->n_slots; i++)
        if (!p->of->slots[i].owner) return &p->of->slots[i];
    return NULL;
}

/* The user's own oldest that nothing refers to: one that it never showed. */
static slot *find_forgotten(part *p, uint64_t used)
{
    slot *best = NULL;
    for (int i = 0; i < p->of->n_slots; i++) {
        slot *of = &p->of->slots[i];
        if (of->owner == p && !of->at && !(used >> of->surface & 1) && (!best || of->age < best->age))
            best = of;
    }
    if (best) give_back(best);
    return best;
}

static slot *wait_for_free(part *p)
{
    struct timespec until;
    slot *of;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!(of = find_free(p)))
        if (pthread_cond_timedwait(&p->of->freed, &p->of->lock, &until)) return NULL;
    return of;
}

/* Other users hold more than their share for moments only. Lock held. */
static slot *take(part *p, int surface, uint64_t used)
{
    slot *of = wait_for_free(p);
    if (!of) of = find_forgotten(p, used);
    if (!of) return NULL;
    of->owner = p;
    of->surface = surface;
    of->age = p->of->clock++;
    of->shown = false;
    of->at = 0;
    p->slot_of[surface] = (int8_t)(of - p->of->slots);
    p->held++;
    return of;
}

/* Lock held. */
static CUresult decode_shared(part *p, CUVIDPICPARAMS *picture)
{
    session *s = p->of;
    int *at[16], n = references(s, picture, at), surface = picture->CurrPicIdx;
    uint64_t used = 1ull << surface;
    for (int i = 0; i < n; i++) used |= 1ull << *at[i];
    p->used = used;
    release_old(p, used);
    bool second = picture->second_field && p->slot_of[surface] >= 0;
    if (!second && p->slot_of[surface] >= 0) give_back(&s->slots[p->slot_of[surface]]);
    if (!second && !take(p, surface, used)) return CUDA_ERROR_OUT_OF_MEMORY;
    picture->CurrPicIdx = p->slot_of[surface];
    for (int i = 0; i < n; i++) *at[i] = p->slot_of[*at[i]];
    CUresult rc = nvdec_real()->cuvidDecodePicture(s->decoder, picture);
    if (rc && !second) give_back(&s->slots[p->slot_of[surface]]);
    return rc;
}

OURS CUresult CUDAAPI cuvidDecodePicture(CUvideodecoder decoder, CUVIDPICPARAMS *picture)
{
    part *p = decoder;
    if (!p->of->shared) return nvdec_real()->cuvidDecodePicture(p->of->decoder, picture);
    if (picture->CurrPicIdx < 0 || picture->CurrPicIdx >= MOST_SURFACES) return CUDA_ERROR_INVALID_VALUE;
    CUVIDPICPARAMS own = *picture;
    pthread_mutex_lock(&p->of->lock);
    CUresult rc = decode_shared(p, &own);
    pthread_mutex_unlock(&p->of->lock);
    return rc;
}

/* The session's number of a user's surface; -1: it has none. */
static int slot_of(part *p, int surface)
{
    if (!p->of->shared) return surface;
    if (surface < 0 || surface >= MOST_SURFACES) return -1;
    pthread_mutex_lock(&p->of->lock);
    int i = p->slot_of[surface];
    pthread_mutex_unlock(&p->of->lock);
    return i;
}

OURS CUresult CUDAAPI cuvidMapVideoFrame64(CUvideodecoder decoder, int surface, unsigned long long *at,
                                           unsigned int *pitch, CUVIDPROCPARAMS *how)
{
    part *p = decoder;
    int i = slot_of(p, surface);
    if (i < 0) return CUDA_ERROR_INVALID_VALUE;
    CUresult rc = nvdec_real()->cuvidMapVideoFrame64(p->of->decoder, i, at, pitch, how);
    if (rc || !p->of->shared) return rc;
    pthread_mutex_lock(&p->of->lock);
    p->of->slots[i].shown = true;
    p->of->slots[i].at = *at;
    pthread_mutex_unlock(&p->of->lock);
    return rc;
}

/* The slot that is mapped there; it stays so for the time being, but at no address that another can have. */
static slot *begin_unmap(part *p, unsigned long long at)
{
    session *s = p->of;
    slot *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_slots && !found; i++)
        if (s->slots[i].owner == p && s->slots[i].at == at) found = &s->slots[i];
    if (found) found->at = UNMAPPING;
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* What is mapped is read from its surface: only now another picture may go there, unless one refers to it. */
OURS CUresult CUDAAPI cuvidUnmapVideoFrame64(CUvideodecoder decoder, unsigned long long at)
{
    part *p = decoder;
    slot *of = p->of->shared ? begin_unmap(p, at) : NULL;
    CUresult rc = nvdec_real()->cuvidUnmapVideoFrame64(p->of->decoder, at);
    if (!of) return rc;
    pthread_mutex_lock(&p->of->lock);
    of->at = 0;
    if (!(p->used >> of->surface & 1)) give_back(of);
    pthread_mutex_unlock(&p->of->lock);
    return rc;
}

OURS CUresult CUDAAPI cuvidGetDecodeStatus(CUvideodecoder decoder, int surface, CUVIDGETDECODESTATUS *out)
{
    part *p = decoder;
    int i = slot_of(p, surface);
    if (i < 0 || !nvdec_real()->cuvidGetDecodeStatus) return CUDA_ERROR_INVALID_VALUE;
    return nvdec_real()->cuvidGetDecodeStatus(p->of->decoder, i, out);
}

OURS CUresult CUDAAPI cuvidReconfigureDecoder(CUvideodecoder decoder, CUVIDRECONFIGUREDECODERINFO *to)
{
    part *p = decoder;
    if (!nvdec_real()->cuvidReconfigureDecoder || p->of->shared) return CUDA_ERROR_NOT_SUPPORTED;
    return nvdec_real()->cuvidReconfigureDecoder(p->of->decoder, to);
}
