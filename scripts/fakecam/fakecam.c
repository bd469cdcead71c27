/* A webcam that is none: a V4L2 device that hands out JPEG pictures from a file.
 *
 *   cc -O2 -shared -fPIC -o fakecam.so fakecam.c
 *   touch /tmp/camera
 *   FAKECAM_FILE=clip.mjpeg FAKECAM_DEV=/tmp/camera LD_PRELOAD=./fakecam.so PROGRAM --device /tmp/camera
 *
 * It is loaded into a program in front of libc and answers open, ioctl, mmap, munmap and close for
 * the one path FAKECAM_DEV; everything else goes to libc. The descriptor is a timerfd, so poll wakes
 * at the frame rate as it does on a device. Behind each picture's start marker stands a comment:
 * "FAKECAM-STAMP:", the wall clock in ns (u64) and the sequence (u32), both little endian, so that
 * the way through any server that passes JPEG on can be timed.
 *
 *   FAKECAM_FILE          concatenated JPEG pictures, looped
 *   FAKECAM_DEV           the path that is the camera (/dev/video0); a plain file has to be there
 *   FAKECAM_W, FAKECAM_H  what it says its pictures measure (1280, 720)
 *   FAKECAM_FPS           frames a second (30)
 *   FAKECAM_UNPLUG_AFTER  frames after which every call fails with ENODEV (0: never)
 *
 * The kernel's own driver with an emulated USB camera is in scripts/webcam-vm; this is for measuring.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_OPEN = 16, BUFFERS = 8, BUFFER_BYTES = 4 << 20, MAX_PICTURES = 100000, STAMP_BYTES = 32 };

static struct {
	int open[MAX_OPEN]; /* descriptors, 0 where there is none */
	int streaming;      /* the descriptor that streams, 0 for none */
	uint32_t sequence;
	int delivered; /* since streaming began */
	int buffers;
	uint8_t *memory[BUFFERS];
	int queue[BUFFERS];
	int queued;
} camera;

static struct {
	uint8_t *bytes;
	size_t begin[MAX_PICTURES + 1];
	int count;
	int next;
} clip;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_ioctl)(int, unsigned long, ...);
static long (*real_syscall)(long, ...);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
static int (*real_munmap)(void *, size_t);

/* libc's own functions. Other libraries may call before a constructor of ours has run. */
static void find_libc(void)
{
	if (real_munmap)
		return;
	real_open = dlsym(RTLD_NEXT, "open");
	real_close = dlsym(RTLD_NEXT, "close");
	real_ioctl = dlsym(RTLD_NEXT, "ioctl");
	real_syscall = dlsym(RTLD_NEXT, "syscall");
	real_mmap = dlsym(RTLD_NEXT, "mmap");
	real_munmap = dlsym(RTLD_NEXT, "munmap");
}

static int setting(const char *name, int otherwise)
{
	const char *value = getenv(name);
	return value ? atoi(value) : otherwise;
}

static int width(void) { return setting("FAKECAM_W", 1280); }
static int height(void) { return setting("FAKECAM_H", 720); }
static int rate(void) { return setting("FAKECAM_FPS", 30); }

static bool is_camera(const char *path)
{
	const char *device = getenv("FAKECAM_DEV");
	return path && !strcmp(path, device ? device : "/dev/video0");
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Reads the file once and notes where its pictures begin; the end of the file ends the last one. */
static int load_clip(void)
{
	if (clip.bytes)
		return 0;
	const char *path = getenv("FAKECAM_FILE");
	int file = path ? real_open(path, O_RDONLY) : -1;
	struct stat status;
	if (file < 0 || fstat(file, &status) || !status.st_size) {
		fprintf(stderr, "fakecam: FAKECAM_FILE=%s cannot be read\n", path ? path : "");
		return fail(ENOENT);
	}
	size_t length = status.st_size;
	uint8_t *bytes = real_mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	real_close(file);
	if (bytes == MAP_FAILED)
		return -1;
	for (size_t at = 0; at + 2 < length && clip.count < MAX_PICTURES; at++)
		if (bytes[at] == 0xff && bytes[at + 1] == 0xd8 && bytes[at + 2] == 0xff)
			clip.begin[clip.count++] = at;
	if (!clip.count)
		return fail(EINVAL);
	clip.begin[clip.count] = length;
	clip.bytes = bytes;
	return 0;
}

/* Where a descriptor of the camera is noted; for 0 a free place. */
static int *place_of(int descriptor)
{
	for (int i = 0; i < MAX_OPEN; i++)
		if (camera.open[i] == descriptor)
			return &camera.open[i];
	return NULL;
}

static bool is_ours(int descriptor)
{
	return descriptor > 0 && place_of(descriptor);
}

static int open_camera(void)
{
	int *place = place_of(0);
	if (!place)
		return fail(EMFILE);
	if (load_clip())
		return -1;
	int descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (descriptor > 0)
		*place = descriptor;
	return descriptor;
}

static int set_timer(int descriptor, long interval_ns)
{
	struct timespec beat = {interval_ns / 1000000000, interval_ns % 1000000000};
	struct itimerspec timer = {beat, beat};
	return timerfd_settime(descriptor, 0, &timer, NULL);
}

static int start_streaming(int descriptor)
{
	if (camera.streaming && camera.streaming != descriptor)
		return fail(EBUSY);
	camera.streaming = descriptor;
	camera.delivered = 0;
	return set_timer(descriptor, 1000000000L / rate());
}

static int stop_streaming(int descriptor)
{
	if (camera.streaming != descriptor)
		return 0;
	camera.streaming = 0;
	camera.queued = 0;
	return set_timer(descriptor, 0);
}

static int query_capabilities(struct v4l2_capability *answer)
{
	memset(answer, 0, sizeof *answer);
	strcpy((char *)answer->driver, "fakecam");
	strcpy((char *)answer->card, "Fake Webcam");
	strcpy((char *)answer->bus_info, "usb-fake-1");
	answer->version = 6 << 16;
	answer->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	answer->capabilities = answer->device_caps | V4L2_CAP_DEVICE_CAPS;
	return 0;
}

static int list_format(struct v4l2_fmtdesc *answer)
{
	if (answer->index || answer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	answer->flags = V4L2_FMT_FLAG_COMPRESSED;
	strcpy((char *)answer->description, "Motion-JPEG");
	answer->pixelformat = V4L2_PIX_FMT_MJPEG;
	return 0;
}

static int list_size(struct v4l2_frmsizeenum *answer)
{
	if (answer->index || answer->pixel_format != V4L2_PIX_FMT_MJPEG)
		return fail(EINVAL);
	answer->type = V4L2_FRMSIZE_TYPE_DISCRETE;
	answer->discrete.width = width();
	answer->discrete.height = height();
	return 0;
}

static int list_interval(struct v4l2_frmivalenum *answer)
{
	if (answer->index || answer->pixel_format != V4L2_PIX_FMT_MJPEG)
		return fail(EINVAL);
	answer->type = V4L2_FRMIVAL_TYPE_DISCRETE;
	answer->discrete.numerator = 1;
	answer->discrete.denominator = rate();
	return 0;
}

static int tell_format(struct v4l2_format *answer)
{
	if (answer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return fail(EINVAL);
	memset(&answer->fmt.pix, 0, sizeof answer->fmt.pix);
	answer->fmt.pix.width = width();
	answer->fmt.pix.height = height();
	answer->fmt.pix.pixelformat = V4L2_PIX_FMT_MJPEG;
	answer->fmt.pix.field = V4L2_FIELD_NONE;
	answer->fmt.pix.sizeimage = BUFFER_BYTES;
	answer->fmt.pix.colorspace = V4L2_COLORSPACE_JPEG;
	return 0;
}

static int tell_rate(struct v4l2_streamparm *answer)
{
	answer->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
	answer->parm.capture.timeperframe.numerator = 1;
	answer->parm.capture.timeperframe.denominator = rate();
	return 0;
}

static int list_input(struct v4l2_input *answer)
{
	if (answer->index)
		return fail(EINVAL);
	memset(answer, 0, sizeof *answer);
	strcpy((char *)answer->name, "Camera 1");
	answer->type = V4L2_INPUT_TYPE_CAMERA;
	return 0;
}

static int make_buffers(struct v4l2_requestbuffers *request)
{
	if (request->memory != V4L2_MEMORY_MMAP)
		return fail(EINVAL);
	if (request->count > BUFFERS)
		request->count = BUFFERS;
	camera.buffers = request->count;
	camera.queued = 0;
	for (int i = 0; i < camera.buffers; i++) {
		if (camera.memory[i])
			continue;
		camera.memory[i] = real_mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (camera.memory[i] == MAP_FAILED) {
			camera.memory[i] = NULL;
			return fail(ENOMEM);
		}
	}
	request->capabilities = V4L2_BUF_CAP_SUPPORTS_MMAP;
	return 0;
}

static int tell_buffer(struct v4l2_buffer *answer)
{
	if ((int)answer->index >= camera.buffers)
		return fail(EINVAL);
	answer->length = BUFFER_BYTES;
	answer->m.offset = answer->index * BUFFER_BYTES;
	answer->flags = V4L2_BUF_FLAG_MAPPED;
	return 0;
}

static int queue_buffer(struct v4l2_buffer *buffer)
{
	if ((int)buffer->index >= camera.buffers || camera.queued >= BUFFERS)
		return fail(EINVAL);
	camera.queue[camera.queued++] = buffer->index;
	buffer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_QUEUED;
	return 0;
}

static int take_from_queue(void)
{
	int index = camera.queue[0];
	camera.queued--;
	memmove(camera.queue, camera.queue + 1, camera.queued * sizeof *camera.queue);
	return index;
}

/* The next picture with its stamp; returns how long it is. */
static size_t write_picture(uint8_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t stamp_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	const uint8_t *picture = clip.bytes + clip.begin[clip.next];
	size_t length = clip.begin[clip.next + 1] - clip.begin[clip.next];
	if (length > BUFFER_BYTES - STAMP_BYTES)
		length = BUFFER_BYTES - STAMP_BYTES;
	clip.next = (clip.next + 1) % clip.count;
	/* Start marker, comment marker, 30 bytes of comment with its length. */
	memcpy(out, "\xff\xd8\xff\xfe\x00\x1e" "FAKECAM-STAMP:", 20);
	memcpy(out + 20, &stamp_ns, 8);
	memcpy(out + 28, &camera.sequence, 4);
	memset(out + 32, 0, 2);
	memcpy(out + 2 + STAMP_BYTES, picture + 2, length - 2);
	return length + STAMP_BYTES;
}

static int take_buffer(int descriptor, struct v4l2_buffer *answer)
{
	uint64_t beats;
	if (camera.streaming != descriptor)
		return fail(EINVAL);
	if (read(descriptor, &beats, sizeof beats) != sizeof beats)
		return -1;
	if (!camera.queued)
		return fail(EAGAIN);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	answer->index = take_from_queue();
	answer->bytesused = write_picture(camera.memory[answer->index]);
	answer->length = BUFFER_BYTES;
	answer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	answer->field = V4L2_FIELD_NONE;
	answer->sequence = camera.sequence++;
	answer->memory = V4L2_MEMORY_MMAP;
	answer->timestamp.tv_sec = now.tv_sec;
	answer->timestamp.tv_usec = now.tv_nsec / 1000;
	answer->m.offset = answer->index * BUFFER_BYTES;
	camera.delivered++;
	return 0;
}

static int answer_request(int descriptor, uint32_t request, void *argument)
{
	int unplug_after = setting("FAKECAM_UNPLUG_AFTER", 0);
	if (unplug_after && camera.delivered >= unplug_after)
		return fail(ENODEV);
	switch (request) {
	case (uint32_t)VIDIOC_QUERYCAP: return query_capabilities(argument);
	case (uint32_t)VIDIOC_ENUM_FMT: return list_format(argument);
	case (uint32_t)VIDIOC_ENUM_FRAMESIZES: return list_size(argument);
	case (uint32_t)VIDIOC_ENUM_FRAMEINTERVALS: return list_interval(argument);
	case (uint32_t)VIDIOC_G_FMT:
	case (uint32_t)VIDIOC_S_FMT:
	case (uint32_t)VIDIOC_TRY_FMT: return tell_format(argument);
	case (uint32_t)VIDIOC_G_PARM:
	case (uint32_t)VIDIOC_S_PARM: return tell_rate(argument);
	case (uint32_t)VIDIOC_ENUMINPUT: return list_input(argument);
	case (uint32_t)VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
	case (uint32_t)VIDIOC_S_INPUT: return 0;
	case (uint32_t)VIDIOC_REQBUFS: return make_buffers(argument);
	case (uint32_t)VIDIOC_QUERYBUF: return tell_buffer(argument);
	case (uint32_t)VIDIOC_QBUF: return queue_buffer(argument);
	case (uint32_t)VIDIOC_DQBUF: return take_buffer(descriptor, argument);
	case (uint32_t)VIDIOC_STREAMON: return start_streaming(descriptor);
	case (uint32_t)VIDIOC_STREAMOFF: return stop_streaming(descriptor);
	default: return fail(ENOTTY);
	}
}

/* The mode is there only if a file may be created (open(2)). */
#define MODE_OF(flags, mode)                          \
	do {                                          \
		if ((flags) & (O_CREAT | O_TMPFILE)) { \
			va_list rest;                 \
			va_start(rest, flags);        \
			mode = va_arg(rest, int);     \
			va_end(rest);                 \
		}                                     \
	} while (0)

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	MODE_OF(flags, mode);
	find_libc();
	return is_camera(path) ? open_camera() : real_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	MODE_OF(flags, mode);
	find_libc();
	return is_camera(path) ? open_camera() : real_open(path, flags | O_LARGEFILE, mode);
}

int close(int descriptor)
{
	find_libc();
	if (is_ours(descriptor)) {
		stop_streaming(descriptor);
		*place_of(descriptor) = 0;
	}
	return real_close(descriptor);
}

int ioctl(int descriptor, unsigned long request, ...)
{
	va_list rest;
	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	find_libc();
	if (!is_ours(descriptor))
		return real_ioctl(descriptor, request, argument);
	return answer_request(descriptor, request, argument);
}

/* The v4l crate calls the kernel without libc's ioctl in between. */
long syscall(long number, ...)
{
	long word[6];
	va_list rest;
	va_start(rest, number);
	for (int i = 0; i < 6; i++)
		word[i] = va_arg(rest, long);
	va_end(rest);
	find_libc();
	if (number == SYS_ioctl && is_ours((int)word[0]))
		return answer_request((int)word[0], word[1], (void *)word[2]);
	return real_syscall(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}

void *mmap(void *at, size_t length, int protection, int flags, int descriptor, off_t offset)
{
	find_libc();
	if (is_ours(descriptor))
		return camera.memory[offset / BUFFER_BYTES];
	return real_mmap(at, length, protection, flags, descriptor, offset);
}

void *mmap64(void *at, size_t length, int protection, int flags, int descriptor, off_t offset)
{
	return mmap(at, length, protection, flags, descriptor, offset);
}

/* The camera's buffers stay for the next time it is opened. */
int munmap(void *at, size_t length)
{
	find_libc();
	for (int i = 0; i < BUFFERS; i++)
		if (at && at == camera.memory[i])
			return 0;
	return real_munmap(at, length);
}
