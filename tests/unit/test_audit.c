/* Writing into the audit log from a server's threads, on both databases. */
#include "store_fixture.h"

#include "auth/audit.h"

#include <pthread.h>

static nx_audit *start(store_fixture *fixture)
{
    nx_audit *audit = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_audit_new(fixture->store, &audit, &err), err);
    return audit;
}

static nx_audit_entry entry_of(const char *action)
{
    return (nx_audit_entry){.actor_kind = "user", .actor = "ann", .action = action};
}

static nx_address address_of(const char *text)
{
    nx_address out;
    assert_true(nx_address_parse(text, strlen(text), &out));
    return out;
}

static size_t read_rows(store_fixture *fixture, const char *action, nx_audit_row *out, size_t limit)
{
    const nx_audit_filter filter = {.action = action};
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(
        nx_store_audit_after(fixture->store, &filter, 0, limit, &fixture->arena, out, &count, &err),
        err);
    return count;
}

static void assert_intact(store_fixture *fixture, int64_t rows)
{
    nx_audit_verdict verdict;
    nx_error err = {0};
    const nx_audit_check check = {.noted = NULL};
    nx_assert_ok(nx_store_audit_verify(fixture->store, &check, &verdict, &err), err);
    assert_true(verdict.intact);
    assert_int_equal(verdict.checked, rows);
}

static void what_was_written_is_there(void **state)
{
    STORE_FIXTURE(state);
    nx_audit_row rows[4];
    nx_audit *audit = start(fixture);
    char actor[] = "ann";
    nx_audit_entry entry = {.actor_kind = "user", .actor = actor, .action = "a", .object = "o"};
    nx_assert_ok(nx_audit_write(audit, &entry, &err), err);
    assert_int_equal(read_rows(fixture, NULL, rows, 4), 1);
    assert_string_equal(rows[0].entry.object, "o");
    nx_audit_post(audit, &entry);
    memset(actor, 'x', 3); /* it was copied */
    nx_audit_free(audit);
    assert_int_equal(read_rows(fixture, NULL, rows, 4), 2);
    assert_string_equal(rows[1].entry.actor, "ann");
    assert_intact(fixture, 2);
}

static void identities_are_told(void **state)
{
    (void)state;
    nx_audit_entry entry = {.action = "a"};
    const nx_identity nobody = {.kind = NX_IDENTITY_ANONYMOUS};
    nx_audit_actor(&nobody, &entry);
    assert_string_equal(entry.actor_kind, "anonymous");
    assert_string_equal(entry.actor, "");
    const nx_identity key = {.kind = NX_IDENTITY_KEY, .name = "ann", .key_id = "abcdefghij"};
    nx_audit_actor(&key, &entry);
    assert_string_equal(entry.actor_kind, "key");
    assert_string_equal(entry.actor, "ann");
    assert_string_equal(entry.actor_key, "abcdefghij");
    const nx_identity local = nx_identity_local();
    nx_audit_actor(&local, &entry);
    assert_string_equal(entry.actor_kind, "local");
}

#define THREADS 8
#define EACH    40

static void *write_some(void *audit)
{
    const nx_audit_entry entry = entry_of("a");
    nx_error err = {0};
    for (int i = 0; i < EACH; i++) {
        if (i % 2 == 0) {
            nx_assert_ok(nx_audit_write(audit, &entry, &err), err);
        } else {
            nx_audit_post(audit, &entry);
        }
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_audit *audit = start(fixture);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, audit), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    nx_audit_free(audit);
    assert_intact(fixture, (int64_t)THREADS * EACH);
}

static void strangers_are_counted(void **state)
{
    STORE_FIXTURE(state);
    nx_audit_row rows[64];
    nx_audit *audit = start(fixture);
    const nx_audit_entry entry = {
        .actor_kind = "anonymous", .action = "access.refused", .result = "refused"};
    const nx_address one = address_of("2001:db8::1");
    const nx_address same = address_of("2001:db8::2"); /* of the same network */
    for (int i = 0; i < 10; i++) {
        nx_audit_note(audit, i % 2 == 0 ? &one : &same, &entry);
    }
    const nx_audit_entry other = {.actor_kind = "anonymous", .action = "auth.login"};
    nx_audit_note(audit, &one, &other); /* counted by itself */
    assert_int_equal(nx_audit_get_stats(audit).counted, 7);
    nx_audit_free(audit);
    assert_int_equal(read_rows(fixture, "auth.login", rows, 64), 1);
    assert_int_equal(read_rows(fixture, "access.refused", rows, 64), 4);
    assert_string_equal(rows[2].entry.details, "{}");
    assert_string_equal(rows[3].entry.details, "{\"more\":7}");
    assert_string_equal(rows[3].entry.address, "2001:db8::");
    assert_string_equal(rows[3].entry.result, "refused");
}

static void many_strangers_are_counted_together(void **state)
{
    STORE_FIXTURE(state);
    nx_audit_row rows[64];
    nx_audit *audit = start(fixture);
    const nx_audit_entry entry = {.actor_kind = "anonymous", .action = "access.refused"};
    for (int i = 0; i < 100; i++) {
        char text[NX_ADDRESS_TEXT];
        snprintf(text, sizeof text, "192.0.2.%d", i);
        const nx_address address = address_of(text);
        nx_audit_note(audit, &address, &entry);
    }
    nx_audit_free(audit);
    assert_int_equal(read_rows(fixture, "access.refused", rows, 64), NX_AUDIT_SOURCES);
    assert_int_equal(read_rows(fixture, "others", rows, 64), 1);
    assert_string_equal(rows[0].entry.details, "{\"more\":68}");
    assert_string_equal(rows[0].entry.address, "");
}

static void run(store_fixture *fixture, const nx_sql *sql)
{
    nx_error err = {0};
    const nx_call call = {.sql = sql};
    nx_assert_ok(nx_store_run(fixture->store, NX_TX_WRITE, &call, NULL, &err), err);
}

/* A database that takes no rows: the log's head is hidden. */
static void hide_head(store_fixture *fixture)
{
    static const nx_sql hide = NX_SQL("ALTER TABLE audit_head RENAME TO hidden_head");
    run(fixture, &hide);
}

static void show_head(store_fixture *fixture)
{
    static const nx_sql show = NX_SQL("ALTER TABLE hidden_head RENAME TO audit_head");
    run(fixture, &show);
}

static void rows_wait_for_the_database(void **state)
{
    STORE_FIXTURE(state);
    nx_audit *audit = start(fixture);
    const nx_audit_entry entry = entry_of("a");
    nx_assert_ok(nx_audit_write(audit, &entry, &err), err);
    hide_head(fixture);
    assert_int_not_equal(nx_audit_write(audit, &entry, &err), NX_OK);
    assert_int_not_equal(err.message[0], '\0');
    assert_int_equal(nx_audit_get_stats(audit).waiting, 1);
    show_head(fixture);
    while (nx_audit_get_stats(audit).waiting > 0) { /* tried again within a second */
        usleep(1000);
    }
    nx_assert_ok(nx_audit_write(audit, &entry, &err), err);
    nx_audit_free(audit);
    assert_intact(fixture, 3);
}

static void a_queue_that_is_full_says_so(void **state)
{
    STORE_FIXTURE(state);
    nx_audit *audit = start(fixture);
    const nx_audit_entry entry = entry_of("a");
    const nx_address address = address_of("192.0.2.1");
    hide_head(fixture);
    for (int i = 0; i < NX_AUDIT_QUEUE / 2; i++) {
        nx_audit_post(audit, &entry);
    }
    nx_audit_note(audit, &address, &entry); /* a stranger gets none of the other half */
    assert_int_equal(nx_audit_get_stats(audit).waiting, NX_AUDIT_QUEUE / 2);
    for (int i = 0; i < NX_AUDIT_QUEUE / 2; i++) {
        nx_audit_post(audit, &entry);
    }
    assert_int_equal(nx_audit_get_stats(audit).lost, 0);
    nx_audit_post(audit, &entry);
    assert_int_equal(nx_audit_write(audit, &entry, &err), NX_ERR_BUSY);
    const nx_audit_stats stats = nx_audit_get_stats(audit);
    assert_int_equal(stats.lost, 2);
    assert_int_equal(stats.waiting, NX_AUDIT_QUEUE);
    show_head(fixture);
    nx_audit_free(audit); /* writes all that waits, and then what was counted */
    assert_intact(fixture, NX_AUDIT_QUEUE + 1);
}

static void what_cannot_be_written_at_the_end_does_not_hold_it_up(void **state)
{
    STORE_FIXTURE(state);
    nx_audit *audit = start(fixture);
    const nx_audit_entry entry = entry_of("a");
    hide_head(fixture);
    nx_audit_post(audit, &entry);
    nx_audit_free(audit);
    show_head(fixture);
    assert_intact(fixture, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(what_was_written_is_there),
        cmocka_unit_test(identities_are_told),
        store_test(threads_lose_nothing),
        store_test(strangers_are_counted),
        store_test(many_strangers_are_counted_together),
        store_test(rows_wait_for_the_database),
        store_test(a_queue_that_is_full_says_so),
        store_test(what_cannot_be_written_at_the_end_does_not_hold_it_up),
    };
    return store_run_on_both(tests);
}
