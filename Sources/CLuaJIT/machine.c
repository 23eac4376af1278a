#include "CLuaJIT.h"

#include <luajit-2.1/lauxlib.h>
#include <luajit-2.1/lua.h>
#include <luajit-2.1/luajit.h>
#include <luajit-2.1/lualib.h>
#include <stdlib.h>
#include <string.h>

enum { arguments_max = 256, results_depth_max = 32, hook_step = 1000, error_max = 512 };

struct cluajit_machine {
    lua_State *state;
    cluajit_host host;
    void *context;
    lua_Alloc allocate;
    void *allocator;
    size_t memory;
    size_t memory_max;
    // Instructions that the present run may still take.
    int64_t instructions;
    char error[error_max];
    size_t error_count;
};

// Counts what the library's own allocator gives, and gives no more than allowed. Freeing and shrinking always work.
static void *allocate(void *context, void *block, size_t old, size_t new) {
    cluajit_machine *machine = context;
    if (new > old && machine->memory + (new - old) > machine->memory_max) return NULL;
    void *result = machine->allocate(machine->allocator, block, old, new);
    if (new == 0 || result != NULL) machine->memory += new - old;
    return result;
}

static cluajit_machine *machine_of(lua_State *state) {
    void *context = NULL;
    lua_getallocf(state, &context);
    return context;
}

static void counted(lua_State *state, lua_Debug *record) {
    (void)record;
    cluajit_machine *machine = machine_of(state);
    machine->instructions -= hook_step;
    if (machine->instructions >= 0) return;
    // From now on every instruction fails: a script that catches the error gets no further.
    lua_sethook(state, counted, LUA_MASKCOUNT, 1);
    luaL_error(state, "script takes too many instructions");
}

static void keep_error(cluajit_machine *machine, lua_State *state) {
    size_t count = 0;
    const char *text = lua_type(state, -1) == LUA_TSTRING ? lua_tolstring(state, -1, &count) : NULL;
    if (text == NULL) {
        text = "error object is not a string";
        count = strlen(text);
    }
    if (count > error_max) count = error_max;
    memcpy(machine->error, text, count);
    machine->error_count = count;
}

// Pushes one value of the results; answers where the next one stands.
static size_t push(lua_State *state, const cluajit_results *results, size_t at, int depth) {
    if (at >= results->count) return at;
    if (depth > results_depth_max) luaL_error(state, "value is nested too deeply");
    luaL_checkstack(state, 4, "results");
    const cluajit_value *value = &results->values[at++];
    switch (value->type) {
    case cluajit_boolean: lua_pushboolean(state, value->number != 0); break;
    case cluajit_number: lua_pushnumber(state, value->number); break;
    case cluajit_string: lua_pushlstring(state, value->bytes != NULL ? value->bytes : "", value->count); break;
    case cluajit_table:
        lua_newtable(state);
        while (at < results->count && results->values[at].type != cluajit_end) {
            at = push(state, results, at, depth + 1);
            if (at >= results->count || results->values[at].type == cluajit_end) {
                lua_pop(state, 1);
                break;
            }
            at = push(state, results, at, depth + 1);
            if (lua_isnil(state, -2)) {
                lua_pop(state, 2);
            } else {
                lua_rawset(state, -3);
            }
        }
        if (at < results->count) at++;
        break;
    default: lua_pushnil(state); break;
    }
    return at;
}

// The script's way to its host.
static int ask(lua_State *state) {
    cluajit_machine *machine = machine_of(state);
    int count = lua_gettop(state) - 1;
    if (count < 0) return luaL_error(state, "no operation");
    if (count > arguments_max) return luaL_error(state, "too many values");
    cluajit_value arguments[arguments_max];
    for (int index = 0; index < count; index++) {
        cluajit_value *value = &arguments[index];
        memset(value, 0, sizeof *value);
        switch (lua_type(state, index + 2)) {
        case LUA_TNIL: value->type = cluajit_nil; break;
        case LUA_TBOOLEAN:
            value->type = cluajit_boolean;
            value->number = lua_toboolean(state, index + 2);
            break;
        case LUA_TNUMBER:
            value->type = cluajit_number;
            value->number = lua_tonumber(state, index + 2);
            break;
        case LUA_TSTRING:
            value->type = cluajit_string;
            value->bytes = lua_tolstring(state, index + 2, &value->count);
            break;
        default: value->type = cluajit_other; break;
        }
    }
    cluajit_results results = {0};
    machine->host(machine->context, (int32_t)lua_tointeger(state, 1), arguments, (size_t)count, &results);
    // From here on nothing of the host's is on the stack.
    if (results.error != NULL) {
        lua_pushlstring(state, results.error, results.error_count);
        return lua_error(state);
    }
    int top = lua_gettop(state);
    size_t at = 0;
    while (at < results.count) at = push(state, &results, at, 0);
    return lua_gettop(state) - top;
}

// Opens what cannot reach the system: no io, no ffi, no packages, no debug, and of os only clocks.
static int open_libraries(lua_State *state) {
    static const luaL_Reg libraries[] = {
        {"", luaopen_base}, {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math}, {LUA_BITLIBNAME, luaopen_bit}, {LUA_OSLIBNAME, luaopen_os},
    };
    for (size_t index = 0; index < sizeof libraries / sizeof *libraries; index++) {
        lua_pushcfunction(state, libraries[index].func);
        lua_pushstring(state, libraries[index].name);
        lua_call(state, 1, 0);
    }
    static const char *const removed[] = {"dofile", "loadfile", "module", "require", "newproxy", "gcinfo", "collectgarbage"};
    for (size_t index = 0; index < sizeof removed / sizeof *removed; index++) {
        lua_pushnil(state);
        lua_setglobal(state, removed[index]);
    }
    static const char *const system[] = {"execute", "exit", "getenv", "remove", "rename", "setlocale", "tmpname"};
    lua_getglobal(state, LUA_OSLIBNAME);
    for (size_t index = 0; index < sizeof system / sizeof *system; index++) {
        lua_pushnil(state);
        lua_setfield(state, -2, system[index]);
    }
    lua_pop(state, 1);
    lua_getglobal(state, LUA_STRLIBNAME);
    lua_pushnil(state);
    lua_setfield(state, -2, "dump");
    lua_pop(state, 1);
    return 0;
}

cluajit_machine *cluajit_open(size_t memory_max, cluajit_host host) {
    cluajit_machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL) return NULL;
    lua_State *state = luaL_newstate();
    if (state == NULL) {
        free(machine);
        return NULL;
    }
    machine->state = state;
    machine->host = host;
    machine->memory_max = memory_max;
    machine->instructions = INT64_MAX;
    machine->memory = (size_t)lua_gc(state, LUA_GCCOUNT, 0) * 1024;
    machine->allocate = lua_getallocf(state, &machine->allocator);
    lua_setallocf(state, allocate, machine);
    // Compiled code does not count instructions.
    luaJIT_setmode(state, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (lua_cpcall(state, open_libraries, NULL) != 0) {
        cluajit_close(machine);
        return NULL;
    }
    return machine;
}

void cluajit_close(cluajit_machine *machine) {
    lua_setallocf(machine->state, machine->allocate, machine->allocator);
    lua_sethook(machine->state, NULL, 0, 0);
    lua_close(machine->state);
    free(machine);
}

// What a run has of the machine; runs may be nested.
struct run {
    void *context;
    int64_t instructions;
};

static struct run enter(cluajit_machine *machine, void *context, uint64_t instructions_max) {
    struct run outer = {machine->context, machine->instructions};
    machine->context = context;
    machine->instructions = instructions_max > INT64_MAX ? INT64_MAX : (int64_t)instructions_max;
    lua_sethook(machine->state, counted, LUA_MASKCOUNT, hook_step);
    return outer;
}

static void leave(cluajit_machine *machine, struct run outer) {
    machine->context = outer.context;
    machine->instructions = outer.instructions;
    lua_sethook(machine->state, counted, LUA_MASKCOUNT, hook_step);
}

struct loading {
    const char *code;
    size_t count;
    const char *name;
};

static int load(lua_State *state) {
    struct loading *loading = lua_touserdata(state, 1);
    if (luaL_loadbufferx(state, loading->code, loading->count, loading->name, "t") != 0) return lua_error(state);
    lua_pushcfunction(state, ask);
    lua_call(state, 1, 0);
    return 0;
}

int cluajit_load(
    cluajit_machine *machine, const char *code, size_t count, const char *name, void *context, uint64_t instructions_max) {
    struct loading loading = {code, count, name};
    struct run outer = enter(machine, context, instructions_max);
    int status = lua_cpcall(machine->state, load, &loading);
    leave(machine, outer);
    if (status == 0) return cluajit_finished;
    keep_error(machine, machine->state);
    lua_pop(machine->state, 1);
    return cluajit_failed;
}

struct lookup {
    const char *name;
    const char *starter;
    int answer;
};

static int has_function(lua_State *state) {
    struct lookup *lookup = lua_touserdata(state, 1);
    lua_getglobal(state, lookup->name);
    lookup->answer = lua_isfunction(state, -1);
    return 0;
}

int cluajit_has_function(cluajit_machine *machine, const char *name) {
    struct lookup lookup = {name, NULL, 0};
    if (lua_cpcall(machine->state, has_function, &lookup) != 0) lua_pop(machine->state, 1);
    return lookup.answer;
}

static int begin(lua_State *state) {
    struct lookup *lookup = lua_touserdata(state, 1);
    lua_State *coroutine = lua_newthread(state);
    lua_pushvalue(state, -1);
    lua_getglobal(state, lookup->starter);
    lua_getglobal(state, lookup->name);
    if (!lua_isfunction(state, -1) || !lua_isfunction(state, -2)) return luaL_error(state, "no such function");
    lua_xmove(state, coroutine, 2);
    lookup->answer = luaL_ref(state, LUA_REGISTRYINDEX);
    return 0;
}

int cluajit_begin(cluajit_machine *machine, const char *starter, const char *name) {
    struct lookup lookup = {name, starter, 0};
    int status = lua_cpcall(machine->state, begin, &lookup);
    if (status == 0) return lookup.answer;
    keep_error(machine, machine->state);
    lua_pop(machine->state, 1);
    return 0;
}

int cluajit_resume(cluajit_machine *machine, int coroutine, void *context, uint64_t instructions_max) {
    // Reading a slot of the registry neither allocates nor raises.
    lua_rawgeti(machine->state, LUA_REGISTRYINDEX, coroutine);
    lua_State *state = lua_tothread(machine->state, -1);
    lua_pop(machine->state, 1);
    if (state == NULL) {
        machine->error_count = 0;
        return cluajit_failed;
    }
    struct run outer = enter(machine, context, instructions_max);
    // The first time the starter and its argument stand on the stack.
    int status = lua_resume(state, lua_status(state) == LUA_YIELD ? 0 : lua_gettop(state) - 1);
    leave(machine, outer);
    if (status == 0) return cluajit_finished;
    if (status == LUA_YIELD) {
        lua_settop(state, 0);
        return cluajit_yielded;
    }
    keep_error(machine, state);
    return cluajit_failed;
}

void cluajit_release(cluajit_machine *machine, int coroutine) {
    luaL_unref(machine->state, LUA_REGISTRYINDEX, coroutine);
    // The library collects nothing when memory ends: a script that used it up must not starve those after it. There are no
    // finalizers that could raise an error here.
    if (machine->memory > machine->memory_max / 2) lua_gc(machine->state, LUA_GCCOLLECT, 0);
}

const char *cluajit_error(cluajit_machine *machine, size_t *count) {
    *count = machine->error_count;
    return machine->error;
}

size_t cluajit_memory(cluajit_machine *machine) { return machine->memory; }
