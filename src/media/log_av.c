#include <libavutil/log.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"

/* Of an address that does not end in the line nobody could tell what is its password. */
static void cut_address(char *line)
{
    char *last = NULL;
    for (char *p = line; (p = strstr(p, "://")); p += 3) last = p;
    if (last) last[3] = '\0';
}

static void to_om_log(void *avcl, int level, const char *fmt, va_list args)
{
    if (level > AV_LOG_INFO) return;
    char line[1024];
    int print_prefix = 1;
    int whole = av_log_format_line2(avcl, level, fmt, args, line, (int)sizeof line, &print_prefix);
    if (whole >= (int)sizeof line) cut_address(line);
    line[strcspn(line, "\r\n")] = '\0';
    if (!line[0]) return;
    char *shown = om_uri_redact(line); /* a line may quote an address with its password */
    if (shown) om_log(OM_LOG_DEBUG, "ffmpeg: %s", shown);
    om_free(shown);
}

void om_media_quiet(void) { av_log_set_callback(to_om_log); }
