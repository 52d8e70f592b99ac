/*
 * H.264 and HEVC of strangers on their way into an MP4. Units are the same behind start codes and
 * behind lengths, what is made of parameter sets is a track, and boxes end where they say.
 */
#include "fuzz.h"
#include "media/mp4.h"
#include "media/nal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool right)
{
    if (!right) {
        abort();
    }
}

static void check_boxes(const nx_buffer *made)
{
    size_t at = 0;
    while (at < made->size) {
        const uint8_t *box = (const uint8_t *)made->data + at;
        expect(made->size - at >= 8);
        size_t size =
            (size_t)box[0] << 24 | (size_t)box[1] << 16 | (size_t)box[2] << 8 | (size_t)box[3];
        expect(size >= 8 && size <= made->size - at);
        at += size;
    }
}

/* config: an avcC or hvcC, or what a container calls one. False: it is refused. */
static bool write_track(const uint8_t *config, size_t size, bool hevc, const nx_mp4_sample *sample)
{
    nx_mp4_track track = {.hevc = hevc,
                          .width = 64,
                          .height = 48,
                          .shown_width = 48,
                          .shown_height = 64,
                          .config_size = (uint32_t)size};
    nx_buffer made = NX_BUFFER_INIT;
    char type[NX_MP4_TYPE_SIZE];
    memcpy(track.config, config, size);
    if (!nx_mp4_track_is_sane(&track)) {
        return false;
    }
    nx_mp4_content_type(&track, type);
    expect(type[strlen(type) - 1] == '"'); /* all of it */
    nx_mp4_write_init(&track, &made);
    check_boxes(&made);
    nx_buffer_free(&made);
    nx_mp4_write_file(&track, sample, 1, &made);
    expect(!made.failed);
    check_boxes(&made);
    nx_buffer_free(&made);
    return true;
}

static void try_units(const uint8_t *bytes, size_t size, bool hevc, const nx_nal_pixels *pixels)
{
    uint8_t config[NX_MP4_CONFIG_MAX];
    size_t with_lengths = 0;
    uint8_t *lengths = nx_nal_to_lengths(bytes, size, &with_lengths);
    bool entry = nx_nal_is_entry(bytes, size, 0, hevc);
    size_t made = nx_nal_config(bytes, size, hevc, pixels, config);
    if (lengths == NULL) {
        expect(!entry && made == 0);
        return;
    }
    expect(nx_nal_is_entry(lengths, with_lengths, 4, hevc) == entry);
    const nx_mp4_sample sample = {
        .bytes = lengths, .size = (uint32_t)with_lengths, .key = entry, .duration = 1};
    if (made > 0) {
        expect(made <= sizeof config && nx_nal_length_size(config, hevc) == 4);
        expect(write_track(config, made, hevc, &sample));
    }
    if (size <= NX_MP4_CONFIG_MAX) {
        (void)write_track(bytes, size, hevc, &sample);
    }
    free(lengths);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    /* the first byte says what the others are */
    const bool hevc = (data[0] & 1) != 0;
    const nx_nal_pixels pixels = {.chroma = data[0] >> 1 & 3U,
                                  .depth = 8 + 2 * (data[0] >> 3 & 3U)};
    uint8_t *bytes = malloc(size); /* of its own, so that reading past it is seen */
    if (bytes != NULL) {
        uint8_t *own = bytes + 1;
        memcpy(own, data + 1, size - 1);
        try_units(own, size - 1, hevc, &pixels);
        for (size_t length = 1; length <= 4; length++) {
            (void)nx_nal_is_entry(own, size - 1, length, hevc);
        }
        free(bytes);
    }
    return 0;
}
