/* The machine and the libraries, for the head of each report. */
#include <gnu/libc-version.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "kernel/kernel.h"
#include "media/media.h"
#include "omma/version.h"
#include "profile/profile.h"

typedef struct teller {
    om_strlist *keys, *values;
    int err;
} teller;

static void tell(teller *t, const char *key, const char *value)
{
    if (t->err || !value || !value[0]) return;
    t->err = om_strlist_add(t->keys, key);
    if (!t->err) t->err = om_strlist_add(t->values, value);
}

/* The first line of a small file; false where there is none. */
static bool first_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, (int)size, f);
    if (f) fclose(f);
    if (ok) out[strcspn(out, "\n")] = '\0';
    return ok;
}

#define COMMAND_MAX 65536

/* How this process was called, addresses without their passwords. */
static void tell_command(teller *t)
{
    char *words = NULL;
    size_t len;
    om_str line = {0};
    if (om_read_file("/proc/self/cmdline", COMMAND_MAX, &words, &len)) {
        om_error_clear();
        return;
    }
    for (const char *w = words; w < words + len; w += strlen(w) + 1) {
        char *shown = om_uri_redact(w);
        om_str_addf(&line, "%s%s", line.len ? " " : "", shown ? shown : "");
        om_free(shown);
    }
    tell(t, "command", om_str_get(&line));
    om_str_fini(&line);
    om_free(words);
}

static void tell_libraries(teller *t)
{
    char text[160];
    unsigned codec = avcodec_version(), format = avformat_version();
    snprintf(text, sizeof text, "%.60s (libavcodec %u.%u.%u, libavformat %u.%u.%u)", av_version_info(),
             codec >> 16, codec >> 8 & 255, codec & 255, format >> 16, format >> 8 & 255, format & 255);
    tell(t, "FFmpeg", text);
    tell(t, "C library", gnu_get_libc_version());
    if (first_line("/proc/driver/nvidia/version", text, sizeof text)) tell(t, "GPU driver", text);
}

static void tell_cpu(teller *t)
{
    char text[160];
    tell(t, "processor", om_cpu_model());
    snprintf(text, sizeof text, "%d of %ld", om_cpu_count(), sysconf(_SC_NPROCESSORS_ONLN));
    tell(t, "cores", text);
    tell(t, "vector extensions", om_cpu_flags_text());
    tell(t, "kernels", om_kernels_get()->name);
}

/* "32K data, 32K instruction, 512K level 2, 32768K level 3" of the first core. */
static void tell_caches(teller *t)
{
    om_str out = {0};
    for (int i = 0; i < 8; i++) {
        char path[96], size[32], level[8], type[32];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        if (!first_line(path, size, sizeof size)) break;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
        if (!first_line(path, level, sizeof level)) break;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
        if (!first_line(path, type, sizeof type)) break;
        om_str_addf(&out, "%s%s level %s%s%s", out.len ? ", " : "", size, level,
                    strcmp(type, "Unified") ? " " : "", strcmp(type, "Unified") ? type : "");
    }
    tell(t, "caches", om_str_get(&out));
    om_str_fini(&out);
}

static void tell_power(teller *t)
{
    char governor[64], turbo[8], text[160];
    bool known =
        first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor, sizeof governor);
    bool boost = first_line("/sys/devices/system/cpu/cpufreq/boost", turbo, sizeof turbo);
    snprintf(text, sizeof text, "%s%s%s", known ? governor : "not told", boost ? ", boost " : "",
             !boost            ? ""
             : turbo[0] == '1' ? "on"
                               : "off");
    tell(t, "power mode", text);
}

static void tell_engines(teller *t)
{
    for (const om_backend_ops *const *b = om_backend_list(); *b; b++) {
        char key[64];
        if (!strcmp((*b)->name, "null")) continue;
        snprintf(key, sizeof key, "engine %s", (*b)->name);
        tell(t, key, (*b)->version());
    }
    const om_device_ops *const *kinds;
    size_t n = om_device_kinds(&kinds);
    for (size_t i = 1; i < n; i++) {
        int count = kinds[i]->count();
        if (count < 1) {
            tell(t, "GPU", count < 0 ? om_error_message() : "none");
            continue;
        }
        om_device *d;
        om_device_info info;
        char id[32];
        snprintf(id, sizeof id, "%s:0", kinds[i]->name);
        if (om_device_open(id, &d)) continue;
        if (!om_device_info_get(d, &info)) tell(t, "GPU", info.name);
        om_device_close(d);
    }
}

int om_system_describe(om_strlist *keys, om_strlist *values)
{
    teller t = {.keys = keys, .values = values};
    char text[256], when[OM_ISO_TIME_SIZE];
    struct utsname u;
    double page = (double)sysconf(_SC_PAGESIZE) / 1e6;
    om_iso_time(om_wall_us(), when);
    tell(&t, "time", when);
    tell(&t, "omma", om_version());
    tell_command(&t);
    tell_cpu(&t);
    tell_caches(&t);
    snprintf(text, sizeof text, "%.0f MB, %.0f MB free", (double)sysconf(_SC_PHYS_PAGES) * page,
             (double)sysconf(_SC_AVPHYS_PAGES) * page);
    tell(&t, "memory", text);
    tell_power(&t);
    tell_engines(&t);
    tell_libraries(&t);
    if (!uname(&u)) {
        snprintf(text, sizeof text, "%.64s %.64s", u.sysname, u.release);
        tell(&t, "system", text);
    }
    return t.err;
}
