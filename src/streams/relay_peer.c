#include "streams/relay_peer.h"

#include "base/clock.h"
#include "base/uuid.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Until it has said who it is and what it wants. */
#define HASTE_NS (5 * NX_NS_PER_SEC)
#define STUCK_NS (NX_RELAY_PATIENCE_MS * NX_NS_PER_MS)
/* Between two signs of life. */
#define ALIVE_NS (2 * NX_NS_PER_SEC)
/* Beyond so many bytes that wait nothing is made ready. */
#define MOST_READY  ((size_t)256 << 10)
#define MOST_ROUNDS 8
/* Memory beyond this is given back once it was written. */
#define MOST_KEPT ((size_t)1 << 20)
/* Video further behind goes on with the newest key frame. */
#define MOST_BEHIND_NS (2 * NX_NS_PER_SEC)

typedef enum stage { GREETED, PROVED, OPENED } stage;

struct nx_relay_peer {
    int fd;
    stage stage;
    const nx_relay_source *source;
    uint8_t token[NX_RELAY_TOKEN];
    uint8_t nonce[NX_RELAY_NONCE];
    nx_relay_seal asked, told;
    int64_t since_ns, moved_ns, alive_ns; /* when it came, took bytes, was told something */

    uint8_t in[512];
    size_t in_size;
    nx_buffer out, scratch;
    size_t out_sent;
    bool ending; /* when everything is written */

    char id[NX_UUID_SIZE];
    nx_stream_hub *hub;
    nx_media_ring *media;
    uint64_t after, shown;      /* message and picture that it knows */
    bool pull;                  /* it waits for a picture */
    bool video;                 /* it wants the video */
    bool video_answered;        /* it knows that there is none, */
    char unfit[NX_RELAY_CODEC]; /* for the camera's is this codec */
    nx_media_view view;         /* ring NULL: none */
    nx_media_piece *piece;      /* the next one; NULL: not taken yet */
};

nx_relay_peer *nx_relay_peer_new(int fd, const nx_relay_source *source,
                                 const uint8_t token[NX_RELAY_TOKEN], int64_t now_ns)
{
    nx_relay_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        close(fd);
        return NULL;
    }
    peer->fd = fd;
    peer->source = source;
    memcpy(peer->token, token, sizeof peer->token);
    randombytes_buf(peer->nonce, sizeof peer->nonce);
    peer->since_ns = peer->moved_ns = peer->alive_ns = now_ns;
    nx_buffer_append(&peer->out, NX_RELAY_NAME, sizeof NX_RELAY_NAME - 1);
    nx_buffer_append(&peer->out, peer->nonce, sizeof peer->nonce);
    return peer;
}

void nx_relay_peer_free(nx_relay_peer *peer)
{
    if (peer == NULL) {
        return;
    }
    nx_media_piece_release(peer->piece);
    nx_media_view_close(&peer->view);
    nx_media_ring_release(peer->media);
    nx_stream_hub_release(peer->hub);
    nx_buffer_free(&peer->out);
    nx_buffer_free(&peer->scratch);
    close(peer->fd);
    free(peer);
}

int nx_relay_peer_fd(const nx_relay_peer *peer)
{
    return peer->fd;
}

bool nx_relay_peer_is_writing(const nx_relay_peer *peer)
{
    return peer->out_sent < peer->out.size;
}

bool nx_relay_peer_is_paced(const nx_relay_peer *peer)
{
    return peer->view.ring != NULL && nx_media_view_is_paced(&peer->view);
}

bool nx_relay_peer_is_known(const nx_relay_peer *peer)
{
    return peer->stage != GREETED;
}

/* --- telling ------------------------------------------------------------------------------------
 */

static void tell(nx_relay_peer *peer, const nx_relay_message *message)
{
    nx_relay_seal_message(&peer->told, message, &peer->out);
}

static void tell_kind(nx_relay_peer *peer, nx_relay_kind kind)
{
    tell(peer, &(nx_relay_message){.kind = kind});
}

static void tell_picture(nx_relay_peer *peer)
{
    nx_stream_jpeg *jpeg = NULL;
    peer->pull = false;
    if (nx_stream_hub_jpeg(peer->hub, 0, &jpeg, NULL) == NX_OK &&
        jpeg->bytes.size <= NX_RELAY_PICTURE_MAX) {
        tell(peer, &(nx_relay_message){.kind = NX_RELAY_PICTURE,
                                       .numbers = {jpeg->number},
                                       .bytes = jpeg->bytes.data,
                                       .size = jpeg->bytes.size});
    } else {
        tell_kind(peer, NX_RELAY_NO_PICTURE);
    }
    nx_stream_jpeg_release(jpeg);
}

static bool tell_event(nx_relay_peer *peer)
{
    uint64_t number = 0;
    nx_buffer_clear(&peer->scratch);
    bool there = nx_stream_hub_next(peer->hub, peer->after, &number, &peer->scratch);
    if (there) {
        peer->after = number;
        tell(peer, &(nx_relay_message){.kind = NX_RELAY_EVENT,
                                       .numbers = {number},
                                       .bytes = peer->scratch.data,
                                       .size = peer->scratch.failed ? 0 : peer->scratch.size});
    }
    return there;
}

static bool tell_shown(nx_relay_peer *peer)
{
    uint64_t shown = nx_stream_hub_picture(peer->hub);
    bool news = shown != peer->shown;
    if (news) {
        peer->shown = shown;
        tell(peer, &(nx_relay_message){.kind = NX_RELAY_SHOWN, .numbers = {shown}});
    }
    return news;
}

/* --- video --------------------------------------------------------------------------------------
 */

static void close_video(nx_relay_peer *peer)
{
    nx_media_piece_release(peer->piece);
    peer->piece = NULL;
    nx_media_view_close(&peer->view);
}

/* Says that there is none, once for each reason, and looks again each time. */
static bool open_video(nx_relay_peer *peer)
{
    char codec[NX_RELAY_CODEC] = "";
    if (nx_media_view_open(peer->media, INT64_MAX, &peer->view)) {
        const nx_mp4_track *track = &peer->view.track;
        tell(peer, &(nx_relay_message){.kind = NX_RELAY_TRACK,
                                       .numbers = {track->hevc, track->width, track->height,
                                                   track->shown_width, track->shown_height,
                                                   track->rotation},
                                       .bytes = track->config,
                                       .size = track->config_size});
        return true;
    }
    peer->source->unfit(peer->id, codec, peer->source->user);
    if (!peer->video_answered || strcmp(codec, peer->unfit) != 0) {
        peer->video_answered = true;
        snprintf(peer->unfit, sizeof peer->unfit, "%s", codec);
        tell(peer,
             &(nx_relay_message){.kind = NX_RELAY_NO_VIDEO, .bytes = codec, .size = strlen(codec)});
    }
    return false;
}

static bool tell_video(nx_relay_peer *peer)
{
    if (!peer->video) {
        return false;
    }
    if (peer->view.ring == NULL) {
        return open_video(peer);
    }
    (void)nx_media_view_skip(&peer->view, MOST_BEHIND_NS);
    nx_media_news news = nx_media_view_next(&peer->view, &peer->piece);
    if (news == NX_MEDIA_ENDED) {
        close_video(peer);
        tell_kind(peer, NX_RELAY_CUT);
        return true;
    }
    if (peer->piece == NULL) {
        return false;
    }
    const nx_mp4_sample *sample = &peer->piece->sample;
    tell(peer,
         &(nx_relay_message){.kind = NX_RELAY_FRAGMENT,
                             .numbers = {sample->key, sample->dts, (uint64_t)peer->piece->pts_ns},
                             .bytes = peer->piece->block,
                             .size = peer->piece->size});
    nx_media_piece_release(peer->piece);
    peer->piece = NULL;
    return true;
}

/* --- being asked --------------------------------------------------------------------------------
 */

static void open_stream(nx_relay_peer *peer, const nx_relay_message *message)
{
    const nx_relay_source *source = peer->source;
    memcpy(peer->id, message->bytes, sizeof peer->id - 1);
    peer->stage = OPENED;
    peer->hub = source->hub(peer->id, source->user);
    peer->media = source->media(peer->id, source->user);
    if (peer->hub == NULL || peer->media == NULL) {
        tell_kind(peer, NX_RELAY_REFUSED);
        peer->ending = true;
        return;
    }
    peer->after = message->numbers[0];
    peer->shown = nx_stream_hub_picture(peer->hub);
    uint64_t first = nx_stream_hub_first(peer->hub);
    uint64_t last = nx_stream_hub_last(peer->hub); /* may have grown; then more follows */
    first = last + 1 - first > NX_HUB_MESSAGES ? last + 1 - NX_HUB_MESSAGES : first;
    tell(peer, &(nx_relay_message){.kind = NX_RELAY_OPENED, .numbers = {first, last, peer->shown}});
}

static bool take_message(nx_relay_peer *peer, const nx_relay_message *message)
{
    bool opens = message->kind == NX_RELAY_OPEN;
    if (opens != (peer->stage == PROVED)) {
        return false;
    }
    switch (message->kind) {
    case NX_RELAY_OPEN:
        open_stream(peer, message);
        return true;
    case NX_RELAY_PULL:
        peer->pull = true;
        return true;
    case NX_RELAY_VIDEO:
        peer->video = message->numbers[0] == 1;
        peer->video_answered = false;
        if (!peer->video) {
            close_video(peer);
        }
        return true;
    default:
        return false; /* what only runners say */
    }
}

static bool take_answer(nx_relay_peer *peer)
{
    nx_relay_seals seals;
    nx_relay_agree(peer->token, peer->nonce, peer->in, &seals);
    if (!nx_relay_proof_is(seals.proof, peer->in + NX_RELAY_NONCE)) {
        return false;
    }
    peer->asked = seals.asked;
    peer->told = seals.told;
    peer->stage = PROVED;
    return true;
}

/* The first thing in what has come; *used: its bytes, 0: it is not all there. */
static bool take_one(nx_relay_peer *peer, size_t *used)
{
    nx_relay_message message;
    *used = 0;
    if (peer->stage == GREETED) {
        *used = peer->in_size >= NX_RELAY_ANSWER ? NX_RELAY_ANSWER : 0;
        return *used == 0 || take_answer(peer);
    }
    return nx_relay_open_frame(&peer->asked, peer->in, peer->in_size, NX_RELAY_MOST_ASKED, used,
                               &message, NULL) == NX_OK &&
           (*used == 0 || take_message(peer, &message));
}

static bool take_in(nx_relay_peer *peer)
{
    /* who sends without end gets no more than its turn */
    for (int round = 0; round < MOST_ROUNDS; round++) {
        ssize_t got = recv(peer->fd, peer->in + peer->in_size, sizeof peer->in - peer->in_size, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        if (got <= 0) {
            return false;
        }
        peer->in_size += (size_t)got;
        size_t used = 0;
        do {
            if (!take_one(peer, &used)) {
                return false;
            }
            memmove(peer->in, peer->in + used, peer->in_size - used);
            peer->in_size -= used;
        } while (used > 0);
    }
    return true;
}

/* --- a step -------------------------------------------------------------------------------------
 */

static bool write_out(nx_relay_peer *peer, int64_t now_ns)
{
    while (peer->out_sent < peer->out.size) {
        ssize_t sent = send(peer->fd, peer->out.data + peer->out_sent,
                            peer->out.size - peer->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            return now_ns - peer->moved_ns < STUCK_NS;
        }
        if (sent <= 0) {
            return false;
        }
        peer->out_sent += (size_t)sent;
        peer->moved_ns = now_ns;
    }
    peer->out_sent = 0;
    if (peer->out.capacity > MOST_KEPT) {
        nx_buffer_free(&peer->out);
    } else {
        nx_buffer_clear(&peer->out);
    }
    peer->moved_ns = now_ns;
    return true;
}

/* Makes one thing ready. False: there is nothing. */
static bool tell_next(nx_relay_peer *peer)
{
    if (peer->pull) {
        tell_picture(peer);
        return true;
    }
    return tell_event(peer) || tell_shown(peer) || tell_video(peer);
}

/* Makes ready what there is, as long as it is taken. False: it is to be freed. */
static bool tell_all(nx_relay_peer *peer, int64_t now_ns)
{
    bool ended = nx_stream_hub_ended(peer->hub); /* before reading: nothing comes after it */
    bool more = true;
    while (more && !peer->ending) {
        more = peer->out.size - peer->out_sent < MOST_READY && tell_next(peer);
        peer->alive_ns = more ? now_ns : peer->alive_ns;
        if (!more && peer->out_sent == peer->out.size) {
            if (ended) {
                tell_kind(peer, NX_RELAY_ENDED);
                peer->ending = true;
            } else if (now_ns - peer->alive_ns >= ALIVE_NS) {
                tell_kind(peer, NX_RELAY_ALIVE);
                peer->alive_ns = now_ns;
            }
        }
        if (peer->out.failed || !write_out(peer, now_ns)) {
            return false;
        }
        more = more && peer->out_sent == peer->out.size;
    }
    return true;
}

bool nx_relay_peer_step(nx_relay_peer *peer, bool readable, int64_t now_ns)
{
    if (readable && !take_in(peer)) {
        return false;
    }
    if (peer->stage != OPENED && now_ns - peer->since_ns > HASTE_NS) {
        return false;
    }
    if (peer->hub != NULL && !peer->ending && !tell_all(peer, now_ns)) {
        return false;
    }
    return !peer->out.failed && write_out(peer, now_ns) &&
           !(peer->ending && !nx_relay_peer_is_writing(peer));
}
