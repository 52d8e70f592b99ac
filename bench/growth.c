/*
 * How cost grows with rows: bench_growth frames FOLDER [MOST], bench_growth rows URL [MOST].
 *
 * frames: the record of a video with 10^4, 10^5 ... MOST (10^7) detections, 20 a frame: written,
 * read again and made into CSV and COCO, each as microseconds a thousand detections, with the
 * memory that the process had at most. rows: events and finished jobs in a database, up to MOST
 * (10^6) of each: what a page, an entry and a look for work take in milliseconds (the middle of
 * 51). FOLDER and database are empty and on the disk that they are meant for. Built by ninja -C
 * build/release bench_growth.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "jobs/frame_log.h"
#include "store/events.h"
#include "store/jobs.h"
#include "store/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A_FRAME  20
#define A_PART   (UINT64_C(50) * A_FRAME)
#define PAGE     50
#define ROUNDS   51
#define LEASE_MS 60000

static const char *const classes[] = {"person", "bicycle", "car"};
static const nx_class_names names = {classes, 3};

static void need(nx_status status, const nx_error *err)
{
    if (status != NX_OK) {
        fprintf(stderr, "bench_growth: %s\n", err->message);
        exit(1);
    }
}

/* --- frames -------------------------------------------------------------------------------------
 */

/* Since the last call, in MB. */
static double peak_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    file = fopen("/proc/self/clear_refs", "w");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
    return kb / 1024;
}

/* Things that drift over the picture, as tracked things do. */
static void place(nx_frame_object *object, uint64_t frame, uint64_t i)
{
    float x = (float)((frame * (1 + i % 7) + i * 97) % 1800);
    float y = (float)((frame * (i % 3) + i * 53) % 1000);
    *object = (nx_frame_object){
        .box = {.x1 = x, .y1 = y, .x2 = x + 40.5F, .y2 = y + 60.25F, .class_id = (int32_t)(i % 3)},
        .track_id = frame / 100 * A_FRAME + i + 1,
    };
    object->box.confidence = 0.5F + (float)((frame * 31 + i * 7) % 500) / 1000;
}

static uint64_t write_record(const char *path, uint64_t detections)
{
    nx_error err = {0};
    nx_frame_log *log = NULL;
    nx_frame_object objects[A_FRAME];
    uint64_t size = 0;
    need(nx_frame_log_open(path, 0, &log, &err), &err);
    for (uint64_t done = 0; done < detections; done += A_FRAME) {
        uint64_t frame = done / A_FRAME;
        for (uint64_t i = 0; i < A_FRAME; i++) {
            place(&objects[i], frame, i);
        }
        const nx_frame_record record = {.index = frame,
                                        .time_ns = (int64_t)frame * 40000000,
                                        .inferred = true,
                                        .objects = objects,
                                        .object_count = A_FRAME};
        need(nx_frame_log_add(log, &record, names, &err), &err);
        if (done % A_PART == 0) { /* as a job's checkpoints do */
            need(nx_frame_log_end_part(log, &size, &err), &err);
        }
    }
    need(nx_frame_log_end_part(log, &size, &err), &err);
    nx_frame_log_close(log);
    return size;
}

/* Reads it all; what: 0 nothing more, 1 CSV, 2 COCO. */
static void read_record(const char *path, int what)
{
    nx_error err = {0};
    nx_frame_log_reader *reader = NULL;
    nx_frame_record record;
    nx_buffer out = NX_BUFFER_INIT;
    bool end = false;
    bool first = true;
    need(nx_frame_log_reader_open(path, UINT64_MAX, &reader, &err), &err);
    for (;;) {
        need(nx_frame_log_next(reader, &record, &end, &err), &err);
        if (end) {
            break;
        }
        nx_buffer_clear(&out);
        if (what == 1) {
            nx_frames_csv(&record, names, &out);
        } else if (what == 2) {
            nx_frames_coco(&record, &first, &out);
        }
    }
    nx_buffer_free(&out);
    nx_frame_log_reader_free(reader);
}

static double per_thousand_us(int64_t since_ns, uint64_t detections)
{
    return (double)(nx_clock_now_ns() - since_ns) / (double)detections;
}

static void frames(const char *folder, uint64_t most)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/frames.ndjson.zst", folder);
    printf("| detections | file, MB | written | read | CSV | COCO | most memory, MB |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (uint64_t n = 10000; n <= most; n *= 10) {
        (void)peak_mb();
        int64_t at = nx_clock_now_ns();
        double size = (double)write_record(path, n) / 1e6;
        printf("| %llu | %.1f | %.0f us |", (unsigned long long)n, size, per_thousand_us(at, n));
        for (int what = 0; what < 3; what++) {
            at = nx_clock_now_ns();
            read_record(path, what);
            printf(" %.0f us |", per_thousand_us(at, n));
        }
        printf(" %.0f |\n", peak_mb());
        (void)fflush(stdout);
    }
    (void)remove(path);
}

/* --- rows ---------------------------------------------------------------------------------------
 */

/* Ids that sort by age and are all older than any that is made now. */
#define OLD_ID_SQLITE   "printf('00000000-%04x-7000-8000-%012x', (n >> 24) & 65535, n)"
#define OLD_ID_POSTGRES "lpad(to_hex(0), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0')"
#define SERIES_SQLITE                                                                              \
    "WITH RECURSIVE s (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM s WHERE n < $2) "
#define SERIES_POSTGRES "WITH s (n) AS (SELECT generate_series($1::bigint, $2::bigint)) "
#define EVENT_INTO                                                                                 \
    "INSERT INTO events (seq, id, stream_id, stream_name, kind, rule, class, track, zone, at,"     \
    " details, bytes, created_at) "
#define EVENT_REST                                                                                 \
    ", 'camera-' || (n % 20), 'camera', 'line_crossed', 'over', 'person', n, 'road', n * 1000,"    \
    " '{\"direction\":\"in\",\"confidence\":0.8}', 0, n * 1000 FROM s"
#define JOB_INTO                                                                                   \
    "INSERT INTO jobs (id, owner, kind, state, options, attempts, max_attempts, not_before,"       \
    " result, created_at, updated_at, started_at, finished_at) "
#define JOB_REST                                                                                   \
    ", 'owner-' || (n % 20), 'video', 'succeeded', '{}', 1, 3, 0, '{}', n, n, n, n FROM s"

static const nx_sql fill_events = {
    .sqlite = EVENT_INTO SERIES_SQLITE "SELECT n, " OLD_ID_SQLITE EVENT_REST,
    .postgres = EVENT_INTO SERIES_POSTGRES "SELECT n, " OLD_ID_POSTGRES EVENT_REST,
};
static const nx_sql fill_jobs = {
    .sqlite = JOB_INTO SERIES_SQLITE "SELECT " OLD_ID_SQLITE JOB_REST,
    .postgres = JOB_INTO SERIES_POSTGRES "SELECT " OLD_ID_POSTGRES JOB_REST,
};
static const nx_sql head = NX_SQL("UPDATE event_head SET seq = $1");
/* What PostgreSQL's autovacuum does by and by, without which its planner thinks the tables small.
 */
static const nx_sql analyze = {.sqlite = "SELECT 1", .postgres = "ANALYZE"};

typedef struct part {
    int64_t from, to;
} part;

static nx_status fill(nx_db *db, void *user, nx_error *err)
{
    const part *what = user;
    const nx_call events = NX_CALL(&fill_events, nx_db_int(what->from), nx_db_int(what->to));
    const nx_call jobs = NX_CALL(&fill_jobs, nx_db_int(what->from), nx_db_int(what->to));
    const nx_call last = NX_CALL(&head, nx_db_int(what->to));
    nx_status status = nx_db_run(db, &events, NULL, err);
    status = status == NX_OK ? nx_db_run(db, &jobs, NULL, err) : status;
    return status == NX_OK ? nx_db_run(db, &last, NULL, err) : status;
}

static void page_newest(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err)
{
    nx_event_row out[PAGE];
    size_t count = 0;
    const nx_event_filter any = {0};
    (void)rows;
    need(nx_store_events_before(store, &any, 0, PAGE, arena, out, &count, err), err);
}

static void page_of_camera(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err)
{
    nx_event_row out[PAGE];
    size_t count = 0;
    const nx_event_filter one = {.stream = "camera-7", .kind = "line_crossed"};
    need(nx_store_events_before(store, &one, rows / 2, PAGE, arena, out, &count, err), err);
}

static void enter_event(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err)
{
    char id[NX_UUID_SIZE];
    (void)arena;
    need(nx_uuid_make(id, err), err);
    const nx_event_row event = {.id = id,
                                .stream_id = "camera-7",
                                .stream_name = "camera",
                                .kind = "line_crossed",
                                .rule = "over",
                                .at = rows * 1000,
                                .details = "{}"};
    need(nx_store_event_add(store, &event, &(nx_event_targets){0}, NULL, err), err);
}

static void page_of_jobs(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err)
{
    nx_job out[PAGE];
    size_t count = 0;
    const nx_job_state state = NX_JOB_SUCCEEDED;
    const nx_job_filter filter = {.owner = "owner-7", .state = &state, .limit = PAGE};
    (void)rows;
    need(nx_store_jobs_list(store, &filter, arena, out, &count, err), err);
}

static void take_and_finish(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err)
{
    const nx_job_request request = {
        .owner = "bench", .kind = "trivial", .options = "{}", .max_attempts = 3};
    nx_job job;
    bool made = false;
    size_t count = 0;
    nx_status ended = NX_OK;
    (void)rows;
    need(nx_store_job_enqueue(store, &request, arena, &job, &made, err), err);
    need(nx_store_jobs_take(store, "bench", 1, LEASE_MS, arena, &job, &count, err), err);
    const nx_job_outcome outcome = {.lease = {.id = job.id, .fence = job.fence},
                                    .state = NX_JOB_SUCCEEDED};
    need(nx_store_jobs_finish(store, &outcome, count, &ended, err), err);
}

static const struct {
    const char *name;
    void (*run)(nx_store *store, nx_arena *arena, int64_t rows, nx_error *err);
} questions[] = {
    {"newest events", page_newest},
    {"a camera's, half-way", page_of_camera},
    {"an event entered", enter_event},
    {"an owner's jobs", page_of_jobs},
    {"a job in, taken, out", take_and_finish},
};
#define QUESTIONS (sizeof questions / sizeof questions[0])

static int by_size(const void *a, const void *b)
{
    const int64_t *left = a;
    const int64_t *right = b;
    return (*left > *right) - (*left < *right);
}

static double median_ms(nx_store *store, size_t question, int64_t rows)
{
    int64_t taken[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        nx_arena arena = nx_arena_make(0);
        nx_error err = {0};
        int64_t at = nx_clock_now_ns();
        questions[question].run(store, &arena, rows, &err);
        taken[i] = nx_clock_now_ns() - at;
        nx_arena_free(&arena);
    }
    qsort(taken, ROUNDS, sizeof taken[0], by_size);
    return (double)taken[ROUNDS / 2] / (double)NX_NS_PER_MS;
}

static void rows(const char *url, int64_t most)
{
    nx_store *store = NULL;
    nx_error err = {0};
    const nx_store_options options = {.url = url,
                                      .data_dir = ".",
                                      .pool_size = 4,
                                      .max_overflow = 4,
                                      .timeout_ms = 10000,
                                      .recycle_s = 1800,
                                      .pre_ping = true};
    need(nx_store_open(&options, &store, &err), &err);
    printf("| rows, %s |", nx_store_kind(store));
    for (size_t i = 0; i < QUESTIONS; i++) {
        printf(" %s |", questions[i].name);
    }
    printf("\n| --- |%s\n", " --- | --- | --- | --- | --- |");
    int64_t last = 0;
    for (int64_t n = 10000; n <= most; n *= 10) {
        while (last < n) { /* in parts that a transaction may last */
            int64_t to = last + 50000 < n ? last + 50000 : n;
            part what = {.from = last + 1, .to = to};
            need(nx_store_transact(store, NX_TX_WRITE, fill, &what, &err), &err);
            last = to;
        }
        const nx_call look = {.sql = &analyze};
        need(nx_store_run(store, NX_TX_WRITE, &look, NULL, &err), &err);
        printf("| %lld |", (long long)n);
        for (size_t i = 0; i < QUESTIONS; i++) {
            printf(" %.2f ms |", median_ms(store, i, n));
        }
        printf("\n");
        (void)fflush(stdout);
        last = n + ROUNDS; /* what was just entered has the numbers behind */
    }
    nx_store_close(store);
}

int main(int argc, char **argv)
{
    nx_log_configure_level(NX_LOG_WARNING);
    if (argc > 2 && strcmp(argv[1], "frames") == 0) {
        frames(argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 10000000);
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "rows") == 0) {
        rows(argv[2], argc > 3 ? strtoll(argv[3], NULL, 10) : 1000000);
        return 0;
    }
    fprintf(stderr, "Usage: bench_growth frames FOLDER [MOST] | rows URL [MOST]\n");
    return 2;
}
