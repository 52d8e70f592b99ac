#include "cli/cli.h"

#include <signal.h>

int main(int argc, char **argv)
{
    /* a reader that closes its pipe or socket is an error to handle, not a reason to die */
    signal(SIGPIPE, SIG_IGN);
    return nx_cli_main(argc, argv);
}
