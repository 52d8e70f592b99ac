/* What is wanted of a video or a stream, as JSON of a client or of the database: taken or refused
 * with a sentence, and what is taken is the same once it is written and read again. */
#include "fuzz.h"

#include "base/buffer.h"
#include "base/json_writer.h"
#include "jobs/video_spec.h"
#include "streams/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void write_video(const nx_video_spec *spec, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_video_spec_json_members(spec, &json);
    nx_json_object_end(&json);
}

static void fuzz_video(char *text, size_t size)
{
    nx_video_spec spec;
    nx_video_spec second;
    nx_error err = {0};
    nx_buffer once = NX_BUFFER_INIT;
    nx_buffer twice = NX_BUFFER_INIT;
    if (nx_video_spec_parse(text, size, &spec, &err) != NX_OK) {
        expect(err.message[0] != '\0' && spec.classes == NULL && spec.places == NULL);
        return;
    }
    write_video(&spec, &once);
    expect(nx_video_spec_parse(once.data, once.size, &second, &err) == NX_OK);
    write_video(&second, &twice);
    expect(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    nx_buffer_free(&once);
    nx_buffer_free(&twice);
    nx_video_spec_free(&spec);
    nx_video_spec_free(&second);
}

static void write_stream(const nx_stream_spec *spec, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_stream_spec_json_members(spec, &json);
    nx_json_object_end(&json);
}

static void fuzz_stream(char *text, size_t size)
{
    nx_stream_spec spec;
    nx_stream_spec second;
    nx_error err = {0};
    nx_buffer once = NX_BUFFER_INIT;
    nx_buffer twice = NX_BUFFER_INIT;
    text[size] = '\0';
    if (nx_stream_spec_parse(text, &spec, &err) != NX_OK) {
        expect(err.message[0] != '\0');
        return;
    }
    for (int minute = 0; minute < 1440; minute += 97) {
        (void)nx_schedule_is_open(&spec.schedule, minute % 7, minute);
    }
    write_stream(&spec, &once);
    expect(nx_stream_spec_parse(nx_buffer_cstr(&once), &second, &err) == NX_OK);
    write_stream(&second, &twice);
    expect(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    nx_buffer_free(&once);
    nx_buffer_free(&twice);
    nx_stream_spec_free(&spec);
    nx_stream_spec_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_video, fuzz_stream};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}
