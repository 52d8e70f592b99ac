#include "cli/cli.h"
#include "media/decoder.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Blocks above this come from mmap and go back to the system when freed. Left alone, glibc raises
 * the bound to 32 MB with use, and pictures and request bodies would stay in the heaps of many
 * threads. */
#define MMAP_FROM (256 * 1024)

/* The same program in the same process, with nothing of what it holds in memory. By its name, so
 * that it is still found by that; one that was replaced meanwhile goes on as it is. */
static int begin_anew(char **argv)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size > 0) {
        path[size] = '\0';
        (void)execv(path, argv);
    }
    (void)execv("/proc/self/exe", argv);
    fprintf(stderr, "nexus: cannot begin anew: %s\n", strerror(errno));
    return NX_EXIT_UNAVAILABLE;
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    /* a reader that closes its pipe or socket is an error to handle, not a reason to die */
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
    int code = nx_cli_main(argc, argv);
    return code == NX_EXIT_ANEW ? begin_anew(argv) : code;
}
