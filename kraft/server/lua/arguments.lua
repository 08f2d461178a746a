-- Arguments and errors of the libraries, in the words and at the places of functions in C.
--
-- Each check is given the `index` of an argument, its `value`, and `count`, how many arguments there are.

local getinfo = debug.getinfo
local error, pcall, type, tonumber, tostring, floor, ceil =
    error, pcall, type, tonumber, tostring, math.floor, math.ceil
local format, find, gsub = string.format, string.find, string.gsub

-- The level of the first function that is not one of ours, seen from the caller of this one.
local function script_level()
    local level = 3
    local info = getinfo(level, "S")
    while info and info.source == "=kraft" do
        level = level + 1
        info = getinfo(level, "S")
    end
    return level - 1
end

-- Raise `text`, at the place in the script that called the library.
local function fault(text)
    local info = getinfo(script_level(), "Sl")
    if info and info.currentline > 0 then
        text = info.short_src .. ":" .. info.currentline .. ": " .. text
    end
    error(text, 0)
end

-- Raise `text` somewhere inside `run`. To look for the place in the script from deep inside would take long.
local function raise(text) error({fault = text}, 0) end

-- The result of `f`, which runs no code of the script. Faults that it raises are those of the library.
local function run(f, ...)
    local ok, result = pcall(f, ...)
    if ok then return result end
    if type(result) == "table" then fault(result.fault) end
    error(result, 0)
end

-- The results of `pcall(f, ...)`, where `f` is the function `name` of Lua in C. This must be called by a tail call.
local function results(name, ok, ...)
    if ok then return ... end
    local wrong = ...
    if type(wrong) ~= "string" or find(wrong, "^[^:\n]+:%d+: ") then error(wrong, 0) end  -- of a callback
    if getinfo(3, "S").what ~= "C" then wrong = gsub(wrong, "'%?'", "'" .. name .. "'", 1) end
    error(wrong, 3)
end

local function argument_fault(index, text)
    local name = getinfo(script_level() - 1, "n").name
    fault(format("bad argument #%d to '%s' (%s)", index, name or "?", text))
end

local function type_fault(index, value, count, wanted)
    local found = index > count and "no value" or type(value)
    argument_fault(index, wanted .. " expected, got " .. found)
end

local function check_number(index, value, count)
    if type(value) == "number" then return value end
    return type(value) == "string" and tonumber(value) or type_fault(index, value, count, "number")
end

local function check_string(index, value, count)
    if type(value) == "string" then return value end
    return type(value) == "number" and tostring(value) or type_fault(index, value, count, "string")
end

-- A number as C makes one of 64 bits of it.
local function integer64(number)
    if not (number >= -(2 ^ 63) and number < 2 ^ 63) then return -(2 ^ 63) end
    return number < 0 and ceil(number) or floor(number)
end

local function check_integer(index, value, count)
    return integer64(check_number(index, value, count))
end

-- The low 32 bits of a number, as a C cast to int keeps them.
local function int32(number)
    local low = integer64(number) % 2 ^ 32
    return low < 2 ^ 31 and low or low - 2 ^ 32
end

local function check_int(index, value, count)
    return int32(check_number(index, value, count))
end

return {
    fault = fault, raise = raise, run = run, results = results, argument_fault = argument_fault, type_fault = type_fault, integer64 = integer64, int32 = int32,
    number = check_number, string = check_string, integer = check_integer, int = check_int,
}
