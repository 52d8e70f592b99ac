#include "cli/reload.h"

#include "base/log.h"

#include <fcntl.h>
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

nx_reload nx_reload_begin(const nx_cli_args *args)
{
    return (nx_reload){.args = args, .has_terminal = nx_reload_has_terminal()};
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

typedef struct tally {
    unsigned taken, waiting;
} tally;

static void tell(const nx_config_change *change, void *user)
{
    tally *count = user;
    const char *name = nx_config_name(change->key);
    if (change->taken) {
        count->taken++;
        nx_log_info("cli", "%s: changed from '%s' to '%s' (%s)", name, change->from, change->to,
                    change->origin);
    } else {
        count->waiting++;
        nx_log_warn("cli", "%s: changed from '%s' to '%s' in %s, needs a restart", name,
                    change->from, change->to, change->origin);
    }
}

/* All of what uses it, or nothing: the only error is want of memory, before anything is changed. */
static nx_status apply(const nx_config *config, nx_api *api, const nx_background *background,
                       nx_error *err)
{
    nx_status status = nx_background_reconfigure(background, config, err);
    if (status == NX_OK && api != NULL) {
        status = nx_api_reconfigure(api, config, err);
    }
    return status;
}

/* Where the log can tell it: before it becomes quieter, or after it became less so. */
static void finish(const nx_config *config, const tally *count)
{
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

static void read_again(nx_reload *reload, nx_api *api, const nx_background *background)
{
    nx_error err = {0};
    tally count = {0};
    nx_config *next = NULL;
    const nx_config *running = reload->config != NULL ? reload->config : reload->args->config;
    nx_status status = nx_cli_read_config(reload->args, &next, &err);
    if (status == NX_OK) {
        status = nx_config_settle(running, next, tell, &count, &err);
    }
    if (status == NX_OK) {
        status = apply(next, api, background, &err);
    }
    if (status != NX_OK) {
        nx_log_error("cli", "SIGHUP: the configuration stays as it was: %s", err.message);
        nx_config_free(next);
        return;
    }
    nx_config_free(reload->config);
    reload->config = next;
    finish(next, &count);
}

int nx_reload_wait(nx_reload *reload, const sigset_t *signals, nx_api *api,
                   const nx_background *background)
{
    for (;;) {
        int number = 0;
        (void)sigwait(signals, &number);
        if (number != SIGHUP || !nx_reload_is_wanted(reload->has_terminal)) {
            return number;
        }
        read_again(reload, api, background);
    }
}
