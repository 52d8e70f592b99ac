#include "media/mp4.h"

#include <stdio.h>
#include <string.h>

#define MOST_SIDE 16384
#define LANGUAGE  0x55C4 /* "und" */

/* Of a sample: what it depends on, and whether playing may begin with it (14496-12, 8.8.3.1). */
#define FLAGS_KEY   0x02000000U
#define FLAGS_OTHER 0x01010000U

bool nx_mp4_track_is_sane(const nx_mp4_track *track)
{
    return track->width > 0 && track->height > 0 && track->width <= MOST_SIDE &&
           track->height <= MOST_SIDE && track->shown_width > 0 && track->shown_height > 0 &&
           track->shown_width <= 8 * MOST_SIDE && track->shown_height <= 8 * MOST_SIDE &&
           track->hevc <= 1 && track->rotation < 360 && track->rotation % 90 == 0 &&
           track->config_size > (track->hevc ? 22U : 6U) &&
           track->config_size <= NX_MP4_CONFIG_MAX && track->config[0] == 1;
}

/* --- content type -------------------------------------------------------------------------------
 */

/* hvc1.1.6.L93.B0: profile, compatible ones, tier and level, constraints (14496-15, E.3). */
static void write_hevc_type(const uint8_t *config, char *out, size_t size)
{
    static const char *const spaces[] = {"", "A", "B", "C"};
    uint32_t compatible = 0;
    size_t last = 12;
    for (unsigned i = 0; i < 32; i++) {
        uint32_t bit = config[2 + i / 8] >> (7 - i % 8) & 1U;
        compatible |= bit << i;
    }
    int at = snprintf(out, size, "hvc1.%s%u.%X.%c%u", spaces[config[1] >> 6], config[1] & 31U,
                      compatible, (config[1] & 32U) != 0 ? 'H' : 'L', config[12]);
    while (last > 6 && config[last - 1] == 0) {
        last--;
    }
    for (size_t i = 6; i < last && at > 0 && (size_t)at < size; i++) {
        at += snprintf(out + at, size - (size_t)at, ".%X", config[i]);
    }
}

void nx_mp4_content_type(const nx_mp4_track *track, char type[NX_MP4_TYPE_SIZE])
{
    char codec[64];
    if (track->hevc) {
        write_hevc_type(track->config, codec, sizeof codec);
    } else {
        snprintf(codec, sizeof codec, "avc1.%02x%02x%02x", track->config[1], track->config[2],
                 track->config[3]);
    }
    snprintf(type, NX_MP4_TYPE_SIZE, "video/mp4; codecs=\"%s\"", codec);
}

/* --- boxes --------------------------------------------------------------------------------------
 */

static void put16(nx_buffer *out, uint32_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    nx_buffer_append(out, bytes, sizeof bytes);
}

static void store32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static void put32(nx_buffer *out, uint32_t value)
{
    uint8_t bytes[4];
    store32(bytes, value);
    nx_buffer_append(out, bytes, sizeof bytes);
}

static void put_zeros(nx_buffer *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        nx_buffer_append_char(out, '\0');
    }
}

/* Begins a box; returns where, for end_box. */
static size_t box(nx_buffer *out, const char *kind)
{
    size_t at = out->size;
    put32(out, 0);
    nx_buffer_append(out, kind, 4);
    return at;
}

static size_t full_box(nx_buffer *out, const char *kind, uint32_t version_and_flags)
{
    size_t at = box(out, kind);
    put32(out, version_and_flags);
    return at;
}

static void end_box(nx_buffer *out, size_t at)
{
    if (!out->failed) {
        store32((uint8_t *)out->data + at, (uint32_t)(out->size - at));
    }
}

/* --- what a track is ----------------------------------------------------------------------------
 */

static void write_ftyp(nx_buffer *out)
{
    size_t at = box(out, "ftyp");
    nx_buffer_append_str(out, "iso6");
    put32(out, 0x200);
    nx_buffer_append_str(out, "iso5iso6mp41");
    end_box(out, at);
}

/* Nine numbers that turn a picture (14496-12, 6.2.2) and move it back to where it was. */
static void write_matrix(const nx_mp4_track *track, nx_buffer *out)
{
    const uint32_t one = 0x10000;
    const uint32_t minus = 0xFFFF0000U;
    const uint32_t width = track->shown_width << 16;
    const uint32_t height = track->shown_height << 16;
    const struct {
        uint32_t a, b, c, d, x, y;
    } turns[4] = {
        {one, 0, 0, one, 0, 0},
        {0, one, minus, 0, height, 0},
        {minus, 0, 0, minus, width, height},
        {0, minus, one, 0, 0, width},
    };
    const size_t i = track->rotation / 90 % 4;
    const uint32_t all[9] = {turns[i].a, turns[i].b, 0,          turns[i].c, turns[i].d,
                             0,          turns[i].x, turns[i].y, 0x40000000U};
    for (size_t k = 0; k < 9; k++) {
        put32(out, all[k]);
    }
}

static void write_mvhd(uint32_t duration, nx_buffer *out)
{
    const nx_mp4_track upright = {.shown_width = 0};
    size_t at = full_box(out, "mvhd", 0);
    put_zeros(out, 8);
    put32(out, NX_MP4_TICKS);
    put32(out, duration);
    put32(out, 0x10000); /* at this speed and volume */
    put16(out, 0x100);
    put_zeros(out, 10);
    write_matrix(&upright, out);
    put_zeros(out, 24);
    put32(out, 2); /* the next track's number */
    end_box(out, at);
}

static void write_tkhd(const nx_mp4_track *track, uint32_t duration, nx_buffer *out)
{
    size_t at = full_box(out, "tkhd", 3); /* enabled, part of the presentation */
    put_zeros(out, 8);
    put32(out, 1);
    put_zeros(out, 4);
    put32(out, duration);
    put_zeros(out, 16);
    write_matrix(track, out);
    put32(out, track->shown_width << 16);
    put32(out, track->shown_height << 16);
    end_box(out, at);
}

static void write_mdhd_hdlr(uint32_t duration, nx_buffer *out)
{
    size_t at = full_box(out, "mdhd", 0);
    put_zeros(out, 8);
    put32(out, NX_MP4_TICKS);
    put32(out, duration);
    put16(out, LANGUAGE);
    put16(out, 0);
    end_box(out, at);
    at = full_box(out, "hdlr", 0);
    put32(out, 0);
    nx_buffer_append_str(out, "vide");
    put_zeros(out, 12);
    nx_buffer_append(out, "Video", 6);
    end_box(out, at);
}

static void write_vmhd_dinf(nx_buffer *out)
{
    size_t at = full_box(out, "vmhd", 1);
    put_zeros(out, 8);
    end_box(out, at);
    at = box(out, "dinf");
    size_t dref = full_box(out, "dref", 0);
    put32(out, 1);
    size_t url = full_box(out, "url ", 1); /* it is in this file */
    end_box(out, url);
    end_box(out, dref);
    end_box(out, at);
}

static void write_stsd(const nx_mp4_track *track, nx_buffer *out)
{
    uint32_t across = track->shown_width * track->height;
    uint32_t down = track->shown_height * track->width;
    size_t at = full_box(out, "stsd", 0);
    put32(out, 1);
    size_t entry = box(out, track->hevc ? "hvc1" : "avc1");
    put_zeros(out, 6);
    put16(out, 1);
    put_zeros(out, 16);
    put16(out, track->width);
    put16(out, track->height);
    put32(out, 72 << 16); /* dots per inch, across and down */
    put32(out, 72 << 16);
    put32(out, 0);
    put16(out, 1);
    put_zeros(out, 32); /* no encoder's name */
    put16(out, 24);
    put16(out, 0xFFFF);
    size_t config = box(out, track->hevc ? "hvcC" : "avcC");
    nx_buffer_append(out, track->config, track->config_size);
    end_box(out, config);
    if (across != down) {
        size_t pasp = box(out, "pasp");
        put32(out, across);
        put32(out, down);
        end_box(out, pasp);
    }
    end_box(out, entry);
    end_box(out, at);
}

/* --- fragments ----------------------------------------------------------------------------------
 */

static void write_no_samples(nx_buffer *out)
{
    static const char *const kinds[] = {"stts", "stsc", "stco"};
    for (size_t i = 0; i < 3; i++) {
        size_t at = full_box(out, kinds[i], 0);
        put32(out, 0);
        end_box(out, at);
    }
    size_t at = full_box(out, "stsz", 0);
    put_zeros(out, 8);
    end_box(out, at);
}

void nx_mp4_write_init(const nx_mp4_track *track, nx_buffer *out)
{
    write_ftyp(out);
    size_t moov = box(out, "moov");
    write_mvhd(0, out);
    size_t trak = box(out, "trak");
    write_tkhd(track, 0, out);
    size_t mdia = box(out, "mdia");
    write_mdhd_hdlr(0, out);
    size_t minf = box(out, "minf");
    write_vmhd_dinf(out);
    size_t stbl = box(out, "stbl");
    write_stsd(track, out);
    write_no_samples(out);
    end_box(out, stbl);
    end_box(out, minf);
    end_box(out, mdia);
    end_box(out, trak);
    size_t mvex = box(out, "mvex");
    size_t trex = full_box(out, "trex", 0);
    put32(out, 1);
    put32(out, 1);
    put_zeros(out, 12);
    end_box(out, trex);
    end_box(out, mvex);
    end_box(out, moov);
}

void nx_mp4_write_fragment_head(uint8_t out[NX_MP4_FRAGMENT_HEAD], uint32_t number,
                                const nx_mp4_sample *sample)
{
    /* size, kind, version and flags: moof (mfhd, traf (tfhd, tfdt, trun)), mdat */
    const uint32_t words[NX_MP4_FRAGMENT_HEAD / 4] = {
        104,
        0x6D6F6F66, /* moof */
        16,
        0x6D666864,
        0,
        number, /* mfhd */
        80,
        0x74726166, /* traf */
        16,
        0x74666864,
        0x020000,
        1, /* tfhd: offsets from moof */
        20,
        0x74666474,
        0x01000000, /* tfdt, of 64 bits */
        (uint32_t)(sample->dts >> 32),
        (uint32_t)sample->dts, /* */
        36,
        0x7472756E,
        0x01000F01,
        1,
        NX_MP4_FRAGMENT_HEAD, /* trun: one sample, where */
        sample->duration,
        sample->size,                          /* */
        sample->key ? FLAGS_KEY : FLAGS_OTHER, /* */
        (uint32_t)sample->shown,               /* */
        8 + sample->size,
        0x6D646174, /* mdat */
    };
    for (size_t i = 0; i < NX_MP4_FRAGMENT_HEAD / 4; i++) {
        store32(out + 4 * i, words[i]);
    }
}

/* --- files --------------------------------------------------------------------------------------
 */

/* Times of samples and what else there is to say of each, in runs of equal ones where that is
 * how it is said: count and value. */
typedef struct run_list {
    nx_buffer *out;
    size_t box, count_at;
    uint32_t runs, length, value;
} run_list;

static run_list begin_runs(nx_buffer *out, const char *kind, uint32_t version)
{
    run_list list = {.out = out, .box = full_box(out, kind, version), .count_at = out->size};
    put32(out, 0);
    return list;
}

static void end_run(run_list *list)
{
    if (list->length > 0) {
        put32(list->out, list->length);
        put32(list->out, list->value);
        list->runs++;
        list->length = 0;
    }
}

static void add_run(run_list *list, uint32_t value)
{
    if (list->length > 0 && list->value != value) {
        end_run(list);
    }
    list->value = value;
    list->length++;
}

static void end_runs(run_list *list)
{
    end_run(list);
    if (!list->out->failed) {
        store32((uint8_t *)list->out->data + list->count_at, list->runs);
    }
    end_box(list->out, list->box);
}

static void write_times(const nx_mp4_sample *samples, size_t count, nx_buffer *out)
{
    run_list durations = begin_runs(out, "stts", 0);
    for (size_t i = 0; i < count; i++) {
        add_run(&durations, samples[i].duration);
    }
    end_runs(&durations);
    run_list shown = begin_runs(out, "ctts", 0x01000000);
    for (size_t i = 0; i < count; i++) {
        add_run(&shown, (uint32_t)samples[i].shown);
    }
    end_runs(&shown);
}

/* Returns where the place of the samples is to be written. */
static size_t write_table(const nx_mp4_track *track, const nx_mp4_sample *samples, size_t count,
                          nx_buffer *out)
{
    uint32_t keys = 0;
    size_t stbl = box(out, "stbl");
    write_stsd(track, out);
    write_times(samples, count, out);
    for (size_t i = 0; i < count; i++) {
        keys += samples[i].key ? 1 : 0;
    }
    size_t at = full_box(out, "stss", 0);
    put32(out, keys);
    for (size_t i = 0; i < count; i++) {
        if (samples[i].key) {
            put32(out, (uint32_t)i + 1);
        }
    }
    end_box(out, at);
    at = full_box(out, "stsc", 0); /* all in one piece */
    put32(out, 1);
    put32(out, 1);
    put32(out, (uint32_t)count);
    put32(out, 1);
    end_box(out, at);
    at = full_box(out, "stsz", 0);
    put32(out, 0);
    put32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        put32(out, samples[i].size);
    }
    end_box(out, at);
    at = full_box(out, "stco", 0);
    put32(out, 1);
    size_t place = out->size;
    put32(out, 0);
    end_box(out, at);
    end_box(out, stbl);
    return place;
}

static size_t write_moov(const nx_mp4_track *track, const nx_mp4_sample *samples, size_t count,
                         nx_buffer *out)
{
    uint32_t duration = 0;
    for (size_t i = 0; i < count; i++) {
        duration += samples[i].duration;
    }
    size_t moov = box(out, "moov");
    write_mvhd(duration, out);
    size_t trak = box(out, "trak");
    write_tkhd(track, duration, out);
    size_t edts = box(out, "edts"); /* what is shown first is shown at 0 */
    size_t elst = full_box(out, "elst", 0);
    put32(out, 1);
    put32(out, duration);
    put32(out, samples[0].shown > 0 ? (uint32_t)samples[0].shown : 0);
    put32(out, 0x10000);
    end_box(out, elst);
    end_box(out, edts);
    size_t mdia = box(out, "mdia");
    write_mdhd_hdlr(duration, out);
    size_t minf = box(out, "minf");
    write_vmhd_dinf(out);
    size_t place = write_table(track, samples, count, out);
    end_box(out, minf);
    end_box(out, mdia);
    end_box(out, trak);
    end_box(out, moov);
    return place;
}

void nx_mp4_write_file(const nx_mp4_track *track, const nx_mp4_sample *samples, size_t count,
                       nx_buffer *out)
{
    uint64_t bytes = 8;
    if (count == 0) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bytes += samples[i].size;
    }
    size_t begin = out->size;
    write_ftyp(out);
    size_t place = write_moov(track, samples, count, out);
    if (bytes + out->size - begin > UINT32_MAX || !nx_buffer_reserve(out, bytes)) {
        out->failed = true;
        return;
    }
    size_t mdat = box(out, "mdat");
    store32((uint8_t *)out->data + place, (uint32_t)(out->size - begin));
    for (size_t i = 0; i < count; i++) {
        nx_buffer_append(out, samples[i].bytes, samples[i].size);
    }
    end_box(out, mdat);
}
