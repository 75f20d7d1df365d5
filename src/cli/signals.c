#include "cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/console.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*stopper)(void *user); /* guarded by lock, with its user */
static void *stopper_user;
static bool seen; /* guarded by lock */
static sigset_t signals;
static bool hup_caught; /* before there are threads */
static atomic_bool hup_came;

/* The next one that asks for an end. */
static void wait_for_end(void)
{
    for (int number = 0;;) {
        if (sigwait(&signals, &number)) continue;
        if (number != SIGHUP) return;
        atomic_store(&hup_came, true);
    }
}

static void *watch(void *arg)
{
    wait_for_end();
    pthread_mutex_lock(&lock);
    seen = true;
    if (stopper) stopper(stopper_user);
    pthread_mutex_unlock(&lock);
    wait_for_end();
    om_console_status(NULL);
    _exit(130);
    return arg;
}

void om_signals_catch_hup(void) { hup_caught = true; }

bool om_signals_take_hup(void) { return atomic_exchange(&hup_came, false); }

int om_signals_init(void)
{
    om_thread t;
    memset(&t, 0, sizeof t);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (hup_caught) sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int err = om_thread_start(&t, "om-signals", watch, NULL);
    if (!err) pthread_detach(t.id); /* it waits as long as the process lives */
    return err;
}

void om_signals_attach(void (*stop)(void *user), void *user)
{
    pthread_mutex_lock(&lock);
    stopper = stop;
    stopper_user = user;
    if (seen && stop) stop(user);
    pthread_mutex_unlock(&lock);
}

static void fire(void *user) { om_cancel_fire(user); }

int om_signals_guard(om_cancel *c)
{
    int err = om_cancel_init(c);
    if (!err) om_signals_attach(fire, c);
    return err;
}

void om_signals_release(om_cancel *c)
{
    om_signals_attach(NULL, NULL);
    om_cancel_fini(c);
}

bool om_signals_seen(void)
{
    pthread_mutex_lock(&lock);
    bool was = seen;
    pthread_mutex_unlock(&lock);
    return was;
}
