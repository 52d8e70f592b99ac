/* Opening a V4L2 device. libavdevice, which knows how, brings half a desktop with it: it is loaded
 * when a device is opened, by the child that opens it, and need not be there otherwise. */
#include "media/video_source.h"

#include <dlfcn.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <string.h>

/* Their major versions have been the same since they exist. */
#define LIBRARY "libavdevice.so." AV_STRINGIFY(LIBAVFORMAT_VERSION_MAJOR)

static bool know_devices(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL); /* for as long as the child lives */
    void (*enter)(void) = NULL;
    void *symbol = library != NULL ? dlsym(library, "avdevice_register_all") : NULL;
    memcpy(&enter, &symbol, sizeof enter); /* ISO C has no cast for it */
    if (enter != NULL) {
        enter();
    }
    return enter != NULL;
}

nx_status nx_video_device_open(const char *path, struct AVFormatContext **out, nx_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    *out = NULL;
    const AVInputFormat *format = know_devices() ? av_find_input_format("v4l2") : NULL;
    if (format == NULL) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "V4L2 devices need %s: install Debian's package libavdevice%d", LIBRARY,
                            LIBAVFORMAT_VERSION_MAJOR);
    }
    av_log_set_level(AV_LOG_QUIET);
    int result = avformat_open_input(out, path, format, NULL);
    if (result < 0) {
        av_strerror(result, text, sizeof text);
        return nx_error_set(err, result == AVERROR(ENODEV) ? NX_ERR_UNSUPPORTED : NX_ERR_IO,
                            "the device cannot be opened (%s)", text);
    }
    return NX_OK;
}
