#include "scratch.h"

#include "base/config.h"

#include <stdbool.h>

/* An environment of pairs "NAME", "value", ending with NULL. */
static const char *lookup(const char *name, void *user)
{
    for (const char *const *pair = user; pair != NULL && *pair != NULL; pair += 2) {
        if (strcmp(pair[0], name) == 0) {
            return pair[1];
        }
    }
    return NULL;
}

static nx_status load(const char *text, const char *const *environment, nx_config **out,
                      nx_error *err)
{
    *err = (nx_error){0};
    return nx_config_load_text(text, text != NULL ? strlen(text) : 0, "nexus.yaml", lookup,
                               (void *)environment, out, err);
}

static nx_config *loaded(const char *text, const char *const *environment)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(load(text, environment, &config, &err), err);
    assert_non_null(config);
    return config;
}

static void refuses(const char *text, const char *const *environment, const char *message)
{
    nx_config *config = (nx_config *)1;
    nx_error err = {0};
    assert_int_equal(load(text, environment, &config, &err), NX_ERR_INVALID);
    assert_null(config);
    assert_int_equal(err.status, NX_ERR_INVALID);
    assert_string_equal(err.message, message);
}

static void defaults_are_in_range_and_named(void **state)
{
    (void)state;
    nx_config *config = loaded(NULL, NULL);
    assert_string_equal(nx_config_string(config, NX_CONFIG_HOST), "127.0.0.1");
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8000);
    assert_true(nx_config_number(config, NX_CONFIG_CONFIDENCE) == 0.25);
    assert_int_equal(nx_config_int(config, NX_CONFIG_MAX_BODY_BYTES), 32 << 20);
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        nx_config_key key = (nx_config_key)i;
        assert_string_equal(nx_config_origin(config, key), "default");
        assert_true(strlen(nx_config_name(key)) > 0);
        assert_true(strlen(nx_config_env_name(key)) > 0);
        assert_true(strlen(nx_config_help(key)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(nx_config_name(key), nx_config_name((nx_config_key)j));
            assert_string_not_equal(nx_config_env_name(key), nx_config_env_name((nx_config_key)j));
        }
    }
    nx_config_free(config);
    nx_config_free(NULL);
}

/* What nexus check prints can be written into a file and means the same there. */
static void every_default_can_be_written_in_a_file(void **state)
{
    (void)state;
    nx_config *config = loaded(NULL, NULL);
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        nx_config_key key = (nx_config_key)i;
        char line[200];
        snprintf(line, sizeof line, "%s: %s\n", nx_config_name(key), nx_config_text(config, key));
        nx_config *again = loaded(line, NULL);
        assert_string_equal(nx_config_text(again, key), nx_config_text(config, key));
        assert_string_equal(nx_config_origin(again, key), "nexus.yaml:1");
        nx_config_free(again);
    }
    nx_config_free(config);
}

static void the_stronger_origin_wins(void **state)
{
    (void)state;
    static const char *const environment[] = {"NEXUS_PORT", "8002", "INFERENCE_WORKERS", "3", NULL};
    nx_config *config = loaded("# a comment\nport: 8001\nhost: 0.0.0.0\n", environment);
    nx_error err = {0};
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8002);
    assert_string_equal(nx_config_origin(config, NX_CONFIG_PORT), "environment NEXUS_PORT");
    assert_string_equal(nx_config_string(config, NX_CONFIG_HOST), "0.0.0.0");
    assert_string_equal(nx_config_origin(config, NX_CONFIG_HOST), "nexus.yaml:3");
    assert_int_equal(nx_config_int(config, NX_CONFIG_INFERENCE_WORKERS), 3);
    nx_assert_ok(nx_config_set(config, NX_CONFIG_PORT, "8003", "--port", &err), err);
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8003);
    assert_string_equal(nx_config_text(config, NX_CONFIG_PORT), "8003");
    assert_string_equal(nx_config_origin(config, NX_CONFIG_PORT), "--port");
    nx_config_free(config);
}

static void an_empty_variable_is_no_setting(void **state)
{
    (void)state;
    static const char *const environment[] = {"NEXUS_PORT", "", NULL};
    nx_config *config = loaded("port: 8001\n", environment);
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8001);
    nx_config_free(config);
}

static void a_refused_override_changes_nothing(void **state)
{
    (void)state;
    nx_config *config = loaded("port: 8001\n", NULL);
    nx_error err = {0};
    assert_int_equal(nx_config_set(config, NX_CONFIG_PORT, "x", "--port", &err), NX_ERR_INVALID);
    assert_string_equal(err.message, "--port: port is 'x', which is not a whole number");
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8001);
    assert_string_equal(nx_config_origin(config, NX_CONFIG_PORT), "nexus.yaml:1");
    nx_config_free(config);
}

static void unknown_keys_get_a_suggestion(void **state)
{
    (void)state;
    refuses("port: 1\nprot: 2\n", NULL,
            "nexus.yaml:2: there is no setting 'prot'; did you mean 'port'?");
    refuses("zebra: 2\n", NULL, "nexus.yaml:1: there is no setting 'zebra'; see nexus check");
    refuses("Port: 2\n", NULL, "nexus.yaml:1: there is no setting 'Port'; did you mean 'port'?");
    refuses("AWS_SECRET_ACCESS_KEY: geheim\n", NULL,
            "nexus.yaml:1: there is no setting 'AWS_SECRET_ACCESS_KEY'; did you mean "
            "'s3_secret_key'?");
    refuses("worker_class: uvicorn.workers.UvicornWorker\n", NULL,
            "nexus.yaml:1: 'worker_class' has no meaning here: it chooses a Python server's "
            "workers; here there is one kind");
    refuses("port_file: /etc/port\n", NULL,
            "nexus.yaml:1: there is no setting 'port_file'; did you mean 'profile'?");
}

static void values_out_of_range_say_the_range(void **state)
{
    (void)state;
    static const char *const environment[] = {"NEXUS_CONFIDENCE", "1.01", NULL};
    refuses("port: 65536\n", NULL, "nexus.yaml:1: port is 65536; it must be from 0 to 65535");
    refuses("\nport: -1\n", NULL, "nexus.yaml:2: port is -1; it must be from 0 to 65535");
    refuses("inference_queue_size: 0\n", NULL,
            "nexus.yaml:1: inference_queue_size is 0; it must be from 1 to 65536");
    refuses("max_body_bytes: 1023\n", NULL,
            "nexus.yaml:1: max_body_bytes is 1023; it must be from 1024 to 4294967296");
    refuses(NULL, environment,
            "environment NEXUS_CONFIDENCE: confidence is 1.01; it must be from 0 to 1");
    nx_config_free(loaded("port: 0\nconfidence: 0\niou: 1\ninference_queue_size: 65536\n", NULL));
}

static void numbers_must_be_numbers(void **state)
{
    (void)state;
    static const char *const link[] = {"NEXUS_PORT", "tcp://10.0.0.7:8000", NULL};
    refuses(NULL, link,
            "environment NEXUS_PORT: port is 'tcp://10.0.0.7:8000', which is not a whole number; "
            "Kubernetes sets it for a Service of that name, unless enableServiceLinks is false");
    refuses("port: 80.5\n", NULL, "nexus.yaml:1: port is '80.5', which is not a whole number");
    refuses("port: 80k\n", NULL, "nexus.yaml:1: port is '80k', which is not a whole number");
    refuses("port:\n", NULL, "nexus.yaml:1: port is '', which is not a whole number");
    refuses("port: 99999999999999999999\n", NULL,
            "nexus.yaml:1: port is '99999999999999999999', which is not a whole number");
    refuses("iou: half\n", NULL, "nexus.yaml:1: iou is 'half', which is not a number");
    refuses("iou: nan\n", NULL, "nexus.yaml:1: iou is 'nan', which is not a number");
    refuses("iou: inf\n", NULL, "nexus.yaml:1: iou is 'inf', which is not a number");
    refuses("iou: 0.5x\n", NULL, "nexus.yaml:1: iou is '0.5x', which is not a number");
}

static void bytes_take_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"max_body_bytes: 5000\n", 5000},           {"max_body_bytes: 2k\n", 2048},
        {"max_body_bytes: 3M\n", INT64_C(3) << 20}, {"max_body_bytes: 512mb\n", INT64_C(512) << 20},
        {"max_body_bytes: 4g\n", INT64_C(4) << 30},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_config *config = loaded(cases[i].text, NULL);
        assert_int_equal(nx_config_int(config, NX_CONFIG_MAX_BODY_BYTES), cases[i].value);
        nx_config_free(config);
    }
    refuses(
        "max_body_bytes: 2b\n", NULL,
        "nexus.yaml:1: max_body_bytes is '2b', which is not a whole number (k, m, g may follow)");
    refuses("max_body_bytes: 2kbb\n", NULL,
            "nexus.yaml:1: max_body_bytes is '2kbb', which is not a whole number (k, m, g may "
            "follow)");
    refuses(
        "max_body_bytes: 2t\n", NULL,
        "nexus.yaml:1: max_body_bytes is '2t', which is not a whole number (k, m, g may follow)");
    refuses(
        "max_body_bytes: k\n", NULL,
        "nexus.yaml:1: max_body_bytes is 'k', which is not a whole number (k, m, g may follow)");
    refuses("max_body_bytes: 5g\n", NULL,
            "nexus.yaml:1: max_body_bytes is 5g; it must be from 1024 to 4294967296");
}

static void choices_are_listed(void **state)
{
    (void)state;
    static const char *const environment[] = {"LOG_LEVEL", "WARNING", "LOG_FORMAT", "JSON", NULL};
    nx_config *config = loaded(NULL, environment);
    assert_string_equal(nx_config_string(config, NX_CONFIG_LOG_LEVEL), "WARNING");
    nx_config_free(config);
    nx_config_free(loaded("log_level: warn\n", NULL));
    refuses("log_level: loud\n", NULL,
            "nexus.yaml:1: log_level is 'loud'; use one of debug|info|warning|error");
    refuses("log_format: warn\n", NULL,
            "nexus.yaml:1: log_format is 'warn'; use one of auto|text|json");
    refuses("log_format: auto|text\n", NULL,
            "nexus.yaml:1: log_format is 'auto|text'; use one of auto|text|json");
    refuses("log_format: aut\n", NULL,
            "nexus.yaml:1: log_format is 'aut'; use one of auto|text|json; did you mean 'auto'?");
}

static void a_key_is_set_once(void **state)
{
    (void)state;
    refuses("port: 1\nhost: a\nport: 2\n", NULL, "nexus.yaml:3: 'port' is set twice");
}

static void only_plain_values_in_one_map(void **state)
{
    (void)state;
    const char *plain = "nexus.yaml:1: a setting has one plain value, not a list or a map";
    refuses("port: [1, 2]\n", NULL, plain);
    refuses("port:\n  - 1\n", NULL, plain);
    refuses("port: {a: 1}\n", NULL, plain);
    refuses("[port]: 1\n", NULL, plain);
    refuses("- port\n", NULL, "nexus.yaml: expected lines of the form 'setting: value'");
    refuses("just words\n", NULL, "nexus.yaml: expected lines of the form 'setting: value'");
    refuses("port: 1\n---\nhost: a\n", NULL,
            "nexus.yaml:3: a second document; all settings belong into one");
    refuses("host: \"a\\0b\"\n", NULL, "nexus.yaml:1: a NUL byte (\\0) in a setting");
}

static void yaml_of_the_usual_forms(void **state)
{
    (void)state;
    nx_config *config = loaded("---\nhost: \"::1\"   # quoted\nmodel: 'a b.onnx'\n"
                               "data_dir: &x /data\nort_library: *x\n...\n",
                               NULL);
    assert_string_equal(nx_config_string(config, NX_CONFIG_HOST), "::1");
    assert_string_equal(nx_config_string(config, NX_CONFIG_MODEL), "a b.onnx");
    assert_string_equal(nx_config_string(config, NX_CONFIG_DATA_DIR), "/data");
    assert_string_equal(nx_config_string(config, NX_CONFIG_ORT_LIBRARY), "/data");
    nx_config_free(config);
    static const char *const nothing[] = {"", "\n\n", "# only a comment\n", "---\n...\n"};
    for (size_t i = 0; i < NX_COUNT(nothing); i++) {
        config = loaded(nothing[i], NULL);
        assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 8000);
        nx_config_free(config);
    }
}

static void bad_yaml_shows_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *place;
    } cases[] = {
        {"port: 1\nhost: [a\n", "nexus.yaml:3: not valid YAML: "},
        {"port: 1\n\thost: a\n", "nexus.yaml:2: not valid YAML: "},
        {"port: 1\nhost: \"a\n", "nexus.yaml:3: not valid YAML: "},
        {"port: 1\nhost: *nowhere\n", "nexus.yaml:2: not valid YAML: "},
        {"port: 1\n\nhost: \xFF\n", "nexus.yaml:3: not valid YAML: "},
        {"port: 1\n\x01\n", "nexus.yaml:2: not valid YAML: "},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_config *config = NULL;
        nx_error err = {0};
        assert_int_equal(load(cases[i].text, NULL, &config, &err), NX_ERR_INVALID);
        assert_null(config);
        if (strncmp(err.message, cases[i].place, strlen(cases[i].place)) != 0) {
            fail_msg("case %zu: %s", i, err.message);
        }
    }
}

/* Aliases are not copied ("billion laughs"), and nothing grows with the depth of what is refused.
 */
static void what_swells_is_refused(void **state)
{
    (void)state;
    char text[2000];
    size_t used = (size_t)snprintf(text, sizeof text, "a0: &a0 [x, x]\n");
    for (int i = 1; i < 40; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "a%d: &a%d [*a%d, *a%d, *a%d]\n",
                                 i, i, i - 1, i - 1, i - 1);
    }
    refuses(text, NULL, "nexus.yaml:1: a setting has one plain value, not a list or a map");
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    nx_config *config = NULL;
    nx_error err = {0};
    assert_int_equal(load(text, NULL, &config, &err), NX_ERR_INVALID);
    assert_null(config);
    nx_assert_contains(err.message, "nexus.yaml:");
}

static void a_file_over_a_mebibyte_is_none(void **state)
{
    size_t size = ((size_t)1 << 20) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '#', size);
    nx_config *config = NULL;
    nx_error err = {0};
    const char *path = scratch_write(state, "large.yaml", text, size);
    assert_int_equal(nx_config_load(path, lookup, NULL, &config, &err), NX_ERR_TOO_LARGE);
    assert_null(config);
    free(text);
}

static nx_status check_environment(const char *entry, nx_config **out, nx_error *err)
{
    char *environment[] = {(char *)"PATH=/bin", (char *)entry, NULL};
    *out = loaded(NULL, NULL);
    *err = (nx_error){0};
    return nx_config_check_names(*out, environment, err);
}

static void names_with_our_prefix_must_exist(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"NEXUS_PROT=1", "environment: there is no setting NEXUS_PROT; did you mean NEXUS_PORT?"},
        {"NEXUS_LOG_LEVEL=info",
         "environment: there is no setting NEXUS_LOG_LEVEL; did you mean LOG_LEVEL?"},
        {"NEXUS_ZEBRA=1",
         "environment: there is no setting NEXUS_ZEBRA; see nexus check, or unset it"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_config *config = NULL;
        nx_error err = {0};
        assert_int_equal(check_environment(cases[i][0], &config, &err), NX_ERR_INVALID);
        assert_string_equal(err.message, cases[i][1]);
        nx_config_free(config);
    }
    static const char *const fine[] = {
        "NEXUS_PORT=1",
        "NEXUS_CONFIG=x",
        "NEXUS_SERVICE_HOST=10.0.0.1",
        "NEXUS_TEST_SEED=1",
        "NEXUS_PORT_80_TCP=x",
        "NEXUS_REDIS_PORT=tcp://10.0.0.1:1",
        "NEXUS_ZEBRA=",
        "WEBHOOK_SECRET_FILE=/x",
        "WEBHOOK_SECRET=geheim",
        "INFERENCE_WORKERS=2",
        "DB_NAME=x",
        "DB_HOST=x",
        "DB_PASSWORD=x",
        "LOG_FILE=/x",
        "HTTP_PROXY=x",
        "AWS_SESSION_TOKEN=x",
        "MODEL=x",
        "HOME=/",
    };
    for (size_t i = 0; i < NX_COUNT(fine); i++) {
        nx_config *config = NULL;
        nx_error err = {0};
        nx_assert_ok(check_environment(fine[i], &config, &err), err);
        if (nx_config_warning_count(config) != 0) {
            fail_msg("%s: %s", fine[i], nx_config_warning(config, 0));
        }
        nx_config_free(config);
    }
}

static void near_misses_are_warned_of(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"INFERENCE_WORKRES=4",
         "environment INFERENCE_WORKRES is no setting; did you mean INFERENCE_WORKERS?"},
        {"DATABASE_URI=x", "environment DATABASE_URI is no setting; did you mean DATABASE_URL?"},
        {"KEEP_ALIVE=75", "environment KEEP_ALIVE is no setting; did you mean KEEPALIVE?"},
        {"DB_POOLSIZE=5", "environment DB_POOLSIZE is no setting; did you mean DB_POOL_SIZE?"},
        {"AWS_ACCESS_KEY=x",
         "environment AWS_ACCESS_KEY is no setting; did you mean AWS_ACCESS_KEY_ID?"},
        {"WORKER_CLASS=UvicornWorker",
         "environment WORKER_CLASS has no meaning here: it chooses a Python server's workers; "
         "here there is one kind"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_config *config = NULL;
        nx_error err = {0};
        nx_assert_ok(check_environment(cases[i][0], &config, &err), err);
        if (nx_config_warning_count(config) != 1) {
            fail_msg("%s is not warned of", cases[i][0]);
        }
        assert_string_equal(nx_config_warning(config, 0), cases[i][1]);
        nx_config_free(config);
    }
}

static void settings_that_contradict_each_other(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } wrong[] = {
        {"inference_device: cpu\nuse_tensorrt: true\n",
         "use_tensorrt is for a GPU (nexus.yaml:2), and inference_device is cpu (nexus.yaml:1)"},
        {"inference_device: cpu\nuse_fp16: yes\n", "use_fp16 is for a GPU (nexus.yaml:2)"},
        {"profile: gpu\ninference_device: cpu\n",
         "use_tensorrt is for a GPU (profile gpu), and inference_device is cpu (nexus.yaml:2)"},
        {"use_onnx: false\n", "nothing is left that runs a model"},
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_config *config = loaded(wrong[i].text, NULL);
        nx_error err = {0};
        assert_int_equal(nx_config_check(config, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, wrong[i].message);
        nx_config_free(config);
    }
    static const struct {
        const char *text;
        const char *message;
    } odd[] = {
        {"use_fp16: true\n", "use_fp16 (nexus.yaml:1) does nothing without USE_TENSORRT=true"},
        {"database_url: postgres://h/d\ndb_pool_size: 180\n", "allow 205 connections"},
        {"max_inflight_body_bytes: 100m\n", "max_batch_body_bytes is 256m (default), more than "
                                            "max_inflight_body_bytes allows: 100m (nexus.yaml:1)"},
        {"s3_endpoint: http://h\n", "s3_endpoint (nexus.yaml:1) does nothing without objects_url"},
    };
    for (size_t i = 0; i < NX_COUNT(odd); i++) {
        nx_config *config = loaded(odd[i].text, NULL);
        nx_error err = {0};
        nx_assert_ok(nx_config_check(config, &err), err);
        assert_int_equal(nx_config_warning_count(config), 1);
        nx_assert_contains(nx_config_warning(config, 0), odd[i].message);
        nx_config_free(config);
    }
    nx_config *config = loaded(NULL, NULL);
    nx_error err = {0};
    nx_assert_ok(nx_config_check(config, &err), err);
    assert_int_equal(nx_config_warning_count(config), 0);
    nx_config_free(config);
}

static void files_are_read(void **state)
{
    nx_config *config = NULL;
    nx_error err = {0};
    char expected[PATH_MAX + 10];
    const char *path = scratch_write(state, "nexus.yaml", "# first\nport: 9\n", 16);
    nx_assert_ok(nx_config_load(path, lookup, NULL, &config, &err), err);
    assert_int_equal(nx_config_int(config, NX_CONFIG_PORT), 9);
    snprintf(expected, sizeof expected, "%s:2", path);
    assert_string_equal(nx_config_origin(config, NX_CONFIG_PORT), expected);
    nx_config_free(config);

    nx_assert_ok(nx_config_load(NULL, lookup, NULL, &config, &err), err);
    nx_config_free(config);
    config = (nx_config *)1;
    path = scratch_path(state, "missing.yaml");
    assert_int_equal(nx_config_load(path, lookup, NULL, &config, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, path);
    assert_null(config);
    assert_int_equal(nx_config_load(*state, lookup, NULL, &config, &err), NX_ERR_INVALID);
}

static void a_long_path_keeps_its_line(void **state)
{
    (void)state;
    char path[400];
    memset(path, 'd', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text("\n\nport: 7\n", 10, path, lookup, NULL, &config, &err), err);
    nx_assert_contains(nx_config_origin(config, NX_CONFIG_PORT), "ddd:3");
    nx_config_free(config);
}

/* What is said of a setting for programs does not contradict what is said of it for people. */
static void every_setting_is_described(void **state)
{
    (void)state;
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        nx_config_key key = (nx_config_key)i;
        const nx_config_about about = nx_config_describe(key);
        const char *unit = about.unit != NULL ? about.unit : "";
        const char *help = nx_config_help(key);
        bool number = strcmp(about.type, "integer") == 0 || strcmp(about.type, "number") == 0 ||
                      strcmp(about.type, "size") == 0;
        bool chosen = strcmp(about.type, "choice") == 0 || strcmp(about.type, "boolean") == 0;
        assert_int_equal(about.bounded, number);
        assert_int_equal(about.choices != NULL, chosen);
        assert_true(!number || about.low < about.high);
        assert_int_equal(strncmp(help, "seconds", 7) == 0, strcmp(unit, "seconds") == 0);
        assert_int_equal(strncmp(help, "microseconds", 12) == 0, strcmp(unit, "microseconds") == 0);
        assert_int_equal(strcmp(about.type, "size") == 0,
                         strcmp(unit, "bytes") == 0 || strcmp(unit, "pixels") == 0);
    }
    assert_string_equal(nx_config_describe(NX_CONFIG_MAX_IMAGE_PIXELS).unit, "pixels");
    assert_string_equal(nx_config_describe(NX_CONFIG_RATE_LIMIT).choices, "true|false");
    assert_string_equal(nx_config_describe(NX_CONFIG_RATE_LIMIT_READ).type, "rate");
    assert_string_equal(nx_config_describe(NX_CONFIG_TRUSTED_PROXIES).type, "addresses");
}

static void a_value_knows_its_source(void **state)
{
    (void)state;
    static const char *const environment[] = {
        "NEXUS_PORT", "9000", "NEXUS_PROFILE", "large", "WEBHOOK_SECRET_FILE", "/x", NULL};
    nx_error err = {0};
    nx_config *config = loaded("iou: 0.5\n", environment);
    nx_assert_ok(nx_config_set(config, NX_CONFIG_CONFIDENCE, "0.5", "--conf", &err), err);
    assert_string_equal(nx_config_source(config, NX_CONFIG_HOST), "default");
    assert_string_equal(nx_config_source(config, NX_CONFIG_DB_POOL_SIZE), "profile");
    assert_string_equal(nx_config_source(config, NX_CONFIG_IOU), "file");
    assert_string_equal(nx_config_source(config, NX_CONFIG_PORT), "environment");
    assert_string_equal(nx_config_source(config, NX_CONFIG_CONFIDENCE), "option");
    assert_string_equal(nx_config_source(config, NX_CONFIG_WEBHOOK_SECRET), "secret_file");
    nx_config_free(config);
}

/* They divide the pool, and none of them goes without. */
static void workers_share_the_pool(void **state)
{
    (void)state;
    nx_config *few = loaded("workers: 4\n", NULL);
    nx_config *many = loaded("workers: 64\ndb_pool_size: 10\ndb_max_overflow: 150\n"
                             "database_url: postgres://h/n\n",
                             NULL);
    nx_error err = {0};
    assert_int_equal(nx_config_most_connections(few), 75);
    assert_int_equal(nx_config_most_connections(many), 214);
    nx_assert_ok(nx_config_check(many, &err), err);
    assert_int_equal(nx_config_warning_count(many), 1);
    nx_assert_contains(nx_config_warning(many, 0), "allow 214 connections to PostgreSQL");
    nx_config_free(few);
    nx_config_free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_is_described),
        cmocka_unit_test(a_value_knows_its_source),
        cmocka_unit_test(workers_share_the_pool),
        cmocka_unit_test(defaults_are_in_range_and_named),
        cmocka_unit_test(every_default_can_be_written_in_a_file),
        cmocka_unit_test(the_stronger_origin_wins),
        cmocka_unit_test(an_empty_variable_is_no_setting),
        cmocka_unit_test(a_refused_override_changes_nothing),
        cmocka_unit_test(unknown_keys_get_a_suggestion),
        cmocka_unit_test(values_out_of_range_say_the_range),
        cmocka_unit_test(numbers_must_be_numbers),
        cmocka_unit_test(bytes_take_a_unit),
        cmocka_unit_test(choices_are_listed),
        cmocka_unit_test(a_key_is_set_once),
        cmocka_unit_test(only_plain_values_in_one_map),
        cmocka_unit_test(yaml_of_the_usual_forms),
        cmocka_unit_test(bad_yaml_shows_its_line),
        cmocka_unit_test(what_swells_is_refused),
        cmocka_unit_test(a_file_over_a_mebibyte_is_none),
        cmocka_unit_test(names_with_our_prefix_must_exist),
        cmocka_unit_test(near_misses_are_warned_of),
        cmocka_unit_test(settings_that_contradict_each_other),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(a_long_path_keeps_its_line),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
