#include "cli/cli.h"

#include "base/log.h"
#include "base/suggest.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MAX_OPTIONS  64
#define MAX_COMMANDS 32
/* getopt_long's values for long options start above every letter. */
#define LONG_BASE 256

const nx_cli_command *const nx_cli_commands[] = {
    &nx_cmd_detect, &nx_cmd_segment,    &nx_cmd_track,  &nx_cmd_serve,   &nx_cmd_worker,
    &nx_cmd_models, &nx_cmd_users,      &nx_cmd_keys,   &nx_cmd_eval,    &nx_cmd_bench,
    &nx_cmd_check,  &nx_cmd_sweep,      &nx_cmd_backup, &nx_cmd_restore, &nx_cmd_audit,
    &nx_cmd_help,   &nx_cmd_completion,
};
const size_t nx_cli_command_count = sizeof nx_cli_commands / sizeof nx_cli_commands[0];

const nx_cli_option nx_cli_common_options[] = {
    {"config", 'c', "FILE", "YAML file with settings (also NEXUS_CONFIG)", NX_CLI_NO_KEY, NULL},
    {"model", 'm', "NAME|FILE", "model name in the data folder, or an .onnx file", NX_CONFIG_MODEL,
     NULL},
    {"profile", 0, "NAME", "values for a machine or a load: cpu, gpu, small or large",
     NX_CONFIG_PROFILE, "none|cpu|gpu|small|large"},
    {"data-dir", 0, "DIR", "folder with lib/ and models/", NX_CONFIG_DATA_DIR, NULL},
    {"workers", 'w', "N", "parallel model runs (INFERENCE_WORKERS; default: the cores)",
     NX_CONFIG_INFERENCE_WORKERS, NULL},
    {"log-level", 0, "LEVEL", "debug, info, warning or error", NX_CONFIG_LOG_LEVEL,
     "debug|info|warning|error"},
};
const size_t nx_cli_common_option_count =
    sizeof nx_cli_common_options / sizeof nx_cli_common_options[0];

bool nx_cli_takes_common(const nx_cli_command *command, const nx_cli_option *common)
{
    bool own = false;
    for (size_t i = 0; i < command->option_count; i++) {
        own = own || strcmp(command->options[i].name, common->name) == 0;
    }
    return command->uses_config && !own;
}

/* The running command's options and, behind them, the common ones and --help. */
typedef struct option_set {
    const nx_cli_option *all[MAX_OPTIONS];
    size_t own;
    size_t count;
    struct option longs[MAX_OPTIONS + 2];
    char letters[2 * MAX_OPTIONS + 4];
    const char *values[MAX_OPTIONS];
    char *joined[MAX_OPTIONS]; /* the values of options that repeat; owned */
} option_set;

static void build_option_set(const nx_cli_command *command, option_set *set)
{
    *set = (option_set){0};
    for (size_t i = 0; i < command->option_count; i++) {
        set->all[set->count++] = &command->options[i];
    }
    set->own = set->count;
    for (size_t i = 0; i < nx_cli_common_option_count; i++) {
        if (nx_cli_takes_common(command, &nx_cli_common_options[i])) {
            set->all[set->count++] = &nx_cli_common_options[i];
        }
    }
    char *letter = set->letters;
    *letter++ = ':'; /* getopt tells a missing argument from an unknown option */
    for (size_t i = 0; i < set->count; i++) {
        const nx_cli_option *option = set->all[i];
        set->longs[i] = (struct option){
            .name = option->name,
            .has_arg = option->argument != NULL ? required_argument : no_argument,
            .val = LONG_BASE + (int)i,
        };
        if (option->letter != 0) {
            *letter++ = option->letter;
            if (option->argument != NULL) {
                *letter++ = ':';
            }
        }
    }
    set->longs[set->count] = (struct option){.name = "help", .val = 'h'};
    *letter++ = 'h';
    *letter = '\0';
}

/* Which option getopt found; set->count for none (':' and '?'). */
static size_t option_index(const option_set *set, int found)
{
    size_t i = 0;
    if (found >= LONG_BASE) {
        return (size_t)(found - LONG_BASE);
    }
    while (i < set->count && set->all[i]->letter != found) {
        i++;
    }
    return i;
}

static int usage_error(const nx_cli_command *command, const char *message)
{
    fprintf(stderr, "nexus %s: %s\nTry 'nexus %s --help'.\n", command->name, message,
            command->name);
    return NX_EXIT_USAGE;
}

/* A long option that getopt did not take: unknown, or the beginning of several. */
static int unknown_long_option(const nx_cli_command *command, const option_set *set,
                               const char *word)
{
    const char *names[MAX_OPTIONS + 1];
    const char *start = word + strspn(word, "-");
    char message[256];
    char bare[64];
    int length = snprintf(bare, sizeof bare, "%.*s", (int)strcspn(start, "="), start);
    int used = snprintf(message, sizeof message, "option '%.60s' could be", word);
    size_t begun = 0;
    for (size_t i = 0; i <= set->count; i++) {
        names[i] = i < set->count ? set->all[i]->name : "help";
        if (strncmp(names[i], bare, (size_t)length) == 0 && (size_t)used < sizeof message) {
            used += snprintf(message + used, sizeof message - (size_t)used, "%s '--%s'",
                             begun++ > 0 ? " or" : "", names[i]);
        }
    }
    if (begun < 2) {
        const char *near = nx_suggest(bare, names, set->count + 1);
        snprintf(message, sizeof message, "unknown option '%.60s'%s%s%s", word,
                 near != NULL ? "; did you mean '--" : "", near != NULL ? near : "",
                 near != NULL ? "'?" : "");
    }
    return usage_error(command, message);
}

/* Says what getopt did not like: it answered found (':' or '?') and set optopt and optind. The
 * word itself is argv[optind - 1], wherever operands stand before it. */
static int bad_option(const nx_cli_command *command, const option_set *set, char **argv, int found)
{
    char name[64];
    char message[256];
    if (optopt == 0) {
        return unknown_long_option(command, set, argv[optind - 1]);
    }
    if (optopt >= LONG_BASE || optopt == 'h') {
        snprintf(name, sizeof name, "--%s",
                 optopt == 'h' ? "help" : set->all[optopt - LONG_BASE]->name);
    } else {
        snprintf(name, sizeof name, "-%c", optopt);
    }
    if (found == ':') {
        snprintf(message, sizeof message, "option '%s' needs an argument", name);
    } else if (name[1] == '-') {
        snprintf(message, sizeof message, "option '%s' takes no argument", name);
    } else {
        snprintf(message, sizeof message, "unknown option '%s'", name);
    }
    return usage_error(command, message);
}

static bool repeats(const nx_cli_option *option)
{
    size_t length = option->argument != NULL ? strlen(option->argument) : 0;
    return length > 3 && strcmp(option->argument + length - 3, "...") == 0;
}

/* Puts another value of an option behind those that were given. False: no memory. */
static bool join_value(option_set *set, size_t index, const char *value)
{
    char *all = NULL;
    if (asprintf(&all, "%s%s%s", set->joined[index] != NULL ? set->joined[index] : "",
                 set->joined[index] != NULL ? "\n" : "", value) < 0) {
        return false;
    }
    free(set->joined[index]);
    set->joined[index] = all;
    set->values[index] = all;
    return true;
}

static bool choice_known(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *at = choices; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, value, size) == 0) {
            return true;
        }
        at += size + (at[size] == '|');
    }
    return choices == NULL;
}

/* Fills set->values; returns -1 to go on, or an exit code. */
static int parse_options(const nx_cli_command *command, option_set *set, int argc, char **argv)
{
    char message[256];
    opterr = 0;
    optind = 1;
    for (;;) {
        int found = getopt_long(argc, argv, set->letters, set->longs, NULL);
        if (found == -1) {
            return -1;
        }
        if (found == 'h') {
            nx_buffer text = NX_BUFFER_INIT;
            nx_cli_help(command, &text);
            return nx_cli_print(NULL, &text);
        }
        size_t index = option_index(set, found);
        if (index >= set->count) {
            return bad_option(command, set, argv, found);
        }
        const nx_cli_option *option = set->all[index];
        set->values[index] = optarg != NULL ? optarg : "";
        if (repeats(option) && !join_value(set, index, optarg)) {
            return usage_error(command, "no memory for the options");
        }
        /* the configuration checks what becomes a setting, by the same rules as for its file */
        if (option->key == NX_CLI_NO_KEY && !choice_known(option->choices, set->values[index])) {
            snprintf(message, sizeof message, "--%s is '%.60s'; use one of %s", option->name,
                     set->values[index], option->choices);
            return usage_error(command, message);
        }
    }
}

static const char *environment(const char *name, void *user)
{
    (void)user;
    return getenv(name);
}

static nx_status load_config(const option_set *set, nx_config **out, nx_error *err)
{
    const char *file = getenv("NEXUS_CONFIG");
    for (size_t i = 0; i < set->count; i++) {
        if (set->values[i] != NULL && strcmp(set->all[i]->name, "config") == 0) {
            file = set->values[i];
        }
    }
    nx_status status =
        nx_config_load(file != NULL && file[0] != '\0' ? file : NULL, environment, NULL, out, err);
    for (size_t i = 0; i < set->count && status == NX_OK; i++) {
        if (set->values[i] != NULL && set->all[i]->key != NX_CLI_NO_KEY) {
            char origin[64];
            snprintf(origin, sizeof origin, "--%s", set->all[i]->name);
            status =
                nx_config_set(*out, (nx_config_key)set->all[i]->key, set->values[i], origin, err);
        }
    }
    if (status == NX_OK) {
        status = nx_config_check_names(*out, environ, err);
    }
    return status == NX_OK ? nx_config_check(*out, err) : status;
}

nx_status nx_cli_read_config(const nx_cli_args *args, nx_config **out, nx_error *err)
{
    *out = NULL;
    nx_status status = load_config(args->options, out, err);
    if (status != NX_OK) {
        nx_config_free(*out);
        *out = NULL;
    }
    return status;
}

/* 'nexus check' shows them among the rest. */
static void log_warnings(const nx_cli_command *command, const nx_config *config)
{
    for (size_t i = 0; i < nx_config_warning_count(config) && command != &nx_cmd_check; i++) {
        nx_log_warn("cli", "%s", nx_config_warning(config, i));
    }
}

void nx_cli_configure_log(const nx_config *config)
{
    nx_log_levels levels = {.usual = NX_LOG_INFO};
    (void)nx_log_levels_parse(nx_config_string(config, NX_CONFIG_LOG_LEVEL), &levels, NULL);
    const char *format = nx_config_string(config, NX_CONFIG_LOG_FORMAT);
    if (strcasecmp(format, "auto") == 0) {
        nx_log_configure_level(levels.usual);
    } else {
        nx_log_configure(levels.usual, strcasecmp(format, "json") == 0);
    }
    nx_log_configure_levels(&levels);
}

static int run_parsed(const nx_cli_command *command, option_set *set, int argc, char **argv)
{
    int code = parse_options(command, set, argc, argv);
    if (code >= 0) {
        return code;
    }
    nx_cli_args args = {
        .command = command,
        .values = set->values,
        .operands = argv + optind,
        .operand_count = argc - optind,
        .options = set,
    };
    if (args.operand_count < command->min_operands) {
        char message[128];
        snprintf(message, sizeof message, "%s is missing", command->operands);
        return usage_error(command, message);
    }
    if (command->max_operands >= 0 && args.operand_count > command->max_operands) {
        char message[128];
        snprintf(message, sizeof message, "'%.60s' is one argument too many",
                 args.operands[command->max_operands]);
        return usage_error(command, message);
    }
    if (command->uses_config) {
        nx_error err = {0};
        if (load_config(set, &args.config, &err) != NX_OK) {
            nx_config_free(args.config);
            return nx_cli_fail(&args, NX_EXIT_USAGE, &err);
        }
        nx_cli_configure_log(args.config);
        log_warnings(command, args.config);
    }
    code = command->run(&args);
    nx_config_free(args.config);
    return code;
}

const char *nx_cli_word(const nx_cli_command *command)
{
    const char *space = strrchr(command->name, ' ');
    return space != NULL ? space + 1 : command->name;
}

const nx_cli_command *nx_cli_find(const nx_cli_command *group, const char *word)
{
    const nx_cli_command *const *commands = group != NULL ? group->subcommands : nx_cli_commands;
    size_t count = group != NULL ? group->subcommand_count : nx_cli_command_count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, nx_cli_word(commands[i])) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

void nx_cli_each(void (*visit)(const nx_cli_command *command, nx_buffer *out), nx_buffer *out)
{
    for (size_t i = 0; i < nx_cli_command_count; i++) {
        const nx_cli_command *command = nx_cli_commands[i];
        for (size_t sub = 0; sub < command->subcommand_count; sub++) {
            visit(command->subcommands[sub], out);
        }
        if (command->subcommand_count == 0) {
            visit(command, out);
        }
    }
}

static int run_command(const nx_cli_command *command, int argc, char **argv)
{
    option_set set;
    build_option_set(command, &set);
    int code = run_parsed(command, &set, argc, argv);
    for (size_t i = 0; i < set.count; i++) {
        free(set.joined[i]);
    }
    return code;
}

int nx_cli_unknown_command(const nx_cli_command *group, const char *word)
{
    const nx_cli_command *const *commands = group != NULL ? group->subcommands : nx_cli_commands;
    size_t count = group != NULL ? group->subcommand_count : nx_cli_command_count;
    const char *names[MAX_COMMANDS + 2] = {"--help", "--version"};
    size_t known = group != NULL ? 1 : 2;
    for (size_t i = 0; i < count && i < MAX_COMMANDS; i++) {
        names[known++] = nx_cli_word(commands[i]);
    }
    const char *near = nx_suggest(word, names, known);
    const char *before = group != NULL ? " " : "";
    const char *name = group != NULL ? group->name : "";
    if (word[0] == '-' && near == NULL) {
        fprintf(stderr,
                "nexus%s%s: options stand behind the command, as in 'nexus%s%s %s %.60s ...'\n",
                before, name, before, name, nx_cli_word(commands[0]), word);
    } else {
        fprintf(stderr, "nexus%s%s: there is no command '%.60s'%s%s%s\n", before, name, word,
                near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                near != NULL ? "'?" : "");
    }
    fprintf(stderr, "Try 'nexus%s%s --help'.\n", before, name);
    return NX_EXIT_USAGE;
}

static int print_version(void)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_append_str(&text, "nexus " NX_VERSION "\n");
    return nx_cli_print(NULL, &text);
}

static int print_help(const nx_cli_command *command)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_cli_help(command, &text);
    return nx_cli_print(NULL, &text);
}

/* 'nexus' alone: the help is what was wanted, but a script has made a mistake. */
static int no_command(const nx_cli_command *group)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_cli_help(group, &text);
    fputs(nx_buffer_cstr(&text), stderr);
    nx_buffer_free(&text);
    return NX_EXIT_USAGE;
}

/* argv[0] is the program, or the command (group) whose sub-command argv[1] is to be. */
static int find_and_run(const nx_cli_command *group, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        return print_help(group);
    }
    if (word[0] == '\0') {
        return no_command(group);
    }
    const nx_cli_command *command = nx_cli_find(group, word);
    if (command == NULL) {
        return nx_cli_unknown_command(group, word);
    }
    return command->subcommand_count > 0 ? find_and_run(command, argc - 1, argv + 1)
                                         : run_command(command, argc - 1, argv + 1);
}

int nx_cli_main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        return print_version();
    }
    return find_and_run(NULL, argc, argv);
}

const char *nx_cli_value(const nx_cli_args *args, const char *name)
{
    for (size_t i = 0; i < args->command->option_count; i++) {
        if (strcmp(args->command->options[i].name, name) == 0) {
            return args->values[i];
        }
    }
    return NULL;
}

nx_status nx_cli_number(const nx_cli_args *args, const char *name, double low, double high,
                        double fallback, double *out, nx_error *err)
{
    const char *text = nx_cli_value(args, name);
    *out = fallback;
    if (text == NULL) {
        return NX_OK;
    }
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= low && value <= high)) {
        return nx_error_set(err, NX_ERR_INVALID, "--%s is '%.60s'; it must be from %.10g to %.10g",
                            name, text, low, high);
    }
    *out = value;
    return NX_OK;
}

nx_status nx_cli_int(const nx_cli_args *args, const char *name, int64_t low, int64_t high,
                     int64_t fallback, int64_t *out, nx_error *err)
{
    double value = 0;
    nx_status status =
        nx_cli_number(args, name, (double)low, (double)high, (double)fallback, &value, err);
    if (status == NX_OK && value != floor(value)) {
        return nx_error_set(err, NX_ERR_INVALID, "--%s must be a whole number", name);
    }
    *out = (int64_t)value;
    return status;
}

int nx_cli_fail(const nx_cli_args *args, int code, const nx_error *err)
{
    nx_buffer line = NX_BUFFER_INIT;
    nx_buffer_append_str(&line, args != NULL ? "nexus " : "nexus");
    nx_buffer_append_str(&line, args != NULL ? args->command->name : "");
    nx_buffer_append_str(&line, ": ");
    nx_buffer_append_printable(&line, err->message);
    fprintf(stderr, "%s\n", nx_buffer_cstr(&line));
    nx_buffer_free(&line);
    return code;
}

int nx_cli_print(const nx_cli_args *args, nx_buffer *text)
{
    nx_error err;
    int code = NX_EXIT_OK;
    errno = 0;
    if (text->failed) {
        nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the output");
        code = nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    } else if (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0) {
        code = NX_EXIT_READER_GONE;
        if (errno != EPIPE) {
            nx_error_set_errno(&err, NX_ERR_IO, errno, "cannot write the output");
            code = nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
        }
    }
    nx_buffer_free(text);
    return code;
}

int nx_cli_exit_code(nx_status status)
{
    return status == NX_ERR_INVALID ? NX_EXIT_USAGE : NX_EXIT_UNAVAILABLE;
}
