/*
 * Decoding a video file and scaling its frames: bench_video VIDEO [WIDTH HEIGHT [STRIDE]].
 * Milliseconds of processor time for each frame of the video, the least of some rounds, which other
 * work on the machine moves little:
 *
 * - libavcodec alone, on one thread of this process;
 * - the same with the scaling, to RGB of that size;
 * - whole: in a decoder's child, its start and the parent's part included;
 * - a child that is started, says what the file holds and is ended.
 *
 * Built with the release tree (ninja -C build/release bench_video); no part of the tests.
 */
#include "base/clock.h"
#include "media/codec.h"
#include "media/decoder.h"
#include "media/video_pixels.h"
#include "media/video_source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5

typedef struct bench {
    const char *path;
    uint32_t width, height, stride;
    uint64_t frames; /* of the video, as the last round saw them */
    nx_error err;
} bench;

static void do_nothing(void *user)
{
    (void)user;
}

static nx_status read_source(bench *b, nx_video_source *source, bool scaled)
{
    nx_video_pixels *pixels = nx_video_pixels_new();
    uint8_t *rgb = malloc((size_t)3 * b->width * b->height);
    uint32_t rotation = nx_video_source_info(source)->rotation;
    nx_status status = pixels != NULL && rgb != NULL ? NX_OK : NX_ERR_NO_MEMORY;
    bool end = false;
    b->frames = 0;
    while (status == NX_OK) {
        const AVFrame *frame = NULL;
        nx_video_place place;
        status = nx_video_source_next(source, &frame, &place, &end, &b->err);
        if (status != NX_OK || end) {
            break;
        }
        b->frames = place.index + 1;
        if (scaled && place.index % b->stride == 0) {
            status =
                nx_video_pixels_rgb(pixels, frame, rotation, b->width, b->height, rgb, &b->err);
        }
    }
    free(rgb);
    nx_video_pixels_free(pixels);
    return status;
}

static nx_status in_process(bench *b, bool scaled)
{
    struct stat info;
    nx_video_source *source = NULL;
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        return nx_error_set(&b->err, NX_ERR_IO, "cannot read %s", b->path);
    }
    const nx_video_source_options options = {
        .fd = fd,
        .size = info.st_size,
        .max_pixels = NX_DECODE_DEFAULT_MAX_PIXELS,
        .threads = 1,
        .alive = do_nothing,
    };
    nx_status status = nx_video_source_open(&options, &source, &b->err);
    if (status == NX_OK) {
        status = read_source(b, source, scaled);
    }
    nx_video_source_free(source);
    close(fd);
    return status;
}

static nx_status decode_alone(bench *b)
{
    return in_process(b, false);
}

static nx_status decode_and_scale(bench *b)
{
    return in_process(b, true);
}

static nx_status decode_in_child(bench *b, uint32_t threads)
{
    const nx_decoder_options options = {.stride = b->stride, .threads = threads};
    nx_decoder *decoder = NULL;
    bool end = false;
    nx_status status = nx_decoder_open(b->path, &options, &decoder, &b->err);
    if (status == NX_OK) {
        status = nx_decoder_set_size(decoder, b->width, b->height, &b->err);
    }
    while (status == NX_OK && !end) {
        nx_decoder_frame frame;
        status = nx_decoder_next(decoder, &frame, &end, &b->err);
    }
    nx_decoder_free(decoder);
    return status;
}

static nx_status whole(bench *b)
{
    return decode_in_child(b, 1);
}

static nx_status whole_with_two(bench *b)
{
    return decode_in_child(b, 2);
}

static nx_status look_into(bench *b)
{
    nx_decoder *decoder = NULL;
    nx_status status = nx_decoder_open(b->path, NULL, &decoder, &b->err);
    nx_decoder_free(decoder);
    b->frames = 1;
    return status;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Of this process and of those that it has reaped. */
static double processor_ms(void)
{
    struct rusage own;
    struct rusage others;
    (void)getrusage(RUSAGE_SELF, &own);
    (void)getrusage(RUSAGE_CHILDREN, &others);
    return 1e3 * (seconds_of(own.ru_utime) + seconds_of(own.ru_stime) +
                  seconds_of(others.ru_utime) + seconds_of(others.ru_stime));
}

static void measure(const char *name, nx_status (*run)(bench *b), bench *b)
{
    double least_cpu = 1e30;
    double least_wall = 1e30;
    for (int i = 0; i < ROUNDS; i++) {
        double cpu = processor_ms();
        int64_t wall = nx_clock_now_ns();
        if (run(b) != NX_OK) {
            fprintf(stderr, "%s: %s\n", name, b->err.message);
            exit(1);
        }
        cpu = processor_ms() - cpu;
        double elapsed = nx_clock_ms(nx_clock_now_ns() - wall);
        least_cpu = cpu < least_cpu ? cpu : least_cpu;
        least_wall = elapsed < least_wall ? elapsed : least_wall;
    }
    printf("%-42s %8.3f ms of CPU   (%.3f ms elapsed)\n", name, least_cpu / (double)b->frames,
           least_wall / (double)b->frames);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "usage: bench_video VIDEO [WIDTH HEIGHT [STRIDE]]\n");
        return 2;
    }
    bench b = {
        .path = argv[1],
        .width = argc > 3 ? (uint32_t)atoi(argv[2]) : 640,
        .height = argc > 3 ? (uint32_t)atoi(argv[3]) : 360,
        .stride = argc > 4 ? (uint32_t)atoi(argv[4]) : 1,
    };
    printf("%s to %ux%u, one frame of %u; ms for each frame of the video\n", b.path, b.width,
           b.height, b.stride);
    measure("libavcodec alone", decode_alone, &b);
    measure("decode and scale", decode_and_scale, &b);
    measure("whole, in its child", whole, &b);
    measure("whole, with two threads", whole_with_two, &b);
    measure("start and end of a child, once", look_into, &b);
    struct rusage children;
    (void)getrusage(RUSAGE_CHILDREN, &children);
    printf("most memory of a child, with the program's own pages: %ld MB\n",
           children.ru_maxrss / 1024);
    return 0;
}
