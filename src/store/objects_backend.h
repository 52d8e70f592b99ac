/* Inside src/store: between objects.c and the two places where objects are. */
#ifndef NX_STORE_OBJECTS_BACKEND_H
#define NX_STORE_OBJECTS_BACKEND_H

#include "store/objects.h"

typedef struct nx_objects_backend nx_objects_backend;

typedef struct nx_objects_ops {
    nx_status (*check)(nx_objects_backend *self, nx_error *err);
    /* The file at path, open at fd, of that size, becomes the object; the file stays. */
    nx_status (*keep)(nx_objects_backend *self, const char *name, const char *path, int fd,
                      int64_t size, nx_error *err);
    nx_status (*size)(nx_objects_backend *self, const char *name, int64_t *size, nx_error *err);
    nx_status (*read)(nx_objects_backend *self, const char *name, int64_t offset, void *buffer,
                      size_t size, size_t *got, nx_error *err);
    /* folder: where a file without a name may be made */
    nx_status (*fetch)(nx_objects_backend *self, const char *name, const char *folder, int *fd,
                       nx_error *err);
    nx_status (*remove)(nx_objects_backend *self, const char *name, nx_error *err);
    void (*close)(nx_objects_backend *self);
} nx_objects_ops;

struct nx_objects_backend {
    const nx_objects_ops *ops;
};

/* place (for nx_objects_place) has room for 512 bytes. */
nx_status nx_objects_disk_open(const nx_objects_options *options, char place[512],
                               nx_objects_backend **out, nx_error *err);
nx_status nx_objects_s3_open(const nx_objects_options *options, char place[512],
                             nx_objects_backend **out, nx_error *err);

/* A file without a name in a folder. */
nx_status nx_objects_nameless(const char *folder, int *fd, nx_error *err);

/* The whole of bytes, whatever interrupts; returns errno or 0. */
int nx_objects_write_all(int fd, const void *bytes, size_t size);
/* Up to size bytes at offset, less only at the end; -1 with errno. */
int64_t nx_objects_read_all(int fd, void *buffer, size_t size, int64_t offset);

#endif
