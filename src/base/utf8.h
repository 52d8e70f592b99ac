/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef NX_BASE_UTF8_H
#define NX_BASE_UTF8_H

#include <stddef.h>

/* Length (2..4) of the valid multi-byte sequence at text, or 0 when there is none. size > 0. */
size_t nx_utf8_sequence(const unsigned char *text, size_t size);

#endif
