/* What restoring reads: lines of rows and manifests are taken or refused with a sentence, and what
 * is taken comes out as it went in. */
#include "fuzz.h"

#include "backup/lines.h"
#include "backup/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_line(char *text, size_t size)
{
    nx_line line = {0};
    nx_error err = {0};
    if (nx_line_read(&line, text, size, &err) != NX_OK) {
        if (err.message[0] == '\0') {
            abort();
        }
    } else if (!line.is_table) {
        nx_buffer again = NX_BUFFER_INIT;
        nx_line second = {0};
        nx_lines_row(line.cells, line.count, &again);
        if (nx_line_read(&second, again.data, again.size - 1, &err) != NX_OK ||
            second.count != line.count) {
            abort();
        }
        nx_line_free(&second);
        nx_buffer_free(&again);
    }
    nx_line_free(&line);
}

static void try_manifest(char *text, size_t size)
{
    nx_manifest manifest;
    nx_error err = {0};
    if (nx_manifest_read(text, size, &manifest, &err) == NX_OK) {
        nx_manifest_free(&manifest);
    } else if (err.message[0] == '\0') {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {try_line, try_manifest};
    return fuzz_one_of(parsers, 2, data, size);
}
