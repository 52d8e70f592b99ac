/* Opening, migrations, transactions: the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"

#include "store/migrations.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/resource.h>

static nx_status look(const store_fixture *fixture, nx_store_report *report, nx_error *err)
{
    const nx_store_options options = store_options(fixture);
    return nx_store_check(&options, report, err);
}

static void opens_makes_and_opens_again(void **state)
{
    STORE_FIXTURE(state);
    assert_string_equal(nx_store_kind(fixture->store), fixture->postgres ? "postgresql" : "sqlite");
    nx_assert_ok(nx_store_ping(fixture->store, &err), err);
    nx_store *again = store_open_another(fixture);
    nx_assert_ok(nx_store_ping(again, &err), err);
    nx_store_close(again);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM nx_migrations"),
                     nx_migration_count);
    nx_store_close(NULL);
}

static void check_tells_what_is_there(void **state)
{
    STORE_FIXTURE(state);
    nx_store_report report;
    nx_assert_ok(look(fixture, &report, &err), err);
    assert_string_equal(report.kind, fixture->postgres ? "PostgreSQL" : "SQLite");
    assert_true(report.exists);
    assert_int_equal(report.schema, nx_migration_count);
    assert_int_equal(report.newest, nx_migration_count);
    nx_assert_contains(report.place, fixture->folder);
    assert_true(report.version[0] != '\0');
}

static void check_changes_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_store_report report;
    store_end(state);
    store_wipe(fixture);
    nx_assert_ok(look(fixture, &report, &err), err);
    assert_int_equal(report.schema, 0);
    assert_int_equal(report.exists, fixture->postgres);
    nx_assert_ok(look(fixture, &report, &err), err);
    assert_int_equal(report.schema, 0);
    assert_int_equal(report.exists, fixture->postgres);
}

static nx_status open_refused(const store_fixture *fixture, nx_error *err)
{
    const nx_store_options options = store_options(fixture);
    nx_store *store = (nx_store *)1;
    nx_status status = nx_store_open(&options, &store, err);
    assert_null(store);
    return status;
}

static void a_newer_schema_is_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_store_report report;
    (void)STORE_NUMBER(fixture->store, "INSERT INTO nx_migrations (number, name, checksum,"
                                       " applied_at) VALUES (9999, 'x', 'y', 0)");
    assert_int_equal(open_refused(fixture, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "schema 9999");
    nx_assert_contains(err.message, "a newer Nexus has used it");
    assert_int_equal(look(fixture, &report, &err), NX_ERR_UNSUPPORTED);
    assert_int_equal(report.schema, 9999);
}

static void a_changed_migration_is_refused(void **state)
{
    STORE_FIXTURE(state);
    (void)STORE_NUMBER(fixture->store,
                       "UPDATE nx_migrations SET checksum = 'another' WHERE number = 1");
    assert_int_equal(open_refused(fixture, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "migration 0001_videos");
    (void)STORE_NUMBER(fixture->store, "DELETE FROM nx_migrations WHERE number = 1");
    if (nx_migration_count > 1) { /* a gap */
        assert_int_equal(open_refused(fixture, &err), NX_ERR_CORRUPT);
    }
}

/* A migration that fails leaves nothing of itself and of those before it in the same start. */
static void a_failing_migration_leaves_nothing(void **state)
{
    STORE_FIXTURE(state);
    store_end(state);
    store_wipe(fixture);
    nx_store *store = store_open_another(fixture);
    /* what the first migration makes is there, but not its entry */
    (void)STORE_NUMBER(store, "DELETE FROM nx_migrations");
    (void)STORE_NUMBER(store, "DROP TABLE uploads");
    nx_store_close(store);
    assert_int_not_equal(open_refused(fixture, &err), NX_OK);
    nx_assert_contains(err.message, "migration 0001_videos");
    nx_assert_contains(err.message, "already exists");
    nx_store_report report;
    nx_assert_ok(look(fixture, &report, &err), err);
    assert_int_equal(report.schema, 0);
}

static void processes_that_start_at_once_migrate_once(void **state)
{
    STORE_FIXTURE(state);
    store_end(state);
    pid_t children[6];
    int gate[2];
    for (int round = 0; round < 3; round++) {
        store_wipe(fixture);
        assert_int_equal(pipe(gate), 0);
        for (size_t i = 0; i < NX_COUNT(children); i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] == 0) {
                const nx_store_options options = store_options(fixture);
                nx_store *store = NULL;
                char byte;
                close(gate[1]);
                (void)!read(gate[0], &byte, 1); /* until the parent opens the gate for all */
                nx_status status = nx_store_open(&options, &store, &err);
                if (status != NX_OK) {
                    fprintf(stderr, "%s\n", err.message);
                }
                nx_store_close(store);
                _exit(status == NX_OK ? 0 : 1);
            }
        }
        close(gate[0]);
        close(gate[1]);
        for (size_t i = 0; i < NX_COUNT(children); i++) {
            store_expect_success(children[i]);
        }
        nx_store *store = store_open_another(fixture);
        assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM nx_migrations"),
                         nx_migration_count);
        nx_store_close(store);
    }
}

/* --- transactions --- */

static const nx_sql add_upload = NX_SQL(
    "INSERT INTO uploads (id, owner, metadata, created_at, expires_at) VALUES ($1, $2, '', 0, $3)");

static nx_status add(nx_db *db, const char *id, nx_error *err)
{
    const nx_call call = NX_CALL(&add_upload, nx_db_text(id), nx_db_text("me"), nx_db_int(5));
    return nx_db_run(db, &call, NULL, err);
}

static nx_status add_two_and_fail(nx_db *db, void *user, nx_error *err)
{
    (void)user;
    if (add(db, "one", err) != NX_OK || add(db, "two", err) != NX_OK) {
        return err->status;
    }
    return nx_error_set(err, NX_ERR_CANCELLED, "changed my mind");
}

static nx_status add_the_same_twice(nx_db *db, void *user, nx_error *err)
{
    (void)user;
    nx_status status = add(db, "one", err);
    return status != NX_OK ? status : add(db, "one", err);
}

static nx_status add_one(nx_db *db, void *user, nx_error *err)
{
    return add(db, user, err);
}

static void a_transaction_is_all_or_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    assert_int_equal(nx_store_transact(store, NX_TX_WRITE, add_two_and_fail, NULL, &err),
                     NX_ERR_CANCELLED);
    assert_string_equal(err.message, "changed my mind");
    assert_int_equal(nx_store_transact(store, NX_TX_WRITE, add_the_same_twice, NULL, &err),
                     NX_ERR_CONFLICT);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM uploads"), 0);
    nx_assert_ok(nx_store_transact(store, NX_TX_SOFT, add_one, (char[]){"one"}, &err), err);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM uploads"), 1);
}

static void foreign_keys_and_checks_hold(void **state)
{
    STORE_FIXTURE(state);
    static const nx_sql orphan =
        NX_SQL("INSERT INTO uploads (id, owner, metadata, video_id, created_at, expires_at)"
               " VALUES ('x', 'me', '', 'no such video', 0, 0)");
    static const nx_sql negative =
        NX_SQL("INSERT INTO uploads (id, owner, metadata, length, created_at, expires_at)"
               " VALUES ('x', 'me', '', -1, 0, 0)");
    const nx_call first = {.sql = &orphan};
    const nx_call second = {.sql = &negative};
    assert_int_equal(nx_store_run(fixture->store, NX_TX_WRITE, &first, NULL, &err),
                     NX_ERR_CONFLICT);
    assert_int_equal(nx_store_run(fixture->store, NX_TX_WRITE, &second, NULL, &err),
                     NX_ERR_CONFLICT);
}

typedef struct seen {
    int64_t number;
    bool null_int, null_text;
    char text[40];
    unsigned char blob[8];
    size_t blob_size;
} seen;

static nx_status see(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    seen *out = user;
    size_t size = 0;
    out->number = nx_row_int(row, 0);
    snprintf(out->text, sizeof out->text, "%s", nx_row_text(row, 1));
    const void *bytes = nx_row_blob(row, 2, &size);
    memcpy(out->blob, bytes, size);
    out->blob_size = size;
    out->null_int = nx_row_is_null(row, 3) && nx_row_int(row, 3) == 0;
    out->null_text = nx_row_is_null(row, 4) && nx_row_text(row, 4) == NULL;
    return NX_OK;
}

static void values_come_back_as_they_went(void **state)
{
    STORE_FIXTURE(state);
    static const nx_sql echo = NX_SQL("SELECT $1, $2, $3, $4, $5");
    static const int64_t numbers[] = {0, -1, INT64_MAX, INT64_MIN};
    const char blob[] = {0, 1, (char)255, 0, 39, 92};
    for (size_t i = 0; i < NX_COUNT(numbers); i++) {
        seen out = {0};
        nx_call call = NX_CALL(&echo, nx_db_int(numbers[i]), nx_db_text("it's \"ünïcode\" \\ 日本"),
                               nx_db_blob(blob, sizeof blob), nx_db_no_int(), nx_db_text(NULL));
        call.each = see;
        call.user = &out;
        nx_assert_ok(nx_store_run(fixture->store, NX_TX_READ, &call, NULL, &err), err);
        assert_true(out.number == numbers[i]);
        assert_string_equal(out.text, "it's \"ünïcode\" \\ 日本");
        assert_int_equal(out.blob_size, sizeof blob);
        assert_memory_equal(out.blob, blob, sizeof blob);
        assert_true(out.null_int && out.null_text);
    }
}

static void tells_the_time(void **state)
{
    STORE_FIXTURE(state);
    struct timespec now;
    int64_t told = STORE_NUMBER(fixture->store, "SELECT nx_now()");
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t truth = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    assert_true(told > truth - 60000 && told <= truth + 1000);
}

/* --- threads: what each adds is there once, and failures of others do not touch it --- */

typedef struct adder {
    nx_store *store;
    int number;
    int failed;
} adder;

#define ROUNDS 40

static void *add_many(void *user)
{
    adder *self = user;
    char id[40];
    nx_error err = {0};
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(id, sizeof id, "%d-%d", self->number, i);
        self->failed += nx_store_transact(self->store, NX_TX_WRITE, add_one, id, &err) != NX_OK;
        self->failed += nx_store_transact(self->store, NX_TX_SOFT, add_two_and_fail, NULL, &err) !=
                        NX_ERR_CANCELLED;
        self->failed += nx_store_ping(self->store, &err) != NX_OK;
    }
    return NULL;
}

static void threads_share_a_store(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[8];
    adder adders[8];
    for (int i = 0; i < 8; i++) {
        adders[i] = (adder){.store = fixture->store, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(adders[i].failed, 0);
    }
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM uploads"), 8 * ROUNDS);
    nx_store_stats stats = nx_store_get_stats(fixture->store);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.timeouts, 0);
}

/* --- what is no database --- */

static void refuse_url(const char *url, nx_status expected, const char *part)
{
    nx_store_options options = {.url = url, .data_dir = "/nonexistent", .timeout_ms = 200};
    nx_store *store = (nx_store *)1;
    nx_error err = {0};
    assert_int_equal(nx_store_open(&options, &store, &err), expected);
    assert_null(store);
    nx_assert_contains(err.message, part);
    assert_null(strstr(err.message, "geheim"));
}

static void refuses_urls_that_name_no_database(void **state)
{
    (void)state;
    refuse_url("mysql://me:geheim@host/db", NX_ERR_INVALID, "mysql://me:***@host/db");
    refuse_url("sqlite:", NX_ERR_INVALID, "names no file");
    refuse_url("sqlite::memory:", NX_ERR_INVALID, "names no file");
    refuse_url("/a/path", NX_ERR_INVALID, "use sqlite:PATH");
    refuse_url("postgres://me:geheim@127.0.0.1:1/db", NX_ERR_UNAVAILABLE,
               "cannot reach PostgreSQL at me@127.0.0.1:1/db");
}

static void refuses_files_that_are_none(void **state)
{
    char url[PATH_MAX + 10];
    nx_store_options options = {.url = url, .data_dir = *state, .timeout_ms = 200};
    nx_store *store = NULL;
    nx_error err = {0};
    snprintf(url, sizeof url, "sqlite:%s",
             scratch_write(state, "text", "this is a text and no database at all, or is it?", 48));
    assert_int_equal(nx_store_open(&options, &store, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "not a database");
    snprintf(url, sizeof url, "sqlite:%s", (const char *)*state);
    assert_int_equal(nx_store_open(&options, &store, &err), NX_ERR_IO);
    snprintf(url, sizeof url, "sqlite:/proc/none/x.db");
    assert_int_equal(nx_store_open(&options, &store, &err), NX_ERR_IO);
    nx_assert_contains(err.message, "/proc/none");
}

static void the_default_is_in_the_data_folder(void **state)
{
    char folder[PATH_MAX];
    struct stat info;
    snprintf(folder, sizeof folder, "%s", scratch_path(state, "new/data"));
    nx_store_options options = {.url = "", .data_dir = folder, .timeout_ms = 1000};
    nx_store *store = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    nx_store_close(store);
    assert_int_equal(stat(scratch_path(state, "new/data/nexus.db"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600); /* its owner's alone */
}

/* A limit on file sizes stands for a full disk: the error says so, what was there stays, and the
 * store goes on once there is room. */
static void a_full_disk_loses_nothing(void **state)
{
    char url[PATH_MAX + 10];
    snprintf(url, sizeof url, "sqlite:%s", scratch_path(state, "full.db"));
    nx_store_options options = {.url = url, .data_dir = *state, .timeout_ms = 1000};
    nx_store *store = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    nx_assert_ok(nx_store_transact(store, NX_TX_WRITE, add_one, (char[]){"before"}, &err), err);

    struct rlimit kept;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    struct rlimit small = {.rlim_cur = 300000, .rlim_max = kept.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int added = 0;
    nx_status status = NX_OK;
    while (status == NX_OK && added < 10000) {
        char id[40];
        snprintf(id, sizeof id, "%d", added);
        status = nx_store_transact(store, NX_TX_WRITE, add_one, id, &err);
        added += status == NX_OK;
    }
    setrlimit(RLIMIT_FSIZE, &kept);
    signal(SIGXFSZ, handler);

    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, "full.db");
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM uploads"), added + 1);
    nx_assert_ok(nx_store_transact(store, NX_TX_WRITE, add_one, (char[]){"after"}, &err), err);
    nx_store_close(store);
    store = NULL;
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM uploads"), added + 2);
    nx_store_close(store);
}

/* Another process that holds the lock too long is an error, and not for ever. */
static nx_status write_elsewhere(nx_db *db, void *user, nx_error *err)
{
    (void)db;
    return nx_store_transact(user, NX_TX_WRITE, add_one, (char[]){"x"}, err);
}

static void a_lock_that_is_held_is_told(void **state)
{
    char url[PATH_MAX + 10];
    snprintf(url, sizeof url, "sqlite:%s", scratch_path(state, "locked.db"));
    nx_store_options options = {.url = url, .data_dir = *state, .timeout_ms = 50};
    nx_store *one = NULL;
    nx_store *two = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_store_open(&options, &one, &err), err);
    nx_assert_ok(nx_store_open(&options, &two, &err), err);
    assert_int_equal(nx_store_transact(one, NX_TX_WRITE, write_elsewhere, two, &err), NX_ERR_BUSY);
    nx_assert_contains(err.message, "locked.db is locked by another process");
    nx_assert_ok(nx_store_ping(two, &err), err); /* reading goes on meanwhile */
    nx_assert_ok(nx_store_transact(two, NX_TX_WRITE, add_one, (char[]){"x"}, &err), err);
    nx_store_close(one);
    nx_store_close(two);
}

/* A database as a Nexus left it that knew only so many migrations, with an upload in it. */
static void make_old(const char *path, size_t migrations)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE nx_migrations (number bigint PRIMARY KEY, name "
                                  "text NOT NULL, checksum text NOT NULL,"
                                  " applied_at bigint NOT NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < migrations; i++) {
        const nx_migration *one = &nx_migrations_sqlite[i];
        char *note = sqlite3_mprintf("INSERT INTO nx_migrations VALUES (%d, %Q, %Q, 0)",
                                     one->number, one->name, one->checksum);
        assert_int_equal(sqlite3_exec(db, one->sql, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, note, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_free(note);
    }
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO uploads (id, owner, metadata, created_at, "
                                  "expires_at) VALUES ('kept', 'me', '', 0, 0)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

/* The schema of the first release of a database goes on to the newest with what is in it. */
static void an_old_schema_is_brought_up_to_date(void **state)
{
    char url[PATH_MAX + 10];
    nx_store_report report;
    const char *path = scratch_path(state, "old.db");
    snprintf(url, sizeof url, "sqlite:%s", path);
    nx_store_options options = {.url = url, .data_dir = *state, .timeout_ms = 1000};
    nx_store *store = NULL;
    nx_error err = {0};
    make_old(path, 3);
    nx_assert_ok(nx_store_check(&options, &report, &err), err);
    assert_int_equal(report.schema, 3);
    assert_true(report.newest > 3);
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM sqlite_master"
                                         " WHERE name = 'jobs_state'"),
                     1);
    assert_int_equal(STORE_NUMBER(store, "SELECT count(*) FROM uploads"), 1);
    nx_store_close(store);
}

int main(void)
{
    const struct CMUnitTest both[] = {
        store_test(opens_makes_and_opens_again),
        store_test(check_tells_what_is_there),
        store_test(check_changes_nothing),
        store_test(a_newer_schema_is_refused),
        store_test(a_changed_migration_is_refused),
        store_test(a_failing_migration_leaves_nothing),
        store_test(processes_that_start_at_once_migrate_once),
        store_test(a_transaction_is_all_or_nothing),
        store_test(foreign_keys_and_checks_hold),
        store_test(values_come_back_as_they_went),
        store_test(tells_the_time),
        store_test(threads_share_a_store),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(refuses_urls_that_name_no_database),
        cmocka_unit_test(refuses_files_that_are_none),
        cmocka_unit_test(the_default_is_in_the_data_folder),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(a_lock_that_is_held_is_told),
        cmocka_unit_test(an_old_schema_is_brought_up_to_date),
    };
    return store_run_on_both(both) +
           cmocka_run_group_tests_name("files", alone, scratch_make, scratch_remove);
}
