#include "cli/reload.h"

#include "base/json_writer.h"
#include "base/log.h"
#include "cli/audit.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

bool nx_reload_has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

bool nx_reload_is_wanted(bool had_terminal)
{
    return !had_terminal || nx_reload_has_terminal();
}

nx_reload nx_reload_begin(const nx_cli_args *args, nx_store *database, nx_share share)
{
    return (nx_reload){.args = args,
                       .database = database,
                       .share = share,
                       .has_terminal = nx_reload_has_terminal()};
}

const nx_config *nx_reload_config(const nx_reload *reload)
{
    return reload->config != NULL ? reload->config : reload->args->config;
}

void nx_reload_let_end(const sigset_t *signals)
{
    (void)signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

const char *nx_reload_signal_name(int number)
{
    return number == SIGINT ? "SIGINT" : number == SIGHUP ? "the terminal was closed" : "SIGTERM";
}

void nx_reload_end(nx_reload *reload)
{
    nx_config_free(reload->config);
    reload->config = NULL;
}

/* One of several processes: what there is to say was said. */
static bool is_quiet(const nx_reload *reload)
{
    return reload->share.count > 1;
}

typedef struct tally {
    bool quiet;
    unsigned taken, waiting;
    nx_config_key keys[NX_CONFIG_COUNT]; /* those taken at the front, the others at the back */
} tally;

static void tell(const nx_config_change *change, void *user)
{
    tally *count = user;
    const char *name = nx_config_name(change->key);
    if (change->taken) {
        count->keys[count->taken++] = change->key;
    } else {
        count->keys[NX_CONFIG_COUNT - ++count->waiting] = change->key;
    }
    if (count->quiet) {
        return;
    }
    if (change->taken) {
        nx_log_info("cli", "%s: changed from '%s' to '%s' (%s)", name, change->from, change->to,
                    change->origin);
    } else {
        nx_log_warn("cli", "%s: changed from '%s' to '%s' in %s, needs a restart", name,
                    change->from, change->to, change->origin);
    }
}

/* All of what uses it, or nothing: the only error is want of memory, before anything is changed. */
static nx_status apply(const nx_config *config, nx_api *api, const nx_background *background,
                       nx_error *err)
{
    nx_status status =
        background != NULL ? nx_background_reconfigure(background, config, err) : NX_OK;
    if (status == NX_OK && api != NULL) {
        status = nx_api_reconfigure(api, config, err);
    }
    return status;
}

static void write_names(nx_json *json, const char *key, const nx_config_key *keys, size_t count)
{
    nx_json_key(json, key);
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_string(json, nx_config_name(keys[i]));
    }
    nx_json_array_end(json);
}

/* Names alone: values may be secrets. Of several processes the first notes it. */
static void note(const nx_reload *reload, nx_api *api, const tally *count, nx_status outcome)
{
    if ((api == NULL && reload->database == NULL) || reload->share.index > 0) {
        return;
    }
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_json_object_begin(&json);
    if (outcome == NX_OK) {
        write_names(&json, "changed", count->keys, count->taken);
        write_names(&json, "needs_restart", &count->keys[NX_CONFIG_COUNT - count->waiting],
                    count->waiting);
    } else {
        nx_json_key_string(&json, "error", nx_status_name(outcome));
    }
    nx_json_object_end(&json);
    nx_buffer_append_char(&text, '\0');
    const nx_cli_event event = {.action = "settings.reload",
                                .details = text.failed ? NULL : (const char *)text.data,
                                .outcome = outcome};
    if (api != NULL) {
        nx_api_note(api, event.action, outcome, event.details);
    } else {
        nx_cli_audit_system(reload->database, &event);
    }
    nx_buffer_free(&text);
}

/* Where the log can tell it: before it becomes quieter, or after it became less so. */
static void finish(const nx_config *config, const tally *count)
{
    if (count->quiet) {
        nx_cli_configure_log(config);
        return;
    }
    bool tells = nx_log_enabled(NX_LOG_INFO);
    if (!tells) {
        nx_cli_configure_log(config);
    }
    nx_log_info("cli",
                "SIGHUP: the configuration was read again: %u settings changed, %u need a restart",
                count->taken, count->waiting);
    if (tells) {
        nx_cli_configure_log(config);
    }
    for (size_t i = 0; i < nx_config_warning_count(config); i++) {
        nx_log_warn("cli", "%s", nx_config_warning(config, i));
    }
}

static bool read_again(nx_reload *reload, nx_api *api, const nx_background *background)
{
    nx_error err = {0};
    tally count = {.quiet = is_quiet(reload)};
    nx_config *next = NULL;
    nx_status status = nx_cli_read_config(reload->args, &next, &err);
    if (status == NX_OK) {
        status = nx_config_settle(nx_reload_config(reload), next, tell, &count, &err);
    }
    if (status == NX_OK) {
        status = apply(next, api, background, &err);
    }
    if (status != NX_OK) {
        note(reload, api, &count, status);
        nx_log_error("cli", "SIGHUP: the configuration stays as it was: %s", err.message);
        nx_config_free(next);
        return false;
    }
    nx_config_free(reload->config);
    reload->config = next;
    note(reload, api, &count, NX_OK);
    finish(next, &count);
    return true;
}

bool nx_reload_for_all(nx_reload *reload)
{
    return read_again(reload, NULL, NULL);
}

int nx_reload_wait(nx_reload *reload, const sigset_t *signals, nx_api *api,
                   const nx_background *background)
{
    for (;;) {
        int number = 0;
        (void)sigwait(signals, &number);
        bool wanted = number == SIGHUP && nx_reload_is_wanted(reload->has_terminal);
        if (wanted) {
            (void)read_again(reload, api, background);
        } else if (number != SIGHUP || reload->share.count <= 1) {
            return number;
        }
    }
}
