#include "testing.h"

#include "ops/fleet.h"
#include "ops/merge.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const routes[] = {"/a", "/b"};
static const nx_label labels[] = {{"route", routes, 2, 0}};

/* A process's metrics. */
typedef struct process {
    nx_metrics *metrics;
    nx_metric *requests, *seconds, *depth, *jobs;
} process;

static void open_process(process *p)
{
    static const double bounds[] = {1, 2};
    p->metrics = nx_metrics_new();
    p->requests = nx_metrics_counter(p->metrics, "requests_total", "Requests.", labels, 1);
    p->seconds = nx_metrics_histogram(p->metrics, "seconds", "Time.", bounds, 2, NULL, 0);
    p->depth = nx_metrics_gauge(p->metrics, "depth", "Waiting.", NULL, 0);
    p->jobs = nx_metrics_gauge(p->metrics, "jobs", "Jobs.", NULL, 0);
    nx_metric_share(p->jobs);
}

static void render(nx_buffer *out, void *user)
{
    nx_metrics_render(((process *)user)->metrics, out);
}

/* --- merging ------------------------------------------------------------------------------------
 */

static void everything_adds_up(void **state)
{
    (void)state;
    process one;
    process two;
    open_process(&one);
    open_process(&two);
    nx_metric_add(one.requests, 0, 40);
    nx_metric_add(two.requests, 0, 2);
    nx_metric_add(two.requests, 1, 7); /* a series that the first does not show */
    nx_metric_observe(one.seconds, 0, 0.5);
    nx_metric_observe(two.seconds, 0, 1.25);
    nx_metric_observe(two.seconds, 0, 9);
    nx_metric_set(one.depth, 0, 3);
    nx_metric_set(two.depth, 0, 4.5);
    nx_metric_set(one.jobs, 0, 10);
    nx_metric_set(two.jobs, 0, 11);
    nx_buffer first = NX_BUFFER_INIT;
    nx_buffer second = NX_BUFFER_INIT;
    nx_buffer out = NX_BUFFER_INIT;
    render(&first, &one);
    render(&second, &two);
    nx_exposition texts[] = {{first.data, first.size, false}, {second.data, second.size, false}};
    nx_metrics_merge(one.metrics, texts, 2, &out);
    assert_string_equal(nx_buffer_cstr(&out), "# HELP requests_total Requests.\n"
                                              "# TYPE requests_total counter\n"
                                              "requests_total{route=\"/a\"} 42\n"
                                              "requests_total{route=\"/b\"} 7\n"
                                              "# HELP seconds Time.\n"
                                              "# TYPE seconds histogram\n"
                                              "seconds_bucket{le=\"1\"} 1\n"
                                              "seconds_bucket{le=\"2\"} 2\n"
                                              "seconds_bucket{le=\"+Inf\"} 3\n"
                                              "seconds_sum 10.75\n"
                                              "seconds_count 3\n"
                                              "# HELP depth Waiting.\n"
                                              "# TYPE depth gauge\n"
                                              "depth 7.5\n"
                                              "# HELP jobs Jobs.\n"
                                              "# TYPE jobs gauge\n"
                                              "jobs 10\n");
    /* of one that has ended only what it counted */
    texts[1].gone = true;
    nx_buffer_clear(&out);
    nx_metrics_merge(one.metrics, texts, 2, &out);
    nx_assert_contains(nx_buffer_cstr(&out), "requests_total{route=\"/a\"} 42\n");
    nx_assert_contains(nx_buffer_cstr(&out), "depth 3\n");
    nx_buffer_free(&first);
    nx_buffer_free(&second);
    nx_buffer_free(&out);
    nx_metrics_free(one.metrics);
    nx_metrics_free(two.metrics);
}

/* Of what a process can't say the others' word counts. */
static void what_one_does_not_know_others_do(void **state)
{
    (void)state;
    process one, two;
    open_process(&one);
    open_process(&two);
    nx_buffer first = NX_BUFFER_INIT;
    nx_buffer second = NX_BUFFER_INIT;
    nx_buffer out = NX_BUFFER_INIT;
    for (int turn = 0; turn < 3; turn++) {
        nx_metric_set(one.depth, 0, turn == 1 ? 3 : NAN);
        nx_metric_set(two.depth, 0, turn == 0 ? 3 : NAN);
        nx_buffer_clear(&first);
        nx_buffer_clear(&second);
        nx_buffer_clear(&out);
        render(&first, &one);
        render(&second, &two);
        const nx_exposition texts[] = {{first.data, first.size, false},
                                       {second.data, second.size, false}};
        nx_metrics_merge(one.metrics, texts, 2, &out);
        nx_assert_contains(nx_buffer_cstr(&out), turn < 2 ? "depth 3\n" : "depth NaN\n");
    }
    nx_buffer_free(&first);
    nx_buffer_free(&second);
    nx_buffer_free(&out);
    nx_metrics_free(one.metrics);
    nx_metrics_free(two.metrics);
}

static void one_alone_stays_what_it_is(void **state)
{
    (void)state;
    process p;
    open_process(&p);
    nx_metric_add(p.requests, 1, UINT64_C(123456789012345)); /* more digits than %g shows */
    nx_metric_observe(p.seconds, 0, 0.125);
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer out = NX_BUFFER_INIT;
    render(&text, &p);
    const nx_exposition texts[] = {{text.data, text.size, false}, {NULL, 0, true}};
    nx_metrics_merge(p.metrics, texts, 2, &out);
    assert_string_equal(nx_buffer_cstr(&out), nx_buffer_cstr(&text));
    /* half a line at the end is none */
    nx_buffer_clear(&out);
    const nx_exposition cut[] = {{text.data, text.size - 1, false}};
    nx_metrics_merge(p.metrics, cut, 1, &out);
    assert_null(strstr(nx_buffer_cstr(&out), "\njobs 0"));
    nx_buffer_free(&text);
    nx_buffer_free(&out);
    nx_metrics_free(p.metrics);
}

/* --- processes ----------------------------------------------------------------------------------
 */

static void expect(nx_fleet_member *member, const char *line)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_fleet_render(member, 10000, &out);
    nx_assert_contains(nx_buffer_cstr(&out), line);
    nx_buffer_free(&out);
}

/* A process that joins when it is told, counts, says so, and waits for 'q' to leave, or a signal.
 * All are forked before this process has a thread. */
static pid_t fork_process(nx_fleet *fleet, uint32_t index, uint64_t requests, int *to, int *from)
{
    int told[2];
    int tells[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(tells), 0);
    pid_t pid = fork();
    if (pid == 0) {
        process p;
        nx_fleet_member *member = NULL;
        nx_error err = {0};
        char byte = 0;
        open_process(&p);
        if (read(told[0], &byte, 1) != 1 ||
            nx_fleet_join(fleet, index, p.metrics, render, &p, &member, &err) != NX_OK) {
            _exit(1);
        }
        nx_metric_add(p.requests, 0, requests);
        nx_metric_set(p.depth, 0, 1);
        bool good = write(tells[1], "r", 1) == 1 && read(told[0], &byte, 1) == 1 && byte == 'q';
        nx_metric_add(p.requests, 0, 1); /* what is counted last is published last */
        nx_fleet_leave(member);
        nx_metrics_free(p.metrics);
        _exit(good ? 0 : 2);
    }
    close(told[0]);
    close(tells[1]);
    *to = told[1];
    *from = tells[0];
    return pid;
}

static void let_join(int to, int from)
{
    char byte = 0;
    assert_int_equal(write(to, "j", 1), 1);
    assert_int_equal(read(from, &byte, 1), 1);
}

static void whoever_is_asked_answers_for_all(void **state)
{
    (void)state;
    nx_fleet *fleet = NULL;
    nx_fleet_member *member = NULL;
    nx_error err = {0};
    int to[3];
    int from[3];
    int status = 0;
    process p;
    nx_assert_ok(nx_fleet_new(3, &fleet, &err), err);
    pid_t first = fork_process(fleet, 1, 20, &to[0], &from[0]);
    pid_t second = fork_process(fleet, 2, 300, &to[1], &from[1]);
    pid_t successor = fork_process(fleet, 2, 1000, &to[2], &from[2]);
    let_join(to[0], from[0]);
    let_join(to[1], from[1]);
    open_process(&p);
    nx_assert_ok(nx_fleet_join(fleet, 0, p.metrics, render, &p, &member, &err), err);
    nx_metric_add(p.requests, 0, 1);
    nx_metric_set(p.depth, 0, 5);
    expect(member, "requests_total{route=\"/a\"} 321\n"); /* now, not as of the last second */
    expect(member, "\ndepth 7\n");
    nx_metric_add(p.requests, 0, 1);
    nx_buffer out = NX_BUFFER_INIT;
    nx_fleet_render(member, 0, &out); /* without waiting: at least this process is up to date */
    nx_assert_contains(nx_buffer_cstr(&out), "requests_total{route=\"/a\"} 322\n");
    nx_buffer_free(&out);

    /* one ends in peace, one is killed: what they counted stays, their gauges go */
    assert_int_equal(write(to[0], "q", 1), 1);
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_int_equal(status, 0);
    expect(member, "requests_total{route=\"/a\"} 323\n");
    expect(member, "\ndepth 6\n");
    assert_int_equal(kill(second, SIGKILL), 0);
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_int_equal(nx_fleet_losses(fleet), 0);
    nx_fleet_lost(fleet, 2, false);
    assert_int_equal(nx_fleet_losses(fleet), 1);
    nx_fleet_lost(fleet, 1, true); /* the one that was told to end */
    assert_int_equal(nx_fleet_losses(fleet), 1);
    expect(member, "requests_total{route=\"/a\"} 323\n");
    expect(member, "\ndepth 5\n");

    /* a successor goes on with it */
    let_join(to[2], from[2]);
    expect(member, "requests_total{route=\"/a\"} 1323\n");
    expect(member, "\ndepth 6\n");
    assert_int_equal(write(to[2], "q", 1), 1);
    assert_int_equal(waitpid(successor, &status, 0), successor);
    assert_int_equal(status, 0);
    for (int i = 0; i < 3; i++) {
        close(to[i]);
        close(from[i]);
    }
    nx_fleet_leave(member);
    nx_fleet_leave(NULL);
    nx_fleet_free(fleet);
    nx_fleet_free(NULL);
    nx_metrics_free(p.metrics);
}

/* Whoever is stopped (a debugger, a full machine) costs the others a moment, not the answer. */
static void one_that_does_not_answer_counts_as_it_did_last(void **state)
{
    (void)state;
    nx_fleet *fleet = NULL;
    nx_fleet_member *member = NULL;
    nx_error err = {0};
    int to = -1;
    int from = -1;
    int status = 0;
    process p;
    nx_assert_ok(nx_fleet_new(2, &fleet, &err), err);
    pid_t other = fork_process(fleet, 1, 5, &to, &from);
    let_join(to, from);
    open_process(&p);
    nx_assert_ok(nx_fleet_join(fleet, 0, p.metrics, render, &p, &member, &err), err);
    expect(member, "requests_total{route=\"/a\"} 5\n");
    assert_int_equal(kill(other, SIGSTOP), 0);
    assert_int_equal(waitpid(other, &status, WUNTRACED), other);
    nx_buffer out = NX_BUFFER_INIT;
    nx_fleet_render(member, 20, &out);
    nx_assert_contains(nx_buffer_cstr(&out), "requests_total{route=\"/a\"} 5\n");
    nx_buffer_free(&out);
    assert_int_equal(kill(other, SIGKILL), 0);
    assert_int_equal(waitpid(other, &status, 0), other);
    close(to);
    close(from);
    nx_fleet_leave(member);
    nx_fleet_free(fleet);
    nx_metrics_free(p.metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_adds_up),
        cmocka_unit_test(what_one_does_not_know_others_do),
        cmocka_unit_test(one_alone_stays_what_it_is),
        cmocka_unit_test(whoever_is_asked_answers_for_all),
        cmocka_unit_test(one_that_does_not_answer_counts_as_it_did_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
