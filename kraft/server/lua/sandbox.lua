-- The world of a script: what it may call, how long it may run, and how its result leaves.
--
-- Arguments: `dispatch` runs a command and gives its reply, `dispatch_many` gets its words in a table, `set_resp`
-- chooses the form of replies, `sha1` and `log` are functions of the node, `time` gives the seconds that the script
-- has taken. They stay in local variables here: a script reaches no object of Python, because every value that it is
-- given is a string, a number, or a table made here. None of them raises: the exception would be an object. None of
-- them is called when less memory is left than `ceiling` leaves: an allocation that fails outside Lua ends or blocks
-- the process.
--
-- Nothing that a script does lasts: it runs in an environment with tables in front of the libraries, which the
-- next one gets only if they are as they were.

local dispatch, dispatch_many, set_resp, sha1, log, time, version, ceiling = ...

local clock, sethook, getinfo = os.clock, debug.sethook, debug.getinfo
local create, resume, status, running = coroutine.create, coroutine.resume, coroutine.status, coroutine.running
local yield = coroutine.yield
local error, type, tostring, tonumber, select, pairs, rawget, rawset, setmetatable, setfenv, loadstring =
    error, type, tostring, tonumber, select, pairs, rawget, rawset, setmetatable, setfenv, loadstring
local native_pcall, native_xpcall, unpack, next, getmetatable = pcall, xpcall, unpack, next, getmetatable
local concat, byte, sub, match, floor, ceil = table.concat, string.byte, string.sub, string.match, math.floor, math.ceil
local collectgarbage = collectgarbage

-- Limits ---------------------------------------------------------------------------------------------------

local STEP = 200  -- instructions between two looks at the limits
local left, limit, again  -- of the script that runs; `again` is when to ask for the time, nil before the first look
local stopped  -- why it has to end: no pcall keeps it going

local function stop(reason)
    stopped = reason
    error(reason, 0)
end

local function spend(instructions)
    if stopped then
        sethook(spend, "", 1)  -- each further instruction fails
        error(stopped, 0)
    end
    left = left - (instructions or STEP)
    if left < 0 then
        stop("instructions")
    elseif not again then
        again = clock() + limit / 10
    elseif clock() > again then
        -- the clock costs little, but it counts the processor's time of all threads of the process
        local taken = time()
        if taken >= limit then stop("time") end
        again = clock() + (limit - taken) / 10
    end
end

local function hook() spend(STEP) end

-- Whether nothing of Python may be called, because memory could run out meanwhile.
local ceiling_kb = ceiling / 1024

local function full()
    if collectgarbage("count") <= ceiling_kb then return false end
    collectgarbage("collect")
    again = 0  -- that may have taken long
    return collectgarbage("count") > ceiling_kb
end

local function need_memory()
    if full() then stop("memory") end
end

local function watched(co)
    sethook(co, hook, "", STEP)
    return co
end

local function after(...)
    if stopped then error(stopped, 0) end
    return ...
end

local function passed_on(ok, ...)
    if stopped then error(stopped, 0) end
    if ok then return ... end
    error((...), 0)
end

local coroutines = {
    create = function(f) spend(STEP) return watched(create(f)) end,
    resume = function(co, ...) spend(STEP) return after(resume(co, ...)) end,
    running = running,
    status = status,
    yield = yield,
    wrap = function(f)
        local co = watched(create(f))
        return function(...) spend(STEP) return passed_on(resume(co, ...)) end
    end,
}

-- Errors ---------------------------------------------------------------------------------------------------

local function refuse(text) error({err = "ERR " .. text}, 0) end

-- As in Redis: the error that a command raised is a string for whoever catches it.
local function caught(ok, ...)
    if stopped then error(stopped, 0) end
    if not ok then
        local raised = ...
        if type(raised) == "table" and type(rawget(raised, "err")) == "string" then
            return false, rawget(raised, "err")
        end
    end
    return ok, ...
end

local function pcall_(...) return caught(native_pcall(...)) end

-- The handler runs after the error, not inside it: while a hook raises an error, no hook would stop the handler.
local function handled(handler, ok, ...)
    if stopped then error(stopped, 0) end
    if ok then return true, ... end
    return false, handler((...))
end
local function xpcall_(f, handler) return handled(handler, native_pcall(f)) end

-- Where an error was raised, in the script's own code.
local function located(raised)
    if stopped then return stopped end
    if type(raised) ~= "table" then
        local text = type(raised) == "string" and raised or tostring(raised)
        if raised == "not enough memory" then return raised end
        raised = {err = "ERR " .. text}
    end
    local level = 2
    local info = getinfo(level, "Sl")
    while info and (info.what == "C" or info.source == "=kraft") do
        level = level + 1
        info = getinfo(level, "Sl")
    end
    if not info or info.what == "tail" then  -- `return redis.call(...)`: the caller's place is forgotten
        return {err = rawget(raised, "err"), source = "@user_script"}
    end
    return {err = rawget(raised, "err"), source = info.source, line = info.currentline}
end

-- Commands -------------------------------------------------------------------------------------------------

-- The first result of `dispatch` is a value, or nil: then its kind and the content follow.
local function reply(value, kind, content)
    if kind == nil then return value end
    if kind == "limit" then stop(content) end
    if kind == "null" then return false end
    if kind == "nil" then return nil end
    if kind == "list" then return content end
    if kind == "status" then return {ok = content} end
    return {err = content}
end

-- A function of Python cannot be given as many arguments as one of Lua, so many words travel in a table.
local MANY = 1000

local function run_command(...)
    if collectgarbage("count") > ceiling_kb then need_memory() end
    local count = select("#", ...)
    if count <= MANY then return dispatch(...) end
    local words = {...}
    for i = 1, count do
        if words[i] == nil then words[i] = false end  -- refused, as nil is
    end
    need_memory()
    return dispatch_many(words)
end

local function call(...)
    local value, kind, content = run_command(...)
    if kind == nil then return value end
    if kind == "error" then error({err = content}, 0) end
    return reply(value, kind, content)
end

-- An error text as Redis reads it: "-CODE text", or a text without a code.
local function error_table(text)
    if sub(text, 1, 1) == "-" then text = sub(text, 2) end
    if not match(text, " ") then text = "ERR " .. text end
    return {err = (text:gsub("[\r\n]+$", ""))}
end

local function single(field)
    return function(...)
        local text = ...
        if select("#", ...) ~= 1 or type(text) ~= "string" then
            return {err = "ERR wrong number or type of arguments"}
        end
        if field == "err" then return error_table(match(text, "^%Z*")) end  -- a text of C ends at a zero
        return {[field] = text}
    end
end

local resp

local major, minor, patch = match(version, "^(%d+)%.(%d+)%.(%d+)$")
local version_number = major * 65536 + minor * 256 + patch

local redis = {
    call = call,
    pcall = function(...) return reply(run_command(...)) end,
    error_reply = single("err"),
    status_reply = single("ok"),
    sha1hex = function(...)
        if select("#", ...) ~= 1 then refuse("wrong number of arguments") end
        local text = ...
        if type(text) == "number" then text = tostring(text) end
        if type(text) ~= "string" then text = "" end  -- as in Redis
        need_memory()
        return sha1(text)
    end,
    log = function(level, ...)
        if select("#", ...) < 1 then refuse("redis.log() requires two arguments or more.") end
        level = tonumber(level) or refuse("First argument must be a number (log level).")
        if not (level > -1 and level < 4) then refuse("Invalid debug level.") end  -- Redis drops the fraction
        level = level < 0 and 0 or floor(level)
        local words = {}
        for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
        local line = concat(words, " ")
        need_memory()
        log(level, line)
    end,
    setresp = function(...)
        if select("#", ...) ~= 1 then refuse("redis.setresp() requires one argument.") end
        local wanted = floor(tonumber((...)) or 0)
        if wanted ~= 2 and wanted ~= 3 then refuse("RESP version must be 2 or 3.") end
        resp = wanted
        set_resp(wanted)
    end,
    set_repl = function(...)  -- without effect: what a script writes is always logged
        if select("#", ...) ~= 1 then refuse("redis.set_repl() requires two arguments.") end  -- the words of Redis
        local flags = tonumber((...)) or 0
        if not (flags > -1 and flags < 4) then
            refuse("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
        end
    end,
    replicate_commands = function() return true end,
    breakpoint = function() return false end,
    debug = function() end,
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    REDIS_VERSION = version, REDIS_VERSION_NUM = version_number,
}

-- What a script changes in a library ends with the script.
local restores = {}
local function lasting(restore) restores[#restores + 1] = restore end

-- The environment ------------------------------------------------------------------------------------------

local function readonly() error("Attempt to modify a readonly table", 2) end

string.dump = nil
getmetatable("").__metatable = false

local libraries = {
    string = string, table = table, math = math, coroutine = coroutines, redis = redis,
}
local builtins

local environment, globals  -- of the script that runs, and what is seen through the first one
local fronts  -- the tables in front of libraries that it has seen

local function missing(t, name)
    local value = builtins[name]
    if value == nil then
        local library = libraries[name]
        if library == nil then
            error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
        end
        value = setmetatable({}, {__index = library, __newindex = readonly, __metatable = false})
        fronts[#fronts + 1] = value
    end
    rawset(t, name, value)
    return value
end
local missing_ = {__index = missing, __metatable = false}

-- Whether `rawset` or the like has put something into a table that the next script would see.
local function touched()
    if next(environment) ~= nil then return true end
    for i = 1, #fronts do
        if next(fronts[i]) ~= nil then return true end
    end
    return false
end

local function fresh(keys, arguments)
    if not environment or touched() then
        globals, fronts = setmetatable({}, missing_), {}
        environment = setmetatable({}, {__index = globals, __newindex = readonly, __metatable = false})
        globals._G = environment
    end
    globals.KEYS, globals.ARGV = keys, arguments
    return environment
end

-- A copy of what a table in front of a library shows, for those who list it.
local function shown(t)
    if t == environment then
        local all = {}
        for name, value in pairs(builtins) do all[name] = value end
        for name in pairs(libraries) do all[name] = t[name] end
        all._G, all.KEYS, all.ARGV = t, t.KEYS, t.ARGV
        return all
    end
    for name, library in pairs(libraries) do
        if rawget(t, 1) == nil and environment[name] == t then
            local all = {}
            for key, value in pairs(library) do all[key] = value end
            return all
        end
    end
    return t
end

local function compiled(source, name)
    if byte(source, 1) == 27 then return nil, "bytecode is not allowed" end
    return loadstring(source, name)
end

-- The parser makes a string of the name up to its first zero, and nothing holds that at first (CVE-2025-49844). Of a
-- name without a zero it is the argument itself, which stays, whatever the collector does meanwhile.
local function loaded(source, name)
    if type(name) == "string" then name = match(name, "^%Z*") end
    spend(#source)
    local f, wrong = compiled(source, name)
    if f then setfenv(f, environment) end
    return f, wrong
end

builtins = {
    _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs,
    next = next, rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
    setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    pcall = pcall_, xpcall = xpcall_,
    pairs = function(t)
        if type(t) == "table" and getmetatable(t) == false then t = shown(t) end
        return pairs(t)
    end,
    gcinfo = function() return floor(collectgarbage("count")) end,
    collectgarbage = function(option)
        if option == nil or option == "collect" then return 0 end
        return option == "count" and collectgarbage("count") or 0
    end,
    loadstring = function(source, name)
        if type(source) ~= "string" then error("bad argument #1 to 'loadstring' (string expected)", 2) end
        return loaded(source, name or source)
    end,
    load = function(reader, name)
        local pieces = {}
        while true do
            local piece = reader()
            if piece == nil or piece == "" then break end
            if type(piece) ~= "string" then return nil, "reader function must return a string" end
            pieces[#pieces + 1] = piece
        end
        return loaded(concat(pieces), name or "=(load)")
    end,
}

-- Results --------------------------------------------------------------------------------------------------

local DEPTH = 128

-- A number as Redis makes an integer of it.
local function integer(number)
    if number ~= number or number >= 2 ^ 63 or number < -(2 ^ 63) then return -(2 ^ 63) end
    return number < 0 and ceil(number) or floor(number)
end

local FORMS = {  -- fields of tables that stand for replies of RESP, in the order in which Redis looks for them
    {name = "err", type = "string", mark = "e"},
    {name = "ok", type = "string", mark = "o"},
    {name = "double", type = "number", mark = "d"},
    {name = "map", type = "table", mark = "m"},
    {name = "set", type = "table", mark = "u"},
    {name = "big_number", type = "string", mark = "s"},
    {name = "verbatim_string", type = "table", mark = "v"},
}

-- What a table stands for: a mark, and the field that says so; "[" for an array.
local function form_of(t)
    for i = 1, #FORMS do
        local form = FORMS[i]
        local field = rawget(t, form.name)
        if type(field) == form.type then
            if form.mark ~= "v" then return form.mark, field end
            local text = rawget(field, "string")
            if type(text) == "string" then return "s", text end
        end
    end
    return "["
end

-- `value` as a list of kinds and contents, an array as its elements between "[" and "]".
local function flatten(value, out, depth)
    local kind = type(value)
    local n = #out
    if kind == "string" then
        out[n + 1], out[n + 2] = "s", value
    elseif kind == "number" then
        out[n + 1], out[n + 2] = "i", integer(value)
    elseif kind == "boolean" then
        out[n + 1] = resp == 3 and (value and "t" or "f") or (value and "1" or "z")
    elseif kind ~= "table" then
        out[n + 1] = "z"
    elseif depth > DEPTH then
        refuse("reached lua stack limit")
    else
        local mark, field = form_of(value)
        out[n + 1] = mark
        if mark == "m" then
            for key, element in next, field do
                flatten(key, out, depth + 1)
                flatten(element, out, depth + 1)
            end
        elseif mark == "u" then
            for key in next, field do flatten(key, out, depth + 1) end
        elseif mark == "[" then
            local i = 1
            local element = rawget(value, 1)
            while element ~= nil do
                flatten(element, out, depth + 1)
                i = i + 1
                element = rawget(value, i)
            end
        else
            out[n + 2] = field
            return
        end
        out[#out + 1] = "]"
    end
end

local function outcome(f)
    local ok, result = native_xpcall(f, located)
    if not ok or type(result) ~= "table" then return ok, result end
    local out = {}
    local flat, wrong = native_pcall(flatten, result, out, 0)
    if not flat then return false, wrong end
    return true, out
end

-- Scripts run in one coroutine, one after the other: a hook belongs to a coroutine, and none to the main one. None
-- of them leaves it by `yield`, because `xpcall` is a function in C.
local function serve(f)
    while true do f = yield(outcome(f)) end
end
local server

-- Run `f`. Returns what happened: a string, or a number; "flat" with a list for any other result, RESP3's booleans
-- as well; "error" with (text, source, line); or "limit" with its name.
local function run(f, instructions, seconds, keys, arguments)
    stopped, resp = nil, 2
    left, limit, again = instructions, seconds, nil
    for index = #restores, 1, -1 do
        restores[index]()
        restores[index] = nil
    end
    setfenv(f, fresh(keys, arguments))
    server = server or watched(create(serve))
    local alive, ok, result = resume(server, f)
    if stopped then return "limit", stopped end
    if full() then return "limit", "memory" end
    if not alive then ok, result, server = false, ok, nil end
    if not ok then
        if result == "not enough memory" then return "limit", "memory" end
        if type(result) ~= "table" then return "error", "ERR " .. tostring(result) end
        if type(result.err) ~= "string" then result.err = "ERR unknown error" end
        return "error", result.err, result.source, result.line
    end
    if type(result) == "number" then return integer(result) end
    if type(result) == "string" then return result end
    if type(result) == "table" then return "flat", result end
    local out = {}
    flatten(result, out, 0)
    return "flat", out
end

local function run_few(f, instructions, seconds, count, ...)
    return run(f, instructions, seconds, {unpack({...}, 1, count)}, {select(count + 1, ...)})
end

local function compile(source)
    local f, wrong = compiled(source, "@user_script")
    if full() then return nil, false end
    return f, wrong
end

local function offer(name, library) libraries[name] = library end
local function replace(name, f) builtins[name] = f end

return {
    compile = compile, run = run, run_few = run_few, spend = spend, full = full, lasting = lasting,
    offer = offer, replace = replace,
}
