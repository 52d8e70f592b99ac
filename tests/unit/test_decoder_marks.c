/* Decoding that goes on behind a mark delivers what an undisturbed run delivers, to the byte. */
#include "videos.h"

#include "base/file.h"

#define MOVING "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1.6 -pix_fmt yuv420p "

static const struct {
    const char *name, *arguments;
} kinds[] = {
    {"closed.mp4", MOVING "-c:v libx264 -g 10 -bf 3"},
    {"open.mp4", MOVING "-c:v libx264 -x264-params open-gop=1:keyint=10:min-keyint=4:bframes=3"},
    {"open.mkv", MOVING "-c:v libx264 -x264-params open-gop=1:keyint=10:min-keyint=4:bframes=3"},
    {"refresh.mp4", MOVING "-c:v libx264 -x264-params intra-refresh=1:keyint=8"},
    {"variable.mkv", "-f lavfi -i testsrc2=size=96x64:rate=25:duration=3 -vf "
                     "\"select='not(mod(n,3))+not(mod(n,5))'\" -vsync vfr -c:v libx264 -g 8 "
                     "-pix_fmt yuv420p"},
    {"fragments.mp4", MOVING "-c:v libx264 -g 10 -movflags frag_keyframe+empty_moov"},
    {"trimmed.mp4", NULL},
    {"hevc.mp4",
     MOVING "-c:v libx265 -x265-params log-level=none:pools=none:keyint=8:min-keyint=4"},
    {"hevc.mkv",
     MOVING "-c:v libx265 -x265-params log-level=none:pools=none:keyint=8:min-keyint=4"},
    {"vp8.webm", MOVING "-c:v libvpx -deadline realtime -auto-alt-ref 1 -g 10"},
    {"vp9.webm", MOVING "-c:v libvpx-vp9 -deadline good -cpu-used 5 -auto-alt-ref 1 "
                        "-lag-in-frames 10 -g 12"},
    {"av1.mkv", MOVING "-c:v libaom-av1 -cpu-used 8 -g 10"},
    {"av1.mp4", MOVING "-c:v libaom-av1 -cpu-used 8 -g 10"},
    {"mpeg4.mp4", MOVING "-c:v mpeg4 -q:v 4 -bf 2 -g 10"},
    {"mjpeg.mov", MOVING "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p"},
    {"h264.ts", MOVING "-c:v libx264 -g 10"},
    {"h264.avi", MOVING "-c:v libx264 -g 10 -bf 2"},
    {"bare.h264", MOVING "-c:v libx264 -g 10"},
};

/* Resumes behind every `step`th frame; 3 meets each place between key frames 8 or 10 apart. */
static void assert_resumes(const char *path, const nx_decoder_options *options, size_t step)
{
    clip *all = decode_whole(path, options, 48, 32);
    assert_true(all->count > 3);
    for (size_t i = 0; i < all->count; i += step) {
        nx_decoder_options rest = *options;
        rest.resume = true;
        rest.mark = all->frames[i].mark;
        rest.threads = 1 + i % 2;
        clip *some = decode_whole(path, &rest, 48, 32);
        if (some->count != all->count - i - 1) {
            fail_msg("%s: %zu frames behind frame %zu of %zu", path, some->count, i, all->count);
        }
        for (size_t f = 0; f < some->count; f++) {
            assert_same_frame(some, f, all, i + 1 + f);
        }
        free(some);
    }
    free(all);
}

static const char *make_kind(void **state, size_t i)
{
    char arguments[PATH_MAX + 100];
    if (kinds[i].arguments != NULL) {
        return make_video(state, kinds[i].name, kinds[i].arguments);
    }
    /* an edit list that begins between key frames */
    (void)make_video(state, "whole.mp4", MOVING "-c:v libx264 -g 10 -bf 2");
    snprintf(arguments, sizeof arguments, "-ss 0.6 -i '%s/whole.mp4' -c copy",
             (const char *)*state);
    return make_video(state, kinds[i].name, arguments);
}

static void every_mark_is_exact(void **state)
{
    NX_NEED_FFMPEG();
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        const char *path = make_kind(state, i);
        assert_resumes(path, &(nx_decoder_options){0}, 3);
    }
}

/* A choice of frames is of the very frames that all of them are. */
static void assert_chosen(const char *path, const nx_decoder_options *options)
{
    clip *all = decode_whole(path, NULL, 48, 32);
    clip *some = decode_whole(path, options, 48, 32);
    assert_true(some->count > 1 && some->count < all->count);
    for (size_t i = 0; i < some->count; i++) {
        assert_same_frame(some, i, all, (size_t)some->frames[i].index);
    }
    free(some);
    free(all);
}

static void marks_go_with_strides_and_rates(void **state)
{
    NX_NEED_FFMPEG();
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        const char *path = make_kind(state, i);
        assert_chosen(path, &(nx_decoder_options){.stride = 3});
        assert_chosen(path, &(nx_decoder_options){.fps = 7});
        assert_resumes(path, &(nx_decoder_options){.stride = 3}, 5);
        assert_resumes(path, &(nx_decoder_options){.fps = 7}, 4);
    }
}

static void real_videos_resume(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    assert_resumes(nx_shared_path("videos/car-detection.mp4"), &(nx_decoder_options){0}, 101);
    assert_resumes(nx_shared_path("videos/pets09-s2l1.mp4"), &(nx_decoder_options){.stride = 5},
                   70);
}

/* The first half of the file's data is overwritten: who begins there finds damage, and who seeks
 * does not. */
static void seeking_saves_the_way(void **state)
{
    NX_NEED_FFMPEG();
    nx_error err = {0};
    nx_buffer bytes = NX_BUFFER_INIT;
    const char *path =
        make_video(state, "faststart.mp4", MOVING "-c:v libx264 -g 10 -bf 2 -movflags +faststart");
    clip *all = decode_whole(path, NULL, 48, 32);
    nx_assert_ok(nx_file_read(path, 1 << 24, &bytes, &err), err);
    const uint8_t *data = memmem(bytes.data, bytes.size, "mdat", 4);
    assert_non_null(data);
    size_t start = (size_t)(data - (const uint8_t *)bytes.data) + 4;
    memset((uint8_t *)bytes.data + start, 0xFF, (bytes.size - start) / 4);
    path = scratch_write(state, "half.mp4", bytes.data, bytes.size);
    clip *broken = decode_clip(path, NULL, 48, 32);
    assert_int_equal(broken->status, NX_ERR_CORRUPT);
    nx_decoder_options options = {.resume = true, .mark = all->frames[32].mark};
    clip *rest = decode_whole(path, &options, 48, 32);
    assert_int_equal(rest->count, all->count - 33);
    for (size_t i = 0; i < rest->count; i++) {
        assert_same_frame(rest, i, all, 33 + i);
    }
    /* a mark without a time is walked to, through the damage */
    options.mark.pts_ns = -1;
    clip *walked = decode_clip(path, &options, 48, 32);
    assert_int_equal(walked->status, NX_ERR_CORRUPT);
    free(walked);
    free(rest);
    free(broken);
    free(all);
    nx_buffer_free(&bytes);
}

static void marks_of_another_video(void **state)
{
    NX_NEED_FFMPEG();
    const char *path = make_video(state, "closed.mp4", MOVING "-c:v libx264 -g 10");
    /* behind the end there is nothing; a time that no frame has counts for nothing */
    nx_decoder_options options = {.resume = true, .mark = {.frame = 1000, .pts_ns = 40000000000}};
    clip *none = decode_whole(path, &options, 48, 32);
    assert_int_equal(none->count, 0);
    options.mark = (nx_decoder_mark){.frame = 30, .pts_ns = 1210000000};
    clip *some = decode_whole(path, &options, 48, 32);
    assert_int_equal(some->count, 9);
    assert_int_equal(some->frames[0].index, 31);
    free(some);
    free(none);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mark_is_exact),    cmocka_unit_test(marks_go_with_strides_and_rates),
        cmocka_unit_test(real_videos_resume),     cmocka_unit_test(seeking_saves_the_way),
        cmocka_unit_test(marks_of_another_video),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
