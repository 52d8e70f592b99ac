#include "auth/audit.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 64
#define WRITE_NS   (5 * NX_NS_PER_SEC)
#define RETRY_NS   NX_NS_PER_SEC
#define WINDOW_NS  (60 * NX_NS_PER_SEC)
#define TEXTS      9

/* What waits to be written. Its strings are behind it, in the same allocation. */
typedef struct item {
    struct item *next;
    nx_audit_entry entry;
} item;

/* What one source did of one kind within a minute. */
typedef struct source {
    const char *action; /* NULL: free */
    nx_address network;
    int64_t ends_ns;
    uint32_t rows;
    uint64_t more;
    bool many; /* of several addresses and actions */
} source;

struct nx_audit {
    nx_store *store;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest; never held over the database */
    pthread_cond_t changed;
    item *first, **last;
    size_t waiting;
    uint64_t posted;  /* the number of the last row that was handed over */
    uint64_t written; /* ... that is on the disk */
    uint64_t tried;   /* ... that was tried */
    nx_error err;     /* of the last failure */
    bool stopping;
    source sources[NX_AUDIT_SOURCES];
    source others; /* what found no place */
    nx_audit_stats stats;
};

/* --- items --- */

static const char **text_of(nx_audit_entry *entry, size_t index)
{
    const char **const texts[TEXTS] = {
        &entry->actor_kind, &entry->actor,  &entry->actor_key, &entry->address,    &entry->action,
        &entry->object,     &entry->result, &entry->details,   &entry->request_id,
    };
    return texts[index];
}

static item *copy_entry(const nx_audit_entry *entry)
{
    nx_audit_entry from = *entry;
    size_t size = sizeof(item);
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text = *text_of(&from, i);
        size += text != NULL ? strlen(text) + 1 : 0;
    }
    item *copy = calloc(1, size);
    char *at = copy != NULL ? (char *)(copy + 1) : NULL;
    for (size_t i = 0; i < TEXTS && copy != NULL; i++) {
        const char *text = *text_of(&from, i);
        if (text != NULL) {
            size_t length = strlen(text) + 1;
            *text_of(&copy->entry, i) = memcpy(at, text, length);
            at += length;
        }
    }
    return copy;
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* The last place where it can be said. */
static void log_entry(const nx_audit_entry *entry, const char *why)
{
    nx_log_error("audit", "not in the audit log (%s): %s %s %s %s %s %s %s %s %s", why,
                 or_empty(entry->actor_kind), or_empty(entry->actor), or_empty(entry->actor_key),
                 or_empty(entry->address), or_empty(entry->action), or_empty(entry->object),
                 entry->result != NULL ? entry->result : "ok", or_empty(entry->details),
                 or_empty(entry->request_id));
}

/* --- handing over --- */

/* Puts it into the queue, with the lock held. 0: there is no place. */
static uint64_t put(nx_audit *audit, item *one)
{
    if (one == NULL || audit->waiting >= NX_AUDIT_QUEUE) {
        audit->stats.lost++;
        return 0;
    }
    *audit->last = one;
    audit->last = &one->next;
    audit->waiting++;
    pthread_cond_broadcast(&audit->changed);
    return ++audit->posted;
}

static nx_status wait_for(nx_audit *audit, uint64_t number, nx_error *err)
{
    int64_t deadline_ns = nx_clock_now_ns() + WRITE_NS;
    int result = 0;
    while (audit->tried < number && result == 0) {
        result = nx_condition_wait(&audit->changed, &audit->lock, deadline_ns);
    }
    if (audit->written >= number) {
        return NX_OK;
    }
    if (audit->tried < number) {
        return nx_error_set(err, NX_ERR_TIMEOUT, "the audit log was not written within %lld s",
                            (long long)(WRITE_NS / NX_NS_PER_SEC));
    }
    if (err != NULL) {
        *err = audit->err;
    }
    return audit->err.status;
}

nx_status nx_audit_write(nx_audit *audit, const nx_audit_entry *entry, nx_error *err)
{
    item *one = copy_entry(entry);
    pthread_mutex_lock(&audit->lock);
    uint64_t number = put(audit, one);
    nx_status status = number > 0
                           ? wait_for(audit, number, err)
                           : nx_error_set(err, NX_ERR_BUSY, "too much waits for the audit log");
    pthread_mutex_unlock(&audit->lock);
    if (number == 0) {
        log_entry(entry, "too much waits for the database");
        free(one);
    }
    return status;
}

void nx_audit_post(nx_audit *audit, const nx_audit_entry *entry)
{
    item *one = copy_entry(entry);
    pthread_mutex_lock(&audit->lock);
    uint64_t number = put(audit, one);
    pthread_mutex_unlock(&audit->lock);
    if (number == 0) {
        log_entry(entry, "too much waits for the database");
        free(one);
    }
}

void nx_audit_actor(const nx_identity *identity, nx_audit_entry *entry)
{
    static const char *const kinds[] = {
        [NX_IDENTITY_ANONYMOUS] = "anonymous",
        [NX_IDENTITY_LOCAL] = "local",
        [NX_IDENTITY_SESSION] = "user",
        [NX_IDENTITY_KEY] = "key",
    };
    entry->actor_kind = kinds[identity->kind];
    entry->actor = identity->name;
    entry->actor_key = identity->key_id;
}

/* --- what strangers can cause --- */

/* The row that tells how many more there were. NULL: none. */
static item *count_row(const source *s)
{
    char details[64];
    char address[NX_ADDRESS_TEXT] = "";
    if (s->action == NULL || s->more == 0) {
        return NULL;
    }
    snprintf(details, sizeof details, "{\"more\":%llu}", (unsigned long long)s->more);
    if (!s->many) {
        nx_address_text(&s->network, address);
    }
    const nx_audit_entry entry = {.actor_kind = "anonymous",
                                  .address = address,
                                  .action = s->action,
                                  .result = "refused",
                                  .details = details};
    return copy_entry(&entry);
}

/* Ends a minute, with the lock held. Without a place for its row it is counted on. */
static void end_window(nx_audit *audit, source *s)
{
    item *row = count_row(s);
    if (s->action != NULL && s->more > 0 && (row == NULL || audit->waiting >= NX_AUDIT_QUEUE)) {
        free(row);
        s->ends_ns += WINDOW_NS;
        return;
    }
    if (row != NULL) {
        (void)put(audit, row);
    }
    *s = (source){.action = NULL};
}

static void end_windows(nx_audit *audit, int64_t now_ns)
{
    for (size_t i = 0; i < NX_AUDIT_SOURCES; i++) {
        if (audit->sources[i].action != NULL && audit->sources[i].ends_ns <= now_ns) {
            end_window(audit, &audit->sources[i]);
        }
    }
    if (audit->others.action != NULL && audit->others.ends_ns <= now_ns) {
        end_window(audit, &audit->others);
    }
}

/* The place of this source, or a free one, or that of all others. */
static source *find_source(nx_audit *audit, const char *action, const nx_address *network,
                           int64_t now_ns)
{
    source *free_one = NULL;
    for (size_t i = 0; i < NX_AUDIT_SOURCES; i++) {
        source *s = &audit->sources[i];
        if (s->action != NULL && strcmp(s->action, action) == 0 &&
            nx_address_equal(&s->network, network)) {
            return s;
        }
        free_one = s->action == NULL && free_one == NULL ? s : free_one;
    }
    source *place = free_one != NULL ? free_one : &audit->others;
    if (place->action == NULL) {
        bool many = free_one == NULL;
        *place = (source){.action = many ? "others" : action,
                          .network = *network,
                          .ends_ns = now_ns + WINDOW_NS,
                          .rows = many ? NX_AUDIT_BURST : 0,
                          .many = many};
    }
    return place;
}

void nx_audit_note(nx_audit *audit, const nx_address *address, const nx_audit_entry *entry)
{
    const nx_address network = nx_address_network(address);
    int64_t now_ns = nx_clock_now_ns();
    pthread_mutex_lock(&audit->lock);
    end_windows(audit, now_ns);
    source *s = find_source(audit, entry->action, &network, now_ns);
    /* strangers never take the last places of the queue */
    bool row = s->rows < NX_AUDIT_BURST && audit->waiting < NX_AUDIT_QUEUE / 2;
    if (row) {
        s->rows++;
    } else {
        s->more++;
        audit->stats.counted++;
    }
    pthread_cond_broadcast(&audit->changed); /* the thread looks when the minute ends */
    pthread_mutex_unlock(&audit->lock);
    if (row) {
        nx_audit_post(audit, entry);
    }
}

/* --- the thread --- */

/* The rows that are written next stay in the queue until they are. */
static size_t look_at_batch(const nx_audit *audit, nx_audit_entry *out)
{
    size_t count = 0;
    for (const item *i = audit->first; i != NULL && count < BATCH_ROWS; i = i->next) {
        out[count++] = i->entry;
    }
    return count;
}

static void drop_rows(nx_audit *audit, size_t count)
{
    for (; count > 0 && audit->first != NULL; count--) {
        item *one = audit->first;
        audit->first = one->next;
        audit->waiting--;
        free(one);
    }
    if (audit->first == NULL) {
        audit->last = &audit->first;
    }
}

/* Writes a batch; called with the lock held, which it lets go meanwhile. */
static bool write_batch(nx_audit *audit)
{
    nx_audit_entry batch[BATCH_ROWS];
    nx_error err = {0};
    size_t count = look_at_batch(audit, batch);
    uint64_t last = audit->posted - audit->waiting + count;
    pthread_mutex_unlock(&audit->lock);
    nx_status status = nx_store_audit_append(audit->store, batch, count, &err);
    pthread_mutex_lock(&audit->lock);
    audit->tried = last > audit->tried ? last : audit->tried;
    if (status == NX_OK) {
        drop_rows(audit, count);
        audit->written = last;
        audit->stats.written += count;
    } else {
        audit->err = err;
        audit->stats.failures++;
    }
    pthread_cond_broadcast(&audit->changed);
    return status == NX_OK;
}

static int64_t next_end(const nx_audit *audit)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < NX_AUDIT_SOURCES; i++) {
        const source *s = &audit->sources[i];
        next = s->action != NULL && s->ends_ns < next ? s->ends_ns : next;
    }
    return audit->others.action != NULL && audit->others.ends_ns < next ? audit->others.ends_ns
                                                                        : next;
}

static void wait_for_work(nx_audit *audit)
{
    int64_t until_ns = next_end(audit);
    if (until_ns == INT64_MAX) {
        pthread_cond_wait(&audit->changed, &audit->lock);
    } else {
        (void)nx_condition_wait(&audit->changed, &audit->lock, until_ns);
    }
}

/* A failed database gets a moment; whoever stops does not wait for it. */
static void wait_to_retry(nx_audit *audit)
{
    int64_t until_ns = nx_clock_now_ns() + RETRY_NS;
    int result = 0;
    while (!audit->stopping && result == 0) {
        result = nx_condition_wait(&audit->changed, &audit->lock, until_ns);
    }
}

static void give_up(nx_audit *audit)
{
    for (const item *i = audit->first; i != NULL; i = i->next) {
        log_entry(&i->entry, audit->err.message);
    }
    audit->stats.lost += audit->waiting;
    drop_rows(audit, audit->waiting);
}

static void *work(void *user)
{
    nx_audit *audit = user;
    bool down = false;
    pthread_mutex_lock(&audit->lock);
    for (;;) {
        bool stopping = audit->stopping;
        end_windows(audit, stopping ? INT64_MAX : nx_clock_now_ns());
        if (audit->waiting == 0) {
            if (stopping) {
                break;
            }
            wait_for_work(audit);
        } else if (write_batch(audit)) {
            down = false;
        } else if (stopping) {
            give_up(audit);
            break;
        } else {
            if (!down) {
                nx_log_error("audit", "the audit log can't be written, rows wait: %s",
                             audit->err.message);
            }
            down = true;
            wait_to_retry(audit);
        }
    }
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

nx_status nx_audit_new(nx_store *store, nx_audit **out, nx_error *err)
{
    *out = NULL;
    nx_audit *audit = calloc(1, sizeof *audit);
    if (audit == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the audit log");
    }
    audit->store = store;
    audit->last = &audit->first;
    pthread_mutex_init(&audit->lock, NULL);
    nx_condition_init(&audit->changed);
    int failure = pthread_create(&audit->thread, NULL, work, audit);
    if (failure != 0) {
        pthread_cond_destroy(&audit->changed);
        pthread_mutex_destroy(&audit->lock);
        free(audit);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread for the audit log");
    }
    *out = audit;
    return NX_OK;
}

void nx_audit_free(nx_audit *audit)
{
    if (audit == NULL) {
        return;
    }
    pthread_mutex_lock(&audit->lock);
    audit->stopping = true;
    pthread_cond_broadcast(&audit->changed);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->thread, NULL);
    pthread_cond_destroy(&audit->changed);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
}

nx_audit_stats nx_audit_get_stats(nx_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    nx_audit_stats stats = audit->stats;
    stats.waiting = audit->waiting;
    pthread_mutex_unlock(&audit->lock);
    return stats;
}
