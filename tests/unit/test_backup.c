/* Backups made of a database and its objects, damaged, and restored, on SQLite and PostgreSQL. */
#include "store_jobs.h"

#include "backup/backup.h"
#include "backup/lines.h"
#include "backup/rows.h"
#include "store/audit.h"
#include "store/object_uses.h"
#include "store/users.h"
#include "store/videos.h"

#include <dirent.h>
#include <dlfcn.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PHRASE "a pass phrase of the test\n"

/* --- what other machines have: file systems without locks, no memory for libpq --- */

static int flock_fails; /* errno; 0: it does not */
static bool copy_fails;

int flock(int fd, int operation)
{
    if (flock_fails != 0) {
        errno = flock_fails;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, operation);
}

int PQputCopyData(PGconn *conn, const char *buffer, int nbytes)
{
    int (*real)(PGconn *, const char *, int) = NULL;
    void *found = dlsym(RTLD_NEXT, "PQputCopyData");
    memcpy(&real, &found, sizeof real);
    return copy_fails ? -1 : real(conn, buffer, nbytes);
}

static char vault_path[128];
static char key_path[128];

static const char *in_folder(const store_fixture *fixture, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fixture->folder, name);
    return path;
}

static void begin_folder(const store_fixture *fixture)
{
    nx_error err = {0};
    snprintf(vault_path, sizeof vault_path, "%s/backups", fixture->folder);
    snprintf(key_path, sizeof key_path, "%s/key", fixture->folder);
    nx_file_remove_tree(vault_path);
    nx_file_remove_tree(in_folder(fixture, "objects"));
    nx_file_remove_tree(in_folder(fixture, "models"));
    nx_assert_ok(nx_file_write(key_path, PHRASE, strlen(PHRASE), &err), err);
}

static nx_status open_vault(bool encrypted, bool make, nx_vault **out, nx_error *err)
{
    const nx_vault_options options = {
        .path = vault_path, .key_file = encrypted ? key_path : NULL, .make = make, .cheap = true};
    return nx_vault_open(&options, out, err);
}

/* --- things to back up --- */

static void add_object(store_fixture *fixture, nx_objects *objects, const char *text,
                       char name[NX_OBJECT_NAME_SIZE])
{
    nx_object_writer *writer = NULL;
    int64_t size = 0;
    nx_error err = {0};
    nx_assert_ok(nx_objects_write(objects, "up", 0, &writer, &err), err);
    nx_assert_ok(nx_object_writer_put(writer, text, strlen(text), &err), err);
    nx_object_writer_close(writer);
    nx_assert_ok(nx_store_keep_upload(fixture->store, objects, "up", "me", name, &size, &err), err);
    nx_assert_ok(nx_objects_discard(objects, "up", &err), err);
}

static void add_video(store_fixture *fixture, nx_objects *objects, const char *text)
{
    char name[NX_OBJECT_NAME_SIZE];
    nx_video made;
    bool is_new = false;
    nx_error err = {0};
    add_object(fixture, objects, text, name);
    const nx_video video = {.owner = "ann",
                            .hash = name,
                            .size = (int64_t)strlen(text),
                            .name = "a \"name\"\twith\\all \xc3\xa9",
                            .probe = "{}"};
    nx_assert_ok(nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
                 err);
}

static void fill(store_fixture *fixture, nx_objects *objects)
{
    nx_error err = {0};
    nx_user user;
    nx_assert_ok(
        nx_store_user_add(fixture->store, "Ann", "$argon2id$x", 3, &fixture->arena, &user, &err),
        err);
    for (int i = 0; i < 3; i++) {
        const nx_audit_entry entry = {.actor_kind = "system",
                                      .actor = "",
                                      .action = "test.row",
                                      .result = "ok",
                                      .details = "{\"a\":\"\\u00e9\"}"};
        nx_assert_ok(nx_store_audit_append(fixture->store, &entry, 1, &err), err);
    }
    add_video(fixture, objects, "the bytes of a video");
    add_video(fixture, objects, "those of another one");
    nx_job_request request = job_request();
    request.idempotency_key = "once";
    request.request_hash = "h";
    enqueue(fixture, &request);
    enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    const nx_job_lease lease = lease_of(&job);
    bool cancel = false;
    const nx_job_checkpoint checkpoint = {
        .position = 7, .state = "\0\1\n\t\\\377", .state_size = 6};
    nx_assert_ok(
        nx_store_job_save(fixture->store, &lease, &checkpoint, LONG_LEASE, NULL, &cancel, &err),
        err);
}

/* --- what a database holds, whatever the order --- */

typedef struct picture {
    size_t tables;
    int64_t rows;
    char text[NX_DUMP_MOST_TABLES * 160];
    nx_buffer line;
    unsigned char sum[16];
    char table[NX_DUMP_NAME_SIZE];
    size_t objects;
} picture;

static void end_table(picture *p)
{
    char hex[33];
    if (p->table[0] != '\0') {
        sodium_bin2hex(hex, sizeof hex, p->sum, sizeof p->sum);
        snprintf(p->text + strlen(p->text), sizeof p->text - strlen(p->text), "%s %s\n", p->table,
                 hex);
    }
    memset(p->sum, 0, sizeof p->sum);
}

static nx_status see_begin(void *user, int schema, nx_error *err)
{
    (void)schema;
    (void)err;
    *(picture *)user = (picture){.tables = 0};
    return NX_OK;
}

static nx_status see_table(void *user, const nx_dump_table *table, nx_error *err)
{
    picture *p = user;
    (void)err;
    end_table(p);
    p->tables++;
    /* what a restore changes on purpose: models are looked at again, and the names of all objects
     * that there were are kept */
    bool counts = strcmp(table->name, "model_state") != 0 && strcmp(table->name, "objects") != 0;
    snprintf(p->table, sizeof p->table, "%s", counts ? table->name : "");
    return NX_OK;
}

static nx_status see_row(void *user, const nx_cell *cells, size_t count, nx_error *err)
{
    picture *p = user;
    unsigned char hash[16];
    (void)err;
    nx_buffer_clear(&p->line);
    nx_lines_row(cells, count, &p->line);
    crypto_generichash(hash, sizeof hash, (const unsigned char *)p->line.data, p->line.size, NULL,
                       0);
    for (size_t i = 0; i < sizeof hash; i++) {
        p->sum[i] ^= hash[i];
    }
    p->rows += p->table[0] != '\0';
    return NX_OK;
}

static nx_status see_object(void *user, const char *name, nx_error *err)
{
    (void)name;
    (void)err;
    ((picture *)user)->objects++;
    return NX_OK;
}

static int by_line(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The tables with sums over their rows, in order of their names; the caller frees it. */
static char *look(nx_store *store)
{
    picture *p = calloc(1, sizeof *p);
    nx_error err = {0};
    const char *lines[NX_DUMP_MOST_TABLES];
    size_t count = 0;
    nx_buffer out = NX_BUFFER_INIT;
    const nx_dump_sink sink = {
        .begin = see_begin, .table = see_table, .row = see_row, .object = see_object, .user = p};
    nx_assert_ok(nx_store_dump(store, &sink, &err), err);
    end_table(p);
    for (char *line = strtok(p->text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        lines[count++] = line;
    }
    qsort(lines, count, sizeof lines[0], by_line);
    for (size_t i = 0; i < count; i++) {
        nx_buffer_printf(&out, "%s\n", lines[i]);
    }
    nx_buffer_printf(&out, "%zu tables, %lld rows, %zu objects\n", p->tables, (long long)p->rows,
                     p->objects);
    nx_buffer_free(&p->line);
    free(p);
    return out.data;
}

/* --- making and restoring --- */

static nx_backup_report make(nx_store *store, nx_objects *objects, const char *models,
                             bool encrypted, size_t keep)
{
    nx_vault *vault = NULL;
    nx_backup_report report;
    nx_error err = {0};
    nx_assert_ok(open_vault(encrypted, true, &vault, &err), err);
    const nx_backup backup = {
        .vault = vault, .store = store, .objects = objects, .files = models, .nexus = "test"};
    nx_assert_ok(nx_backup_make(&backup, keep, &report, &err), err);
    nx_vault_close(vault);
    return report;
}

static nx_status restore(nx_store *store, nx_objects *objects, const char *models, bool encrypted,
                         bool force, nx_error *err)
{
    nx_vault *vault = NULL;
    nx_manifest manifest;
    nx_restore_report report;
    nx_status status = open_vault(encrypted, false, &vault, err);
    if (status == NX_OK) {
        status = nx_backup_manifest(vault, NULL, &manifest, err);
    }
    if (status == NX_OK) {
        const nx_backup backup = {
            .vault = vault, .store = store, .objects = objects, .files = models};
        status = nx_backup_restore(&backup, &manifest, force, &report, err);
        nx_manifest_free(&manifest);
    }
    nx_vault_close(vault);
    return status;
}

static nx_status verify(bool encrypted, nx_error *err)
{
    nx_vault *vault = NULL;
    nx_manifest manifest;
    nx_status status = open_vault(encrypted, false, &vault, err);
    if (status == NX_OK) {
        status = nx_backup_manifest(vault, NULL, &manifest, err);
    }
    if (status == NX_OK) {
        const nx_backup backup = {.vault = vault};
        status = nx_backup_verify(&backup, &manifest, err);
        nx_manifest_free(&manifest);
    }
    nx_vault_close(vault);
    return status;
}

/* An empty SQLite database and a disk for objects, in a folder of their own. */
typedef struct other_place {
    nx_store *store;
    nx_objects *objects;
    char folder[160];
    char models[200];
} other_place;

static other_place open_other(const store_fixture *fixture, const char *name, bool anew)
{
    other_place out;
    nx_error err = {0};
    snprintf(out.folder, sizeof out.folder, "%s/%s", fixture->folder, name);
    snprintf(out.models, sizeof out.models, "%s/models", out.folder);
    if (anew) {
        nx_file_remove_tree(out.folder);
    }
    nx_store_options database = store_options(fixture);
    database.url = "";
    database.data_dir = out.folder;
    const nx_objects_options objects = {.data_dir = out.folder, .url = ""};
    nx_assert_ok(nx_file_make_dirs(out.folder, &err), err);
    nx_assert_ok(nx_store_open(&database, &out.store, &err), err);
    nx_assert_ok(nx_objects_open(&objects, &out.objects, &err), err);
    return out;
}

static void close_other(other_place *other)
{
    nx_store_close(other->store);
    nx_objects_close(other->objects);
}

static void assert_intact_log(nx_store *store, int64_t rows)
{
    nx_audit_verdict verdict;
    nx_error err = {0};
    const nx_audit_check check = {.noted = NULL};
    nx_assert_ok(nx_store_audit_verify(store, &check, &verdict, &err), err);
    assert_true(verdict.intact);
    assert_true(verdict.checked == rows);
}

/* From this database into another SQLite and back over itself: all rows stay what they are. */
static void goes_into_another_database_and_back(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    begin_folder(fixture);
    fill(fixture, objects);
    char *before = look(fixture->store);
    make(fixture->store, objects, NULL, false, 0);

    other_place other = open_other(fixture, "other", true);
    nx_assert_ok(restore(other.store, other.objects, other.models, false, false, &err), err);
    char *there = look(other.store);
    assert_string_equal(before, there);
    assert_intact_log(other.store, 3);
    make(other.store, other.objects, NULL, false, 0);

    add_video(fixture, objects, "not in the backup");
    assert_int_equal(restore(fixture->store, objects, NULL, false, false, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "3 videos");
    nx_assert_contains(err.message, "--force");
    nx_store_close(fixture->store);
    fixture->store = store_open_another(fixture);
    nx_assert_ok(restore(fixture->store, objects, NULL, false, true, &err), err);
    char *after = look(fixture->store);
    assert_string_equal(before, after);
    assert_intact_log(fixture->store, 3);
    /* triggers work again, and what was there before is known to the sweeper */
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM objects"), 3);
    int64_t events = STORE_NUMBER(fixture->store, "SELECT count(*) FROM job_events");
    enqueue_any(fixture);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM job_events"), events + 1);
    const nx_audit_entry entry = {
        .actor_kind = "system", .actor = "", .action = "test.row", .result = "ok"};
    nx_assert_ok(nx_store_audit_append(fixture->store, &entry, 1, &err), err);
    assert_intact_log(fixture->store, 4);
    free(before);
    free(there);
    free(after);
    close_other(&other);
    nx_objects_close(objects);
}

/* A table that nobody told the catalogue of would be lost. */
static void every_table_is_known(void **state)
{
    STORE_FIXTURE(state);
    picture *p = calloc(1, sizeof *p);
    const nx_dump_sink sink = {
        .begin = see_begin, .table = see_table, .row = see_row, .object = see_object, .user = p};
    nx_assert_ok(nx_store_dump(fixture->store, &sink, &err), err);
    static const nx_sql sequences = {
        .sqlite = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'",
        .postgres = "SELECT count(*) FROM pg_class WHERE relkind = 'S'",
    };
    /* a number that goes on counting would have to be restored, too */
    assert_int_equal(store_number(fixture->store, &sequences), 0);
    static const nx_sql tables = {
        .sqlite = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                  " AND name NOT IN ('nx_migrations', 'sessions', 'setup_tokens', 'uploads',"
                  " 'object_holds', 'states') AND name NOT LIKE 'sqlite%'",
        .postgres = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
                    " AND tablename NOT IN ('nx_migrations', 'sessions', 'setup_tokens', 'uploads',"
                    " 'object_holds', 'states')",
    };
    assert_int_equal(p->tables, store_number(fixture->store, &tables));
    nx_buffer_free(&p->line);
    free(p);
}

static void the_place_must_be_alone(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    begin_folder(fixture);
    fill(fixture, objects);
    make(fixture->store, objects, NULL, false, 0);
    nx_store *second = store_open_another(fixture);
    assert_int_equal(restore(fixture->store, objects, NULL, false, true, &err), NX_ERR_BUSY);
    nx_assert_contains(err.message, "stop the servers");
    nx_store_close(second);
    nx_objects_close(objects);
}

/* --- objects --- */

static void objects_are_shared_and_pruned(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char(*ids)[NX_BACKUP_ID_SIZE] = NULL;
    size_t count = 0;
    nx_vault *vault = NULL;
    begin_folder(fixture);
    fill(fixture, objects);
    nx_backup_report first = make(fixture->store, objects, NULL, true, 0);
    assert_int_equal(first.objects, 2);
    assert_int_equal(first.copied, 2);
    nx_backup_report second = make(fixture->store, objects, NULL, true, 0);
    assert_int_equal(second.objects, 2);
    assert_int_equal(second.copied, 0);
    add_video(fixture, objects, "a third one");
    nx_backup_report third = make(fixture->store, objects, NULL, true, 1);
    assert_int_equal(third.copied, 1);
    assert_int_equal(third.removed, 2);
    nx_assert_ok(open_vault(true, false, &vault, &err), err);
    nx_assert_ok(nx_backup_list(vault, &ids, &count, &err), err);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], third.id);
    free(ids);
    nx_vault_close(vault);
    nx_assert_ok(verify(true, &err), err);
    nx_objects_close(objects);
}

/* What the database names and nobody has is told, and the rest is backed up. */
static void what_is_lost_is_told(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char name[NX_OBJECT_NAME_SIZE];
    char path[256];
    begin_folder(fixture);
    add_object(fixture, objects, "the bytes of a video", name);
    fill(fixture, objects);
    snprintf(path, sizeof path, "%s/objects/%.2s/%.2s/%s", fixture->folder, name, name + 2, name);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fputs("X", file); /* not what its name says any more */
    fclose(file);
    nx_backup_report report = make(fixture->store, objects, NULL, false, 0);
    assert_int_equal(report.missing, 1);
    assert_string_equal(report.first_missing, name);
    assert_int_equal(report.objects, 1);
    nx_assert_ok(verify(false, &err), err);
    unlink(path);
    assert_int_equal(make(fixture->store, objects, NULL, false, 0).missing, 1);
    nx_objects_close(objects);
}

/* --- files of models --- */

static void models_come_along(void **state)
{
    STORE_FIXTURE(state);
    other_place from = open_other(fixture, "from", true);
    other_place to = open_other(fixture, "to", true);
    char path[300];
    nx_buffer text = NX_BUFFER_INIT;
    begin_folder(fixture);
    snprintf(path, sizeof path, "%s/yolo/2", from.models);
    nx_assert_ok(nx_file_make_dirs(path, &err), err);
    snprintf(path, sizeof path, "%s/yolo/2/model.onnx", from.models);
    nx_assert_ok(nx_file_write(path, "weights", 7, &err), err);
    snprintf(path, sizeof path, "%s/yolo/active", from.models);
    nx_assert_ok(nx_file_write(path, "2\n", 2, &err), err);
    snprintf(path, sizeof path, "%s/.adding", from.models);
    nx_assert_ok(nx_file_write(path, "half", 4, &err), err);
    assert_int_equal(make(from.store, from.objects, from.models, true, 0).objects, 2);

    snprintf(path, sizeof path, "%s/yolo/2", to.models);
    nx_assert_ok(nx_file_make_dirs(path, &err), err);
    snprintf(path, sizeof path, "%s/yolo/2/model.onnx", to.models);
    nx_assert_ok(nx_file_write(path, "others", 6, &err), err);
    assert_int_equal(restore(to.store, to.objects, to.models, true, false, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "model.onnx");
    nx_assert_ok(restore(to.store, to.objects, to.models, true, true, &err), err);
    nx_assert_ok(nx_file_read(path, 100, &text, &err), err);
    assert_string_equal(nx_buffer_cstr(&text), "weights");
    snprintf(path, sizeof path, "%s/yolo/active", to.models);
    nx_assert_ok(nx_file_read(path, 100, &text, &err), err);
    assert_string_equal(nx_buffer_cstr(&text), "2\n");
    nx_buffer_free(&text);
    close_other(&from);
    close_other(&to);
}

/* --- older schemas --- */

static nx_status feed_nothing(void *user, nx_loader *loader, nx_error *err)
{
    (void)user;
    (void)loader;
    (void)err;
    return NX_OK;
}

static nx_status feed_old_video(void *user, nx_loader *loader, nx_error *err)
{
    const nx_dump_table table = {.name = "videos",
                                 .columns = {{"id", NX_CELL_TEXT},
                                             {"owner", NX_CELL_TEXT},
                                             {"hash", NX_CELL_TEXT},
                                             {"size", NX_CELL_INT},
                                             {"name", NX_CELL_TEXT},
                                             {"probe", NX_CELL_TEXT},
                                             {"created_at", NX_CELL_INT}},
                                 .count = 7};
    static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const nx_cell cells[] = {
        {.kind = NX_CELL_TEXT, .bytes = "one", .size = 3},
        {.kind = NX_CELL_TEXT, .bytes = "ann", .size = 3},
        {.kind = NX_CELL_TEXT, .bytes = hash, .size = 64},
        {.kind = NX_CELL_INT, .number = 5},
        {.kind = NX_CELL_TEXT, .bytes = "a", .size = 1},
        {.kind = NX_CELL_TEXT, .bytes = "{}", .size = 2},
        {.kind = NX_CELL_INT, .number = 1},
    };
    (void)user;
    nx_status status = nx_loader_table(loader, &table, err);
    return status == NX_OK ? nx_loader_row(loader, cells, 7, err) : status;
}

static void older_schemas_are_brought_up_to_date(void **state)
{
    STORE_FIXTURE(state);
    nx_store_report report;
    const nx_store_options options = store_options(fixture);
    nx_assert_ok(nx_store_check(&options, &report, &err), err);
    for (int schema = 1; schema <= report.newest; schema++) {
        nx_assert_ok(nx_store_load(fixture->store, schema, feed_old_video, NULL, &err), err);
        nx_assert_ok(nx_store_check(&options, &report, &err), err);
        assert_int_equal(report.schema, report.newest);
        assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM videos"), 1);
        /* migration 5 enters the objects that were named before it */
        assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM objects"), 1);
    }
    assert_int_equal(nx_store_load(fixture->store, report.newest + 1, feed_nothing, NULL, &err),
                     NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "newer");
    assert_int_equal(nx_store_load(fixture->store, 0, feed_nothing, NULL, &err),
                     NX_ERR_UNSUPPORTED);
}

static nx_status feed_badly(void *user, nx_loader *loader, nx_error *err)
{
    nx_status status = feed_old_video(user, loader, err);
    return status == NX_OK ? nx_error_set(err, NX_ERR_CORRUPT, "in the middle") : status;
}

static void a_load_that_fails_changes_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    begin_folder(fixture);
    fill(fixture, objects);
    char *before = look(fixture->store);
    assert_int_equal(nx_store_load(fixture->store, 11, feed_badly, NULL, &err), NX_ERR_CORRUPT);
    assert_string_equal(err.message, "in the middle");
    char *after = look(fixture->store);
    assert_string_equal(before, after);
    free(before);
    free(after);
    nx_objects_close(objects);
}

/* libpq refuses the rows, and the connection is up. */
static void rows_that_are_not_sent_end_a_load(void **state)
{
    STORE_FIXTURE(state);
    if (!fixture->postgres) {
        return; /* SQLite has none on their way */
    }
    copy_fails = true;
    nx_status status = nx_store_load(fixture->store, 11, feed_old_video, NULL, &err);
    copy_fails = false;
    assert_int_equal(status, NX_ERR_INTERNAL);
    nx_assert_contains(err.message, "table videos");
    nx_assert_ok(nx_store_load(fixture->store, 11, feed_old_video, NULL, &err), err);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM videos"), 1);
}

/* --- damage --- */

typedef void (*file_fn)(const char *path, void *user);

static void each_file(const char *folder, file_fn visit, void *user)
{
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    assert_non_null(open_folder);
    while ((entry = readdir(open_folder)) != NULL) {
        char path[1024];
        struct stat info;
        assert_true(snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < 1024);
        assert_int_equal(stat(path, &info), 0);
        if (S_ISDIR(info.st_mode) && entry->d_name[0] != '.') {
            each_file(path, visit, user);
        } else if (S_ISREG(info.st_mode) && strcmp(entry->d_name, "lock") != 0) {
            visit(path, user);
        }
    }
    closedir(open_folder);
}

static void damage_file(const char *path, void *user)
{
    bool encrypted = *(bool *)user;
    nx_buffer text = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_assert_ok(nx_file_read(path, 1U << 20, &text, &err), err);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t i = 0; i < text.size; i++) {
        char other = (char)(text.data[i] ^ (1 << (i % 8)));
        assert_int_equal(pwrite(fd, &other, 1, (off_t)i), 1);
        if (verify(encrypted, &err) == NX_OK) {
            fail_msg("byte %zu of %s may be another", i, path);
        }
        assert_true(err.message[0] != '\0');
        assert_int_equal(pwrite(fd, &text.data[i], 1, (off_t)i), 1);
    }
    assert_int_equal(pwrite(fd, "x", 1, (off_t)text.size), 1); /* longer */
    assert_true(verify(encrypted, &err) != NX_OK);
    for (size_t i = 0; i < text.size; i += 1 + text.size / 20) { /* shorter */
        assert_int_equal(ftruncate(fd, (off_t)i), 0);
        assert_true(verify(encrypted, &err) != NX_OK);
    }
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, text.data, text.size, 0), (ssize_t)text.size);
    close(fd);
    nx_assert_ok(verify(encrypted, &err), err);
    char away[PATH_MAX + 8];
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_true(verify(encrypted, &err) != NX_OK);
    assert_int_equal(rename(away, path), 0);
    nx_buffer_free(&text);
}

static void check_damage(store_fixture *fixture, bool encrypted)
{
    nx_objects *objects = store_open_objects(fixture);
    nx_error err = {0};
    begin_folder(fixture);
    fill(fixture, objects);
    make(fixture->store, objects, NULL, encrypted, 0);
    nx_assert_ok(verify(encrypted, &err), err);
    each_file(vault_path, damage_file, &encrypted);
    nx_objects_close(objects);
}

static void every_changed_byte_is_found(void **state)
{
    STORE_FIXTURE(state);
    check_damage(fixture, false);
}

static void every_changed_byte_is_found_encrypted(void **state)
{
    STORE_FIXTURE(state);
    check_damage(fixture, true);
}

/* Each is whole, and yet one is not what its name says. */
static void another_manifest_is_found(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    nx_buffer text = NX_BUFFER_INIT;
    char path[400];
    begin_folder(fixture);
    fill(fixture, objects);
    const nx_backup_report first = make(fixture->store, objects, NULL, false, 0);
    const nx_backup_report second = make(fixture->store, objects, NULL, false, 0);
    snprintf(path, sizeof path, "%s/backups/%s/manifest.json", vault_path, first.id);
    nx_assert_ok(nx_file_read(path, 1U << 20, &text, &err), err);
    snprintf(path, sizeof path, "%s/backups/%s/manifest.json", vault_path, second.id);
    nx_assert_ok(nx_file_write(path, text.data, text.size, &err), err);
    assert_int_equal(verify(false, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "the manifest is that of another backup");
    nx_buffer_free(&text);
    nx_objects_close(objects);
}

static void a_backup_that_is_not_there_is_named(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    nx_vault *vault = NULL;
    nx_manifest manifest;
    begin_folder(fixture);
    fill(fixture, objects);
    make(fixture->store, objects, NULL, false, 0);
    nx_assert_ok(open_vault(false, false, &vault, &err), err);
    assert_int_equal(nx_backup_manifest(vault, "20010101T000000Z", &manifest, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "there is no backup 20010101T000000Z in ");
    nx_vault_close(vault);
    nx_objects_close(objects);
}

/* --- keys --- */

static void look_for_words(const char *path, void *user)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_error err = {0};
    (void)user;
    nx_assert_ok(nx_file_read(path, 1U << 20, &text, &err), err);
    assert_null(memmem(text.data, text.size, "the bytes of a video", 20));
    assert_null(memmem(text.data, text.size, "videos", 6));
    nx_buffer_free(&text);
}

static void a_key_is_needed_where_there_is_one(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char name[NX_OBJECT_NAME_SIZE];
    char path[400];
    begin_folder(fixture);
    add_object(fixture, objects, "the bytes of a video", name);
    fill(fixture, objects);
    make(fixture->store, objects, NULL, true, 0);
    each_file(vault_path, look_for_words, NULL);
    snprintf(path, sizeof path, "%s/objects/%.2s/%s.enc", vault_path, name, name);
    assert_int_equal(access(path, F_OK), -1); /* not even its hash is told */
    assert_int_equal(verify(false, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "--key-file");
    nx_assert_ok(nx_file_write(key_path, "another pass phrase", 19, &err), err);
    assert_int_equal(verify(true, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "is not that of the backups");
    nx_assert_ok(nx_file_write(key_path, "short", 5, &err), err);
    assert_int_equal(verify(true, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "at least 16");
    nx_file_remove_tree(vault_path);
    make(fixture->store, objects, NULL, false, 0);
    assert_int_equal(verify(true, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "not encrypted");
    nx_objects_close(objects);
}

static void other_folders_are_left_alone(void **state)
{
    STORE_FIXTURE(state);
    nx_vault *vault = NULL;
    begin_folder(fixture);
    assert_int_equal(open_vault(false, false, &vault, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(mkdir(vault_path, 0700), 0);
    char path[200];
    snprintf(path, sizeof path, "%s/letter.txt", vault_path);
    nx_assert_ok(nx_file_write(path, "x", 1, &err), err);
    assert_int_equal(open_vault(false, true, &vault, &err), NX_ERR_CONFLICT);
    unlink(path);
    nx_assert_ok(open_vault(false, true, &vault, &err), err);
    nx_manifest manifest;
    assert_int_equal(nx_backup_manifest(vault, NULL, &manifest, &err), NX_ERR_NOT_FOUND);
    nx_vault *second = NULL;
    assert_int_equal(open_vault(false, true, &second, &err), NX_ERR_BUSY);
    nx_assert_ok(open_vault(false, false, &second, &err), err);
    assert_int_equal(nx_vault_lock(second, &err), NX_ERR_BUSY);
    nx_vault_close(second);
    nx_vault_close(vault);
}

/* Another first backup has the lock already, and has yet to make the mark with its salt. */
static void first_backups_at_once_keep_one_salt(void **state)
{
    STORE_FIXTURE(state);
    nx_vault *vault = NULL;
    char lock[200];
    char mark[200];
    begin_folder(fixture);
    assert_int_equal(mkdir(vault_path, 0700), 0);
    snprintf(lock, sizeof lock, "%s/lock", vault_path);
    snprintf(mark, sizeof mark, "%s/nexus-backup.json", vault_path);
    int other = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(open_vault(true, true, &vault, &err), NX_ERR_BUSY);
    assert_int_equal(access(mark, F_OK), -1);
    close(other); /* killed there: the next one begins anew */
    nx_assert_ok(open_vault(true, true, &vault, &err), err);
    assert_int_equal(access(mark, F_OK), 0);
    nx_vault_close(vault);
    nx_assert_ok(open_vault(true, true, &vault, &err), err);
    nx_vault_close(vault);
}

static void without_locks_nothing_is_written(void **state)
{
    STORE_FIXTURE(state);
    nx_vault *vault = NULL;
    begin_folder(fixture);
    flock_fails = ENOLCK;
    nx_status status = open_vault(false, true, &vault, &err);
    flock_fails = 0;
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, "cannot lock");
    nx_assert_contains(err.message, "a file system that has locks");
    nx_assert_ok(open_vault(false, true, &vault, &err), err);
    nx_vault_close(vault);
    nx_assert_ok(open_vault(false, false, &vault, &err), err);
    flock_fails = EOPNOTSUPP; /* a copy may be anywhere */
    status = nx_vault_lock(vault, &err);
    flock_fails = 0;
    nx_assert_ok(status, err);
    nx_vault_close(vault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(every_table_is_known),
        store_test(goes_into_another_database_and_back),
        store_test(the_place_must_be_alone),
        store_test(objects_are_shared_and_pruned),
        store_test(what_is_lost_is_told),
        store_test(models_come_along),
        store_test(older_schemas_are_brought_up_to_date),
        store_test(a_load_that_fails_changes_nothing),
        store_test(rows_that_are_not_sent_end_a_load),
        store_test(every_changed_byte_is_found),
        store_test(every_changed_byte_is_found_encrypted),
        store_test(another_manifest_is_found),
        store_test(a_backup_that_is_not_there_is_named),
        store_test(a_key_is_needed_where_there_is_one),
        store_test(other_folders_are_left_alone),
        store_test(first_backups_at_once_keep_one_salt),
        store_test(without_locks_nothing_is_written),
    };
    return store_run_on_both(tests);
}
