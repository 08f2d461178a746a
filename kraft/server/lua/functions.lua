-- Libraries of functions, as in Redis 7: their text registers functions when it runs.
--
-- The text runs before every call of a function, in the environment of that call. So a variable of a library
-- does not outlive a call, and every node computes the same.

local sandbox = ...
local run, full = sandbox.run, sandbox.full

local byte, lower, match = string.byte, string.lower, string.match
local error, type, select, next, rawget, rawset = error, type, select, next, rawget, rawset
local setmetatable, setfenv, getfenv, loadstring, tostring = setmetatable, setfenv, getfenv, loadstring, tostring

local FLAGS = {
    ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
    ["allow-cross-slot-keys"] = true,
}
local FIELDS = {function_name = true, callback = true, description = true, flags = true}
local SHARED = {
    "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM",
}

local registered, order  -- by the text that runs: functions by name, and their names

local function refuse(text) error({err = "ERR " .. text}, 0) end

-- A string, as C takes a number for one; nil for anything else.
local function text_of(value)
    if type(value) == "number" then return tostring(value) end
    return type(value) == "string" and value or nil
end

local function flags_of(given)
    if type(given) ~= "table" then
        refuse("flags argument to redis.register_function must be a table representing function flags")
    end
    local flags = {}
    for i = 1, #given do
        local flag = rawget(given, i)
        if type(flag) ~= "string" or not FLAGS[lower(flag)] then refuse("unknown flag given") end
        flags[i] = lower(flag)
    end
    return flags
end

local function named(given)
    if type(given) ~= "table" then
        refuse("calling redis.register_function with a single argument is only applicable to Lua table"
            .. " (representing named arguments).")
    end
    local found = {flags = {}}
    for key, value in next, given do
        if type(key) ~= "string" then
            refuse("named argument key given to redis.register_function is not a string")
        end
        key = lower(key)
        if not FIELDS[key] then refuse("unknown argument given to redis.register_function") end
        if key == "flags" then
            value = flags_of(value)
        elseif key == "callback" then
            if type(value) ~= "function" then
                refuse("callback argument given to redis.register_function must be a function")
            end
        else
            value = text_of(value)
            if not value then refuse(key .. " argument given to redis.register_function must be a string") end
        end
        found[key] = value
    end
    if not found.function_name then refuse("redis.register_function must get a function name argument") end
    if not found.callback then refuse("redis.register_function must get a callback argument") end
    return found
end

local function register(...)
    if not registered then
        refuse("redis.register_function can only be called on FUNCTION LOAD command")
    end
    local count, first, second = select("#", ...), ...
    if count < 1 or count > 2 then refuse("wrong number of arguments to redis.register_function") end
    local found
    if count == 1 then
        found = named(first)
    else
        first = text_of(first)
        if not first then refuse("first argument to redis.register_function must be a string") end
        if type(second) ~= "function" then
            refuse("second argument to redis.register_function must be a function")
        end
        found = {function_name = first, callback = second, flags = {}}
    end
    local name = found.function_name
    if not match(name, "^[%w_]+$") then
        refuse("Library names can only contain letters, numbers, or underscores(_) and must be at least one"
            .. " character long")
    end
    if registered[lower(name)] then refuse("Function already exists in the library") end
    registered[lower(name)] = found
    order[#order + 1] = lower(name)
end

local api = {register_function = register}  -- what `redis` is while the text runs
local protected = {
    __index = function(_, name)
        local value = api[name]
        if value == nil then
            error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
        end
        return value
    end,
    __newindex = function() error("Attempt to modify a readonly table", 2) end,
    __metatable = true,
}

-- Run the text of a library in the environment of the script that runs.
local function loaded(chunk, environment)
    if not api.log then
        for i = 1, #SHARED do api[SHARED[i]] = environment.redis[SHARED[i]] end
    end
    registered, order = {}, {}
    rawset(environment, "redis", setmetatable({}, protected))
    setfenv(chunk, environment)
    chunk()
    rawset(environment, "redis", nil)
    local functions = registered
    registered = nil
    return functions
end

local function compile(source)
    if byte(source, 1) == 27 then return nil, "bytecode is not allowed" end
    local f, wrong = loadstring(source, "@user_function")
    if full() then return nil, false end
    return f, wrong
end

-- What the library registers: name, description or false, and flags of each function.
local function list(chunk, instructions, seconds)
    return run(function()
        local functions = loaded(chunk, getfenv(1))
        local all = {}
        for i = 1, #order do
            local each = functions[order[i]]
            all[i] = {each.function_name, each.description or false, each.flags}
        end
        return all
    end, instructions, seconds)
end

local function call(chunk, name, instructions, seconds, keys, arguments)
    return run(function()
        local each = loaded(chunk, getfenv(1))[lower(name)]
        if not each then refuse("Function not found") end
        local result = each.callback(keys, arguments)
        return result
    end, instructions, seconds)
end

return compile, list, call
