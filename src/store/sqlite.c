/*
 * The store on SQLite. One connection writes, a few read (WAL lets them go on meanwhile). Writers
 * commit in groups: who finds the connection free runs the work of everybody who waits, each in a
 * savepoint of its own, and waits for the disk once for all of them.
 */
#include "store/db.h"
#include "store/migrate.h"
#include "store/sqlite_connection.h"

#include "base/clock.h"
#include "base/condition.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define READERS 4

/* Beyond this a group leaves the rest to the next one, so that the first do not wait for the last.
 */
#define MAX_GROUP 64

/* Work that waits for the writing connection; on the stack of the thread that brought it. */
typedef struct task {
    nx_db_work work;
    void *user;
    bool full;
    bool done;
    nx_status status;
    nx_error err;
    struct task *next;
} task;

typedef struct nx_sqlite {
    nx_db_backend base;
    char *path;
    int timeout_ms;
    bool echo;
    nx_lite *writer;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    task *first, **last; /* waiting for the writer, in order of arrival */
    int64_t waiting;
    bool writing; /* a thread leads a group */
    nx_lite *readers[READERS];
    bool reading[READERS];
    nx_store_stats stats;
} nx_sqlite;

/* --- writing --- */

/* The work of a group's member; what it changed is undone when it fails. One that is alone needs no
 * savepoint: run_group undoes all. */
static void run_task(nx_sqlite *self, task *t, bool alone)
{
    if (alone) {
        t->status = t->work(nx_lite_db(self->writer), t->user, &t->err);
        return;
    }
    t->status = nx_lite_simple(self->writer, "SAVEPOINT task", &t->err);
    if (t->status != NX_OK) {
        return;
    }
    t->status = t->work(nx_lite_db(self->writer), t->user, &t->err);
    if (nx_lite_in_transaction(self->writer)) {
        nx_error ignored;
        if (t->status != NX_OK) {
            (void)nx_lite_simple(self->writer, "ROLLBACK TO task", &ignored);
        }
        (void)nx_lite_simple(self->writer, "RELEASE task", &ignored);
    }
}

/* Nothing of the group has been kept: whoever believed otherwise learns why. */
static void fail_group(task *group, nx_status status, const nx_error *err)
{
    for (task *t = group; t != NULL; t = t->next) {
        if (t->status == NX_OK) {
            t->status = status;
            t->err = *err;
        }
    }
}

static void run_group(nx_sqlite *self, task *group)
{
    nx_error err = {0};
    bool full = false;
    for (task *t = group; t != NULL; t = t->next) {
        full |= t->full;
        t->status = NX_OK;
    }
    nx_status status = nx_lite_begin(self->writer, true, full, &err);
    for (task *t = group; t != NULL && status == NX_OK; t = t->next) {
        bool alone = group->next == NULL;
        run_task(self, t, alone);
        bool over =
            !nx_lite_in_transaction(self->writer); /* a full disk, for one, ends all of it */
        if (over || (alone && t->status != NX_OK)) {
            status = t->status != NX_OK ? t->status : NX_ERR_INTERNAL;
            err = t->err;
        }
    }
    if (status == NX_OK) {
        status = nx_lite_commit(self->writer, &err);
    }
    if (status != NX_OK) {
        nx_lite_rollback(self->writer);
        fail_group(group, status, &err);
    }
}

/* Cuts the first MAX_GROUP tasks off the queue. Called with the lock held. */
static task *take_group(nx_sqlite *self)
{
    task *group = self->first;
    task *end = group;
    for (int i = 1; i < MAX_GROUP && end->next != NULL; i++) {
        end = end->next;
    }
    self->first = end->next;
    if (self->first == NULL) {
        self->last = &self->first;
    }
    end->next = NULL;
    return group;
}

static nx_status write_work(nx_sqlite *self, bool full, nx_db_work work, void *user, nx_error *err)
{
    task mine = {.work = work, .user = user, .full = full};
    pthread_mutex_lock(&self->lock);
    *self->last = &mine;
    self->last = &mine.next;
    self->waiting++;
    while (!mine.done) {
        if (self->writing) {
            pthread_cond_wait(&self->changed, &self->lock);
            continue;
        }
        self->writing = true;
        task *group = take_group(self);
        pthread_mutex_unlock(&self->lock);
        run_group(self, group);
        pthread_mutex_lock(&self->lock);
        self->writing = false;
        while (group != NULL) { /* a task that is done may be gone once the lock is */
            task *next = group->next;
            group->done = true;
            self->waiting--;
            group = next;
        }
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
    if (mine.status != NX_OK && err != NULL) {
        *err = mine.err;
    }
    return mine.status;
}

/* --- reading --- */

static nx_status take_reader(nx_sqlite *self, size_t *out, nx_error *err)
{
    int64_t deadline_ns = nx_clock_now_ns() + self->timeout_ms * NX_NS_PER_MS;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        for (size_t i = 0; i < READERS; i++) {
            if (!self->reading[i]) {
                self->reading[i] = true;
                pthread_mutex_unlock(&self->lock);
                *out = i;
                return NX_OK;
            }
        }
        self->stats.waiting++;
        int failure = nx_condition_wait(&self->changed, &self->lock, deadline_ns);
        self->stats.waiting--;
        if (failure == ETIMEDOUT) {
            self->stats.timeouts++;
            pthread_mutex_unlock(&self->lock);
            return nx_error_set(err, NX_ERR_BUSY,
                                "all %d readers of the database have been in use for %d ms",
                                READERS, self->timeout_ms);
        }
    }
}

static void give_reader(nx_sqlite *self, size_t index)
{
    pthread_mutex_lock(&self->lock);
    self->reading[index] = false;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static nx_status read_work(nx_sqlite *self, nx_db_work work, void *user, nx_error *err)
{
    size_t index = 0;
    nx_status status = take_reader(self, &index, err);
    if (status != NX_OK) {
        return status;
    }
    nx_lite *reader = self->readers[index]; /* this thread's own until it is given back */
    if (reader == NULL) {
        status = nx_lite_open(self->path, NX_LITE_READ, self->timeout_ms, self->echo, &reader, err);
        self->readers[index] = reader;
    }
    if (status == NX_OK) {
        status = nx_lite_begin(reader, false, false, err);
    }
    if (status == NX_OK) {
        status = work(nx_lite_db(reader), user, err);
        nx_lite_rollback(reader); /* nothing was changed */
    }
    give_reader(self, index);
    return status;
}

/* --- the backend --- */

static nx_status transact(nx_db_backend *backend, nx_tx how, nx_db_work work, void *user,
                          nx_error *err)
{
    nx_sqlite *self = (nx_sqlite *)backend;
    return how == NX_TX_READ || how == NX_TX_SNAPSHOT
               ? read_work(self, work, user, err)
               : write_work(self, how != NX_TX_SOFT, work, user, err);
}

typedef struct single {
    const nx_call *call;
    int64_t rows;
} single;

static nx_status run_single(nx_db *db, void *user, nx_error *err)
{
    single *one = user;
    return nx_db_run(db, one->call, &one->rows, err);
}

static nx_status run(nx_db_backend *backend, nx_tx how, const nx_call *call, int64_t *rows,
                     nx_error *err)
{
    single one = {.call = call};
    nx_status status = transact(backend, how, run_single, &one, err);
    if (rows != NULL) {
        *rows = one.rows;
    }
    return status;
}

/* Our own readers would stand in the way; they are opened again when somebody reads. */
static nx_status alone(nx_db_backend *backend, nx_error *err)
{
    nx_sqlite *self = (nx_sqlite *)backend;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < READERS; i++) {
        if (!self->reading[i]) {
            nx_lite_close(self->readers[i]);
            self->readers[i] = NULL;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return nx_lite_alone(self->writer, err);
}

static nx_store_stats stats(nx_db_backend *backend)
{
    nx_sqlite *self = (nx_sqlite *)backend;
    pthread_mutex_lock(&self->lock);
    nx_store_stats result = self->stats;
    result.connects = 1;
    result.in_use = self->writing;
    for (size_t i = 0; i < READERS; i++) {
        /* a reader in use may just be being opened, so only the others are looked at */
        result.connects += self->reading[i] || self->readers[i] != NULL;
        result.in_use += self->reading[i];
    }
    result.idle = result.connects - result.in_use;
    result.waiting += self->waiting;
    pthread_mutex_unlock(&self->lock);
    return result;
}

static void close_backend(nx_db_backend *backend)
{
    nx_sqlite *self = (nx_sqlite *)backend;
    for (size_t i = 0; i < READERS; i++) {
        nx_lite_close(self->readers[i]);
    }
    nx_lite_close(self->writer); /* the last to close copies the log into the database */
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self->path);
    free(self);
}

static const nx_backend_ops ops = {
    .kind = "sqlite",
    .transact = transact,
    .run = run,
    .alone = alone,
    .stats = stats,
    .close = close_backend,
};

nx_status nx_sqlite_open(const char *path, const nx_store_options *options, nx_db_backend **out,
                         nx_error *err)
{
    *out = NULL;
    nx_sqlite *self = calloc(1, sizeof *self);
    if (self == NULL || (self->path = strdup(path)) == NULL) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the database");
    }
    self->base.ops = &ops;
    self->timeout_ms = options->timeout_ms;
    self->echo = options->echo;
    self->last = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    nx_status status =
        nx_lite_open(path, NX_LITE_WRITE, options->timeout_ms, options->echo, &self->writer, err);
    if (status != NX_OK) {
        close_backend(&self->base);
        return status;
    }
    *out = &self->base;
    return NX_OK;
}

nx_status nx_sqlite_check(const char *path, nx_store_report *out, nx_error *err)
{
    snprintf(out->version, sizeof out->version, "%s", sqlite3_libversion());
    snprintf(out->place, sizeof out->place, "%s", path);
    struct stat info;
    if (stat(path, &info) != 0 && errno == ENOENT) {
        out->exists = false;
        return NX_OK;
    }
    out->exists = true;
    nx_lite *lite = NULL;
    nx_status status = nx_lite_open(path, NX_LITE_LOOK, 1000, false, &lite, err);
    if (status == NX_OK) {
        status = nx_migrate_look(nx_lite_db(lite), &out->schema, err);
    }
    nx_lite_close(lite);
    return status;
}
