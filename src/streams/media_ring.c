#include "streams/media_ring.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of the last picture of a connection, where there is no other to tell it. */
#define USUAL_TICKS (NX_MP4_TICKS / 25)
/* The longest that a picture is said to last. */
#define MOST_TICKS ((uint64_t)NX_MP4_TICKS * 60)

struct nx_media_ring {
    atomic_int references;
    nx_media_ring_options options;

    pthread_mutex_t lock; /* guards the rest; held for no longer than a head takes to write */
    nx_media_piece *pieces[NX_MEDIA_RING_PIECES]; /* number n is n % NX_MEDIA_RING_PIECES */
    uint64_t first, ready, next; /* numbers: first..ready - 1 can be read, ready..next - 1 can't */
    size_t bytes;
    uint64_t epoch;
    nx_mp4_track track;
    bool has_track, broken; /* broken: nothing before the next key frame */
    bool placed, paced, cut;
    int64_t offset_ns;
    int64_t pace_ns;
    uint64_t last_dts; /* ticks of the last one that can be read */
    bool has_last;
    uint32_t last_duration;
    uint64_t fragments;
    uint32_t views;
};

/* --- pieces -------------------------------------------------------------------------------------
 */

static nx_media_piece *retain_piece(nx_media_piece *piece)
{
    atomic_fetch_add(&piece->references, 1);
    return piece;
}

void nx_media_piece_release(nx_media_piece *piece)
{
    if (piece != NULL && atomic_fetch_sub(&piece->references, 1) == 1) {
        free(piece->block);
        free(piece);
    }
}

static nx_media_piece **place_of(nx_media_ring *ring, uint64_t number)
{
    return &ring->pieces[number % NX_MEDIA_RING_PIECES];
}

static void drop_first(nx_media_ring *ring)
{
    nx_media_piece **place = place_of(ring, ring->first);
    ring->bytes -= (*place)->size;
    nx_media_piece_release(*place);
    *place = NULL;
    ring->first++;
    ring->ready = ring->ready > ring->first ? ring->ready : ring->first;
}

static void drop_all(nx_media_ring *ring)
{
    while (ring->first < ring->next) {
        drop_first(ring);
    }
}

/* The number of the second group of pictures; next if there is none. */
static uint64_t second_group(nx_media_ring *ring)
{
    uint64_t number = ring->first + 1;
    while (number < ring->next && !(*place_of(ring, number))->sample.key) {
        number++;
    }
    return number;
}

/* The source's time that has come: what is not due yet makes nothing old. */
static int64_t come_ns(nx_media_ring *ring)
{
    int64_t newest_ns = (*place_of(ring, ring->next - 1))->dts_ns;
    int64_t due_ns = nx_clock_now_ns() - ring->pace_ns - ring->offset_ns;
    return ring->paced && due_ns < newest_ns ? due_ns : newest_ns;
}

static void drop_old(nx_media_ring *ring)
{
    while (ring->first < ring->next) {
        uint64_t second = second_group(ring);
        bool full = ring->bytes > ring->options.most_bytes ||
                    ring->next - ring->first >= NX_MEDIA_RING_PIECES;
        bool old = ring->placed && second < ring->next &&
                   (*place_of(ring, second))->dts_ns <= come_ns(ring) - ring->options.keep_ns;
        if (!full && !old) {
            return;
        }
        ring->broken = ring->broken || second == ring->next; /* all of the only group went */
        while (ring->first < second) {
            drop_first(ring);
        }
    }
}

/* --- putting ------------------------------------------------------------------------------------
 */

static uint64_t ticks_of(int64_t ns)
{
    const int64_t second = NX_NS_PER_SEC;
    if (ns <= 0) {
        return 0;
    }
    return (uint64_t)(ns / second) * NX_MP4_TICKS +
           (uint64_t)(ns % second) * NX_MP4_TICKS / (uint64_t)second;
}

/* Writes the heads of those whose next one is known; of the last one too at the end. */
static void finish_pieces(nx_media_ring *ring)
{
    while (ring->placed && ring->ready + (ring->cut ? 0 : 1) < ring->next) {
        nx_media_piece *piece = *place_of(ring, ring->ready);
        uint64_t dts = ticks_of(piece->dts_ns + ring->offset_ns);
        if (ring->has_last && dts <= ring->last_dts) {
            dts = ring->last_dts + 1;
        }
        uint64_t after = dts + (ring->last_duration > 0 ? ring->last_duration : USUAL_TICKS);
        if (ring->ready + 1 < ring->next) {
            after = ticks_of((*place_of(ring, ring->ready + 1))->dts_ns + ring->offset_ns);
        }
        after = after > dts ? after : dts + 1;
        piece->pts_ns += ring->offset_ns;
        int64_t shown = (int64_t)ticks_of(piece->pts_ns) - (int64_t)dts;
        piece->sample.dts = dts;
        piece->sample.shown = shown > INT32_MAX || shown < INT32_MIN ? 0 : (int32_t)shown;
        piece->sample.duration = (uint32_t)(after - dts < MOST_TICKS ? after - dts : MOST_TICKS);
        piece->sample.bytes = piece->block + NX_MP4_FRAGMENT_HEAD;
        nx_mp4_write_fragment_head(piece->block, (uint32_t)piece->number + 1, &piece->sample);
        ring->last_dts = dts;
        ring->last_duration = piece->sample.duration;
        ring->has_last = true;
        ring->fragments++;
        ring->ready++;
    }
}

static void tell(const nx_media_ring *ring, bool news)
{
    if (news && ring->options.told != NULL) {
        ring->options.told(ring->options.user);
    }
}

/* Under the lock. */
static void begin_epoch(nx_media_ring *ring)
{
    drop_all(ring);
    ring->epoch++;
    ring->has_track = false;
    ring->broken = true;
    ring->has_last = false;
    ring->last_duration = 0;
}

void nx_media_ring_begin(nx_media_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    begin_epoch(ring);
    ring->placed = false;
    ring->paced = false;
    ring->cut = false;
    bool news = ring->views > 0;
    pthread_mutex_unlock(&ring->lock);
    tell(ring, news);
}

void nx_media_ring_track(nx_media_ring *ring, const nx_mp4_track *track)
{
    pthread_mutex_lock(&ring->lock);
    bool same = ring->has_track && ring->track.config_size == track->config_size &&
                ring->track.width == track->width && ring->track.height == track->height &&
                ring->track.hevc == track->hevc && ring->track.rotation == track->rotation &&
                memcmp(ring->track.config, track->config, track->config_size) == 0;
    if (!same) {
        begin_epoch(ring);
        ring->track = *track;
        ring->has_track = true;
    }
    ring->broken = true;
    bool news = ring->views > 0 && !same;
    pthread_mutex_unlock(&ring->lock);
    tell(ring, news);
}

static nx_media_piece *make_piece(const nx_media_sample *sample)
{
    nx_media_piece *piece = calloc(1, sizeof *piece);
    if (piece != NULL) {
        atomic_init(&piece->references, 1);
        piece->block = sample->block;
        piece->size = NX_MP4_FRAGMENT_HEAD + sample->size;
        piece->sample = (nx_mp4_sample){.size = sample->size, .key = sample->key};
        piece->dts_ns = sample->dts_ns;
        piece->pts_ns = sample->pts_ns;
    }
    return piece;
}

/* Under the lock. False: it is not taken, and nothing is until the next key frame. */
static bool add_piece(nx_media_ring *ring, nx_media_piece *piece)
{
    if (piece == NULL || !ring->has_track || ring->cut || (ring->broken && !piece->sample.key)) {
        ring->broken = true;
        return false;
    }
    ring->broken = false;
    piece->number = ring->next;
    *place_of(ring, ring->next) = piece;
    ring->next++;
    ring->bytes += piece->size;
    return true;
}

void nx_media_ring_put(nx_media_ring *ring, const nx_media_sample *sample)
{
    nx_media_piece *piece = make_piece(sample);
    pthread_mutex_lock(&ring->lock);
    bool taken = add_piece(ring, piece);
    if (taken) {
        finish_pieces(ring);
        drop_old(ring);
    }
    bool news = taken && ring->views > 0;
    pthread_mutex_unlock(&ring->lock);
    if (!taken) {
        free(sample->block);
        free(piece);
    }
    tell(ring, news);
}

void nx_media_ring_put_fragment(nx_media_ring *ring, const nx_media_fragment *fragment)
{
    const uint64_t second = (uint64_t)NX_NS_PER_SEC;
    const nx_media_sample sample = {
        .block = fragment->block,
        .size = (uint32_t)(fragment->size - NX_MP4_FRAGMENT_HEAD),
        .key = fragment->key,
        .dts_ns = (int64_t)(fragment->dts / NX_MP4_TICKS * second +
                            fragment->dts % NX_MP4_TICKS * second / NX_MP4_TICKS),
        .pts_ns = fragment->pts_ns,
    };
    nx_media_piece *piece = make_piece(&sample);
    pthread_mutex_lock(&ring->lock);
    bool taken = add_piece(ring, piece);
    if (taken) {
        piece->sample.dts = fragment->dts;
        ring->ready = ring->next;
        drop_old(ring);
    }
    bool news = taken && ring->views > 0;
    pthread_mutex_unlock(&ring->lock);
    if (!taken) {
        free(fragment->block);
        free(piece);
    }
    tell(ring, news);
}

bool nx_media_ring_is_watched(nx_media_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    bool watched = ring->views > 0;
    pthread_mutex_unlock(&ring->lock);
    return watched;
}

void nx_media_ring_place(nx_media_ring *ring, int64_t offset_ns)
{
    pthread_mutex_lock(&ring->lock);
    ring->offset_ns = offset_ns;
    ring->placed = true;
    finish_pieces(ring);
    pthread_mutex_unlock(&ring->lock);
}

void nx_media_ring_pace(nx_media_ring *ring, int64_t offset_ns)
{
    pthread_mutex_lock(&ring->lock);
    ring->pace_ns = offset_ns;
    ring->paced = true;
    pthread_mutex_unlock(&ring->lock);
}

void nx_media_ring_cut(nx_media_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->cut = true;
    finish_pieces(ring);
    bool news = ring->views > 0;
    pthread_mutex_unlock(&ring->lock);
    tell(ring, news);
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* Under the lock: the number behind the last one that can be read by now. */
static uint64_t shown_end(nx_media_ring *ring)
{
    uint64_t end = ring->ready;
    int64_t now_ns = ring->paced ? nx_clock_now_ns() - ring->pace_ns : 0; /* the stream's time */
    while (ring->paced && !ring->cut && end > ring->first &&
           (*place_of(ring, end - 1))->dts_ns + ring->offset_ns > now_ns) {
        end--;
    }
    return end;
}

bool nx_media_ring_type(nx_media_ring *ring, char type[NX_MP4_TYPE_SIZE])
{
    pthread_mutex_lock(&ring->lock);
    bool known = ring->has_track && ring->placed && !ring->cut && shown_end(ring) > ring->first;
    if (known) {
        nx_mp4_content_type(&ring->track, type);
    }
    pthread_mutex_unlock(&ring->lock);
    return known;
}

uint64_t nx_media_ring_fragments(nx_media_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    uint64_t fragments = ring->fragments;
    pthread_mutex_unlock(&ring->lock);
    return fragments;
}

/* Under the lock: the last key frame that is shown at a time or before, or else the oldest. */
static uint64_t find_key(nx_media_ring *ring, uint64_t end, int64_t from_ns)
{
    uint64_t found = ring->first;
    for (uint64_t number = ring->first; number < end; number++) {
        const nx_media_piece *piece = *place_of(ring, number);
        if (piece->sample.key && piece->pts_ns <= from_ns) {
            found = number;
        }
    }
    return found;
}

bool nx_media_view_open(nx_media_ring *ring, int64_t from_ns, nx_media_view *view)
{
    pthread_mutex_lock(&ring->lock);
    uint64_t end = shown_end(ring);
    bool there = ring->has_track && !ring->cut && end > ring->first;
    if (there) {
        *view = (nx_media_view){.ring = nx_media_ring_retain(ring),
                                .epoch = ring->epoch,
                                .next = find_key(ring, end, from_ns),
                                .track = ring->track};
        ring->views++;
    }
    pthread_mutex_unlock(&ring->lock);
    return there;
}

void nx_media_view_close(nx_media_view *view)
{
    nx_media_ring *ring = view->ring;
    if (ring != NULL) {
        pthread_mutex_lock(&ring->lock);
        ring->views--;
        pthread_mutex_unlock(&ring->lock);
        view->ring = NULL;
        nx_media_ring_release(ring);
    }
}

nx_media_news nx_media_view_next(nx_media_view *view, nx_media_piece **piece)
{
    nx_media_ring *ring = view->ring;
    nx_media_news news = NX_MEDIA_PIECE;
    pthread_mutex_lock(&ring->lock);
    if (view->epoch != ring->epoch) {
        news = NX_MEDIA_ENDED;
    } else if (view->next < ring->first) {
        view->next = ring->first; /* a key frame: whole groups go */
        news = NX_MEDIA_SKIPPED;
    }
    if (news != NX_MEDIA_ENDED && view->next >= shown_end(ring)) {
        news = ring->cut ? NX_MEDIA_ENDED : NX_MEDIA_NOTHING;
    }
    if (news == NX_MEDIA_PIECE || news == NX_MEDIA_SKIPPED) {
        *piece = retain_piece(*place_of(ring, view->next));
        view->next++;
    }
    pthread_mutex_unlock(&ring->lock);
    return news;
}

bool nx_media_view_skip(nx_media_view *view, int64_t behind_ns)
{
    nx_media_ring *ring = view->ring;
    bool newer = false;
    pthread_mutex_lock(&ring->lock);
    uint64_t end = shown_end(ring);
    if (view->epoch == ring->epoch && view->next >= ring->first && view->next < end &&
        (*place_of(ring, end - 1))->dts_ns - (*place_of(ring, view->next))->dts_ns > behind_ns) {
        uint64_t key = find_key(ring, end, INT64_MAX);
        newer = key > view->next;
        view->next = newer ? key : view->next;
    }
    pthread_mutex_unlock(&ring->lock);
    return newer;
}

bool nx_media_view_is_paced(const nx_media_view *view)
{
    nx_media_ring *ring = view->ring;
    pthread_mutex_lock(&ring->lock);
    bool paced = ring->paced;
    pthread_mutex_unlock(&ring->lock);
    return paced;
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_media_ring *nx_media_ring_new(const nx_media_ring_options *options)
{
    nx_media_ring *ring = calloc(1, sizeof *ring);
    if (ring != NULL) {
        atomic_init(&ring->references, 1);
        pthread_mutex_init(&ring->lock, NULL);
        ring->options = *options;
        ring->broken = true;
    }
    return ring;
}

nx_media_ring *nx_media_ring_retain(nx_media_ring *ring)
{
    atomic_fetch_add(&ring->references, 1);
    return ring;
}

void nx_media_ring_release(nx_media_ring *ring)
{
    if (ring != NULL && atomic_fetch_sub(&ring->references, 1) == 1) {
        drop_all(ring);
        pthread_mutex_destroy(&ring->lock);
        free(ring);
    }
}
