/*
 * A store under test: SQLite in a scratch folder, or a PostgreSQL server of the test's own, which
 * listens on a socket in its scratch folder alone and has the settings of
 * deploy/postgres/postgresql.conf. The server ends with the test, however that ends.
 */
#ifndef NX_TESTS_STORE_FIXTURE_H
#define NX_TESTS_STORE_FIXTURE_H

#include "scratch.h"

#include "base/file.h"
#include "store/db.h"
#include "store/objects.h"
#include "store/postgres_connection.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct store_fixture {
    bool postgres;
    char folder[64]; /* everything is in it */
    char url[256];
    pid_t server;
    nx_store *store; /* open while a test runs, where its setup says so */
    nx_arena arena;  /* for results, emptied after each test */
} store_fixture;

/* Where Debian and others put what is not in PATH; "" when there is no PostgreSQL. */
static inline const char *store_postgres_bin(void)
{
    static char folder[256];
    glob_t found;
    if (folder[0] == '\0' && glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0) {
        snprintf(folder, sizeof folder, "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(folder, '/') = '\0';
        globfree(&found);
    } else if (folder[0] == '\0' && access("/usr/bin/postgres", X_OK) == 0) {
        snprintf(folder, sizeof folder, "/usr/bin");
    }
    return folder;
}

/* The server refuses to be root. */
static inline const struct passwd *store_other_user(void)
{
    const struct passwd *user = NULL;
    if (getuid() == 0) {
        user = getpwnam("postgres");
        user = user != NULL ? user : getpwnam("nobody");
        assert_non_null(user);
    }
    return user;
}

/* Starts a program of PostgreSQL with its output in the folder's log. */
static inline pid_t store_spawn(const store_fixture *fixture, const char *const *arguments)
{
    const struct passwd *user = store_other_user();
    char program[320];
    char log[128];
    snprintf(program, sizeof program, "%s/%s", store_postgres_bin(), arguments[0]);
    snprintf(log, sizeof log, "%s/log", fixture->folder);
    pid_t parent = getpid();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (user != NULL &&
            (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
            _exit(126);
        }
        /* after the change of user, which would undo it */
        prctl(PR_SET_PDEATHSIG, SIGQUIT);
        if (fd < 0 || getppid() != parent || dup2(fd, 1) != 1 || dup2(fd, 2) != 2) {
            _exit(126);
        }
        /* PostgreSQL's programs go back to where they began, which may be closed to that user */
        if (chdir("/") != 0) {
            _exit(126);
        }
        execv(program, (char *const *)arguments);
        _exit(127);
    }
    return child;
}

static inline void store_show_log(const store_fixture *fixture)
{
    char path[128];
    char line[400];
    snprintf(path, sizeof path, "%s/log", fixture->folder);
    FILE *log = fopen(path, "r");
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        fputs(line, stderr);
    }
    if (log != NULL) {
        fclose(log);
    }
}

/* The settings that Nexus recommends, copied to where the server's user may read them. Returns the
 * path, which the next call overwrites. */
static inline const char *store_tuning_file(const store_fixture *fixture)
{
    static char path[128];
    nx_buffer text = NX_BUFFER_INIT;
    nx_error err = {0};
    snprintf(path, sizeof path, "%s/nexus.conf", fixture->folder);
    nx_assert_ok(nx_file_read(NX_DEPLOY_DIR "/postgres/postgresql.conf", 1U << 20, &text, &err),
                 err);
    nx_assert_ok(nx_file_write(path, text.data, text.size, &err), err);
    assert_int_equal(chmod(path, 0644), 0);
    nx_buffer_free(&text);
    return path;
}

/* Starts the server and waits until it says that it is ready. */
static inline void store_start_server(store_fixture *fixture)
{
    char data[128];
    char path[160];
    char tuning[160];
    char line[200] = "";
    snprintf(data, sizeof data, "%s/data", fixture->folder);
    snprintf(path, sizeof path, "%s/postmaster.pid", data);
    snprintf(tuning, sizeof tuning, "config_file=%s", store_tuning_file(fixture));
    const char *const arguments[] = {"postgres", "-D", data,   "-k", fixture->folder, "-h", "",
                                     "-F",       "-c", tuning, NULL};
    fixture->server = store_spawn(fixture, arguments);
    for (;;) { /* the eighth line of the file is the state (postmaster.c) */
        FILE *file = fopen(path, "r");
        int lines = 0;
        line[0] = '\0';
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            lines++;
        }
        if (file != NULL) {
            fclose(file);
        }
        if (lines >= 8 && strncmp(line, "ready", 5) == 0) {
            return;
        }
        if (waitpid(fixture->server, NULL, WNOHANG) != 0) {
            store_show_log(fixture);
            fail_msg("PostgreSQL did not start");
        }
        usleep(10000);
    }
}

/* SIGINT: ends its sessions and stops in order; SIGQUIT: as in a crash. */
static inline void store_stop_server(store_fixture *fixture, int signal_number)
{
    if (fixture->server > 0) {
        kill(fixture->server, signal_number);
        waitpid(fixture->server, NULL, 0);
        fixture->server = 0;
    }
}

static inline nx_store_options store_options(const store_fixture *fixture)
{
    return (nx_store_options){
        .url = fixture->url,
        .data_dir = fixture->folder,
        .pool_size = 4,
        .max_overflow = 2,
        .timeout_ms = 20000,
        .recycle_s = 0,
        .pre_ping = true,
    };
}

/* A store of its own: for a child, or with other options. */
static inline nx_store *store_open_another(const store_fixture *fixture)
{
    nx_store *store = NULL;
    nx_error err = {0};
    const nx_store_options options = store_options(fixture);
    nx_assert_ok(nx_store_open(&options, &store, &err), err);
    return store;
}

static inline store_fixture *store_new_fixture(bool postgres)
{
    store_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->postgres = postgres;
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/nexus-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->arena = nx_arena_make(0);
    return fixture;
}

static inline int store_group_sqlite(void **state)
{
    store_fixture *fixture = store_new_fixture(false);
    snprintf(fixture->url, sizeof fixture->url, "sqlite:%s/test.db", fixture->folder);
    *state = fixture;
    return 0;
}

/* Without PostgreSQL there is a fixture without a server, and each test skips. */
static inline int store_group_postgres(void **state)
{
    store_fixture *fixture = store_new_fixture(true);
    *state = fixture;
    if (store_postgres_bin()[0] == '\0') {
        return 0;
    }
    const struct passwd *user = store_other_user();
    if (user != NULL) {
        assert_int_equal(chown(fixture->folder, user->pw_uid, user->pw_gid), 0);
    }
    char data[128];
    snprintf(data, sizeof data, "%s/data", fixture->folder);
    const char *const arguments[] = {"initdb", "-D",    data, "-N",   "-A",         "trust",
                                     "-U",     "nexus", "-E", "UTF8", "--locale=C", NULL};
    int status = -1;
    waitpid(store_spawn(fixture, arguments), &status, 0);
    if (status != 0) {
        store_show_log(fixture);
        return -1;
    }
    store_start_server(fixture);
    snprintf(fixture->url, sizeof fixture->url, "postgres://nexus@/postgres?host=%s",
             fixture->folder);
    return 0;
}

static inline int store_group_end(void **state)
{
    store_fixture *fixture = *state;
    store_stop_server(fixture, SIGQUIT);
    nx_arena_free(&fixture->arena);
    int failure = nftw(fixture->folder, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return failure;
}

/* Skips the running test, loudly, without a PostgreSQL to run it on. */
#define STORE_NEED_SERVER(fixture)                                                                 \
    do {                                                                                           \
        if ((fixture)->postgres && (fixture)->url[0] == '\0') {                                    \
            fprintf(stderr, "SKIPPED %s: no PostgreSQL (scripts/bootstrap test)\n", __func__);     \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* Undoes what tests have left: the next one begins with an empty database. */
static inline void store_wipe(store_fixture *fixture)
{
    static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm"};
    if (fixture->postgres && fixture->url[0] != '\0') {
        nx_pg *pg = NULL;
        nx_error err = {0};
        nx_assert_ok(nx_pg_connect(fixture->url, false, &pg, &err), err);
        nx_assert_ok(nx_pg_simple(pg, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", &err),
                     err);
        nx_pg_close(pg);
    }
    for (size_t i = 0; !fixture->postgres && i < NX_COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", fixture->folder, names[i]);
        unlink(path);
    }
}

/* Setup and teardown of a test that wants an empty store, open. */
static inline int store_begin(void **state)
{
    store_fixture *fixture = *state;
    if (!fixture->postgres || fixture->url[0] != '\0') {
        store_wipe(fixture);
        fixture->store = store_open_another(fixture);
    }
    return 0;
}

static inline int store_end(void **state)
{
    store_fixture *fixture = *state;
    nx_store_close(fixture->store);
    fixture->store = NULL;
    nx_arena_free(&fixture->arena);
    fixture->arena = nx_arena_make(0);
    return 0;
}

#define store_test(function) cmocka_unit_test_setup_teardown(function, store_begin, store_end)

/* The fixture of a test, which skips where it must. */
#define STORE_FIXTURE(state)                                                                       \
    store_fixture *fixture = *(state);                                                             \
    nx_error err = {0};                                                                            \
    (void)err;                                                                                     \
    STORE_NEED_SERVER(fixture)

/* Runs the tests on both databases; returns how many failed. */
#define store_run_on_both(tests)                                                                   \
    (cmocka_run_group_tests_name("sqlite", tests, store_group_sqlite, store_group_end) +           \
     cmocka_run_group_tests_name("postgres", tests, store_group_postgres, store_group_end))

/* Waits for a child; fails the test unless it ended with 0. */
static inline void store_expect_success(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* One statement whose first column of the last row comes back, for looking behind the curtain. The
 * text must be a constant. */
static inline nx_status store_take_number(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    *(int64_t *)user = nx_row_int(row, 0);
    return NX_OK;
}

static inline int64_t store_number(nx_store *store, const nx_sql *sql)
{
    int64_t number = -1;
    nx_error err = {0};
    const nx_call call = {.sql = sql, .each = store_take_number, .user = &number};
    nx_assert_ok(nx_store_run(store, NX_TX_WRITE, &call, NULL, &err), err);
    return number;
}

#define STORE_NUMBER(store, text)                                                                  \
    ({                                                                                             \
        static const nx_sql store_sql = NX_SQL(text);                                              \
        store_number(store, &store_sql);                                                           \
    })

/* Objects on the disk, in the fixture's folder. */
static inline nx_objects *store_open_objects(const store_fixture *fixture)
{
    nx_objects *objects = NULL;
    nx_error err = {0};
    const nx_objects_options options = {.data_dir = fixture->folder, .url = ""};
    nx_assert_ok(nx_objects_open(&options, &objects, &err), err);
    return objects;
}

#endif
