// LuaJIT behind a door: scripts run as coroutines, bounded in memory and instructions, and reach their host through one function.
//
// Lua raises errors by longjmp. None of it crosses the caller's frames: everything that may raise happens inside protected calls
// made here, and the host's function answers with a code which is raised here after it has returned.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    cluajit_nil = 0,
    cluajit_boolean = 1,
    cluajit_number = 2,
    cluajit_string = 3,
    // In results only: keys and values in turn, then an end.
    cluajit_table = 4,
    cluajit_end = 5,
    // In arguments only: something that has no other form.
    cluajit_other = 6,
};

typedef struct cluajit_value {
    int32_t type;
    double number;
    const char *bytes;
    size_t count;
} cluajit_value;

typedef struct cluajit_results {
    // Lent until the host is called again.
    const cluajit_value *values;
    size_t count;
    // Not NULL: the script gets this as an error.
    const char *error;
    size_t error_count;
} cluajit_results;

// What a script asks of its host: an operation and its arguments, lent for the length of the call.
typedef void (*cluajit_host)(
    void *context, int32_t operation, const cluajit_value *arguments, size_t count, cluajit_results *results);

typedef struct cluajit_machine cluajit_machine;

enum { cluajit_finished = 0, cluajit_yielded = 1, cluajit_failed = 2 };

// A machine with at most so many bytes; NULL without memory.
cluajit_machine *cluajit_open(size_t memory_max, cluajit_host host);
void cluajit_close(cluajit_machine *machine);

// Runs a text of Lua that gets the host's function as its argument; no byte code. Answers cluajit_finished or cluajit_failed.
int cluajit_load(
    cluajit_machine *machine, const char *code, size_t count, const char *name, void *context, uint64_t instructions_max);

// Whether there is a global function of a name.
int cluajit_has_function(cluajit_machine *machine, const char *name);

// A coroutine that will call the global `name` with the global function `wrapper`'s results, to be resumed; 0 where that fails.
int cluajit_begin(cluajit_machine *machine, const char *starter, const char *name);

// Runs a coroutine until it yields, ends or fails, at most so many instructions.
int cluajit_resume(cluajit_machine *machine, int coroutine, void *context, uint64_t instructions_max);

// Lets go of a coroutine, ended or not.
void cluajit_release(cluajit_machine *machine, int coroutine);

// What failed last, until the next call.
const char *cluajit_error(cluajit_machine *machine, size_t *count);

// Bytes in use.
size_t cluajit_memory(cluajit_machine *machine);
