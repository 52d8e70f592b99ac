/* nexus check: the configuration with its origins, and the state of everything Nexus depends on. */
#include "api/settings.h"
#include "base/json_writer.h"
#include "cache/redis_client.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "ops/process.h"
#include "store/audit.h"
#include "store/objects.h"
#include "store/store.h"
#include "vision/kernels.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FINDINGS 32
/* Less free space than this in the data folder is worth a warning. */
#define LOW_SPACE_MB 500

typedef enum verdict { VERDICT_OK, VERDICT_WARNING, VERDICT_FAILED } verdict;

static const char *const verdict_names[] = {"ok", "warning", "failed"};

typedef struct finding {
    const char *what;
    verdict verdict;
    char detail[1200];
} finding;

typedef struct report {
    finding items[MAX_FINDINGS];
    size_t count;
} report;

static void note(report *out, const char *what, verdict how, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void note(report *out, const char *what, verdict how, const char *format, ...)
{
    finding *item = &out->items[out->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(item->detail, sizeof item->detail, format, args);
    va_end(args);
    item->what = what;
    item->verdict = how;
}

static void check_data_dir(const nx_config *config, report *out)
{
    char *path = nx_setup_data_dir(config);
    double size = 0;
    double left = 0;
    if (path == NULL || !nx_process_disk(path, &size, &left)) {
        note(out, "data folder", VERDICT_WARNING, "%s: %s; 'make run' makes it",
             path != NULL ? path : "?", strerror(errno));
    } else {
        unsigned long long free_mb = (unsigned long long)left / (1024ULL * 1024);
        note(out, "data folder", free_mb < LOW_SPACE_MB ? VERDICT_WARNING : VERDICT_OK,
             "%s (%llu MB free)", path, free_mb);
    }
    free(path);
}

static void check_model(const nx_config *config, nx_runtime *runtime, report *out)
{
    char *path = NULL;
    char *cache_dir = nx_setup_cache_dir(config);
    nx_model *model = NULL;
    nx_error err = {0};
    nx_status status = nx_setup_model_path(config, &path, &err);
    if (status == NX_OK) {
        const nx_model_options options =
            nx_setup_model_options(config, NX_SETUP_COMMAND, cache_dir);
        status = nx_setup_open_model(runtime, path, &options, &model, &err);
    }
    if (status != NX_OK) {
        note(out, "model", VERDICT_FAILED, "%s", err.message);
    } else {
        static const char *const heads[] = {
            [NX_HEAD_YOLOV8] = "YOLOv8/11 head",
            [NX_HEAD_END_TO_END] = "end-to-end head",
            [NX_HEAD_YOLOX] = "YOLOX head",
            [NX_HEAD_SPLIT] = "split head",
            [NX_HEAD_SEGMENT] = "YOLOv8/11 with masks",
            [NX_HEAD_POSE] = "YOLOv8/11 with keypoints",
        };
        const nx_model_spec *spec = nx_model_get_spec(model);
        note(out, "model", VERDICT_OK, "%s on %s: %s, %ux%u%s, %zu classes%s, %.1f MB, %s",
             spec->name, spec->device, heads[spec->head], spec->input_width, spec->input_height,
             spec->dynamic_size ? " dynamic" : "", spec->names.count,
             spec->names_from_file ? "" : " (without names)", (double)spec->file_size / 1e6,
             spec->path);
    }
    nx_model_free(model);
    free(cache_dir);
    free(path);
}

static void check_runtime(const nx_config *config, report *out)
{
    nx_runtime *runtime = NULL;
    nx_error err = {0};
    if (nx_setup_runtime(config, &runtime, &err) != NX_OK) {
        note(out, "ONNX Runtime", VERDICT_FAILED, "%s", err.message);
        note(out, "model", VERDICT_FAILED, "not tried without ONNX Runtime");
        return;
    }
    note(out, "ONNX Runtime", VERDICT_OK, "%s, %s", nx_runtime_version(runtime),
         nx_runtime_path(runtime));
    check_model(config, runtime, out);
    nx_runtime_free(runtime);
}

static void check_address(const nx_config *config, report *out)
{
    const char *host = nx_config_string(config, NX_CONFIG_HOST);
    const char *port = nx_config_text(config, NX_CONFIG_PORT);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure != 0) {
        note(out, "address", VERDICT_FAILED, "%s: %s; set another with NEXUS_HOST", host,
             gai_strerror(failure));
        return;
    }
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
        note(out, "address", errno == EADDRINUSE ? VERDICT_WARNING : VERDICT_FAILED, "%s:%s: %s%s",
             host, port, strerror(errno),
             errno == EADDRINUSE ? " (by a running server?); choose another with NEXUS_PORT" : "");
    } else {
        note(out, "address", VERDICT_OK, "%s:%s is free", host, port);
    }
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(found);
}

static bool show_progress(int64_t checked, int64_t total, void *user)
{
    nx_progress *bar = user;
    if (bar->total == 0) {
        *bar = nx_progress_begin((size_t)total);
    }
    nx_progress_update(bar, (size_t)checked);
    return true;
}

/* Of a database whose schema is up to date, so that opening it changes nothing. */
static void check_audit(const nx_store_options *options, report *out)
{
    nx_store *store = NULL;
    nx_audit_verdict found;
    nx_progress bar = {.total = 0};
    nx_error err = {0};
    const nx_audit_check check = {.progress = show_progress, .user = &bar};
    nx_status status = nx_store_open(options, &store, &err);
    if (status == NX_OK) {
        status = nx_store_audit_verify(store, &check, &found, &err);
        nx_progress_end(&bar);
    }
    nx_store_close(store);
    if (status != NX_OK) {
        note(out, "audit log", VERDICT_FAILED, "%s", err.message);
    } else if (!found.intact) {
        note(out, "audit log", VERDICT_FAILED, "%s; see 'nexus audit list'", found.reason);
    } else {
        note(out, "audit log", VERDICT_OK, "%lld rows, intact", (long long)found.checked);
    }
}

/* Of several servers on one database each has to leave room for the others: that can't be seen. */
static void check_connections(const nx_config *config, int64_t bound, report *out)
{
    int64_t wanted = nx_config_most_connections(config);
    if (bound > 0 && wanted > bound) {
        note(out, "connections", VERDICT_WARNING,
             "db_pool_size, db_max_overflow and workers allow %lld connections, and PostgreSQL has "
             "%lld; raise its max_connections, or lower DB_POOL_SIZE",
             (long long)wanted, (long long)bound);
    } else if (bound > 0) {
        note(out, "connections", VERDICT_OK, "up to %lld of the %lld that PostgreSQL has",
             (long long)wanted, (long long)bound);
    }
}

static void check_database(const nx_config *config, report *out)
{
    char *data_dir = nx_setup_data_dir(config);
    const nx_store_options options = nx_store_options_of(config, data_dir != NULL ? data_dir : "");
    nx_store_report found;
    nx_error err = {0};
    nx_status status = nx_store_check(&options, &found, &err);
    int pending = found.newest - found.schema;
    if (status != NX_OK) {
        note(out, "database", VERDICT_FAILED, "%s%s%s", found.kind,
             found.kind[0] != '\0' ? ": " : "", err.message);
    } else if (!found.exists) {
        note(out, "database", VERDICT_OK, "%s %s, %s: not there yet, the first start makes it",
             found.kind, found.version, found.place);
    } else if (pending > 0) {
        note(out, "database", VERDICT_WARNING,
             "%s %s, %s: schema %d, %d migrations pending; the next start applies them", found.kind,
             found.version, found.place, found.schema, pending);
    } else {
        note(out, "database", VERDICT_OK, "%s %s, %s: schema %d, up to date", found.kind,
             found.version, found.place, found.schema);
        check_audit(&options, out);
    }
    check_connections(config, found.most_connections, out);
    free(data_dir);
}

static void check_objects(const nx_config *config, report *out)
{
    char *data_dir = nx_setup_data_dir(config);
    nx_objects_options options = nx_objects_options_of(config, data_dir != NULL ? data_dir : "");
    nx_objects *objects = NULL;
    nx_error err = {0};
    if (options.url[0] == '\0') { /* that is the data folder, which is looked at above */
        note(out, "objects", VERDICT_OK, "the disk at %s/objects", options.data_dir);
    } else if (nx_objects_open(&options, &objects, &err) != NX_OK ||
               nx_objects_check(objects, &err) != NX_OK) {
        note(out, "objects", VERDICT_FAILED, "%s%s%s",
             objects != NULL ? nx_objects_place(objects) : "", objects != NULL ? ": " : "",
             err.message);
    } else {
        note(out, "objects", VERDICT_OK, "%s", nx_objects_place(objects));
    }
    nx_objects_close(objects);
    free(data_dir);
}

static void check_redis(const nx_config *config, report *out)
{
    const nx_redis_options options = {.url = nx_config_string(config, NX_CONFIG_REDIS_URL),
                                      .connect_ms = 3000};
    double bound = nx_config_number(config, NX_CONFIG_REDIS_MAXMEMORY);
    nx_redis_report found;
    nx_error err = {0};
    if (options.url[0] == '\0') {
        note(out, "cache", VERDICT_OK, "%s of memory in each process",
             nx_config_text(config, NX_CONFIG_CACHE_BYTES));
        return;
    }
    nx_status status = nx_redis_check(&options, &found, &err);
    const char *policy = found.policy[0] != '\0' ? found.policy : "not told";
    double megabytes = (double)found.maxmemory / (1024 * 1024);
    if (status == NX_ERR_INVALID || status == NX_ERR_UNSUPPORTED) {
        note(out, "cache", VERDICT_FAILED, "%s", err.message);
    } else if (status != NX_OK) { /* what is served is served without it */
        note(out, "cache", VERDICT_WARNING, "%s", err.message);
    } else if (strcmp(policy, "allkeys-lru") != 0) {
        note(out, "cache", VERDICT_WARNING,
             "Redis %s, policy %s: a full one should give up what was used longest ago; set "
             "maxmemory-policy allkeys-lru",
             found.version, policy);
    } else if (found.maxmemory == 0 || (double)found.maxmemory > bound) {
        note(out, "cache", VERDICT_WARNING,
             "Redis %s, maxmemory %.0f MB%s; REDIS_MAXMEMORY says %s: set maxmemory", found.version,
             megabytes, found.maxmemory == 0 ? " (without a bound)" : "",
             nx_config_text(config, NX_CONFIG_REDIS_MAXMEMORY));
    } else {
        note(out, "cache", VERDICT_OK, "Redis %s, maxmemory %.0f MB, %s, %.1f MB used",
             found.version, megabytes, policy, (double)found.used / (1024 * 1024));
    }
}

/* Whether somebody is there is not asked: a POST would be a span of its own. */
static void check_traces(const nx_config *config, report *out)
{
    const nx_otlp_options options = nx_otlp_options_of(config);
    const bool whole = options.traces_endpoint[0] != '\0';
    char shown[NX_CONFIG_SHOWN_SIZE];
    nx_error err = {0};
    if (nx_otlp_check(&options, &err) != NX_OK) {
        note(out, "traces", VERDICT_FAILED, "%s", err.message);
    } else if (!whole && options.endpoint[0] == '\0') {
        note(out, "traces", VERDICT_OK, "they go nowhere");
    } else {
        nx_otlp_shown(whole ? options.traces_endpoint : options.endpoint, shown, sizeof shown);
        bool grpc = strstr(shown, ":4317") != NULL;
        note(out, "traces", grpc ? VERDICT_WARNING : VERDICT_OK, "go to %s%s", shown,
             grpc ? ", which is commonly for gRPC; OTLP over HTTP, which is spoken here, is at 4318"
                  : "");
    }
}

static void check_limits(const nx_config *config, report *out)
{
    struct rlimit files;
    int64_t wanted = nx_config_int(config, NX_CONFIG_MAX_CONNECTIONS) + 64;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return;
    }
    bool enough = files.rlim_max == RLIM_INFINITY || (int64_t)files.rlim_max >= wanted;
    note(out, "open files", enough ? VERDICT_OK : VERDICT_WARNING, "limit %lld%s",
         (long long)files.rlim_max,
         enough ? "" : "; too low for MAX_CONNECTIONS, raise it with ulimit -Hn");
}

static void check_configuration(const nx_config *config, report *out)
{
    size_t count = nx_config_warning_count(config);
    for (size_t i = 0; i < count; i++) {
        note(out, "configuration", VERDICT_WARNING, "%s", nx_config_warning(config, i));
    }
    if (count == 0) {
        note(out, "configuration", VERDICT_OK, "profile %s",
             nx_config_string(config, NX_CONFIG_PROFILE));
    }
}

static void check_all(const nx_config *config, report *out)
{
    check_configuration(config, out);
    check_data_dir(config, out);
    check_runtime(config, out);
    check_database(config, out);
    check_objects(config, out);
    check_redis(config, out);
    check_traces(config, out);
    check_address(config, out);
    check_limits(config, out);
    note(out, "processor", VERDICT_OK, "%ld cores, %s", sysconf(_SC_NPROCESSORS_ONLN),
         nx_kernels_name());
}

static verdict worst(const report *r)
{
    verdict result = VERDICT_OK;
    for (size_t i = 0; i < r->count; i++) {
        result = r->items[i].verdict > result ? r->items[i].verdict : result;
    }
    return result;
}

/* The line of a finding, or of a setting, may hold a path: what it looks like is not ours. */
static void append_cell(nx_buffer *out, const char *text, size_t width)
{
    nx_buffer_append_printable(out, text);
    for (size_t used = strlen(text); used < width; used++) {
        nx_buffer_append_char(out, ' ');
    }
    nx_buffer_append_char(out, ' ');
}

static void append_text(const nx_config *config, const report *r, nx_buffer *out)
{
    nx_buffer_printf(out, "Configuration\n  %-29s%-30s%-14s%s\n", "setting", "environment", "value",
                     "from");
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        char space[NX_CONFIG_SHOWN_SIZE];
        const char *text = nx_config_shown(config, (nx_config_key)key, space, sizeof space);
        nx_buffer_append_str(out, "  ");
        append_cell(out, nx_config_name((nx_config_key)key), 28);
        append_cell(out, nx_config_env_name((nx_config_key)key), 29);
        append_cell(out, text[0] != '\0' ? text : "-", 13);
        nx_buffer_append_printable(out, nx_config_origin(config, (nx_config_key)key));
        nx_buffer_append_char(out, '\n');
    }
    nx_buffer_append_str(out, "\nState\n");
    for (size_t i = 0; i < r->count; i++) {
        nx_buffer_append_str(out, "  ");
        append_cell(out, verdict_names[r->items[i].verdict], 8);
        append_cell(out, r->items[i].what, 14);
        nx_buffer_append_printable(out, r->items[i].detail);
        nx_buffer_append_char(out, '\n');
    }
}

static void append_json(const nx_config *config, const report *r, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "version", NX_VERSION);
    nx_json_key_string(&json, "status", verdict_names[worst(r)]);
    nx_json_key(&json, "configuration");
    nx_json_array_begin(&json);
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        nx_api_setting_json(config, (nx_config_key)key, &json);
    }
    nx_json_array_end(&json);
    nx_json_key(&json, "checks");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < r->count; i++) {
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "name", r->items[i].what);
        nx_json_key_string(&json, "status", verdict_names[r->items[i].verdict]);
        nx_json_key_string(&json, "detail", r->items[i].detail);
        nx_json_object_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

static int run(const nx_cli_args *args)
{
    report state = {0};
    nx_buffer text = NX_BUFFER_INIT;
    const char *format = nx_cli_value(args, "format");
    if (format != NULL && strcmp(format, "yaml") == 0) { /* a file; nothing is tried for it */
        nx_config_write_yaml(args->config, &text);
        return nx_cli_print(args, &text);
    }
    check_all(args->config, &state);
    if (format != NULL && strcmp(format, "json") == 0) {
        append_json(args->config, &state, &text);
    } else {
        append_text(args->config, &state, &text);
    }
    int code = nx_cli_print(args, &text);
    return code == NX_EXIT_OK && worst(&state) == VERDICT_FAILED ? NX_EXIT_UNAVAILABLE : code;
}

static const nx_cli_option options[] = {
    {"format", 'f', "FORMAT", "text, json or yaml (default text)", NX_CLI_NO_KEY, "text|json|yaml"},
};

const nx_cli_command nx_cmd_check = {
    .name = "check",
    .operands = "",
    .summary = "show the configuration with its origins, and what is missing",
    .description =
        "Prints each setting with its value and where that came from (default, profile, file\n"
        "and line, environment, command line), then tries everything that Nexus depends on. The "
        "exit code\n"
        "is 3 when something that is needed has failed. As yaml it prints a file for --config "
        "with\n"
        "every setting explained, and tries nothing; secrets are left out of it.\n",
    .examples = "  nexus check\n  NEXUS_MODEL=yolov8s nexus check --config nexus.yaml\n"
                "  nexus check --format yaml > nexus.yaml\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};
