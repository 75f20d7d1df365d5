#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/console.h"
#include "cli/text.h"

#define REMEMBERED 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char command[64] = "omma";
static bool color, terminal;
static char status[512];              /* guarded by lock; "" when none is shown */
static char errors[REMEMBERED][2048]; /* guarded by lock; the last ones shown */
static size_t n_errors;               /* guarded by lock */

int om_console_columns(FILE *f, int otherwise)
{
    struct winsize size;
    if (!isatty(fileno(f))) return otherwise;
    if (ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

bool om_console_has_status(void) { return terminal; }

/* With the lock held. */
static void erase_status(void)
{
    if (status[0]) fputs("\r\033[K", stderr);
}

static void draw_status(void)
{
    if (!status[0]) return;
    fputs(status, stderr);
    fflush(stderr);
}

static void show(const char *prefix, const char *paint, const char *text)
{
    char clean[2304];
    om_text_clean(text, clean, sizeof clean);
    pthread_mutex_lock(&lock);
    erase_status();
    if (color && paint) fprintf(stderr, "%s%s\033[0m%s\n", paint, prefix, clean);
    else fprintf(stderr, "%s%s\n", prefix, clean);
    draw_status();
    pthread_mutex_unlock(&lock);
}

static void remember(const char *text)
{
    pthread_mutex_lock(&lock);
    snprintf(errors[n_errors++ % REMEMBERED], sizeof errors[0], "%s", text);
    pthread_mutex_unlock(&lock);
}

bool om_console_said(const char *message)
{
    bool said = !*message;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < REMEMBERED && i < n_errors; i++) said = said || strstr(errors[i], message);
    pthread_mutex_unlock(&lock);
    return said;
}

static void receive(void *user, om_log_level level, const char *line)
{
    static const struct {
        const char *prefix, *paint;
    } styles[] = {{"omma: error: ", "\033[1;31m"},
                  {"omma: warning: ", "\033[1;33m"},
                  {"omma: ", NULL},
                  {"omma: debug: ", "\033[2m"}};
    if (level == OM_LOG_ERROR) remember(line);
    show(styles[level].prefix, styles[level].paint, line);
}

void om_console_init(const char *name, om_log_level level)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    snprintf(command, sizeof command, "%s", name);
    terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    color = terminal && !(no_color && *no_color);
    om_log_set(receive, NULL, level);
}

void om_console_error(const char *fmt, ...)
{
    char line[2048], prefix[80];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    snprintf(prefix, sizeof prefix, "%s: ", command);
    remember(line);
    show(prefix, "\033[1;31m", line);
}

void om_console_line(const char *text) { show("", NULL, text); }

void om_console_status(const char *text)
{
    if (!terminal) return;
    pthread_mutex_lock(&lock);
    erase_status();
    /* The last column stays free: some terminals wrap as soon as it is written. */
    om_text_clip(text ? text : "", om_console_columns(stderr, 80) - 1, status, sizeof status);
    draw_status();
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

void om_console_on_line(void *user, const char *text)
{
    (void)user;
    om_console_line(text);
}

void om_console_on_progress(void *user, const char *text)
{
    (void)user;
    om_console_status(text);
}
