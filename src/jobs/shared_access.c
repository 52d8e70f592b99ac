/* Who may use which model, in memory. */
#include "jobs/shared_models_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct nx_access_table {
    nx_arena arena; /* of the rows */
    nx_model_rules rules;
    int64_t ahead_ms; /* of this host's clock is the database's */
};

void nx_access_table_free(nx_access_table *table)
{
    if (table != NULL) {
        nx_arena_free(&table->arena);
        free(table);
    }
}

static int rules_by_name(const void *a, const void *b)
{
    return strcmp(((const nx_model_rule *)a)->name, ((const nx_model_rule *)b)->name);
}

static int grants_in_order(const void *a, const void *b)
{
    const nx_model_grant *first = a;
    const nx_model_grant *second = b;
    int order = strcmp(first->name, second->name);
    order = order != 0 ? order : strcmp(first->subject, second->subject);
    return order != 0 ? order : (first->kind > second->kind) - (first->kind < second->kind);
}

nx_status nx_shared_load_access(nx_shared_models *self, nx_error *err)
{
    nx_access_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the rules of the models");
    }
    table->arena = nx_arena_make(0);
    nx_status status = nx_store_model_rules(self->database, &table->arena, &table->rules, err);
    if (status != NX_OK) {
        nx_access_table_free(table);
        return status;
    }
    table->ahead_ms = table->rules.now - nx_clock_unix_ms();
    /* by bytes, whatever the database's order is */
    if (table->rules.rule_count > 1) {
        qsort(table->rules.rules, table->rules.rule_count, sizeof(nx_model_rule), rules_by_name);
    }
    if (table->rules.grant_count > 1) {
        qsort(table->rules.grants, table->rules.grant_count, sizeof(nx_model_grant),
              grants_in_order);
    }
    pthread_rwlock_wrlock(&self->access_lock);
    nx_access_table *old = self->access;
    self->access = table;
    pthread_rwlock_unlock(&self->access_lock);
    nx_access_table_free(old);
    return NX_OK;
}

static bool has_grant(const nx_access_table *table, const char *name, nx_grantee kind,
                      const char *subject)
{
    if (subject == NULL || subject[0] == '\0' || table->rules.grant_count == 0) {
        return false;
    }
    const nx_model_grant wanted = {.name = name, .kind = kind, .subject = subject};
    const nx_model_grant *grant = bsearch(&wanted, table->rules.grants, table->rules.grant_count,
                                          sizeof wanted, grants_in_order);
    return grant != NULL &&
           (grant->expires_at == 0 || grant->expires_at > nx_clock_unix_ms() + table->ahead_ms);
}

static bool allow(const nx_access_table *table, const char *name, const nx_model_subject *subject)
{
    const nx_model_rule wanted = {.name = name};
    const nx_model_rule *rule = table->rules.rule_count > 0
                                    ? bsearch(&wanted, table->rules.rules, table->rules.rule_count,
                                              sizeof wanted, rules_by_name)
                                    : NULL;
    switch (rule != NULL ? rule->level : NX_MODEL_AUTHENTICATED) {
    case NX_MODEL_PUBLIC:
        return true;
    case NX_MODEL_PRIVATE:
        return has_grant(table, name, NX_GRANT_USER, subject->user) ||
               has_grant(table, name, NX_GRANT_KEY, subject->key);
    default:
        return subject->user != NULL && subject->user[0] != '\0';
    }
}

bool nx_shared_models_allow(nx_shared_models *shared, const char *name,
                            const nx_model_subject *subject)
{
    if (subject->all) {
        return true;
    }
    pthread_rwlock_rdlock(&shared->access_lock);
    bool may = shared->access != NULL && allow(shared->access, name, subject);
    pthread_rwlock_unlock(&shared->access_lock);
    return may;
}

bool nx_shared_models_any_public(nx_shared_models *shared)
{
    bool any = false;
    pthread_rwlock_rdlock(&shared->access_lock);
    for (size_t i = 0; shared->access != NULL && i < shared->access->rules.rule_count && !any;
         i++) {
        any = shared->access->rules.rules[i].level == NX_MODEL_PUBLIC;
    }
    pthread_rwlock_unlock(&shared->access_lock);
    return any;
}
