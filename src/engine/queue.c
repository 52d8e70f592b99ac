#include "engine/queue.h"

#define MAX_LOOK 256 /* tasks of other shapes that the search for one comes by, in each class */

bool nx_task_fits(const nx_engine_task *task, const nx_task_filter *filter)
{
    return task->backend == filter->backend && task->input_width == filter->width &&
           task->input_height == filter->height && task->sequence <= filter->newest;
}

void nx_task_queue_push(nx_task_queue *queue, nx_engine_task *task)
{
    nx_task_class *class = &queue->classes[task->priority];
    task->next = NULL;
    task->previous = class->last;
    if (class->last != NULL) {
        class->last->next = task;
    } else {
        class->first = task;
    }
    class->last = task;
    task->queued = true;
    task->sequence = ++queue->sequence;
    queue->count++;
}

void nx_task_queue_remove(nx_task_queue *queue, nx_engine_task *task)
{
    nx_task_class *class = &queue->classes[task->priority];
    if (task->previous != NULL) {
        task->previous->next = task->next;
    } else {
        class->first = task->next;
    }
    if (task->next != NULL) {
        task->next->previous = task->previous;
    } else {
        class->last = task->previous;
    }
    if (class->first == NULL) {
        class->passed = 0;
    }
    task->next = NULL;
    task->previous = NULL;
    task->queued = false;
    queue->count--;
}

void nx_task_queue_take(nx_task_queue *queue, nx_engine_task *task)
{
    queue->classes[task->priority].passed = 0;
    for (uint32_t lower = task->priority + 1; lower < NX_PRIORITY_COUNT; lower++) {
        nx_task_class *class = &queue->classes[lower];
        if (class->first != NULL && class->passed < NX_QUEUE_PATIENCE) {
            class->passed++;
        }
    }
    nx_task_queue_remove(queue, task);
}

static nx_engine_task *first_of(nx_task_queue *queue, nx_priority priority,
                                const nx_task_filter *filter, int64_t now_ns,
                                nx_engine_task **expired)
{
    nx_engine_task *next = NULL;
    uint32_t looked = 0;
    for (nx_engine_task *task = queue->classes[priority].first; task != NULL && looked < MAX_LOOK;
         task = next, looked++) {
        next = task->next;
        if (task->deadline_ns != 0 && now_ns > task->deadline_ns) {
            nx_task_queue_remove(queue, task);
            task->next = *expired;
            *expired = task;
        } else if (filter == NULL || nx_task_fits(task, filter)) {
            return task;
        }
    }
    return NULL;
}

nx_engine_task *nx_task_queue_best(nx_task_queue *queue, const nx_task_filter *filter,
                                   int64_t now_ns, nx_engine_task **expired)
{
    nx_engine_task *found = NULL;
    uint32_t end = queue->hold_background ? NX_PRIORITY_BACKGROUND : NX_PRIORITY_COUNT;
    for (uint32_t i = 1; i < end && found == NULL; i++) {
        if (queue->classes[i].passed >= NX_QUEUE_PATIENCE) {
            found = first_of(queue, i, filter, now_ns, expired);
        }
    }
    for (uint32_t i = 0; i < end && found == NULL; i++) {
        found = first_of(queue, i, filter, now_ns, expired);
    }
    return found;
}
