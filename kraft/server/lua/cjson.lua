-- The library `cjson`: JSON as lua-cjson 2.1.0 in Redis 7 reads and writes it.
--
-- Every loop over a text runs in Lua, so that the limits of the script hold, or over pieces of a few kilobytes.

local parts = ...
local check, lasting, decode = parts.arguments, parts.sandbox.lasting, parts.json_decoder.decode
local null, text_buffer = parts.json_decoder.null, parts.text_buffer

local char, sub, find, gsub, format = string.char, string.sub, string.find, string.gsub, string.format
local select, type, next, rawget, floor, huge = select, type, next, rawget, math.floor, math.huge

local STACK = 8000  -- values that one function of Lua may have: deeper structures are refused
local PIECE = 16384  -- bytes of a string that are escaped in one go

-- Encoding --------------------------------------------------------------------------------------------------

local escapes = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\127"] = "\\u007f"}
for code = 0, 31 do escapes[char(code)] = format("\\u%04x", code) end
escapes["\b"], escapes["\t"], escapes["\n"], escapes["\f"], escapes["\r"] = "\\b", "\\t", "\\n", "\\f", "\\r"

local number_formats = {}
for digits = 1, 14 do number_formats[digits] = "%." .. digits .. "g" end

local add, finish  -- of the text that is written

local function add_string(text)
    add('"')
    for from = 1, #text, PIECE do
        local piece = #text <= PIECE and text or sub(text, from, from + PIECE - 1)
        add(find(piece, '[%c"\\/]') and gsub(piece, '[%c"\\/]', escapes) or piece)
    end
    add('"')
end

local function refuse(value, reason)
    check.raise("Cannot serialise " .. type(value) .. ": " .. reason)
end

local function add_number(number, config)
    if number ~= number or number == huge or number == -huge then
        if not config.encode_invalid_numbers then refuse(number, "must not be NaN or Inf") end
        if config.encode_invalid_numbers == "null" then
            add("null")
            return
        end
        if number ~= number then
            add("nan")
            return
        end
    end
    add(format(number_formats[config.encode_number_precision], number))
end

-- The elements of an array, or 0 where the table is none or is empty.
local function array_length(t, config)
    local most, items = 0, 0
    for key in next, t do
        if type(key) ~= "number" or key < 1 or floor(key) ~= key then return 0 end
        if key > most then most = key <= 2147483647 and key or -2147483648 end
        items = items + 1
    end
    local ratio = config.encode_sparse_ratio
    if ratio > 0 and most > items * ratio and most > config.encode_sparse_safe then
        if not config.encode_sparse_convert then refuse(t, "excessively sparse array") end
        return 0
    end
    return most
end

-- `slots` are the places of the stack that Redis has in use.
local function add_value(value, config, depth, slots)
    local kind = type(value)
    if kind == "string" then
        add_string(value)
    elseif kind == "number" then
        add_number(value, config)
    elseif kind == "boolean" then
        add(value and "true" or "false")
    elseif kind == "nil" or value == null then
        add("null")
    elseif kind ~= "table" then
        refuse(value, "type not supported")
    else
        depth = depth + 1
        if depth > config.encode_max_depth or slots + 3 > STACK then
            check.raise(format("Cannot serialise, excessive nesting (%d)", depth))
        end
        local length = array_length(value, config)
        if length > 0 then
            add("[")
            for index = 1, length do
                if index > 1 then add(",") end
                add_value(rawget(value, index), config, depth, slots + 1)
            end
            add("]")
            return
        end
        local comma = false
        add("{")
        for key, element in next, value do
            if comma then add(",") end
            comma = true
            if type(key) == "number" then
                add('"')
                add_number(key, config)
                add('":')
            elseif type(key) == "string" then
                add_string(key)
                add(":")
            else
                refuse(key, "table key must be a number or string")
            end
            add_value(element, config, depth, slots + 2)
        end
        add("}")
    end
end

local function encode(value, config)
    add, finish = text_buffer()
    check.run(add_value, value, config, 0, 1)
    return (finish())
end

-- The library -----------------------------------------------------------------------------------------------

local SWITCH = {off = false, on = true}
local SWITCH_OR_NULL = {off = false, on = true, null = "null"}
local INT_MAX = 2147483647

-- The functions that read and change `config`. A change lasts until the script ends if `shared`.
local function settings(config, shared)
    local functions = {}

    local function set(name, value)
        local before = config[name]
        if shared then lasting(function() config[name] = before end) end
        config[name] = value
    end

    -- How one argument changes an option: `values` by their names, or the least and the largest integer.
    local function choose(name, values, index, value, count)
        if type(value) ~= "boolean" then
            local word = check.string(index, value, count)
            if values[word] == nil then check.argument_fault(index, "invalid option '" .. word .. "'") end
            value = values[word]
        end
        set(name, value)
    end

    local function limit(name, least, most, index, value, count)
        local number = check.int(index, value, count)
        if number < least or number > most then
            check.argument_fault(1, format("expected integer between %d and %d", least, most))
        end
        set(name, number)
    end

    local function option(name, change, first, second)
        functions[name] = function(...)
            local count, value = select("#", ...), ...
            if count > 1 then check.argument_fault(2, "found too many arguments") end
            if value ~= nil then change(name, first, second, value, count) end
            return config[name]
        end
    end
    local function switch(name, values, _, value, count) choose(name, values, 1, value, count) end
    local function number(name, least, most, value, count) limit(name, least, most, 1, value, count) end

    option("encode_max_depth", number, 1, INT_MAX)
    option("decode_max_depth", number, 1, INT_MAX)
    option("encode_number_precision", number, 1, 14)
    option("encode_keep_buffer", switch, SWITCH)
    option("encode_invalid_numbers", switch, SWITCH_OR_NULL)
    option("decode_invalid_numbers", switch, SWITCH)

    functions.encode_sparse_array = function(...)
        local count, convert, ratio, safe = select("#", ...), ...
        if count > 3 then check.argument_fault(4, "found too many arguments") end
        if convert ~= nil then choose("encode_sparse_convert", SWITCH, 1, convert, count) end
        if ratio ~= nil then limit("encode_sparse_ratio", 0, INT_MAX, 2, ratio, count) end
        if safe ~= nil then limit("encode_sparse_safe", 0, INT_MAX, 3, safe, count) end
        return config.encode_sparse_convert, config.encode_sparse_ratio, config.encode_sparse_safe
    end
    return functions
end

local function library(shared)
    local config = {
        encode_sparse_convert = false, encode_sparse_ratio = 2, encode_sparse_safe = 10,
        encode_max_depth = 1000, decode_max_depth = 1000, encode_number_precision = 14,
        encode_keep_buffer = true, encode_invalid_numbers = false, decode_invalid_numbers = true,
    }
    local functions = settings(config, shared)
    functions.encode = function(...)
        if select("#", ...) ~= 1 then check.argument_fault(1, "expected 1 argument") end
        return (encode((...), config))
    end
    functions.decode = function(...)
        if select("#", ...) ~= 1 then check.argument_fault(1, "expected 1 argument") end
        return (decode(check.string(1, (...), 1), config.decode_max_depth, not config.decode_invalid_numbers))
    end
    functions.new = function() return library(false) end
    functions.null, functions._NAME, functions._VERSION = null, "cjson", "2.1.0"
    return functions
end

return library(true)
