/* The audit log, the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"

#include "store/audit.h"

#include <pthread.h>
#include <sodium.h>

static nx_audit_entry entry_of(const char *actor, const char *action)
{
    return (nx_audit_entry){.actor_kind = "user",
                            .actor = actor,
                            .address = "192.0.2.1",
                            .action = action,
                            .object = "video:1",
                            .details = "{\"n\":1}",
                            .request_id = "abc"};
}

static void append(nx_store *store, const char *actor, const char *action)
{
    nx_error err = {0};
    const nx_audit_entry entry = entry_of(actor, action);
    nx_assert_ok(nx_store_audit_append(store, &entry, 1, &err), err);
}

static void append_many(nx_store *store, int count)
{
    for (int i = 0; i < count; i++) {
        append(store, i % 2 == 0 ? "ann" : "bob", i % 3 == 0 ? "auth.login" : "video.remove");
    }
}

static nx_audit_verdict verify(nx_store *store, const nx_audit_head *noted)
{
    nx_audit_verdict verdict;
    nx_error err = {0};
    const nx_audit_check check = {.noted = noted};
    nx_assert_ok(nx_store_audit_verify(store, &check, &verdict, &err), err);
    return verdict;
}

static void assert_intact(nx_store *store, int64_t rows)
{
    const nx_audit_verdict verdict = verify(store, NULL);
    if (!verdict.intact) {
        fail_msg("row %lld: %s", (long long)verdict.first_bad, verdict.reason);
    }
    assert_int_equal(verdict.checked, rows);
    assert_int_equal(verdict.head.seq, rows);
}

static void assert_broken(nx_store *store, int64_t first_bad, const char *reason)
{
    const nx_audit_verdict verdict = verify(store, NULL);
    assert_false(verdict.intact);
    nx_assert_contains(verdict.reason, reason);
    assert_int_equal(verdict.first_bad, first_bad);
}

static nx_status try_sql(nx_store *store, const nx_sql *sql)
{
    nx_error err = {0};
    const nx_call call = {.sql = sql};
    return nx_store_run(store, NX_TX_WRITE, &call, NULL, &err);
}

/* A statement of somebody who may do everything in the database. */
#define RUN(store, text)                                                                           \
    do {                                                                                           \
        static const nx_sql run_sql = NX_SQL(text);                                                \
        assert_int_equal(try_sql(store, &run_sql), NX_OK);                                         \
    } while (0)

static void drop_guards(const store_fixture *fixture)
{
    static const nx_sql texts[] = {
        {"DROP TRIGGER audit_log_insert", "DROP TRIGGER audit_log_guard ON audit_log"},
        {"DROP TRIGGER audit_log_update", "DROP TRIGGER audit_log_truncate ON audit_log"},
        {"DROP TRIGGER audit_log_delete", "DROP TRIGGER audit_head_guard ON audit_head"},
        {"DROP TRIGGER audit_head_update", "DROP TRIGGER audit_head_truncate ON audit_head"},
        {"DROP TRIGGER audit_head_delete", "SELECT 1"},
    };
    for (size_t i = 0; i < NX_COUNT(texts); i++) {
        assert_int_equal(try_sql(fixture->store, &texts[i]), NX_OK);
    }
}

static size_t read_after(store_fixture *fixture, const nx_audit_filter *filter, int64_t after,
                         size_t limit, nx_audit_row *out)
{
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_store_audit_after(fixture->store, filter, after, limit, &fixture->arena, out,
                                      &count, &err),
                 err);
    return count;
}

/* --- tests --------------------------------------------------------------------------------------
 */

static void an_empty_log_is_intact(void **state)
{
    STORE_FIXTURE(state);
    nx_audit_head head;
    nx_assert_ok(nx_store_audit_head(fixture->store, &head, &err), err);
    assert_int_equal(head.seq, 0);
    assert_string_equal(head.hash,
                        "0000000000000000000000000000000000000000000000000000000000000000");
    assert_intact(fixture->store, 0);
}

static void rows_come_back_as_they_were_written(void **state)
{
    STORE_FIXTURE(state);
    const nx_audit_filter all = {.since = 0};
    const nx_audit_entry entries[] = {
        entry_of("ann", "auth.login"),
        {.actor_kind = "anonymous", .action = "access.refused", .result = "refused"},
        {.actor_kind = "user", .action = "x", .result = "no such result"},
    };
    nx_audit_row rows[5];
    nx_assert_ok(nx_store_audit_append(fixture->store, entries, 3, &err), err);
    assert_int_equal(read_after(fixture, &all, 0, 5, rows), 3);
    assert_int_equal(rows[0].seq, 1);
    assert_true(rows[0].at > INT64_C(1700000000000));
    assert_string_equal(rows[0].entry.actor_kind, "user");
    assert_string_equal(rows[0].entry.actor, "ann");
    assert_string_equal(rows[0].entry.actor_key, "");
    assert_string_equal(rows[0].entry.address, "192.0.2.1");
    assert_string_equal(rows[0].entry.action, "auth.login");
    assert_string_equal(rows[0].entry.object, "video:1");
    assert_string_equal(rows[0].entry.result, "ok");
    assert_string_equal(rows[0].entry.details, "{\"n\":1}");
    assert_string_equal(rows[0].entry.request_id, "abc");
    assert_string_equal(rows[1].entry.result, "refused");
    assert_string_equal(rows[1].entry.details, "{}");
    assert_string_equal(rows[2].entry.result, "failed");
    assert_int_equal(read_after(fixture, &all, 2, 5, rows), 1);
    assert_int_equal(rows[0].seq, 3);
    assert_intact(fixture->store, 3);
}

/* By the letter of store/audit.h, written down once more. */
static void the_hash_is_the_documented_one(void **state)
{
    STORE_FIXTURE(state);
    const nx_audit_filter all = {.since = 0};
    nx_audit_row row;
    append(fixture->store, "ann", "auth.login");
    assert_int_equal(read_after(fixture, &all, 0, 1, &row), 1);
    uint8_t bytes[1024] = "nexus-audit-1";
    size_t used = 13 + 32; /* the hash before it is zeros */
    bytes[used + 7] = 1;
    for (int i = 0; i < 8; i++) {
        bytes[used + 8 + (size_t)i] = (uint8_t)((uint64_t)row.at >> (56 - 8 * i));
    }
    used += 16;
    const char *const texts[] = {"user",    "ann", "",          "192.0.2.1", "auth.login",
                                 "video:1", "ok",  "{\"n\":1}", "abc"};
    for (size_t i = 0; i < NX_COUNT(texts); i++) {
        bytes[used + 3] = (uint8_t)strlen(texts[i]);
        memcpy(bytes + used + 4, texts[i], strlen(texts[i]));
        used += 4 + strlen(texts[i]);
    }
    uint8_t hash[crypto_hash_sha256_BYTES];
    char text[NX_AUDIT_HASH];
    crypto_hash_sha256(hash, bytes, used);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    assert_string_equal(row.hash, text);
    nx_audit_head head;
    nx_assert_ok(nx_store_audit_head(fixture->store, &head, &err), err);
    assert_string_equal(head.hash, text);
}

static void strange_texts_are_kept_readable(void **state)
{
    STORE_FIXTURE(state);
    char longest[3 * NX_AUDIT_TEXT_MAX];
    char details[NX_AUDIT_DETAILS_MAX + 16];
    memset(longest, 'x', sizeof longest);
    memcpy(longest + NX_AUDIT_TEXT_MAX - 1, "\xc3\xa4", 2); /* a character on the border */
    longest[sizeof longest - 1] = '\0';
    memset(details, ' ', sizeof details);
    memcpy(details, "{", 1);
    memcpy(details + sizeof details - 2, "}", 2);
    const nx_audit_filter all = {.since = 0};
    const nx_audit_entry entries[] = {
        {.actor_kind = "user",
         .actor = "a\xff\n\x1b[2J\x7f\xc2\x9b\xc3\xa4",
         .action = "x",
         .object = longest,
         .details = details},
        {.actor_kind = "user", .action = "x", .details = "{\"a\":\"\xff\"}"},
        {.actor_kind = "'; DROP TABLE audit_log; --", .actor = "\" OR 1=1", .action = "x"},
    };
    nx_audit_row rows[3];
    nx_assert_ok(nx_store_audit_append(fixture->store, entries, 3, &err), err);
    assert_int_equal(read_after(fixture, &all, 0, 3, rows), 3);
#define R "\xef\xbf\xbd"
    assert_string_equal(rows[0].entry.actor, "a" R R R "[2J" R R "\xc3\xa4");
    assert_int_equal(strlen(rows[0].entry.object), NX_AUDIT_TEXT_MAX - 1);
    assert_string_equal(rows[0].entry.details, "{\"cut\":true}");
    assert_string_equal(rows[1].entry.details, "{\"cut\":true}");
    assert_string_equal(rows[2].entry.actor_kind, "'; DROP TABLE audit_log; --");
    assert_intact(fixture->store, 3);
}

static void rows_are_filtered(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 12); /* ann has the even ones, logins are 0, 3, 6, 9 */
    append(fixture->store, "ann", "authority");
    nx_audit_row rows[20];
    nx_audit_filter filter = {.actor = "ann"};
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 7);
    filter.action = "auth.login";
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 2);
    assert_int_equal(rows[1].seq, 7);
    filter = (nx_audit_filter){.action = "auth."};
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 4);
    filter = (nx_audit_filter){.action = "auth%"};
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 0);
    filter = (nx_audit_filter){.since = rows[0].at + INT64_C(3600000)};
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 0);
    filter = (nx_audit_filter){.until = rows[0].at + INT64_C(3600000)};
    assert_int_equal(read_after(fixture, &filter, 0, 20, rows), 13);
    filter = (nx_audit_filter){.since = 0};
    size_t count = 0;
    nx_assert_ok(
        nx_store_audit_before(fixture->store, &filter, 0, 5, &fixture->arena, rows, &count, &err),
        err);
    assert_int_equal(count, 5);
    assert_int_equal(rows[0].seq, 13);
    assert_int_equal(rows[4].seq, 9);
    nx_assert_ok(
        nx_store_audit_before(fixture->store, &filter, 3, 5, &fixture->arena, rows, &count, &err),
        err);
    assert_int_equal(count, 2);
    assert_int_equal(rows[0].seq, 2);
}

#define THREADS 4
#define EACH    25

static void *append_thread(void *store)
{
    append_many(store, EACH);
    return NULL;
}

static void append_from_threads(nx_store *store)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, append_thread, store), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void threads_and_processes_make_one_chain(void **state)
{
    STORE_FIXTURE(state);
    nx_store_close(fixture->store); /* no store outlives a fork */
    fixture->store = NULL;
    pid_t children[2];
    for (size_t i = 0; i < NX_COUNT(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            nx_store *store = store_open_another(fixture);
            append_from_threads(store);
            nx_store_close(store);
            _exit(0);
        }
    }
    fixture->store = store_open_another(fixture);
    append_from_threads(fixture->store);
    for (size_t i = 0; i < NX_COUNT(children); i++) {
        store_expect_success(children[i]);
    }
    assert_intact(fixture->store, INT64_C(3) * THREADS * EACH);
}

static void changes_are_refused(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 3);
    static const nx_sql refused[] = {
        NX_SQL("UPDATE audit_log SET actor = 'eve' WHERE seq = 2"),
        NX_SQL("UPDATE audit_log SET seq = 9 WHERE seq = 3"),
        NX_SQL("DELETE FROM audit_log WHERE seq = 3"),
        {"DELETE FROM audit_log", "TRUNCATE audit_log"},
        {"INSERT OR REPLACE INTO audit_log SELECT 2, at, actor_kind, 'eve', actor_key, address,"
         " action, object, result, details, request_id, hash FROM audit_log WHERE seq = 2",
         "INSERT INTO audit_log SELECT 2, at, actor_kind, 'eve', actor_key, address, action, "
         "object,"
         " result, details, request_id, hash FROM audit_log WHERE seq = 2"
         " ON CONFLICT (seq) DO UPDATE SET actor = 'eve'"},
        NX_SQL("INSERT INTO audit_log SELECT 5, at, actor_kind, actor, actor_key, address, action,"
               " object, result, details, request_id, hash FROM audit_log WHERE seq = 2"),
        NX_SQL("UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)"),
        NX_SQL("UPDATE audit_head SET seq = 4"),
        NX_SQL("UPDATE audit_head SET hash = (SELECT hash FROM audit_log WHERE seq = 2)"),
        NX_SQL("DELETE FROM audit_head"),
        {"INSERT OR REPLACE INTO audit_head SELECT 1, 0, hash FROM audit_head",
         "TRUNCATE audit_head"},
    };
    for (size_t i = 0; i < NX_COUNT(refused); i++) {
        if (try_sql(fixture->store, &refused[i]) == NX_OK) {
            fail_msg("this went through: %s", refused[i].sqlite);
        }
    }
    assert_intact(fixture->store, 3);
}

static void a_changed_row_is_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 10);
    drop_guards(fixture);
    RUN(fixture->store, "UPDATE audit_log SET actor = 'eve' WHERE seq = 4");
    assert_broken(fixture->store, 4, "row 4 is not what was written");
    RUN(fixture->store, "UPDATE audit_log SET actor = 'bob' WHERE seq = 4");
    assert_intact(fixture->store, 10);
    RUN(fixture->store, "UPDATE audit_log SET at = at + 1 WHERE seq = 10");
    assert_broken(fixture->store, 10, "row 10 is not what was written");
    RUN(fixture->store, "UPDATE audit_log SET at = at - 1 WHERE seq = 10");
    /* bytes that move from one column to the next */
    RUN(fixture->store, "UPDATE audit_log SET actor = 'an', actor_key = 'n' WHERE seq = 1");
    assert_broken(fixture->store, 1, "row 1 is not what was written");
}

static void a_removed_row_is_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 10);
    drop_guards(fixture);
    RUN(fixture->store, "DELETE FROM audit_log WHERE seq = 6");
    assert_broken(fixture->store, 6, "row 6 is missing");
    RUN(fixture->store, "UPDATE audit_log SET seq = seq - 1 WHERE seq > 6 AND seq < 8");
    assert_broken(fixture->store, 6, "row 6 is not what was written");
    RUN(fixture->store, "DELETE FROM audit_log WHERE seq = 1");
    assert_broken(fixture->store, 1, "row 1 is missing");
}

static void a_row_that_was_put_in_is_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 5);
    drop_guards(fixture);
#define COPY(n)                                                                                    \
    "INSERT INTO audit_log SELECT " n                                                              \
    ", at, actor_kind, 'eve', actor_key, address, action, object,"                                 \
    " result, details, request_id, hash FROM audit_log WHERE seq = 5"
    RUN(fixture->store, COPY("6"));
    assert_broken(fixture->store, 6, "by its head the log has 5");
    RUN(fixture->store, "DELETE FROM audit_log WHERE seq = 3");
    RUN(fixture->store, COPY("3"));
    assert_broken(fixture->store, 3, "row 3 is not what was written");
}

static void rows_that_changed_places_are_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 5);
    drop_guards(fixture);
    RUN(fixture->store, "UPDATE audit_log SET seq = 100 WHERE seq = 2");
    RUN(fixture->store, "UPDATE audit_log SET seq = 2 WHERE seq = 3");
    RUN(fixture->store, "UPDATE audit_log SET seq = 3 WHERE seq = 100");
    assert_broken(fixture->store, 2, "row 2 is not what was written");
}

static void a_cut_log_is_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 6);
    nx_audit_head noted;
    nx_assert_ok(nx_store_audit_head(fixture->store, &noted, &err), err);
    drop_guards(fixture);
    RUN(fixture->store, "DELETE FROM audit_log WHERE seq > 4");
    assert_broken(fixture->store, 5, "by its head the log has 6");
    /* who writes the head as well is found by one that was noted elsewhere, and by nothing else */
    RUN(fixture->store,
        "UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_log WHERE seq = 4)");
    assert_intact(fixture->store, 4);
    nx_audit_verdict verdict = verify(fixture->store, &noted);
    assert_false(verdict.intact);
    nx_assert_contains(verdict.reason, "it was cut");
    append_many(fixture->store, 4); /* grown again: another row 6 */
    assert_intact(fixture->store, 8);
    verdict = verify(fixture->store, &noted);
    assert_false(verdict.intact);
    assert_int_equal(verdict.first_bad, 6);
    nx_assert_contains(verdict.reason, "made anew");
    RUN(fixture->store, "DELETE FROM audit_head");
    assert_broken(fixture->store, 1, "lost its head");
    const nx_audit_entry entry = entry_of("ann", "x");
    assert_int_equal(nx_store_audit_append(fixture->store, &entry, 1, &err), NX_ERR_CORRUPT);
}

static void a_head_that_was_changed_is_found(void **state)
{
    STORE_FIXTURE(state);
    append_many(fixture->store, 3);
    nx_audit_head noted;
    nx_assert_ok(nx_store_audit_head(fixture->store, &noted, &err), err);
    append_many(fixture->store, 2);
    assert_true(verify(fixture->store, &noted).intact); /* the log has grown since, and may */
    drop_guards(fixture);
    RUN(fixture->store, "UPDATE audit_head SET hash = (SELECT hash FROM audit_log WHERE seq = 2)");
    assert_broken(fixture->store, 5, "the head has another hash");
}

typedef struct progress {
    int calls;
    int64_t last;
    int stop_at;
} progress;

static bool note_progress(int64_t checked, int64_t total, void *user)
{
    progress *seen = user;
    assert_true(checked <= total);
    assert_true(checked > seen->last);
    seen->last = checked;
    return ++seen->calls != seen->stop_at;
}

static void long_logs_are_read_in_pages(void **state)
{
    STORE_FIXTURE(state);
    nx_audit_entry entries[1234];
    for (size_t i = 0; i < NX_COUNT(entries); i++) {
        entries[i] = entry_of("ann", "auth.login");
    }
    nx_assert_ok(nx_store_audit_append(fixture->store, entries, NX_COUNT(entries), &err), err);
    progress seen = {.calls = 0};
    nx_audit_check check = {.progress = note_progress, .user = &seen};
    nx_audit_verdict verdict;
    nx_assert_ok(nx_store_audit_verify(fixture->store, &check, &verdict, &err), err);
    assert_true(verdict.intact);
    assert_int_equal(verdict.checked, 1234);
    assert_true(seen.calls > 1);
    assert_int_equal(seen.last, 1234);
    seen = (progress){.stop_at = 1};
    assert_int_equal(nx_store_audit_verify(fixture->store, &check, &verdict, &err),
                     NX_ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(an_empty_log_is_intact),
        store_test(rows_come_back_as_they_were_written),
        store_test(the_hash_is_the_documented_one),
        store_test(strange_texts_are_kept_readable),
        store_test(rows_are_filtered),
        store_test(threads_and_processes_make_one_chain),
        store_test(changes_are_refused),
        store_test(a_changed_row_is_found),
        store_test(a_removed_row_is_found),
        store_test(a_row_that_was_put_in_is_found),
        store_test(rows_that_changed_places_are_found),
        store_test(a_cut_log_is_found),
        store_test(a_head_that_was_changed_is_found),
        store_test(long_logs_are_read_in_pages),
    };
    return store_run_on_both(tests);
}
