/* Every kind of video that a decoder is to take: codecs, containers, colours, shapes, times. */
#include "videos.h"

#include "base/file.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define MOVING "-f lavfi -i testsrc2=size=128x96:rate=25:duration=1 -pix_fmt yuv420p "

static const struct {
    const char *name, *arguments, *container, *codec;
} kinds[] = {
    {"h264.mp4", MOVING "-c:v libx264 -g 12", "mov", "h264"},
    {"h264.mov", MOVING "-c:v libx264 -g 12", "mov", "h264"},
    {"h264.mkv", MOVING "-c:v libx264 -g 12", "matroska", "h264"},
    {"h264.ts", MOVING "-c:v libx264 -g 12", "mpegts", "h264"},
    {"h264.avi", MOVING "-c:v libx264 -g 12", "avi", "h264"},
    {"h264f.mp4", MOVING "-c:v libx264 -g 12 -movflags frag_keyframe+empty_moov", "mov", "h264"},
    {"hevc.mp4", MOVING "-c:v libx265 -x265-params log-level=none:pools=none", "mov", "hevc"},
    {"hevc.mkv", MOVING "-c:v libx265 -x265-params log-level=none:pools=none", "matroska", "hevc"},
    {"hevc.ts", MOVING "-c:v libx265 -x265-params log-level=none:pools=none", "mpegts", "hevc"},
    {"vp8.webm", MOVING "-c:v libvpx -deadline realtime -auto-alt-ref 1", "matroska", "vp8"},
    {"vp9.webm", MOVING "-c:v libvpx-vp9 -deadline realtime -cpu-used 5", "matroska", "vp9"},
    {"vp9.mp4", MOVING "-c:v libvpx-vp9 -deadline realtime -cpu-used 5", "mov", "vp9"},
    {"av1.mp4", MOVING "-c:v libaom-av1 -cpu-used 8", "mov", "av1"},
    {"av1.mkv", MOVING "-c:v libaom-av1 -cpu-used 8", "matroska", "av1"},
    {"mpeg4.mp4", MOVING "-c:v mpeg4 -q:v 4 -bf 2", "mov", "mpeg4"},
    {"mpeg4.avi", MOVING "-c:v mpeg4 -q:v 4", "avi", "mpeg4"},
    {"mjpeg.avi", MOVING "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "avi", "mjpeg"},
    {"mjpeg.mov", MOVING "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "mov", "mjpeg"},
};

static void codecs_and_containers(void **state)
{
    NX_NEED_FFMPEG();
    clip *first = NULL;
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        const char *path = make_video(state, kinds[i].name, kinds[i].arguments);
        clip *got = decode_clip(path, &(nx_decoder_options){.threads = 1 + i % 2}, 0, 0);
        nx_assert_ok(got->status, got->err);
        assert_string_equal(got->info.container, kinds[i].container);
        assert_string_equal(got->info.codec, kinds[i].codec);
        assert_int_equal(got->info.width, 128);
        assert_int_equal(got->info.height, 96);
        assert_true(got->info.fps > 24.9 && got->info.fps < 25.1);
        if (got->count != 25) {
            fail_msg("%s: %zu frames", kinds[i].name, got->count);
        }
        for (size_t f = 0; f < got->count; f++) {
            assert_int_equal(got->frames[f].index, f);
            if (llabs(got->frames[f].pts_ns - (int64_t)f * 40000000) > 1000000) {
                fail_msg("%s: frame %zu at %lld", kinds[i].name, f,
                         (long long)got->frames[f].pts_ns);
            }
            if (first != NULL && strcmp(kinds[i].codec, first->info.codec) == 0) {
                /* the same stream in another container */
                assert_true(got->frames[f].hash == first->frames[f].hash);
            }
        }
        if (first == NULL) {
            first = got;
        } else {
            free(got);
        }
    }
    free(first);
}

/* --- colours ------------------------------------------------------------------------------------
 */

/* The first frame of a video; *decoder lends it. */
static nx_decoder_frame first_frame(const char *path, nx_decoder **decoder)
{
    nx_decoder_frame frame = {0};
    nx_error err = {0};
    bool end = false;
    nx_assert_ok(nx_decoder_open(path, NULL, decoder, &err), err);
    nx_assert_ok(nx_decoder_next(*decoder, &frame, &end, &err), err);
    assert_false(end);
    return frame;
}

static void assert_colour(const nx_decoder_frame *frame, double x, double y, uint32_t colour,
                          int most_off)
{
    size_t column = (size_t)(x * frame->width);
    size_t row = (size_t)(y * frame->height);
    const uint8_t *pixel = frame->pixels + 3 * (row * frame->width + column);
    const int wanted[3] = {(int)(colour >> 16 & 0xFF), (int)(colour >> 8 & 0xFF),
                           (int)(colour & 0xFF)};
    for (int c = 0; c < 3; c++) {
        if (abs(pixel[c] - wanted[c]) > most_off) {
            fail_msg("%d %d %d instead of %06x at %g, %g", pixel[0], pixel[1], pixel[2], colour, x,
                     y);
        }
    }
}

#define ONE_COLOUR "-f lavfi -i color=c=0xC81E3C:size=64x48:rate=5:duration=1 "
#define X264       "-c:v libx264 -qp 4 "
#define X265       "-c:v libx265 -x265-params log-level=none:pools=none:qp=4 "

static void colours_come_out(void **state)
{
    NX_NEED_FFMPEG();
    static const char *const kinds_of_colour[] = {
        ONE_COLOUR X264 "-pix_fmt yuv420p",
        ONE_COLOUR X264 "-vf scale=out_color_matrix=bt709,format=yuv420p -colorspace bt709",
        ONE_COLOUR X264
        "-vf scale=out_color_matrix=bt709:out_range=pc,format=yuv420p -colorspace bt709 "
        "-color_range pc",
        ONE_COLOUR "-c:v mjpeg -q:v 1 -pix_fmt yuvj420p",
        ONE_COLOUR "-c:v mjpeg -q:v 1 -pix_fmt yuvj422p",
        ONE_COLOUR "-c:v mjpeg -q:v 1 -pix_fmt yuvj444p",
        ONE_COLOUR X264 "-pix_fmt yuv422p",
        ONE_COLOUR X264 "-pix_fmt yuv444p",
        ONE_COLOUR X264 "-pix_fmt yuv420p10le",
        ONE_COLOUR X264 "-pix_fmt yuv422p10le",
        ONE_COLOUR "-c:v libx264rgb -qp 4 -pix_fmt rgb24",
        ONE_COLOUR X265 "-vf scale=out_color_matrix=bt2020,format=yuv420p10le "
                        "-colorspace bt2020nc",
        ONE_COLOUR X265 "-vf scale=out_color_matrix=bt2020,format=yuv444p10le "
                        "-colorspace bt2020nc",
        ONE_COLOUR "-c:v libvpx-vp9 -lossless 1 -pix_fmt yuv440p",
    };
    for (size_t i = 0; i < NX_COUNT(kinds_of_colour); i++) {
        nx_decoder *decoder = NULL;
        print_message("%s\n", kinds_of_colour[i]);
        nx_decoder_frame frame =
            first_frame(make_video(state, "colour.mkv", kinds_of_colour[i]), &decoder);
        assert_colour(&frame, 0.5, 0.5, 0xC81E3C, 4);
        assert_colour(&frame, 0, 0, 0xC81E3C, 4);
        assert_colour(&frame, 0.99, 0.99, 0xC81E3C, 4);
        nx_decoder_free(decoder);
    }
    /* high definition that does not say otherwise is BT.709's */
    nx_decoder *decoder = NULL;
    nx_decoder_frame frame = first_frame(
        make_video(state, "hd.mkv",
                   "-f lavfi -i color=c=0xC81E3C:size=1280x720:rate=5:duration=0.4 " X264
                   "-vf scale=out_color_matrix=bt709,format=yuv420p"),
        &decoder);
    assert_colour(&frame, 0.5, 0.5, 0xC81E3C, 4);
    nx_decoder_free(decoder);
    /* gray, and its range */
    static const char *const grays[] = {
        "-f lavfi -i color=c=0x505050:size=64x48:rate=5:duration=1 " X264 "-pix_fmt gray",
        "-f lavfi -i color=c=0x505050:size=64x48:rate=5:duration=1 -c:v ffv1 -pix_fmt gray10le"};
    for (size_t i = 0; i < NX_COUNT(grays); i++) {
        frame = first_frame(make_video(state, "gray.mkv", grays[i]), &decoder);
        const uint8_t *pixel = frame.pixels;
        assert_true(pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        assert_true(abs(pixel[0] - 0x50) <= 4);
        nx_decoder_free(decoder);
    }
}

/* --- shapes -------------------------------------------------------------------------------------
 */

/* Red, green above blue, white. */
#define QUARTERS                                                                                   \
    "-f lavfi -i color=c=red:size=32x24:rate=5:duration=1 "                                        \
    "-f lavfi -i color=c=lime:size=32x24:rate=5:duration=1 "                                       \
    "-f lavfi -i color=c=blue:size=32x24:rate=5:duration=1 "                                       \
    "-f lavfi -i color=c=white:size=32x24:rate=5:duration=1 "                                      \
    "-filter_complex '[0][1]hstack[a];[2][3]hstack[b];[a][b]vstack' " X264 "-pix_fmt yuv420p "

/* As ffmpeg itself shows them. */
static void pictures_are_turned(void **state)
{
    NX_NEED_FFMPEG();
    char upright[PATH_MAX];
    char arguments[PATH_MAX + 100];
    uint32_t seen = 0;
    snprintf(upright, sizeof upright, "%s", make_video(state, "upright.mp4", QUARTERS));
    for (uint32_t quarter = 0; quarter < 4; quarter++) {
        nx_decoder *decoder = NULL;
        nx_buffer raw = NX_BUFFER_INIT;
        nx_error err = {0};
        snprintf(arguments, sizeof arguments, "-i '%s' -c copy -metadata:s:v rotate=%u", upright,
                 quarter * 90);
        const char *path = make_video(state, "turned.mp4", arguments);
        nx_decoder_frame frame = first_frame(path, &decoder);
        snprintf(arguments, sizeof arguments, "-i '%s' -f rawvideo -pix_fmt rgb24 -frames:v 1",
                 path);
        path = make_video(state, "turned.rgb", arguments);
        nx_assert_ok(nx_file_read(path, 1 << 20, &raw, &err), err);
        const nx_decoder_info *info = nx_decoder_get_info(decoder);
        seen |= 1U << info->rotation / 90;
        assert_int_equal(info->width, quarter % 2 == 0 ? 64 : 48);
        assert_int_equal(info->height, quarter % 2 == 0 ? 48 : 64);
        assert_int_equal(frame.width, info->width);
        assert_int_equal(frame.height, info->height);
        assert_int_equal(raw.size, 64 * 48 * 3);
        for (int i = 0; i < 4; i++) {
            size_t x = i % 2 == 0 ? 10 : frame.width - 10;
            size_t y = i < 2 ? 10 : frame.height - 10;
            const uint8_t *wanted = (const uint8_t *)raw.data + 3 * (y * frame.width + x);
            assert_colour(&frame, ((double)x + 0.5) / frame.width, ((double)y + 0.5) / frame.height,
                          (uint32_t)wanted[0] << 16 | (uint32_t)wanted[1] << 8 | wanted[2], 6);
        }
        nx_buffer_free(&raw);
        nx_decoder_free(decoder);
    }
    assert_int_equal(seen, 0xF);
}

static void odd_sizes_and_pixels_that_are_not_square(void **state)
{
    NX_NEED_FFMPEG();
    static const struct {
        const char *name, *arguments;
        uint32_t width, height;
    } shapes[] = {
        {"odd.webm", "-c:v libvpx-vp9 -lossless 1 -vf scale=61:43,setsar=1,format=yuv420p", 61, 43},
        {"odd.avi", "-c:v mpeg4 -q:v 2 -vf scale=61:43,setsar=1", 61, 43},
        {"odd.mkv", X264 "-vf scale=61:43,setsar=1,format=yuv444p", 61, 43},
        {"tiny.webm", "-c:v libvpx-vp9 -lossless 1 -vf scale=1:1,setsar=1,format=yuv420p", 1, 1},
        {"wide.mp4", X264 "-vf scale=64:48,setsar=4/3,format=yuv420p", 85, 48},
        {"high.mkv", X264 "-vf scale=64:48,setsar=1/2,format=yuv420p", 64, 96},
    };
    for (size_t i = 0; i < NX_COUNT(shapes); i++) {
        char arguments[512];
        nx_decoder *decoder = NULL;
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i color=c=0x3CC81E:size=64x48:rate=5:duration=1 %s",
                 shapes[i].arguments);
        nx_decoder_frame frame =
            first_frame(make_video(state, shapes[i].name, arguments), &decoder);
        assert_int_equal(frame.width, shapes[i].width);
        assert_int_equal(frame.height, shapes[i].height);
        assert_colour(&frame, 0, 0, 0x3CC81E, 6);
        assert_colour(&frame, 0.99, 0.99, 0x3CC81E, 6);
        nx_decoder_free(decoder);
    }
}

/* The size of pictures changes half-way: they come in the size that was asked for all the same. */
static void a_size_that_changes(void **state)
{
    NX_NEED_FFMPEG();
    nx_error err = {0};
    nx_buffer both = NX_BUFFER_INIT;
    nx_buffer part = NX_BUFFER_INIT;
    static const char *const sizes[] = {"64x48", "160x120"};
    for (size_t i = 0; i < 2; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i color=c=0x3CC81E:size=%s:rate=5:duration=1 %s -pix_fmt yuv420p",
                 sizes[i], X264);
        const char *path = make_video(state, "part.ts", arguments);
        nx_assert_ok(nx_file_read(path, 1 << 20, &part, &err), err);
        nx_buffer_append(&both, part.data, part.size);
    }
    const char *path = scratch_write(state, "both.ts", both.data, both.size);
    clip *got = decode_whole(path, NULL, 40, 30);
    assert_int_equal(got->count, 10);
    for (size_t i = 1; i < got->count; i++) {
        assert_true(got->frames[i].pts_ns > got->frames[i - 1].pts_ns);
    }
    free(got);
    nx_buffer_free(&both);
    nx_buffer_free(&part);
}

/* --- times --------------------------------------------------------------------------------------
 */

static void times_are_the_files_own(void **state)
{
    NX_NEED_FFMPEG();
    const char *path =
        make_video(state, "variable.mkv",
                   "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -vf "
                   "\"select='not(mod(n,3))+not(mod(n,5))'\" -vsync vfr -c:v libx264 "
                   "-pix_fmt yuv420p");
    clip *got = decode_whole(path, NULL, 0, 0);
    size_t count = 0;
    for (int64_t n = 0; n < 25; n++) {
        if (n % 3 == 0 || n % 5 == 0) {
            assert_true(count < got->count);
            assert_int_equal(got->frames[count].pts_ns, n * 40000000);
            assert_int_equal(got->frames[count].mark.pts_ns, n * 40000000);
            count++;
        }
    }
    assert_int_equal(got->count, count);
    free(got);
}

/* A bare stream says how fast it is, and no more. */
static void missing_times_are_made(void **state)
{
    NX_NEED_FFMPEG();
    static const char *const names[] = {"bare.h264", "bare.m4v"};
    static const char *const codecs[] = {"-c:v libx264 -bf 2", "-c:v mpeg4"};
    for (size_t i = 0; i < 2; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments,
                 "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 %s -pix_fmt yuv420p",
                 codecs[i]);
        clip *got = decode_whole(make_video(state, names[i], arguments), NULL, 0, 0);
        assert_int_equal(got->count, 25);
        for (size_t f = 0; f < got->count; f++) {
            assert_int_equal(got->frames[f].pts_ns / 1000000, f * 40);
        }
        free(got);
    }
}

/* Sound, subtitles and a cover picture beside the video do no harm. */
static void other_streams_are_left_alone(void **state)
{
    NX_NEED_FFMPEG();
    const char *path = make_video(state, "sound.mp4",
                                  "-f lavfi -i sine=duration=2 " MOVING "-c:v libx264 -c:a aac");
    clip *got = decode_whole(path, NULL, 0, 0);
    assert_int_equal(got->count, 25);
    free(got);
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    path = make_video(state, "sound.m4a", "-f lavfi -i sine=duration=1 -c:a aac");
    assert_int_equal(nx_decoder_open(path, NULL, &decoder, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "no video in it");
}

static void memory_has_its_limit(void **state)
{
    NX_NEED_FFMPEG();
    const char *path =
        make_video(state, "large.mp4",
                   "-f lavfi -i testsrc2=size=2560x1440:rate=5:duration=1 -c:v libx264 -preset "
                   "ultrafast -pix_fmt yuv420p");
    const nx_decoder_options options = {.memory_limit = 20 << 20};
    clip *got = decode_clip(path, &options, 2560, 1440);
    assert_int_equal(got->status, NX_ERR_TOO_LARGE); /* the ring alone */
    nx_assert_contains(got->err.message, "limit of 20 MB");
    free(got);
#ifndef SANITIZED
    const nx_decoder_options less = {.memory_limit = 8 << 20};
    got = decode_clip(path, &less, 64, 48); /* the sanitizers' address space has no limit */
    assert_int_equal(got->status, NX_ERR_TOO_LARGE);
    nx_assert_contains(got->err.message, "more memory than it may have");
    free(got);
#endif
    got = decode_whole(path, NULL, 64, 48);
    assert_int_equal(got->count, 5);
    free(got);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codecs_and_containers),
        cmocka_unit_test(colours_come_out),
        cmocka_unit_test(pictures_are_turned),
        cmocka_unit_test(odd_sizes_and_pixels_that_are_not_square),
        cmocka_unit_test(a_size_that_changes),
        cmocka_unit_test(times_are_the_files_own),
        cmocka_unit_test(missing_times_are_made),
        cmocka_unit_test(other_streams_are_left_alone),
        cmocka_unit_test(memory_has_its_limit),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
