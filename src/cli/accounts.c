#include "cli/accounts.h"

#include "base/file.h"
#include "base/time_text.h"
#include "cli/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

nx_status nx_cli_accounts_open(const nx_cli_args *args, nx_cli_accounts *out, nx_error *err)
{
    char *data_dir = nx_setup_data_dir(args->config);
    *out = (nx_cli_accounts){.arena = nx_arena_make(0)};
    if (data_dir == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    }
    const nx_store_options options = nx_store_options_of(args->config, data_dir);
    nx_status status = nx_file_make_dirs(data_dir, err);
    if (status == NX_OK) {
        status = nx_store_open(&options, &out->store, err);
    }
    if (status == NX_OK) {
        nx_setup setup = {0};
        status = nx_setup_open_cache(args->config, &setup, err);
        out->redis = setup.redis;
        out->cache = setup.cache;
    }
    if (status == NX_OK) {
        const nx_auth_options accounts = {.store = out->store, .cache = out->cache};
        status = nx_auth_new(&accounts, &out->auth, err);
    }
    if (status != NX_OK) {
        nx_cli_accounts_close(out);
    }
    free(data_dir);
    return status;
}

void nx_cli_accounts_close(nx_cli_accounts *accounts)
{
    nx_auth_free(accounts->auth);
    nx_cache_free(accounts->cache);
    nx_redis_free(accounts->redis);
    nx_store_close(accounts->store);
    nx_arena_free(&accounts->arena);
    *accounts = (nx_cli_accounts){0};
}

int nx_cli_accounts_run(const nx_cli_args *args, nx_cli_accounts_work work)
{
    nx_error err = {0};
    nx_cli_accounts accounts;
    nx_buffer said = NX_BUFFER_INIT;
    nx_status status = nx_cli_accounts_open(args, &accounts, &err);
    if (status == NX_OK) {
        status = work(args, &accounts, &said, &err);
    }
    nx_cli_accounts_close(&accounts);
    if (status != NX_OK) {
        nx_buffer_free(&said);
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    return nx_cli_print(args, &said);
}

/* --- passwords --- */

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

/* One line without its end. What does not fit is read and left out, and what fits is too long for a
 * password by then. False at the end of the input, after an error and after a signal. */
static bool read_line(int fd, char out[NX_CLI_PASSWORD_SIZE])
{
    size_t used = 0;
    char c = '\0';
    ssize_t got = 0;
    while (caught == 0 && (got = read(fd, &c, 1)) == 1 && c != '\n') {
        if (used < NX_CLI_PASSWORD_SIZE - 1) {
            out[used++] = c;
        }
    }
    if (used > 0 && out[used - 1] == '\r') {
        used--;
    }
    out[used] = '\0';
    return caught == 0 && (got == 1 || (got == 0 && used > 0));
}

static void say(int terminal, const char *text)
{
    (void)!write(terminal, text, strlen(text));
}

/* The terminal shows what is typed again, whatever ends the asking. */
static bool ask_unseen(int terminal, const char *prompt, char out[NX_CLI_PASSWORD_SIZE])
{
    struct termios shown;
    if (tcgetattr(terminal, &shown) != 0) {
        return false;
    }
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    hidden.c_lflag |= ECHONL;
    (void)tcsetattr(terminal, TCSAFLUSH, &hidden);
    say(terminal, prompt);
    bool read = read_line(terminal, out);
    (void)tcsetattr(terminal, TCSAFLUSH, &shown);
    return read;
}

static nx_status ask_twice(int terminal, char out[NX_CLI_PASSWORD_SIZE], nx_error *err)
{
    char again[NX_CLI_PASSWORD_SIZE] = "";
    nx_status status = NX_OK;
    if (!ask_unseen(terminal, "Password: ", out)) {
        return nx_error_set(err, NX_ERR_INVALID, "no password was given");
    }
    status = nx_password_check(out, err);
    if (status == NX_OK &&
        (!ask_unseen(terminal, "The same again: ", again) || strcmp(out, again) != 0)) {
        status = nx_error_set(err, NX_ERR_INVALID, "the two passwords are not the same");
    }
    sodium_memzero(again, sizeof again);
    return status;
}

/* With signals that would end the program held back until the terminal is as it was. */
static nx_status ask_somebody(char out[NX_CLI_PASSWORD_SIZE], nx_error *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction before[sizeof numbers / sizeof numbers[0]];
    const struct sigaction action = {.sa_handler = catch_signal}; /* which ends a read */
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot open the terminal");
    }
    caught = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)sigaction(numbers[i], &action, &before[i]);
    }
    nx_status status = ask_twice(terminal, out, err);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)sigaction(numbers[i], &before[i], NULL);
    }
    close(terminal);
    if (caught != 0) {
        sodium_memzero(out, NX_CLI_PASSWORD_SIZE);
        (void)raise(caught);
        return nx_error_set(err, NX_ERR_CANCELLED, "interrupted");
    }
    return status;
}

static nx_status read_password(int fd, const char *name, char out[NX_CLI_PASSWORD_SIZE],
                               nx_error *err)
{
    errno = 0;
    caught = 0;
    if (read_line(fd, out)) {
        return NX_OK;
    }
    return errno != 0
               ? nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read the password from %s", name)
               : nx_error_set(err, NX_ERR_INVALID, "there is no password in %s", name);
}

nx_status nx_cli_password(const nx_cli_args *args, char out[NX_CLI_PASSWORD_SIZE], nx_error *err)
{
    const char *file = nx_cli_value(args, "password-file");
    out[0] = '\0';
    if (file == NULL && isatty(STDIN_FILENO)) {
        return ask_somebody(out, err);
    }
    if (file == NULL || strcmp(file, "-") == 0) {
        return read_password(STDIN_FILENO, "standard input", out, err);
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                  "cannot open %s", file);
    }
    nx_status status = read_password(fd, file, out, err);
    close(fd);
    return status;
}

const char *nx_cli_time(int64_t ms, char out[NX_TIME_TEXT_SIZE])
{
    if (ms == 0) {
        return "-";
    }
    nx_time_text_seconds(ms / 1000, out);
    return out;
}

void nx_cli_json_time(nx_json *json, const char *key, int64_t ms)
{
    char text[NX_TIME_TEXT_SIZE];
    nx_json_key_string(json, key, ms != 0 ? nx_cli_time(ms, text) : NULL);
}
