-- The library `cmsgpack`: MessagePack, in the forms that Redis 7 chooses.

local parts = ...
local check, ieee, text_buffer = parts.arguments, parts.ieee, parts.text_buffer

local byte, char, sub, format = string.byte, string.char, string.sub, string.format
local select, type, next, unpack, floor = select, type, next, unpack, math.floor
local error = error
local word, word_at = ieee.bytes_of_word, ieee.word_of_bytes

local NESTING = 16  -- deeper tables are packed as nil
local STACK = 8000  -- values that one function of Lua may have
local WORD = 2 ^ 32

-- Packing ---------------------------------------------------------------------------------------------------

local add, finish  -- of the text that is written

local function half(number) return char(floor(number / 256), number % 256) end

-- The head of a value with so many elements or bytes, in the shortest of its forms; there may be none for 8 bits.
local function head(size, short, short_max, form8, form16, form32)
    if size <= short_max then return char(short + size) end
    if form8 and size <= 0xFF then return char(form8, size) end
    if size <= 0xFFFF then return char(form16) .. half(size) end
    return char(form32) .. word(size % WORD)
end

local function integer(number)
    if number >= 0 then
        if number <= 0x7F then return char(number) end
        if number <= 0xFF then return char(0xCC, number) end
        if number <= 0xFFFF then return char(0xCD) .. half(number) end
        if number < WORD then return char(0xCE) .. word(number) end
    else
        if number >= -32 then return char(number + 256) end
        if number >= -128 then return char(0xD0, number + 256) end
        if number >= -32768 then return char(0xD1) .. half(number + 65536) end
        if number >= -(2 ^ 31) then return char(0xD2) .. word(number + WORD) end
    end
    local low = number % WORD
    return char(number < 0 and 0xD3 or 0xCF) .. word((number - low) / WORD % WORD) .. word(low)
end

local function number_form(number)
    if floor(number) == number and number >= -(2 ^ 63) and number < 2 ^ 63 then return integer(number) end
    local float = ieee.bytes_of_float(number)
    if ieee.float_of_bytes(float, 1) == number then return char(0xCA) .. float end
    return char(0xCB) .. ieee.bytes_of_double(number)
end

-- How many elements there are, and whether the keys are 1 to that number.
local function shape(t)
    local count, most, array = 0, 0, true
    for key in next, t do
        count = count + 1
        if type(key) ~= "number" or key <= 0 or key > 2147483647 or floor(key) ~= key then
            array = false
        elseif key > most then
            most = key
        end
    end
    return count, array and most == count
end

local function pack_value(value, level)
    local kind = type(value)
    if kind == "string" then
        add(head(#value, 0xA0, 31, 0xD9, 0xDA, 0xDB))
        add(value)
    elseif kind == "boolean" then
        add(value and "\195" or "\194")
    elseif kind == "number" then
        add(number_form(value))
    elseif kind == "table" and level < NESTING then
        local count, array = shape(value)
        if array then
            add(head(count, 0x90, 15, nil, 0xDC, 0xDD))
            for index = 1, count do pack_value(value[index], level + 1) end
        else
            add(head(count, 0x80, 15, nil, 0xDE, 0xDF))
            for key, element in next, value do
                pack_value(key, level + 1)
                pack_value(element, level + 1)
            end
        end
    else
        add("\192")
    end
end

local function pack(...)
    local count = select("#", ...)
    if count == 0 then check.argument_fault(0, "MessagePack pack needs input.") end
    add, finish = text_buffer()
    local values = {...}
    for index = 1, count do pack_value(values[index], 0) end
    return (finish())
end

-- Unpacking -------------------------------------------------------------------------------------------------

local text, place, length  -- what is unpacked, and the place of the next byte

local function missing() check.raise("Missing bytes in input.") end

-- The next `size` bytes; `place` is after them.
local function taken(size)
    local from = place
    place = from + size
    if place > length + 1 then missing() end
    return from
end

local function unsigned16()
    local from = taken(2)
    local a, b = byte(text, from, from + 1)
    return a * 256 + b
end
local function unsigned32() return word_at(text, taken(4)) end
local function signed64()
    local from = taken(8)
    local high = word_at(text, from)
    return (high >= 2 ^ 31 and high - WORD or high) * WORD + word_at(text, from + 4)
end

local function signed(number, bits) return number >= 2 ^ (bits - 1) and number - 2 ^ bits or number end

local function string_of(size)
    local from = taken(size)
    return sub(text, from, place - 1)
end

local unpack_value

local function need_stack(slots, reason)
    if slots > STACK then check.raise("stack overflow (" .. reason .. ")") end
end

local function array(size, slots)
    local t = {}
    need_stack(slots + 2, "in function mp_decode_to_lua_array")
    for index = 1, size do t[index] = unpack_value(slots + 2) end
    return t
end

local function map(size, slots)
    local t = {}
    for _ = 1, size do
        local key = unpack_value(slots + 1)
        local value = unpack_value(slots + 2)
        if key == nil then error("table index is nil", 0) end
        if key ~= key then error("table index is NaN", 0) end
        t[key] = value
    end
    return t
end

local forms = {
    [0xC0] = function() return nil end,
    [0xC2] = function() return false end,
    [0xC3] = function() return true end,
    [0xCA] = function() return ieee.float_of_bytes(text, taken(4)) end,
    [0xCB] = function() return ieee.double_of_bytes(text, taken(8)) end,
    [0xCC] = function() return (byte(text, taken(1))) end,
    [0xCD] = unsigned16,
    [0xCE] = unsigned32,
    [0xCF] = signed64,  -- as Redis reads it: from 2^63 on they are negative
    [0xD0] = function() return signed(byte(text, taken(1)), 8) end,
    [0xD1] = function() return signed(unsigned16(), 16) end,
    [0xD2] = function() return signed(unsigned32(), 32) end,
    [0xD3] = signed64,
    [0xD9] = function() return (string_of(byte(text, taken(1)))) end,
    [0xDA] = function() return (string_of(unsigned16())) end,
    [0xDB] = function() return (string_of(unsigned32())) end,
    [0xDC] = function(slots) return (array(unsigned16(), slots)) end,
    [0xDD] = function(slots) return (array(unsigned32(), slots)) end,
    [0xDE] = function(slots) return (map(unsigned16(), slots)) end,
    [0xDF] = function(slots) return (map(unsigned32(), slots)) end,
}

-- The next value; `slots` are the places of the stack that Redis has in use.
function unpack_value(slots)
    if place > length then missing() end
    if slots + 1 > STACK then
        need_stack(slots + 1, "too many return values at once; use unpack_one or unpack_limit instead.")
    end
    local first = byte(text, place)
    place = place + 1
    if first < 0x80 then return first end
    if first >= 0xE0 then return first - 256 end
    if first < 0x90 then return (map(first - 0x80, slots)) end
    if first < 0xA0 then return (array(first - 0x90, slots)) end
    if first < 0xC0 then return (string_of(first - 0xA0)) end
    local form = forms[first]
    if not form then check.raise("Bad data format in input.") end
    return (form(slots))
end

-- Unpack up to `limit` values into a list, from its second place on. Returns their number.
local function unpack_values(found, limit)
    local size = 0
    while place <= length and size < limit do
        found[size + 2] = unpack_value(size + 1)
        size = size + 1
    end
    return size
end

-- Up to `limit` values from `offset` on, all of them if both are 0: then without the offset of what is left.
-- Returns a list, and where in it the results begin and end.
local function unpack_some(count, data, limit, offset)
    text = check.string(1, data, count)
    length = #text
    if limit < 0 or offset < 0 then
        local request = "Invalid request to unpack with offset of %d and limit of %d."
        check.fault(format(request, check.int32(offset), length))
    elseif offset > length then
        check.fault(format("Start offset %d greater than input length %d.", check.int32(offset), length))
    end
    local all = limit == 0 and offset == 0
    place = offset + 1
    local found = {}
    local size = check.run(unpack_values, found, all and length or limit)
    found[1] = place > length and -1 or place - 1
    text = nil
    return found, all and 2 or 1, size + 1
end

-- No tail call leads to `unpack_some`: the place of an error would be lost.
return {
    pack = pack,
    unpack = function(...)
        local found, first, last = unpack_some(select("#", ...), (...), 0, 0)
        return unpack(found, first, last)
    end,
    unpack_one = function(...)
        local count, data, offset = select("#", ...), ...
        offset = offset == nil and 0 or check.integer(2, offset, count)
        local found, first, last = unpack_some(count, data, 1, offset)
        return unpack(found, first, last)
    end,
    unpack_limit = function(...)
        local count, data, limit, offset = select("#", ...), ...
        limit = check.integer(2, limit, count)
        offset = offset == nil and 0 or check.integer(3, offset, count)
        local found, first, last = unpack_some(count, data, limit, offset)
        return unpack(found, first, last)
    end,
    _NAME = "cmsgpack",
    _VERSION = "lua-cmsgpack 0.4.0",
    _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
    _DESCRIPTION = "MessagePack C implementation for Lua",
}
