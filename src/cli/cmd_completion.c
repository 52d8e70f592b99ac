/* nexus completion bash|zsh|fish: scripts for the shells, from the option tables. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Calls visit for each of a command's options, the common ones included. */
static void each_option(const nx_cli_command *command, nx_buffer *out,
                        void (*visit)(const nx_cli_command *, const nx_cli_option *, nx_buffer *))
{
    for (size_t i = 0; i < command->option_count; i++) {
        visit(command, &command->options[i], out);
    }
    for (size_t i = 0; i < nx_cli_common_option_count; i++) {
        if (nx_cli_takes_common(command, &nx_cli_common_options[i])) {
            visit(command, &nx_cli_common_options[i], out);
        }
    }
}

/* "a|b|c" as "a b c". */
static void spaced(const char *choices, nx_buffer *out)
{
    for (const char *c = choices; *c != '\0'; c++) {
        if (*c == '|') {
            nx_buffer_append_char(out, ' ');
        } else {
            nx_buffer_append_char(out, *c);
        }
    }
}

static void command_names(const nx_cli_command *const *commands, size_t count, nx_buffer *out)
{
    for (size_t i = 0; i < count; i++) {
        nx_buffer_printf(out, "%s%s", i > 0 ? " " : "", nx_cli_word(commands[i]));
    }
}

/* --- bash; zsh reads the same script through bashcompinit --------------------------------------
 */

static void bash_word(const nx_cli_command *command, const nx_cli_option *option, nx_buffer *out)
{
    (void)command;
    nx_buffer_printf(out, " --%s", option->name);
}

static void bash_choices(const nx_cli_command *command, const nx_cli_option *option, nx_buffer *out)
{
    if (option->choices != NULL) {
        nx_buffer_printf(out, "        '%s:--%s'", command->name, option->name);
        if (option->letter != 0) {
            nx_buffer_printf(out, " | '%s:-%c'", command->name, option->letter);
        }
        nx_buffer_append_str(out, ") words='");
        spaced(option->choices, out);
        nx_buffer_append_str(out, "' ;;\n");
    }
}

static void bash_options(const nx_cli_command *command, nx_buffer *out)
{
    nx_buffer_printf(out, "        '%s') words='--help", command->name);
    each_option(command, out, bash_word);
    nx_buffer_append_str(out, "' ;;\n");
}

static void bash_values(const nx_cli_command *command, nx_buffer *out)
{
    each_option(command, out, bash_choices);
    if (command->words != NULL) {
        nx_buffer_printf(out, "        '%s:'[!-]*) words='", command->name);
        spaced(command->words, out);
        nx_buffer_append_str(out, "' ;;\n");
    }
}

/* The sub-commands as the second word, and "models list" as the command behind it. */
static void bash_groups(nx_buffer *out)
{
    for (size_t i = 0; i < nx_cli_command_count; i++) {
        const nx_cli_command *group = nx_cli_commands[i];
        if (group->subcommand_count > 0) {
            nx_buffer_printf(out,
                             "    if [ \"$command\" = %s ]; then\n"
                             "        if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                             "            COMPREPLY=($(compgen -W '",
                             group->name);
            command_names(group->subcommands, group->subcommand_count, out);
            nx_buffer_append_str(out, " --help' -- \"$cur\"))\n            return\n        fi\n"
                                      "        command=\"$command ${COMP_WORDS[2]}\"\n    fi\n");
        }
    }
}

static void bash_script(nx_buffer *out)
{
    nx_buffer_append_str(
        out,
        "# nexus completion for bash\n_nexus() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
        "    local prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
        "    if [ \"$cur\" = '=' ]; then\n        cur=\n"
        "    elif [ \"$prev\" = '=' ]; then\n        prev=${COMP_WORDS[COMP_CWORD-2]}\n    fi\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen "
        "-W '");
    command_names(nx_cli_commands, nx_cli_command_count, out);
    nx_buffer_append_str(out, " --help --version' -- \"$cur\"))\n        return\n    fi\n");
    bash_groups(out);
    nx_buffer_append_str(out, "    if [[ $cur == -* ]]; then\n        case \"$command\" in\n");
    nx_cli_each(bash_options, out);
    nx_buffer_append_str(out, "        esac\n    else\n        case \"$command:$prev\" in\n");
    nx_cli_each(bash_values, out);
    nx_buffer_append_str(out, "        help:help) words='");
    command_names(nx_cli_commands, nx_cli_command_count, out);
    nx_buffer_append_str(out, "' ;;\n        esac\n    fi\n    if [ -n \"$words\" ]; then\n"
                              "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    fi\n"
                              "}\ncomplete -o default -F _nexus nexus\n");
}

static void zsh_script(nx_buffer *out)
{
    nx_buffer_append_str(out, "#compdef nexus\nautoload -U +X bashcompinit && bashcompinit\n");
    bash_script(out);
    /* zsh loads the file when it completes for the first time: complete that time too */
    nx_buffer_append_str(out, "if [ \"${funcstack[1]}\" = _nexus ]; then\n"
                              "    _bash_complete -o default -F _nexus\nfi\n");
}

/* --- fish ----------------------------------------------------------------------------------------
 */

/* The condition that this command, or sub-command, is being written. */
static void fish_seen(const nx_cli_command *command, nx_buffer *out)
{
    const char *word = nx_cli_word(command);
    nx_buffer_append_str(out, "complete -c nexus -n '__fish_seen_subcommand_from ");
    if (word != command->name) {
        nx_buffer_printf(out, "%.*s; and __fish_seen_subcommand_from ",
                         (int)(word - command->name - 1), command->name);
    }
    nx_buffer_printf(out, "%s'", word);
}

static void fish_option(const nx_cli_command *command, const nx_cli_option *option, nx_buffer *out)
{
    fish_seen(command, out);
    nx_buffer_printf(out, " -l %s", option->name);
    if (option->letter != 0) {
        nx_buffer_printf(out, " -s %c", option->letter);
    }
    if (option->choices != NULL) {
        nx_buffer_append_str(out, " -x -a '");
        spaced(option->choices, out);
        nx_buffer_append_char(out, '\'');
    } else if (option->argument != NULL) {
        nx_buffer_append_str(out, " -r");
    }
    nx_buffer_printf(out, " -d \"%s\"\n", option->help);
}

static void fish_command(const nx_cli_command *command, nx_buffer *out)
{
    each_option(command, out, fish_option);
    if (command->words != NULL) {
        fish_seen(command, out);
        nx_buffer_append_str(out, " -f -a '");
        spaced(command->words, out);
        nx_buffer_append_str(out, "'\n");
    }
}

static void fish_group(const nx_cli_command *group, nx_buffer *out)
{
    for (size_t i = 0; i < group->subcommand_count; i++) {
        const nx_cli_command *command = group->subcommands[i];
        nx_buffer_printf(out,
                         "complete -c nexus -n '__fish_seen_subcommand_from %s; and not "
                         "__fish_seen_subcommand_from ",
                         group->name);
        command_names(group->subcommands, group->subcommand_count, out);
        nx_buffer_printf(out, "' -f -a %s -d \"%s\"\n", nx_cli_word(command), command->summary);
    }
}

static void fish_script(nx_buffer *out)
{
    nx_buffer_append_str(out, "# nexus completion for fish\n");
    for (size_t i = 0; i < nx_cli_command_count; i++) {
        const nx_cli_command *command = nx_cli_commands[i];
        nx_buffer_printf(out, "complete -c nexus -n __fish_use_subcommand -f -a %s -d \"%s\"\n",
                         command->name, command->summary);
        fish_group(command, out);
    }
    nx_cli_each(fish_command, out);
    nx_buffer_append_str(out, "complete -c nexus -n '__fish_seen_subcommand_from help' -f -a '");
    command_names(nx_cli_commands, nx_cli_command_count, out);
    nx_buffer_append_str(out, "'\n");
}

static int run(const nx_cli_args *args)
{
    nx_buffer text = NX_BUFFER_INIT;
    const char *shell = args->operands[0];
    if (strcmp(shell, "bash") == 0) {
        bash_script(&text);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh_script(&text);
    } else if (strcmp(shell, "fish") == 0) {
        fish_script(&text);
    } else {
        nx_error err;
        nx_error_set(&err, NX_ERR_INVALID, "no completion for '%.60s'; use bash, zsh or fish",
                     shell);
        return nx_cli_fail(args, NX_EXIT_USAGE, &err);
    }
    return nx_cli_print(args, &text);
}

const nx_cli_command nx_cmd_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .words = "bash|zsh|fish",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "print a completion script for a shell",
    .examples = "  nexus completion bash > /etc/bash_completion.d/nexus\n"
                "  nexus completion fish > ~/.config/fish/completions/nexus.fish\n",
    .run = run,
};
