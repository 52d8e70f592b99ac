#include "media/video_source.h"

#include "base/clock.h"
#include "media/video_internal.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where nothing else is known. */
#define USUAL_FPS 25

/* Times beyond this, thirty years, are no times. */
#define MOST_NS INT64_C(1000000000000000000)

static const AVRational nanoseconds = {1, (int)NX_NS_PER_SEC};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_TOO_LARGE, "decoding needs more memory than it may have");
}

/* --- frames as they come from the decoder -------------------------------------------------------
 */

/* "frame 57 (1.900 s)" */
static void say_place(const nx_video_source *source, char *text, size_t size)
{
    snprintf(text, size, "frame %llu (%.3f s)", (unsigned long long)source->next_index,
             source->last_ns > 0 ? (double)source->last_ns / 1e9 : 0.0);
}

static void damage(nx_video_source *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether there is memory for another frame. Codecs that find none call it invalid data. */
static bool has_memory(const nx_video_source *source)
{
    size_t pixels = (size_t)source->decoder->width * (size_t)source->decoder->height;
    void *frame = malloc(pixels * 3 / 2 + 1);
    bool found = frame != NULL;
    free(frame);
    return found;
}

/* Counts a damaged packet or frame. One too many is kept as the error for the end, and nothing more
 * is read. Recordings begin anywhere: what they have before the first frame may be of no use. */
static void damage(nx_video_source *source, const char *format, ...)
{
    char what[128];
    char place[64];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    source->damaged++;
    source->damaged_at_start += source->frames == 0 && source->recording;
    if (source->damaged - source->damaged_at_start > source->options.max_damaged &&
        source->fatal.status == NX_OK) {
        say_place(source, place, sizeof place);
        if (has_memory(source)) {
            nx_error_set(&source->fatal, NX_ERR_CORRUPT, "damaged at %s: %s", place, what);
        } else {
            (void)no_memory(&source->fatal);
            (void)nx_error_prefix(&source->fatal, "at %s", place);
        }
    }
}

static void damage_by(nx_video_source *source, int reason)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(reason, text, sizeof text);
    damage(source, "%s", text);
}

/* The file has no more packets; result is what av_read_frame said. */
static void end_of_packets(nx_video_source *source, int result)
{
    bool all_read = source->io == NULL || source->io->eof_reached != 0 ||
                    source->position >= source->options.size;
    int expected = nx_video_packets_expected(source);
    source->draining = true;
    if (source->packets < expected) {
        damage(source, "the file ends early, with %d of its %d frames", source->packets, expected);
    } else if (source->claimed_size > source->options.size) {
        damage(source, "the file ends early, with %lld of its %lld bytes",
               (long long)source->options.size, (long long)source->claimed_size);
    } else if (result != AVERROR_EOF && all_read) {
        damage(source, "the file ends in the middle of its data");
    } else if (result != AVERROR_EOF) {
        damage_by(source, result);
    }
}

static int64_t frame_ns(const nx_video_source *source)
{
    double fps = source->info.fps > 0 ? source->info.fps : USUAL_FPS;
    double ns = (double)NX_NS_PER_SEC / fps;
    return ns < 1 ? 1 : ns > (double)MOST_NS ? MOST_NS : (int64_t)ns;
}

/* Whoever wants the video itself gets source->packet. */
static void copy_packet(nx_video_source *source)
{
    const nx_video_copy_time time = {
        .start_ticks = source->start_ticks,
        .frame_ns = frame_ns(source),
        .arrived_ns = nx_video_live_newest(source),
        .reorder = source->decoder->has_b_frames > 0 ? (unsigned)source->decoder->has_b_frames : 0,
    };
    if (source->copy != NULL) {
        nx_video_copy_packet(source->copy, source->packet, &time);
    }
}

/* Notes what is to be known of source->packet and gives it to the decoder, unless there has been
 * too much damage. Returns what libavcodec says. */
static int send_packet(nx_video_source *source)
{
    source->options.alive(source->options.user);
    if (source->packets == 0) {
        nx_video_note_entry(source);
    }
    source->packets++;
    bool in_time = nx_video_live_arrived(source);
    copy_packet(source);
    if (!in_time) {
        source->next_index++;
        return 0;
    }
    if ((source->packet->flags & AV_PKT_FLAG_CORRUPT) != 0 && !source->recording) {
        damage(source, "a part of the file's data is missing");
    }
    if (source->fatal.status != NX_OK) {
        return 0;
    }
    int result = avcodec_send_packet(source->decoder, source->packet);
    if (result < 0 && result != AVERROR(ENOMEM)) {
        damage_by(source, result);
    }
    return result;
}

/* Gives the decoder its next packet, or tells it that there is none. */
static nx_status feed(nx_video_source *source, nx_error *err)
{
    nx_video_live_ask(source);
    int result = av_read_frame(source->file, source->packet);
    if (result == AVERROR(ENOMEM)) {
        return no_memory(err);
    }
    if (result < 0) {
        end_of_packets(source, result);
    } else if (source->packet->stream_index == source->stream) {
        result = send_packet(source);
    }
    av_packet_unref(source->packet);
    if (result == AVERROR(ENOMEM)) {
        return no_memory(err);
    }
    if (source->draining || source->fatal.status != NX_OK) { /* what it still holds is good */
        source->draining = true;
        (void)avcodec_send_packet(source->decoder, NULL);
    }
    return NX_OK;
}

/* *got: source->frame holds a frame; without one there is none any more. */
static nx_status decode(nx_video_source *source, bool *got, nx_error *err)
{
    *got = false;
    for (;;) {
        int result = avcodec_receive_frame(source->decoder, source->frame);
        if (result == 0) {
            *got = true;
            return NX_OK;
        }
        if (result == AVERROR(ENOMEM)) {
            return no_memory(err);
        }
        if (result == AVERROR_EOF || (source->draining && result == AVERROR(EAGAIN))) {
            return NX_OK;
        }
        if (result != AVERROR(EAGAIN)) {
            damage_by(source, result);
        }
        if (!source->draining) {
            nx_status status = feed(source, err);
            if (status != NX_OK) {
                return status;
            }
        }
    }
}

/* --- their times --------------------------------------------------------------------------------
 */

/* Negative when the file gives no time that is after the one before. */
static int64_t own_time(nx_video_source *source, int64_t ticks)
{
    int64_t since_start = 0;
    if (ticks == AV_NOPTS_VALUE) {
        return -1;
    }
    if (source->start_ticks == AV_NOPTS_VALUE) {
        source->start_ticks = ticks;
    }
    if (__builtin_sub_overflow(ticks, source->start_ticks, &since_start)) {
        return -1;
    }
    int64_t ns = av_rescale_q(since_start, source->time_base, nanoseconds);
    return ns > source->last_ns && ns < MOST_NS ? ns : -1;
}

/* Places source->frame behind the one before. */
static nx_video_place place_frame(nx_video_source *source)
{
    const AVFrame *frame = source->frame;
    if (source->next_index == 0 && frame->pts == AV_NOPTS_VALUE) {
        source->start_ticks = frame->best_effort_timestamp; /* times of decoding are later */
    }
    int64_t own = own_time(source, frame->pts);
    int64_t ns = own >= 0 ? own : own_time(source, frame->best_effort_timestamp);
    if (ns < 0) {
        ns = source->last_ns < 0 ? 0 : source->last_ns + frame_ns(source);
    }
    nx_video_place place = {
        .index = source->next_index++,
        .pts_ns = ns,
        .previous_ns = source->last_ns,
        .mark_ns = own,
        .arrived_ns = nx_video_live_arrival(source),
        .late = source->lag.late,
    };
    source->last_ns = ns;
    source->frames++;
    return place;
}

static nx_status end_of_frames(nx_video_source *source, bool *end, nx_error *err)
{
    *end = true;
    if (source->fatal.status != NX_OK) {
        return nx_error_set(err, source->fatal.status, "%s", source->fatal.message);
    }
    if (source->next_index == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "not one frame of the video could be decoded");
    }
    return NX_OK;
}

/* What a frame that is not whole says of itself. */
static bool is_damaged(const AVFrame *frame)
{
    return frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
}

nx_status nx_video_source_next(nx_video_source *source, const AVFrame **frame,
                               nx_video_place *place, bool *end, nx_error *err)
{
    bool got = false;
    *end = false;
    nx_status status = decode(source, &got, err);
    if (status != NX_OK) {
        char where[64];
        say_place(source, where, sizeof where);
        return nx_error_prefix(err, "at %s", where);
    }
    if (!got) {
        return end_of_frames(source, end, err);
    }
    source->options.alive(source->options.user);
    if (is_damaged(source->frame)) {
        damage(source, "a part of the picture cannot be decoded");
        if (source->fatal.status != NX_OK) {
            return end_of_frames(source, end, err);
        }
    }
    *place = place_frame(source);
    *frame = source->frame;
    return NX_OK;
}

/* --- marks --------------------------------------------------------------------------------------
 */

/* Decodes from the start up to the mark's frame. */
static nx_status walk_to(nx_video_source *source, const nx_decoder_mark *mark, nx_error *err)
{
    bool end = false;
    nx_status status = NX_OK;
    while (source->next_index <= mark->frame && !end && status == NX_OK) {
        const AVFrame *frame = NULL;
        nx_video_place place;
        status = nx_video_source_next(source, &frame, &place, &end, err);
    }
    return status;
}

/* How a try to seek ended. */
typedef enum seek_outcome { SEEK_FOUND, SEEK_TOO_LATE, SEEK_USELESS } seek_outcome;

/* Whether decoding may begin with the packet that was read first and gives what it always does. */
static bool began_clean(const nx_video_source *source)
{
    return source->clean_entry && source->damaged == 0;
}

/* Decodes until the frame of that time, from a key frame at least `before` ticks ahead of it. */
static seek_outcome seek_to(nx_video_source *source, int64_t ticks, int64_t before)
{
    int64_t to = 0;
    if (__builtin_sub_overflow(ticks, before, &to) ||
        av_seek_frame(source->file, source->stream, to, AVSEEK_FLAG_BACKWARD) < 0) {
        return SEEK_USELESS;
    }
    avcodec_flush_buffers(source->decoder);
    source->draining = false;
    source->packets = 0;
    for (bool first = true;; first = false) {
        bool got = false;
        nx_error err = {0};
        if (decode(source, &got, &err) != NX_OK || !got || !began_clean(source) ||
            is_damaged(source->frame)) {
            return SEEK_USELESS;
        }
        source->options.alive(source->options.user);
        int64_t at = source->frame->pts;
        if (at == ticks && !first) {
            return SEEK_FOUND;
        }
        if (at == AV_NOPTS_VALUE || at >= ticks) {
            return first ? SEEK_TOO_LATE : SEEK_USELESS;
        }
    }
}

/* True: the next frame is the one behind the mark. */
static bool seek_mark(nx_video_source *source, const nx_decoder_mark *mark)
{
    int64_t ticks = 0;
    int64_t since_start = av_rescale_q(mark->pts_ns, nanoseconds, source->time_base);
    if (mark->pts_ns < 0 || source->start_ticks == AV_NOPTS_VALUE ||
        !nx_video_seeks_exactly(source) ||
        __builtin_add_overflow(source->start_ticks, since_start, &ticks)) {
        return false;
    }
    /* files are searched by the time of decoding, which is somewhat before that of display */
    static const int64_t seconds_before[] = {0, 1, 5, 25};
    seek_outcome outcome = SEEK_TOO_LATE;
    for (size_t i = 0; i < 4 && outcome == SEEK_TOO_LATE; i++) {
        int64_t before = av_rescale_q(seconds_before[i], (AVRational){1, 1}, source->time_base);
        outcome = seek_to(source, ticks, before + 1);
    }
    if (outcome != SEEK_FOUND) {
        return false;
    }
    source->next_index = mark->frame + 1;
    source->last_ns = mark->pts_ns;
    source->frames = 1;
    return true;
}

nx_status nx_video_source_go_to(nx_video_source *source, const nx_decoder_mark *mark, nx_error *err)
{
    if (seek_mark(source, mark)) {
        return NX_OK;
    }
    nx_status status = nx_video_source_reopen(source, err);
    return status == NX_OK ? walk_to(source, mark, err) : status;
}

const nx_decoder_info *nx_video_source_info(const nx_video_source *source)
{
    return &source->info;
}

uint64_t nx_video_source_damaged(const nx_video_source *source)
{
    return source->damaged;
}
