#include <libavutil/log.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"

static void to_om_log(void *avcl, int level, const char *fmt, va_list args)
{
    if (level > AV_LOG_INFO) return;
    char line[512];
    int print_prefix = 1;
    av_log_format_line2(avcl, level, fmt, args, line, (int)sizeof line, &print_prefix);
    line[strcspn(line, "\r\n")] = '\0';
    if (!line[0]) return;
    char *shown = om_uri_redact(line); /* a line may quote an address with its password */
    if (shown) om_log(OM_LOG_DEBUG, "ffmpeg: %s", shown);
    om_free(shown);
}

void om_media_quiet(void) { av_log_set_callback(to_om_log); }
