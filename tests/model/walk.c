/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk is depth first. Each actor is a coroutine; a state is the files and,
 * for each actor, the digest of all answers that he got, for with the same
 * answers he does the same. A state that was seen is not walked on from again:
 * so the orders of calls that do not matter to each other, which lead to one
 * state, cost no more than one of them, and nothing is left out. Where a state
 * has several fresh successors the process forks: that is how the walk comes
 * back to it. One process runs at a time.
 *
 * Calls that commute with whatever others may still do are no steps: reading
 * what nobody changes or deletes, writing what nobody knows yet.
 *
 * An actor that is killed, or sleeps while the others finish, needs nothing of
 * its own: it is one that is not chosen any more.
 */
#include "walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "memory_backend.h"

enum {
    STACK = 1 << 20,
    TABLE = 1 << 22, /* states */
    CHOICES = WALK_ACTORS * TOLDS,
    DEPTH = 4000, /* steps of a schedule */
    NOBODY = -1,
};

struct actor {
    const struct walk_actor *plan;
    ucontext_t context;
    bool done;
    const struct call *call; /* that it is about to do */
    enum told told;
    uint64_t seen;          /* digest of all answers */
    uint64_t asked;         /* random numbers */
    char file[MEMORY_NAME]; /* the last one it read of */
};

struct choice {
    int actor;
    enum told told;
    int switches; /* left then */
    uint64_t key; /* of the state it leads to */
};

struct step { /* for telling of it */
    int actor;
    enum call_kind kind;
    enum told told;
    char name[MEMORY_NAME];
};

struct node {
    uint64_t key;
    size_t count;
    uint64_t next[CHOICES];
};

struct seen_state {
    uint64_t key; /* 0: none */
    double ways;
};

struct shared {
    struct walk_result result;
    bool stop;
    struct seen_state states[TABLE];
    uint64_t judged[TABLE / 4];
};

static const struct walk_plan *plan;
static struct shared *shared;
static bool is_loud;
static double deadline;

static struct actor actors[WALK_ACTORS];
static ucontext_t scheduler;
static int current = NOBODY; /* who runs; NOBODY: the walk itself, or the judge */
static int last = NOBODY;
static int switches_left;
static unsigned faults_left;
static uint64_t judges_asked;

static struct step trail[DEPTH];
static size_t trail_len;
static struct node nodes[DEPTH];
static size_t node_count;

void __wrap_randombytes_buf(void *buf, size_t len);
uint32_t __wrap_randombytes_uniform(uint32_t bound);

static double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- chance ---- */

void walk_random(void *buf, size_t len)
{
    uint64_t *asked = current == NOBODY ? &judges_asked : &actors[current].asked;
    uint64_t who = current == NOBODY ? 99 : (uint64_t)current;
    uint8_t *p = buf;
    for (size_t at = 0; at < len; at += 8) {
        uint64_t x = memory_mix(who, ++*asked);
        memcpy(p + at, &x, len - at < 8 ? len - at : 8);
    }
}

void __wrap_randombytes_buf(void *buf, size_t len)
{
    walk_random(buf, len);
}

uint32_t __wrap_randombytes_uniform(uint32_t bound)
{
    uint32_t x;
    walk_random(&x, sizeof x);
    return x % bound;
}

/* ---- failing ---- */

static const char *const kinds[] = {"read", "size", "modified", "list", "create", "delete"};
static const char *const lies[] = {"", " (reply lost)", " (done twice)", " (disk full)",
                                   " (not done, fails)"};

static void print_trail(void)
{
    for (size_t i = 0; i < trail_len; i++)
        fprintf(stderr, "  %3zu %-10s %-8s %s%s\n", i, actors[trail[i].actor].plan->name,
                kinds[trail[i].kind], trail[i].name, lies[trail[i].told]);
}

bool walk_has_lied(void)
{
    return faults_left < plan->faults;
}

void walk_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(shared->result.message, WALK_MESSAGE, fmt, ap);
    va_end(ap);
    if (is_loud) {
        fprintf(stderr, "%s: %s\nafter\n", plan->name, shared->result.message);
        print_trail();
    }
    shared->result.failed = true;
    shared->stop = true;
    _exit(0);
}

/* ---- what is a step ---- */

static bool begins_with(const char *name, const char *folder)
{
    return strncmp(name, folder, strlen(folder)) == 0;
}

/* Whether somebody else goes on, and of those who free if ${who_frees}. */
static bool others(int self, bool who_frees)
{
    for (int i = 0; i < (int)plan->actor_count; i++)
        if (i != self && !actors[i].done && (!who_frees || actors[i].plan->frees))
            return true;
    return false;
}

static bool read_matters(const struct actor *a, const struct call *call)
{
    if (begins_with(call->name, "log/")) /* what is there stays */
        return !memory_has(call->name) && others(current, false);
    if (strcmp(call->name, "reserve") == 0) /* nobody makes one */
        return memory_has(call->name) && others(current, true);
    if (!begins_with(call->name, "packs/") && !begins_with(call->name, "segments/"))
        return false;
    if (!memory_has(call->name) || !others(current, true))
        return false; /* what was deleted never comes back */
    return plan->every_read || strcmp(a->file, call->name) != 0;
}

static bool matters(const struct actor *a, const struct call *call)
{
    switch (call->kind) {
    case CALL_READ:
    case CALL_SIZE:
    case CALL_MODIFIED:
        return read_matters(a, call);
    case CALL_LIST:
        return begins_with(call->name, "log/")
                   ? others(current, false)
                   : strcmp(call->name, "packs") == 0 || strcmp(call->name, "segments") == 0;
    case CALL_FINISH:
        return begins_with(call->name, "log/") || faults_left > 0 || others(current, true);
    case CALL_REMOVE:
        return true;
    }
    return true;
}

static enum told on_call(const struct call *call)
{
    uint64_t after;
    if (current == NOBODY)
        return TOLD_TRUE;
    struct actor *a = &actors[current];
    a->told = TOLD_TRUE;
    if (matters(a, call)) {
        a->call = call;
        swapcontext(&a->context, &scheduler);
        a->call = NULL;
    }
    bool of_a_file = call->kind == CALL_READ || call->kind == CALL_SIZE;
    snprintf(a->file, sizeof a->file, "%s", of_a_file ? call->name : "");
    a->seen = memory_mix(a->seen, memory_foretell(call, a->told, &after));
    return a->told;
}

/* ---- states ---- */

static struct seen_state *state_of(uint64_t key)
{
    size_t at = key % TABLE;
    while (shared->states[at].key != 0 && shared->states[at].key != key)
        at = (at + 1) % TABLE;
    return &shared->states[at];
}

/* Whether the state was not known yet. */
static bool meet(uint64_t key)
{
    struct seen_state *s = state_of(key);
    if (s->key == key)
        return false;
    s->key = key;
    if (++shared->result.states > TABLE / 4 * 3)
        walk_fail("there are more states than the table has room for");
    return true;
}

static uint64_t key_after(const struct choice *c)
{
    uint64_t files;
    const struct actor *a = &actors[c->actor];
    uint64_t answer = memory_foretell(a->call, c->told, &files);
    uint64_t key = memory_mix(files, (uint64_t)memory_now());
    for (int i = 0; i < (int)plan->actor_count; i++)
        key = memory_mix(key, i == c->actor ? memory_mix(actors[i].seen, answer) : actors[i].seen);
    key = memory_mix(key, c->told == TOLD_TRUE ? faults_left : faults_left - 1);
    if (plan->switches >= 0)
        key = memory_mix(key, memory_mix((uint64_t)c->actor, (uint64_t)c->switches));
    return key != 0 ? key : 1;
}

static bool may_tell(const struct call *call, enum told told)
{
    if (told == TOLD_TRUE)
        return true;
    if (faults_left == 0)
        return false;
    switch (told) {
    case TOLD_LOST:
        return call->kind == CALL_FINISH || call->kind == CALL_REMOVE;
    case TOLD_TAKEN:
        return call->kind == CALL_FINISH && begins_with(call->name, "log/");
    case TOLD_FULL:
        return call->kind == CALL_FINISH;
    default:
        return true;
    }
}

static size_t find_choices(struct choice choices[CHOICES])
{
    size_t n = 0;
    for (int i = 0; i < (int)plan->actor_count; i++) {
        bool turns = last != NOBODY && last != i && !actors[last].done;
        if (actors[i].done || (turns && switches_left == 0))
            continue;
        for (int told = 0; told < TOLDS; told++) {
            struct choice *c = &choices[n];
            if (!may_tell(actors[i].call, told))
                continue;
            *c = (struct choice){.actor = i, .told = told, .switches = switches_left - turns};
            c->key = key_after(c);
            n++;
        }
    }
    return n;
}

/* ---- going ---- */

static void go_on(int i)
{
    current = i;
    swapcontext(&scheduler, &actors[i].context);
    current = NOBODY;
}

static void take(const struct choice *c)
{
    struct actor *a = &actors[c->actor];
    if (trail_len == DEPTH)
        walk_fail("a schedule has no end");
    struct step *s = &trail[trail_len++];
    *s = (struct step){.actor = c->actor, .kind = a->call->kind, .told = c->told};
    snprintf(s->name, sizeof s->name, "%s", a->call->name);
    last = c->actor;
    switches_left = c->switches;
    faults_left -= c->told != TOLD_TRUE;
    a->told = c->told;
    shared->result.steps++;
    go_on(c->actor);
}

/* A file that no entry names says nothing by itself; whoever deletes it, or makes an entry, will be
 * judged while it is there. */
static bool is_news(void)
{
    if (trail_len == 0)
        return true;
    const struct step *s = &trail[trail_len - 1];
    return s->kind == CALL_REMOVE || begins_with(s->name, "log/");
}

static void judge(void)
{
    static uint64_t expected_before;
    uint64_t expected = plan->expected();
    if (expected == expected_before && !is_news())
        return;
    expected_before = expected;
    uint64_t key = memory_mix(memory.digest, expected);
    size_t at = key % (TABLE / 4);
    while (shared->judged[at] != 0 && shared->judged[at] != key)
        at = (at + 1) % (TABLE / 4);
    if (shared->judged[at] == key)
        return;
    shared->judged[at] = key;
    if (++shared->result.contents > TABLE / 8)
        walk_fail("there are more contents than the table has room for");
    plan->judge();
}

/* Lets a copy of this process walk on by ${c}. */
static bool branch(const struct choice *c)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        take(c);
        return true;
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        walk_fail("cannot fork");
    if (status != 0 && !shared->stop)
        walk_fail("a process ended with status %#x", (unsigned)status);
    return false;
}

/* The ways from the nodes of this process to an end; those of what they lead to are known. */
static void count_ways(size_t base)
{
    while (node_count > base) {
        const struct node *n = &nodes[--node_count];
        double ways = n->count == 0 ? 1 : 0;
        for (size_t i = 0; i < n->count; i++)
            ways += state_of(n->next[i])->ways;
        state_of(n->key)->ways = ways;
    }
}

static void explore(void)
{
    size_t base = node_count;
    uint64_t key = 1;
    while (!shared->stop) {
        struct choice all[CHOICES], fresh[CHOICES];
        size_t n = 0;
        judge();
        struct node *node = &nodes[node_count++];
        *node = (struct node){.key = key, .count = find_choices(all)};
        for (size_t i = 0; i < node->count; i++) {
            node->next[i] = all[i].key;
            if (meet(all[i].key))
                fresh[n++] = all[i];
        }
        if (n == 0)
            break;
        for (size_t i = 0; i < n && !shared->stop; i++) {
            if (i + 1 == n)
                take(&fresh[i]);
            else if (branch(&fresh[i]))
                base = node_count; /* what is below is for the process that forked */
            else
                continue;
            key = fresh[i].key;
            break;
        }
        if (deadline > 0 && seconds_now() > deadline)
            shared->stop = true;
    }
    if (!shared->stop)
        count_ways(base);
}

/* ---- beginning ---- */

static void run_actor(void)
{
    actors[current].plan->run();
    actors[current].done = true;
    for (;;)
        swapcontext(&actors[current].context, &scheduler);
}

static void begin_actor(int i)
{
    struct actor *a = &actors[i];
    *a = (struct actor){.plan = &plan->actors[i], .seen = (uint64_t)i};
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || getcontext(&a->context) < 0)
        walk_fail("no memory for a stack");
    a->context.uc_stack.ss_sp = stack;
    a->context.uc_stack.ss_size = STACK;
    a->context.uc_link = NULL;
    makecontext(&a->context, run_actor, 0);
}

static void run_all(void)
{
    switches_left = plan->switches;
    faults_left = plan->faults;
    plan->make();
    if (plan->broken != NULL)
        *plan->broken = true;
    memory_hook = on_call;
    for (int i = 0; i < (int)plan->actor_count; i++)
        begin_actor(i);
    for (int i = 0; i < (int)plan->actor_count; i++)
        go_on(i); /* to its first step */
    meet(1);
    explore();
    _exit(0);
}

void walk_run(const struct walk_plan *p, bool loud, struct walk_result *result)
{
    int status = 0;
    double begin = seconds_now();
    plan = p;
    is_loud = loud;
    deadline = p->seconds > 0 ? begin + p->seconds : 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED)
        abort();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_all();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || (status != 0 && !shared->result.failed)) {
        shared->result.failed = true;
        snprintf(shared->result.message, WALK_MESSAGE, "the walk ended with status %#x",
                 (unsigned)status);
        if (loud)
            fprintf(stderr, "%s: %s\n", p->name, shared->result.message);
    }
    *result = shared->result;
    result->complete = !shared->stop;
    result->ways = state_of(1)->ways;
    result->seconds = seconds_now() - begin;
    munmap(shared, sizeof *shared);
}
