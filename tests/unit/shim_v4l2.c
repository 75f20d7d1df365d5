/* A V4L2 camera that is none: loaded before a program (LD_PRELOAD), it answers the device file
 * /dev/video-omma-test as a driver would, from memory. What it is comes from the environment:
 *
 *   SHIM_FORMATS  offered ones, as "MJPG,YUYV" (fourcc)       SHIM_SIZE    its only size, "160x120"
 *   SHIM_FRAMES   frames until it is unplugged (ENODEV)        SHIM_JPEG    the picture it sends as MJPG
 *   SHIM_BROKEN   each so manieth buffer is flagged damaged    SHIM_SILENT  after so many frames nothing
 * comes SHIM_LOG      a file that gets a letter an event: o open, s start, x stop, c close
 *
 * A picture of YUYV is grey with a level of 16 + its number. Twenty frames a second. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/video-omma-test"
#define ROOM (1 << 20)
#define MOST 8

static int shim_fd = -1, queue[MOST], queued;
static unsigned n_frames, fourcc;
static unsigned char *memory;
static long long next_us;

static long setting(const char *name, long missing)
{
    const char *text = getenv(name);
    return text ? atol(text) : missing;
}

static void event(char c)
{
    const char *path = getenv("SHIM_LOG");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (!f) return;
    fputc(c, f);
    fclose(f);
}

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int start(void)
{
    shim_fd = memfd_create("v4l2", MFD_CLOEXEC);
    if (shim_fd < 0 || ftruncate(shim_fd, MOST * ROOM)) return -1;
    memory = mmap(NULL, MOST * ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, shim_fd, 0);
    n_frames = 0;
    queued = 0;
    event('o');
    return shim_fd;
}

static int open_any(const char *name, const char *path, int flags, mode_t mode)
{
    if (strcmp(path, DEVICE) == 0) return start();
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    return real(path, flags, mode);
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any("open64", path, flags, mode);
}

int close(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd == shim_fd) {
        event('c');
        munmap(memory, MOST * ROOM);
        shim_fd = -1;
    }
    return real(fd);
}

static int refuse(int code)
{
    errno = code;
    return -1;
}

static int enum_format(struct v4l2_fmtdesc *f)
{
    const char *all = getenv("SHIM_FORMATS");
    if (!all || strlen(all) < 5 * f->index + 4) return refuse(EINVAL);
    memcpy(&f->pixelformat, all + 5 * f->index, 4);
    return 0;
}

static int set_format(struct v4l2_format *f)
{
    unsigned w = 160, h = 120;
    const char *size = getenv("SHIM_SIZE");
    if (size) sscanf(size, "%ux%u", &w, &h);
    fourcc = f->fmt.pix.pixelformat;
    f->fmt.pix.width = w;
    f->fmt.pix.height = h;
    f->fmt.pix.bytesperline = fourcc == V4L2_PIX_FMT_YUYV ? 2 * w : 0;
    f->fmt.pix.sizeimage = fourcc == V4L2_PIX_FMT_YUYV ? 2 * w * h : ROOM;
    return 0;
}

static size_t fill(unsigned char *at)
{
    if (fourcc == V4L2_PIX_FMT_YUYV) {
        unsigned w = 160, h = 120;
        const char *size = getenv("SHIM_SIZE");
        if (size) sscanf(size, "%ux%u", &w, &h);
        for (size_t i = 0; i < (size_t)w * h * 2; i++) at[i] = i % 2 ? 128 : (unsigned char)(16 + n_frames);
        return (size_t)w * h * 2;
    }
    const char *path = getenv("SHIM_JPEG");
    FILE *f = path ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(at, 1, ROOM, f) : 0;
    if (f) fclose(f);
    return n;
}

static int dequeue(struct v4l2_buffer *b)
{
    if (setting("SHIM_FRAMES", 1 << 30) <= (long)n_frames) return refuse(ENODEV);
    if (setting("SHIM_SILENT", 1 << 30) <= (long)n_frames || !queued || now_us() < next_us) {
        usleep(2000); /* the program's poll() returns at once: this file is always readable */
        return refuse(EAGAIN);
    }
    long long taken = now_us();
    next_us = taken + 50000;
    b->index = (unsigned)queue[0];
    memmove(queue, queue + 1, sizeof queue - sizeof queue[0]);
    queued--;
    b->bytesused = (unsigned)fill(memory + (size_t)b->index * ROOM);
    b->timestamp.tv_sec = taken / 1000000;
    b->timestamp.tv_usec = taken % 1000000;
    b->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    long broken = setting("SHIM_BROKEN", 0);
    if (broken && n_frames % (unsigned long)broken == 0) b->flags |= V4L2_BUF_FLAG_ERROR;
    n_frames++;
    return 0;
}

static int answer(unsigned long request, void *arg)
{
    struct v4l2_buffer *b = arg;
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)arg)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_ENUM_FMT: return enum_format(arg);
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT: return set_format(arg);
    case VIDIOC_S_PARM:
    case VIDIOC_G_PARM: {
        struct v4l2_streamparm *rate = arg;
        rate->parm.capture.timeperframe = (struct v4l2_fract){1, 20};
        return 0;
    }
    case VIDIOC_REQBUFS: return 0;
    case VIDIOC_QUERYBUF:
        b->length = ROOM;
        b->m.offset = b->index * ROOM;
        return 0;
    case VIDIOC_QBUF: queue[queued++] = (int)b->index; return 0;
    case VIDIOC_DQBUF: return dequeue(b);
    case VIDIOC_STREAMON: event('s'); return 0;
    case VIDIOC_STREAMOFF: event('x'); return 0;
    default: return refuse(ENOTTY);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (fd >= 0 && fd == shim_fd) return answer(request, arg);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, arg);
}
