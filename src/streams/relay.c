#include "streams/relay.h"

#include "base/clock.h"
#include "streams/relay_mirror.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MOST_MIRRORS    256
#define USUAL_LINGER_NS (5 * NX_NS_PER_SEC)

/* In the list until it ends. Whoever uses it, and its own thread, need it no longer then. */
typedef struct entry {
    struct entry *next;
    nx_relay_mirror *mirror;
    uint32_t users; /* requests that wait for it */
    bool over;      /* its thread ends: nobody new gets it, and it is to be freed */
} entry;

struct nx_relay {
    nx_relay_options options;
    pthread_mutex_t
        lock; /* guards the rest; the mirrors' locks are taken under it, not around it */
    entry *list;
    uint32_t count;
};

/* On the mirror's thread. */
static bool let_go(nx_relay_mirror *mirror, bool over, void *user)
{
    nx_relay *relay = user;
    pthread_mutex_lock(&relay->lock);
    entry *one = relay->list;
    while (one != NULL && one->mirror != mirror) {
        one = one->next;
    }
    if (one != NULL && (over || (one->users == 0 && nx_relay_mirror_is_idle(mirror)))) {
        one->over = true;
    }
    bool gone = one == NULL || one->over;
    pthread_mutex_unlock(&relay->lock);
    return gone;
}

static void told(void *user)
{
    const nx_relay *relay = user;
    relay->options.told(relay->options.user);
}

/* Takes those that have ended out of the list; under the lock. */
static entry *take_over(nx_relay *relay)
{
    entry *over = NULL;
    for (entry **at = &relay->list; *at != NULL;) {
        entry *one = *at;
        if (one->over && one->users == 0) {
            *at = one->next;
            one->next = over;
            over = one;
            relay->count--;
        } else {
            at = &one->next;
        }
    }
    return over;
}

/* Their threads need a moment at most. */
static void free_all(entry *list)
{
    while (list != NULL) {
        entry *one = list;
        list = one->next;
        nx_relay_mirror_free(one->mirror);
        free(one);
    }
}

/* Under the lock. NULL: see err. */
static entry *add(nx_relay *relay, const char *id, nx_error *err)
{
    const nx_relay_mirror_options options = {.store = relay->options.store,
                                             .told = told,
                                             .let_go = let_go,
                                             .user = relay,
                                             .linger_ns = relay->options.linger_ns};
    if (relay->count == MOST_MIRRORS) {
        (void)nx_error_set(err, NX_ERR_BUSY,
                           "%d streams of other processes are looked at here already",
                           MOST_MIRRORS);
        return NULL;
    }
    entry *one = calloc(1, sizeof *one);
    if (one == NULL) {
        (void)nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream of another process");
        return NULL;
    }
    if (nx_relay_mirror_start(&options, id, &one->mirror, err) != NX_OK) {
        free(one);
        return NULL;
    }
    one->next = relay->list;
    relay->list = one;
    relay->count++;
    return one;
}

/* The stream's mirror, to be given back. NULL: see err, which is not. */
static entry *use(nx_relay *relay, const char *id, nx_error *err)
{
    pthread_mutex_lock(&relay->lock);
    entry *over = take_over(relay);
    entry *one = relay->list;
    while (one != NULL && (one->over || strcmp(nx_relay_mirror_id(one->mirror), id) != 0)) {
        one = one->next;
    }
    if (one == NULL) {
        one = add(relay, id, err);
    }
    if (one != NULL) {
        one->users++;
    }
    pthread_mutex_unlock(&relay->lock);
    free_all(over);
    return one;
}

static void give_back(nx_relay *relay, entry *one)
{
    pthread_mutex_lock(&relay->lock);
    one->users--;
    pthread_mutex_unlock(&relay->lock);
}

nx_status nx_relay_hub(nx_relay *relay, const char *id, int64_t until_ns, nx_stream_hub **out,
                       nx_error *err)
{
    nx_error why = {0};
    entry *one = use(relay, id, &why);
    *out = NULL;
    if (one == NULL) {
        return nx_error_set(err, why.status, "%s", why.message);
    }
    nx_status status = nx_relay_mirror_hub(one->mirror, until_ns, out, err);
    give_back(relay, one);
    return status;
}

nx_status nx_relay_jpeg(nx_relay *relay, const char *id, int64_t until_ns, nx_stream_jpeg **out,
                        nx_error *err)
{
    nx_error why = {0};
    entry *one = use(relay, id, &why);
    *out = NULL;
    if (one == NULL) {
        return nx_error_set(err, why.status, "%s", why.message);
    }
    nx_status status = nx_relay_mirror_jpeg(one->mirror, until_ns, out, err);
    give_back(relay, one);
    return status;
}

nx_status nx_relay_media(nx_relay *relay, const char *id, int64_t until_ns, nx_media_ring **out,
                         nx_error *err)
{
    nx_error why = {0};
    entry *one = use(relay, id, &why);
    *out = NULL;
    if (one == NULL) {
        return nx_error_set(err, why.status, "%s", why.message);
    }
    nx_status status = nx_relay_mirror_media(one->mirror, until_ns, out, err);
    give_back(relay, one);
    return status;
}

nx_relay *nx_relay_new(const nx_relay_options *options)
{
    nx_relay *relay = calloc(1, sizeof *relay);
    if (relay != NULL) {
        relay->options = *options;
        relay->options.linger_ns = options->linger_ns > 0 ? options->linger_ns : USUAL_LINGER_NS;
        pthread_mutex_init(&relay->lock, NULL);
    }
    return relay;
}

void nx_relay_free(nx_relay *relay)
{
    if (relay == NULL) {
        return;
    }
    /* the list itself changes no more; the mirrors' threads still look into it */
    pthread_mutex_lock(&relay->lock);
    entry *all = relay->list;
    relay->list = NULL;
    pthread_mutex_unlock(&relay->lock);
    free_all(all);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}
