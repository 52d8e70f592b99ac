#include "ops/fleet.h"

#include "base/clock.h"
#include "base/log.h"
#include "ops/merge.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of one process; what is never written takes no memory. A server has about 60 KB. */
#define TEXT_SIZE (UINT32_C(1) << 20)
#define EVERY_MS  1000

#define MOST_TRIES 1000

/*
 * Written by its process alone: always into the half that does not count, and then that one counts.
 * So nobody waits for anybody, and a process may be stopped or killed at any time; who reads looks
 * afterwards whether the half was overtaken meanwhile, and reads again.
 */
typedef struct slot {
    _Atomic bool alive;
    _Atomic uint32_t edition; /* its last bit is the half that counts; 0: none yet */
    _Atomic uint32_t answer;  /* fleet.wanted, as it was when this was published */
    uint32_t sizes[2];
    char texts[2][TEXT_SIZE];
} slot;

struct nx_fleet {
    uint32_t count;
    size_t bytes;
    _Atomic uint64_t losses;
    _Atomic uint32_t wanted;    /* a futex; grows when somebody wants fresh metrics */
    _Atomic uint32_t published; /* a futex; grows when somebody has published */
    slot slots[];
};

struct nx_fleet_member {
    nx_fleet *fleet;
    uint32_t index;
    const nx_metrics *metrics;
    void (*render)(nx_buffer *out, void *user);
    void *user;
    nx_buffer past; /* what this one's predecessors have counted */
    pthread_t thread;
    bool complained; /* the thread's own */
    _Atomic bool stopping;
};

/* --- futexes (futex(2)): plain words, which no killed process leaves in disorder ----------------
 */

static void wake_all(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Until the word is another one, or the time is over, or for no reason. */
static void wait_for_change(_Atomic uint32_t *word, uint32_t seen, int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NX_NS_PER_MS};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &time, NULL, 0);
}

/* --- slots --------------------------------------------------------------------------------------
 */

static void put_text(slot *of, const nx_buffer *text)
{
    uint32_t edition = atomic_load(&of->edition) + 1;
    memcpy(of->texts[edition % 2], text->data, text->size);
    of->sizes[edition % 2] = (uint32_t)text->size;
    atomic_store(&of->edition, edition);
}

/* Appends what counts. */
static void copy_text(slot *of, nx_buffer *out)
{
    size_t before = out->size;
    for (int i = 0; i < MOST_TRIES; i++) {
        uint32_t edition = atomic_load(&of->edition);
        uint32_t size = of->sizes[edition % 2];
        out->size = before;
        nx_buffer_append(out, of->texts[edition % 2], size < TEXT_SIZE ? size : TEXT_SIZE);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&of->edition) == edition) {
            return;
        }
    }
    out->failed = true; /* a process that publishes all the time */
}

nx_status nx_fleet_new(uint32_t count, nx_fleet **out, nx_error *err)
{
    size_t bytes = sizeof(nx_fleet) + count * sizeof(slot);
    nx_fleet *fleet = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *out = NULL;
    if (fleet == MAP_FAILED) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the metrics of %u processes",
                            count);
    }
    fleet->count = count;
    fleet->bytes = bytes;
    *out = fleet;
    return NX_OK;
}

void nx_fleet_free(nx_fleet *fleet)
{
    if (fleet != NULL) {
        munmap(fleet, fleet->bytes);
    }
}

void nx_fleet_lost(nx_fleet *fleet, uint32_t index, bool expected)
{
    atomic_store(&fleet->slots[index].alive, false);
    if (!expected) {
        atomic_fetch_add(&fleet->losses, 1);
    }
}

uint64_t nx_fleet_losses(const nx_fleet *fleet)
{
    return atomic_load(&fleet->losses);
}

/* --- publishing ---------------------------------------------------------------------------------
 */

/* This process and its predecessors. */
static void render_own(const nx_fleet_member *member, nx_buffer *out)
{
    nx_buffer now = NX_BUFFER_INIT;
    member->render(&now, member->user);
    const nx_exposition texts[] = {
        {.text = now.data, .size = now.size},
        {.text = member->past.data, .size = member->past.size, .gone = true},
    };
    out->failed = out->failed || now.failed;
    nx_metrics_merge(member->metrics, texts, 2, out);
    nx_buffer_free(&now);
}

static void publish(nx_fleet_member *member)
{
    nx_fleet *fleet = member->fleet;
    slot *own = &fleet->slots[member->index];
    uint32_t wanted = atomic_load(&fleet->wanted);
    nx_buffer text = NX_BUFFER_INIT;
    render_own(member, &text);
    if (!text.failed && text.size <= TEXT_SIZE) {
        put_text(own, &text);
    } else if (!member->complained) {
        member->complained = true;
        nx_log_warn("ops", "metrics of %zu bytes cannot be shared with the other processes",
                    text.size);
    }
    nx_buffer_free(&text);
    atomic_store(&own->answer, wanted);
    wake_all(&fleet->published);
}

static void *run(void *argument)
{
    nx_fleet_member *member = argument;
    nx_fleet *fleet = member->fleet;
    while (!atomic_load(&member->stopping)) {
        publish(member);
        wait_for_change(&fleet->wanted, atomic_load(&fleet->slots[member->index].answer), EVERY_MS);
    }
    return NULL;
}

nx_status nx_fleet_join(nx_fleet *fleet, uint32_t index, const nx_metrics *metrics,
                        void (*render)(nx_buffer *out, void *user), void *user,
                        nx_fleet_member **out, nx_error *err)
{
    nx_fleet_member *member = calloc(1, sizeof *member);
    *out = NULL;
    if (member == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the metrics");
    }
    *member = (nx_fleet_member){.fleet = fleet,
                                .index = index,
                                .metrics = metrics,
                                .render = render,
                                .user = user,
                                .past = NX_BUFFER_INIT};
    copy_text(&fleet->slots[index], &member->past);
    atomic_store(&fleet->slots[index].alive, true);
    int failure = pthread_create(&member->thread, NULL, run, member);
    if (failure != 0) {
        atomic_store(&fleet->slots[index].alive, false);
        nx_buffer_free(&member->past);
        free(member);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "cannot start the thread that publishes metrics");
    }
    *out = member;
    return NX_OK;
}

void nx_fleet_leave(nx_fleet_member *member)
{
    if (member == NULL) {
        return;
    }
    atomic_store(&member->stopping, true);
    wake_all(&member->fleet->wanted);
    pthread_join(member->thread, NULL);
    publish(member);
    atomic_store(&member->fleet->slots[member->index].alive, false);
    nx_buffer_free(&member->past);
    free(member);
}

/* --- for all ------------------------------------------------------------------------------------
 */

static bool all_answered(nx_fleet_member *member, uint32_t wanted)
{
    nx_fleet *fleet = member->fleet;
    for (uint32_t i = 0; i < fleet->count; i++) {
        /* the counter may pass its end */
        bool late = (int32_t)(atomic_load(&fleet->slots[i].answer) - wanted) < 0;
        if (i != member->index && late && atomic_load(&fleet->slots[i].alive)) {
            return false;
        }
    }
    return true;
}

static void ask(nx_fleet_member *member, uint32_t wait_ms)
{
    nx_fleet *fleet = member->fleet;
    wake_all(&fleet->wanted);
    uint32_t wanted = atomic_load(&fleet->wanted);
    int64_t deadline = nx_clock_now_ns() + wait_ms * NX_NS_PER_MS;
    for (;;) {
        uint32_t seen = atomic_load(&fleet->published);
        int64_t left_ms = (deadline - nx_clock_now_ns()) / NX_NS_PER_MS;
        if (left_ms <= 0 || all_answered(member, wanted)) {
            return;
        }
        wait_for_change(&fleet->published, seen, left_ms);
    }
}

void nx_fleet_render(nx_fleet_member *member, uint32_t wait_ms, nx_buffer *out)
{
    nx_fleet *fleet = member->fleet;
    if (wait_ms > 0) {
        ask(member, wait_ms);
    }
    nx_buffer *copies = calloc(fleet->count, sizeof *copies);
    nx_exposition *texts = calloc(fleet->count, sizeof *texts);
    if (copies == NULL || texts == NULL) {
        out->failed = true;
    }
    size_t used = 1; /* the first is this process's own */
    for (uint32_t i = 0; i < fleet->count && !out->failed; i++) {
        bool alive = true;
        copies[i] = (nx_buffer)NX_BUFFER_INIT;
        if (i == member->index) {
            render_own(member, &copies[i]);
        } else {
            alive = atomic_load(&fleet->slots[i].alive);
            copy_text(&fleet->slots[i], &copies[i]);
        }
        out->failed = out->failed || copies[i].failed;
        texts[i == member->index ? 0 : used++] =
            (nx_exposition){.text = copies[i].data, .size = copies[i].size, .gone = !alive};
    }
    if (!out->failed) {
        nx_metrics_merge(member->metrics, texts, fleet->count, out);
    }
    for (uint32_t i = 0; copies != NULL && i < fleet->count; i++) {
        nx_buffer_free(&copies[i]);
    }
    free(copies);
    free(texts);
}
