#include "auth/passwords.h"

#include "base/condition.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(NX_PASSWORD_HASH == crypto_pwhash_STRBYTES, "room for a hash");

struct nx_passwords {
    nx_passwords_options options;
    char nobody[NX_PASSWORD_HASH];
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed;
    int in_use;
    nx_passwords_stats stats;
};

/* A hash that no password has, with the parameters in force, in the form of PHC strings
 * (github.com/P-H-C/phc-string-format): checking against it takes what checking any takes. */
static void make_nobody(nx_passwords *self)
{
    unsigned char bytes[32];
    char salt[23];
    char hash[44];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2base64(salt, sizeof salt, bytes, crypto_pwhash_SALTBYTES,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2base64(hash, sizeof hash, bytes, sizeof bytes,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    snprintf(self->nobody, sizeof self->nobody, "%sv=19$m=%zu,t=%llu,p=1$%s$%s",
             crypto_pwhash_STRPREFIX, self->options.bytes / 1024,
             (unsigned long long)self->options.ops, salt, hash);
}

nx_status nx_passwords_new(const nx_passwords_options *options, nx_passwords **out, nx_error *err)
{
    *out = NULL;
    if (sodium_init() < 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libsodium has no random bytes");
    }
    if (options->ops < crypto_pwhash_OPSLIMIT_MIN || options->ops > crypto_pwhash_OPSLIMIT_MAX ||
        options->bytes < crypto_pwhash_MEMLIMIT_MIN ||
        options->bytes > crypto_pwhash_MEMLIMIT_MAX || options->slots < 1) {
        return nx_error_set(err, NX_ERR_INVALID, "argon2id does not take these parameters");
    }
    nx_passwords *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for accounts");
    }
    self->options = *options;
    make_nobody(self);
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->freed);
    *out = self;
    return NX_OK;
}

void nx_passwords_free(nx_passwords *passwords)
{
    if (passwords != NULL) {
        pthread_cond_destroy(&passwords->freed);
        pthread_mutex_destroy(&passwords->lock);
        free(passwords);
    }
}

static nx_status take_slot(nx_passwords *self, nx_error *err)
{
    int64_t deadline = nx_clock_now_ns() + self->options.wait_ms * NX_NS_PER_MS;
    int failure = 0;
    pthread_mutex_lock(&self->lock);
    while (self->in_use >= self->options.slots && failure != ETIMEDOUT) {
        failure = nx_condition_wait(&self->freed, &self->lock, deadline);
    }
    bool taken = self->in_use < self->options.slots;
    if (taken) {
        self->in_use++;
        self->stats.hashings++;
        if (self->in_use > self->stats.most_at_once) {
            self->stats.most_at_once = self->in_use;
        }
    } else {
        self->stats.timeouts++;
    }
    pthread_mutex_unlock(&self->lock);
    return taken ? NX_OK
                 : nx_error_set(err, NX_ERR_BUSY,
                                "too many passwords are being checked just now; try again in a "
                                "few seconds");
}

static void give_slot(nx_passwords *self)
{
    pthread_mutex_lock(&self->lock);
    self->in_use--;
    pthread_cond_signal(&self->freed);
    pthread_mutex_unlock(&self->lock);
}

static nx_status no_memory(const nx_passwords *self, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for hashing a password (%zu MiB)",
                        self->options.bytes >> 20);
}

nx_status nx_passwords_hash(nx_passwords *passwords, const char *password,
                            char out[NX_PASSWORD_HASH], nx_error *err)
{
    nx_status status = take_slot(passwords, err);
    if (status != NX_OK) {
        return status;
    }
    int failure = crypto_pwhash_str(out, password, strlen(password), passwords->options.ops,
                                    passwords->options.bytes);
    give_slot(passwords);
    return failure == 0 ? NX_OK : no_memory(passwords, err);
}

nx_status nx_passwords_verify(nx_passwords *passwords, const char *hash, const char *password,
                              bool *right, nx_error *err)
{
    *right = false;
    nx_status status = take_slot(passwords, err);
    if (status != NX_OK) {
        return status;
    }
    errno = 0;
    int failure = crypto_pwhash_str_verify(hash != NULL ? hash : passwords->nobody, password,
                                           strlen(password));
    int reason = errno;
    give_slot(passwords);
    *right = failure == 0 && hash != NULL;
    /* libsodium says EINVAL for another password, and nothing, or ENOMEM, when it could not tell */
    return failure == 0 || reason == EINVAL ? NX_OK : no_memory(passwords, err);
}

bool nx_passwords_outdated(const nx_passwords *passwords, const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, passwords->options.ops, passwords->options.bytes) !=
           0;
}

nx_passwords_stats nx_passwords_get_stats(nx_passwords *passwords)
{
    pthread_mutex_lock(&passwords->lock);
    const nx_passwords_stats stats = passwords->stats;
    pthread_mutex_unlock(&passwords->lock);
    return stats;
}
