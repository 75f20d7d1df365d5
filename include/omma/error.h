/* Error codes of the whole library. A call that fails returns one of these (always negative) and leaves a
 * sentence that names the cause in the calling thread's error slot, read by om_error_message(). */
#ifndef OMMA_ERROR_H
#define OMMA_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum om_err {
    OM_OK = 0,
    OM_ERR_NOMEM = -1,
    OM_ERR_ARG = -2,         /* usage or configuration: the caller can mend it (exit code 2) */
    OM_ERR_IO = -3,          /* reading or writing failed */
    OM_ERR_FORMAT = -4,      /* the data is not what its format promises */
    OM_ERR_UNSUPPORTED = -5, /* valid, but not something this build or device does */
    OM_ERR_NOT_FOUND = -6,
    OM_ERR_EOF = -7,
    OM_ERR_AGAIN = -8, /* nothing now, or no room now */
    OM_ERR_TIMEOUT = -9,
    OM_ERR_CANCELLED = -10,
    OM_ERR_DEVICE = -11,      /* the device refused this piece of work; others may succeed */
    OM_ERR_DEVICE_LOST = -12, /* nothing will succeed on this device in this process any more */
    OM_ERR_FULL = -13,        /* disk or quota exhausted */
    OM_ERR_INTERNAL = -14     /* a broken promise inside omma: please report */
} om_err;

/* The message of the calling thread's last failure, "" if none. Valid until the thread's next failure.
 * Thread-safety: any thread; each has its own slot. */
const char *om_error_message(void);

/* A short name for a code: "out of memory", "bad argument", ... Never NULL. */
const char *om_err_name(int code);

#ifdef __cplusplus
}
#endif
#endif
