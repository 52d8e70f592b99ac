#include "testing.h"

#include "base/waiter.h"

#include <semaphore.h>

typedef struct worker {
    nx_waiter *waiter;
    sem_t may_end;
    nx_status status;
} worker;

static void *work(void *argument)
{
    worker *self = argument;
    nx_error err = {0};
    while (sem_wait(&self->may_end) != 0) {
    }
    if (self->status != NX_OK) {
        nx_error_set(&err, self->status, "of the other thread");
    }
    nx_waiter_finish(self->waiter, self->status, self->status == NX_OK ? NULL : &err);
    return NULL;
}

static nx_status wait_for(nx_status outcome, nx_error *err)
{
    nx_waiter waiter;
    worker other = {.waiter = &waiter, .status = outcome};
    pthread_t thread;
    nx_waiter_init(&waiter);
    assert_int_equal(sem_init(&other.may_end, 0, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, work, &other), 0);
    sem_post(&other.may_end);
    nx_status status = nx_waiter_end(&waiter, NX_OK, err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return status;
}

static void the_other_threads_end_is_the_result(void **state)
{
    (void)state;
    nx_error err = {.message = "kept"};
    assert_int_equal(wait_for(NX_OK, &err), NX_OK);
    assert_string_equal(err.message, "kept");
    assert_int_equal(wait_for(NX_ERR_BUSY, &err), NX_ERR_BUSY);
    assert_string_equal(err.message, "of the other thread");
    assert_int_equal(err.status, NX_ERR_BUSY);
    assert_int_equal(wait_for(NX_ERR_IO, NULL), NX_ERR_IO);
}

static void it_may_have_ended_before_anybody_waits(void **state)
{
    (void)state;
    nx_waiter waiter;
    nx_error err = {0};
    nx_error theirs = {0};
    nx_error_set(&theirs, NX_ERR_CORRUPT, "early");
    nx_waiter_init(&waiter);
    nx_waiter_finish(&waiter, NX_ERR_CORRUPT, &theirs);
    assert_int_equal(nx_waiter_end(&waiter, NX_OK, &err), NX_ERR_CORRUPT);
    assert_string_equal(err.message, "early");
}

static void what_was_not_begun_is_not_waited_for(void **state)
{
    (void)state;
    nx_waiter waiter;
    nx_error err = {0};
    nx_error_set(&err, NX_ERR_BUSY, "full");
    nx_waiter_init(&waiter);
    assert_int_equal(nx_waiter_end(&waiter, NX_ERR_BUSY, &err), NX_ERR_BUSY);
    assert_string_equal(err.message, "full");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_other_threads_end_is_the_result),
        cmocka_unit_test(it_may_have_ended_before_anybody_waits),
        cmocka_unit_test(what_was_not_begun_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
