/* --help, the manual page and shell completion, all from the tables in cli.h. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void option_line(const nx_cli_option *option, nx_buffer *out)
{
    char names[96];
    int used = option->letter != 0
                   ? snprintf(names, sizeof names, "  -%c, --%s", option->letter, option->name)
                   : snprintf(names, sizeof names, "      --%s", option->name);
    if (option->argument != NULL && used > 0 && (size_t)used < sizeof names) {
        snprintf(names + used, sizeof names - (size_t)used, " %s", option->argument);
    }
    if (strlen(names) > 29) {
        nx_buffer_printf(out, "%s\n%30s%s\n", names, "", option->help);
    } else {
        nx_buffer_printf(out, "%-30s%s\n", names, option->help);
    }
}

static void list_commands(const nx_cli_command *const *commands, size_t count, nx_buffer *out)
{
    nx_buffer_append_str(out, "\nCommands:\n");
    for (size_t i = 0; i < count; i++) {
        nx_buffer_printf(out, "  %-12s%s\n", nx_cli_word(commands[i]), commands[i]->summary);
    }
}

static void group_help(const nx_cli_command *command, nx_buffer *out)
{
    nx_buffer_printf(out, "Usage: nexus %s COMMAND [OPTION]...\n\n%s\n", command->name,
                     command->summary);
    if (command->description != NULL) {
        nx_buffer_printf(out, "\n%s", command->description);
    }
    list_commands(command->subcommands, command->subcommand_count, out);
    nx_buffer_printf(out, "\n'nexus %s COMMAND --help' tells more.\n", command->name);
    if (command->examples != NULL) {
        nx_buffer_printf(out, "\nExamples:\n%s", command->examples);
    }
}

static void command_help(const nx_cli_command *command, nx_buffer *out)
{
    nx_buffer_printf(out, "Usage: nexus %s%s%s%s\n\n%s\n", command->name,
                     command->option_count > 0 || command->uses_config ? " [OPTION]..." : "",
                     command->operands[0] != '\0' ? " " : "", command->operands, command->summary);
    if (command->description != NULL) {
        nx_buffer_printf(out, "\n%s", command->description);
    }
    nx_buffer_append_str(out, "\nOptions:\n");
    for (size_t i = 0; i < command->option_count; i++) {
        option_line(&command->options[i], out);
    }
    for (size_t i = 0; i < nx_cli_common_option_count; i++) {
        if (nx_cli_takes_common(command, &nx_cli_common_options[i])) {
            option_line(&nx_cli_common_options[i], out);
        }
    }
    nx_buffer_printf(out, "%-30s%s\n", "  -h, --help", "show this help");
    if (command->examples != NULL) {
        nx_buffer_printf(out, "\nExamples:\n%s", command->examples);
    }
}

static const char exit_codes[] =
    "  0    everything went well\n"
    "  1    some inputs failed; the others were served\n"
    "  2    the command line or the configuration is wrong\n"
    "  3    something needed is missing: a model, ONNX Runtime, a file, a free port\n"
    "  130  interrupted\n"
    "  141  the reader of the output has gone\n";

static void program_help(nx_buffer *out)
{
    nx_buffer_append_str(out,
                         "Usage: nexus COMMAND [OPTION]...\n\n"
                         "Video analytics on your own machine: pictures, videos and cameras in,\n"
                         "detections, tracks and counts out.\n");
    list_commands(nx_cli_commands, nx_cli_command_count, out);
    nx_buffer_printf(out,
                     "\n'nexus COMMAND --help' tells more. 'nexus --version' prints the "
                     "version.\n\nExit codes:\n%s",
                     exit_codes);
}

void nx_cli_help(const nx_cli_command *command, nx_buffer *out)
{
    if (command == NULL) {
        program_help(out);
    } else if (command->subcommand_count > 0) {
        group_help(command, out);
    } else {
        command_help(command, out);
    }
}

/* --- the manual page (man-pages(7)) -------------------------------------------------------------
 */

/* Text with roff's special characters made harmless. */
static void roff(const char *text, nx_buffer *out)
{
    bool line_start = true;
    for (const char *c = text; *c != '\0'; c++) {
        if (line_start && (*c == '.' || *c == '\'')) {
            nx_buffer_append_str(out, "\\&");
        }
        if (*c == '\\') {
            nx_buffer_append_str(out, "\\e");
        } else if (*c == '-') {
            nx_buffer_append_str(out, "\\-");
        } else {
            nx_buffer_append_char(out, *c);
        }
        line_start = *c == '\n';
    }
}

static void man_command(const nx_cli_command *command, nx_buffer *out)
{
    nx_buffer help = NX_BUFFER_INIT;
    command_help(command, &help);
    nx_buffer_printf(out, ".SS nexus %s\n.nf\n", command->name);
    roff(nx_buffer_cstr(&help), out);
    nx_buffer_append_str(out, ".fi\n");
    nx_buffer_free(&help);
}

static void manual(nx_buffer *out)
{
    nx_buffer_append_str(out, ".TH NEXUS 1 \"\" \"nexus " NX_VERSION "\"\n"
                              ".SH NAME\nnexus \\- video analytics on your own machine\n"
                              ".SH SYNOPSIS\n.B nexus\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
                              ".SH COMMANDS\n");
    nx_cli_each(man_command, out);
    nx_buffer_append_str(out, ".SH ENVIRONMENT\nEach setting can also stand in the YAML file given "
                              "with \\-\\-config, under the name in brackets.\n");
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        nx_buffer_printf(out, ".TP\n.B %s\n", nx_config_env_name((nx_config_key)key));
        roff(nx_config_help((nx_config_key)key), out);
        nx_buffer_printf(out, " [%s]\n", nx_config_name((nx_config_key)key));
    }
    nx_buffer_append_str(out, ".SH EXIT STATUS\n.nf\n");
    roff(exit_codes, out);
    nx_buffer_append_str(out, ".fi\n");
}

static int run_help(const nx_cli_args *args)
{
    nx_buffer text = NX_BUFFER_INIT;
    const nx_cli_command *command = NULL;
    if (nx_cli_value(args, "man") != NULL) {
        manual(&text);
        return nx_cli_print(args, &text);
    }
    for (int i = 0; i < args->operand_count; i++) {
        const nx_cli_command *group = command;
        command = group == NULL || group->subcommand_count > 0
                      ? nx_cli_find(group, args->operands[i])
                      : NULL;
        if (command == NULL) {
            bool has_commands = group != NULL && group->subcommand_count > 0;
            return nx_cli_unknown_command(has_commands ? group : NULL, args->operands[i]);
        }
    }
    nx_cli_help(command, &text);
    return nx_cli_print(args, &text);
}

static const nx_cli_option help_options[] = {
    {"man", 0, NULL, "write the manual page (roff) instead", NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_help = {
    .name = "help",
    .operands = "[COMMAND [SUBCOMMAND]]",
    .max_operands = 2,
    .summary = "explain a command",
    .examples = "  nexus help detect\n  nexus help models pull\n  nexus help --man | man -l -\n",
    .options = help_options,
    .option_count = 1,
    .run = run_help,
};
