#include "base/url.h"
#include "http/internal.h"

size_t nx_http_unescape(void *user, struct MHD_Connection *connection, char *text)
{
    char *to = text;
    (void)user;
    (void)connection;
    for (const char *from = text; *from != '\0'; to++) {
        int high = from[0] == '%' ? nx_url_hex_digit(from[1]) : -1;
        int low = high >= 0 ? nx_url_hex_digit(from[2]) : -1;
        int byte = low >= 0 ? high << 4 | low : 0;
        *to = *from;
        if (byte != 0) {
            *to = (char)byte;
        }
        from += byte != 0 ? 3 : 1;
    }
    *to = '\0';
    return (size_t)(to - text);
}
