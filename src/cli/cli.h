/*
 * The frame of the command line: commands and their options are tables, from which parsing, --help,
 * shell completion and the manual page all follow. One file for each command, cmd_<name>.c.
 */
#ifndef NX_CLI_CLI_H
#define NX_CLI_CLI_H

#include "base/buffer.h"
#include "base/config.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit codes, documented in --help and the manual: scripts may rely on them. */
enum {
    NX_EXIT_OK = 0,
    NX_EXIT_PARTIAL = 1,     /* some inputs failed, the others were served */
    NX_EXIT_USAGE = 2,       /* the command line or the configuration is wrong */
    NX_EXIT_UNAVAILABLE = 3, /* model, runtime, port or file that is needed cannot be had */
    NX_EXIT_INTERRUPTED = 130,
    NX_EXIT_READER_GONE = 141, /* as if killed by SIGPIPE, which is what scripts know */
    NX_EXIT_ANEW = 256,        /* for main alone: run the same command again in a fresh program */
};

/* Marks an option that sets no configuration key. */
#define NX_CLI_NO_KEY (-1)

typedef struct nx_cli_option {
    const char *name; /* long name, without "--" */
    char letter;      /* short name, or 0 */
    /* Name of its argument for --help; NULL for a flag. With "..." at its end the option may be
     * given several times, and its value is all of them, one a line. */
    const char *argument;
    const char *help;
    int key;             /* nx_config_key that it overrides, or NX_CLI_NO_KEY */
    const char *choices; /* "a|b|c" for checking and completion, or NULL */
} nx_cli_option;

typedef struct nx_cli_args nx_cli_args;
typedef struct nx_cli_command nx_cli_command;

struct nx_cli_command {
    const char *name;               /* of a sub-command the whole of it: "models list" */
    const char *operands;           /* for the usage line: "PATH|DIR|GLOB|-..."; "" for none */
    int min_operands, max_operands; /* max -1: any number */
    const char *words;              /* operands "a|b|c" for completion; NULL: file names */
    const char *summary;            /* one line */
    const char *description;        /* paragraphs for --help and the manual */
    const char *examples;           /* lines "command\n    what it does\n" */
    const nx_cli_option *options;
    size_t option_count;
    bool uses_config; /* also takes the common options (--config, --model, ...) */
    int (*run)(const nx_cli_args *args); /* returns an exit code */
    /* A command with sub-commands has these and a description, and nothing else of the above but
     * name, summary and examples: each of them is a command of its own. */
    const nx_cli_command *const *subcommands;
    size_t subcommand_count;
};

/* What a command gets; valid while it runs. */
struct nx_cli_args {
    const nx_cli_command *command;
    const char *const
        *values; /* by index of command->options; NULL where not given, "" for a flag */
    char *const *operands;
    int operand_count;
    nx_config *config;                /* NULL unless uses_config */
    const struct option_set *options; /* for nx_cli_read_config */
};

extern const nx_cli_command nx_cmd_detect;
extern const nx_cli_command nx_cmd_segment;
extern const nx_cli_command nx_cmd_track;
extern const nx_cli_command nx_cmd_serve;
extern const nx_cli_command nx_cmd_worker;
extern const nx_cli_command nx_cmd_sweep;
extern const nx_cli_command nx_cmd_backup;
extern const nx_cli_command nx_cmd_restore;
extern const nx_cli_command nx_cmd_eval;
extern const nx_cli_command nx_cmd_bench;
extern const nx_cli_command nx_cmd_check;
extern const nx_cli_command nx_cmd_models;
extern const nx_cli_command nx_cmd_audit;
extern const nx_cli_command nx_cmd_users;
extern const nx_cli_command nx_cmd_keys;
extern const nx_cli_command nx_cmd_help;
extern const nx_cli_command nx_cmd_completion;

/* All commands in the order of --help. */
extern const nx_cli_command *const nx_cli_commands[];
extern const size_t nx_cli_command_count;

/* Common options of the commands with uses_config. */
extern const nx_cli_option nx_cli_common_options[];
extern const size_t nx_cli_common_option_count;

/* Does the command take this common option? One of its own of the same name takes its place. */
bool nx_cli_takes_common(const nx_cli_command *command, const nx_cli_option *common);

/* Parses and runs; the value for main to return. */
int nx_cli_main(int argc, char **argv);

/* Value of an option of the running command by its name; NULL when not given. The name must be one
 * of the command's own options. */
const char *nx_cli_value(const nx_cli_args *args, const char *name);

/* Reads the configuration of a running command anew, from all of its origins. On failure *out is
 * NULL. Errors: NX_ERR_INVALID, NX_ERR_NOT_FOUND, as at the start. */
nx_status nx_cli_read_config(const nx_cli_args *args, nx_config **out, nx_error *err);

/* Makes the log what the configuration says. Any thread. */
void nx_cli_configure_log(const nx_config *config);

/* Parses a whole number or a number with a range check; the error names the option. */
nx_status nx_cli_int(const nx_cli_args *args, const char *name, int64_t low, int64_t high,
                     int64_t fallback, int64_t *out, nx_error *err);
nx_status nx_cli_number(const nx_cli_args *args, const char *name, double low, double high,
                        double fallback, double *out, nx_error *err);

/* "nexus detect: message" on standard error, without control characters; returns code. args may be
 * NULL where no command runs. */
int nx_cli_fail(const nx_cli_args *args, int code, const nx_error *err);

/* Writes a command's whole text to standard output and frees it. Returns NX_EXIT_OK, or what to
 * exit with after it said why: a full disk is an error, a reader that has gone is no news. */
int nx_cli_print(const nx_cli_args *args, nx_buffer *text);

/* "nexus: there is no command 'detct'; did you mean 'detect'?"; returns NX_EXIT_USAGE. group: the
 * command whose sub-command is not known; NULL for the program itself. */
int nx_cli_unknown_command(const nx_cli_command *group, const char *word);

/* The command of that word among those of a group (NULL: of the program); NULL when there is none.
 */
const nx_cli_command *nx_cli_find(const nx_cli_command *group, const char *word);

/* Its last word, by which it is called: "list" of "models list". */
const char *nx_cli_word(const nx_cli_command *command);

/* Calls visit for each command that runs: sub-commands in place of the command that has them. */
void nx_cli_each(void (*visit)(const nx_cli_command *command, nx_buffer *out), nx_buffer *out);

/* The exit code for a failed set-up: NX_EXIT_USAGE for NX_ERR_INVALID, else NX_EXIT_UNAVAILABLE. */
int nx_cli_exit_code(nx_status status);

/* Text of --help for one command, and for the whole program (command NULL). */
void nx_cli_help(const nx_cli_command *command, nx_buffer *out);

#endif
