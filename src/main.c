#include "cli/cli.h"
#include "media/decoder.h"

#include <malloc.h>
#include <signal.h>

/* Blocks above this come from mmap and go back to the system when freed. Left alone, glibc raises
 * the bound to 32 MB with use, and pictures and request bodies would stay in the heaps of many
 * threads. */
#define MMAP_FROM (256 * 1024)

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    /* a reader that closes its pipe or socket is an error to handle, not a reason to die */
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
    return nx_cli_main(argc, argv);
}
