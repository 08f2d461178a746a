-- The library `struct`: strings with the layout of structures in C, on a machine of 64 bits, as in Redis 7.

local parts = ...
local check, ieee = parts.arguments, parts.ieee

local byte, sub, find, char, rep, reverse = string.byte, string.sub, string.find, string.char, string.rep, string.reverse
local select, tonumber, type, unpack, floor, concat, format =
    select, tonumber, type, unpack, math.floor, table.concat, string.format

local INTEGER_BYTES = 32  -- of the largest integer
local INT_MAX = 2 ^ 31 - 1
local WORD = 2 ^ 32
local STACK = 8000  -- values that one function of Lua may have
local INTEGERS = {b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, i = 4, I = 4}
local OTHERS = {f = 4, d = 8, x = 1}

-- The bits that two small integers have in common.
local function common(a, b)
    local both, unit = 0, 1
    while b > 0 do
        if a % 2 == 1 and b % 2 == 1 then both = both + unit end
        a, b, unit = floor(a / 2), floor(b / 2), unit * 2
    end
    return both
end

-- Formats ---------------------------------------------------------------------------------------------------

-- The number at `place` of a format, or `default`, and the place after it.
local function number_at(layout, place, default)
    local digit = byte(layout, place)
    if not digit or digit < 48 or digit > 57 then return default, place end
    local number = 0
    while digit and digit >= 48 and digit <= 57 do
        number = number * 10 + digit - 48
        if number > INT_MAX then check.fault("integral size overflow") end
        place = place + 1
        digit = byte(layout, place)
    end
    return number, place
end

-- The bytes that `option` takes, as far as the format says so, and the place after its number.
local function size_of(option, layout, place)
    local size = INTEGERS[option] or OTHERS[option] or 0
    if option == "c" then
        size, place = number_at(layout, place, 1)
    elseif option == "i" or option == "I" then
        size, place = number_at(layout, place, 4)
        if size > INTEGER_BYTES then
            check.fault(format("integral size %d is larger than limit of %d", size, INTEGER_BYTES))
        end
    end
    return size, place
end

local function padding(position, align, option, size)
    if size == 0 or option == "c" then return 0 end
    if size > align then size = align end
    return common(size - common(position, size - 1), size - 1)
end

-- Follow an option that is no field. Returns the byte order, the alignment, and the place after the option.
local function control(option, layout, place, little, align)
    if option == "<" then return true, align, place end
    if option == ">" then return false, align, place end
    if option == "!" then
        align, place = number_at(layout, place, 8)
        local power = align
        while power > 1 and power % 2 == 0 do power = power / 2 end
        if power ~= 1 then check.fault(format("alignment %d is not a power of 2", align)) end
    elseif option ~= " " then
        check.argument_fault(1, "invalid format option '" .. option .. "'")
    end
    return little, align, place
end

local function layout_of(value, count)
    local layout = check.string(1, value, count)
    local zero = find(layout, "\0", 1, true)
    return zero and sub(layout, 1, zero - 1) or layout
end

-- Integers --------------------------------------------------------------------------------------------------

local function bytes_of_integer(number, size, little)
    local high, low
    if number ~= number or number < -(2 ^ 63) then
        high, low = 2 ^ 31, 0
    elseif number >= 2 ^ 64 then
        high, low = 0, 0
    else
        number = number < 0 and -floor(-number) or floor(number)
        low = number % WORD
        high = (number - low) / WORD % WORD
    end
    local text = ieee.bytes_of_word(high) .. ieee.bytes_of_word(low)
    text = size > 8 and rep("\0", size - 8) .. text or sub(text, 9 - size)
    if size == 0 then text = "" end
    return little and reverse(text) or text
end

local function integer_of_bytes(text, little, with_sign)
    local size = #text
    if little then text = reverse(text) end
    text = size < 8 and rep("\0", 8 - size) .. text or sub(text, -8)
    local high, low = ieee.word_of_bytes(text, 1), ieee.word_of_bytes(text, 5)
    if with_sign then
        local shift = (size * 8 - 1) % 64  -- of the bit with the sign, as the processor counts
        if shift >= 32 then
            local sign = 2 ^ (shift - 32)
            if high >= sign then high = high % sign - sign end
        elseif high > 0 or low >= 2 ^ shift then
            high, low = 0, low % 2 ^ shift - 2 ^ shift
        end
    end
    return high * WORD + low
end

-- The library -----------------------------------------------------------------------------------------------

local function pack(...)
    local count = select("#", ...)
    local layout = layout_of((...), count)
    local little, align, place, position, argument = true, 1, 1, 0, 2
    local out, values = {}, {...}
    count = count + 1  -- Redis has put a nil after them
    while place <= #layout do
        local option, size = sub(layout, place, place), nil
        size, place = size_of(option, layout, place + 1)
        local gap = padding(position, align, option, size)
        if gap > 0 then out[#out + 1] = rep("\0", gap) end
        position = position + gap
        local value = values[argument]
        if INTEGERS[option] then
            out[#out + 1] = bytes_of_integer(check.number(argument, value, count), size, little)
            argument = argument + 1
        elseif option == "x" then
            out[#out + 1] = "\0"
        elseif option == "f" or option == "d" then
            local number = check.number(argument, value, count)
            local text = option == "f" and ieee.bytes_of_float(number) or ieee.bytes_of_double(number)
            out[#out + 1] = little and reverse(text) or text
            argument = argument + 1
        elseif option == "c" or option == "s" then
            local text = check.string(argument, value, count)
            argument = argument + 1
            if size == 0 then size = #text end
            if #text < size then check.argument_fault(argument, "string too short") end
            out[#out + 1] = sub(text, 1, size)
            if option == "s" then
                out[#out + 1] = "\0"
                size = size + 1
            end
        else
            little, align, place = control(option, layout, place, little, align)
        end
        position = position + size
    end
    return concat(out)
end

local function need(size, position, data)
    if position < 0 or size < 0 or position + size > #data then
        check.argument_fault(2, "data string too short")
    end
end

-- The size of a string that is the number before it.
local function size_before(found, n, position, data)
    local size = n > 0 and tonumber(found[n])
    if not size then check.fault("format 'c0' needs a previous size") end
    size = check.integer64(size)
    need(size, position, data)
    return size
end

local function unpack_(...)
    local count, _, data, first = select("#", ...), ...
    local layout = layout_of((...), count)
    data = check.string(2, data, count)
    local position = first == nil and 1 or check.integer(3, first, count)
    if position == 0 then check.argument_fault(3, "offset must be 1 or greater") end
    position = position - 1
    local little, align, place, found, n = true, 1, 1, {}, 0
    while place <= #layout do
        local option, size = sub(layout, place, place), nil
        size, place = size_of(option, layout, place + 1)
        position = position + padding(position, align, option, size)
        need(size, position, data)
        if count + n + 2 > STACK then check.fault("stack overflow (too many results)") end
        if INTEGERS[option] then
            local text = sub(data, position + 1, position + size)
            n = n + 1
            found[n] = integer_of_bytes(text, little, find(option, "%l") ~= nil)
        elseif option == "f" or option == "d" then
            local text = sub(data, position + 1, position + size)
            if little then text = reverse(text) end
            n = n + 1
            found[n] = option == "f" and ieee.float_of_bytes(text, 1) or ieee.double_of_bytes(text, 1)
        elseif option == "c" then
            if size == 0 then
                size = size_before(found, n, position, data)
                n = n - 1
            end
            n = n + 1
            found[n] = sub(data, position + 1, position + size)
        elseif option == "s" then
            local zero = find(data, "\0", position + 1, true)
            if not zero then check.fault("unfinished string in data") end
            n = n + 1
            found[n] = sub(data, position + 1, zero - 1)
            size = zero - position
        elseif option ~= "x" then
            little, align, place = control(option, layout, place, little, align)
        end
        position = position + size
    end
    found[n + 1] = position + 1
    return unpack(found, 1, n + 1)
end

local function size(...)
    local layout = layout_of((...), select("#", ...))
    local little, align, place, position, fixed = true, 1, 1, 0, nil
    while place <= #layout do
        local option = sub(layout, place, place)
        fixed, place = size_of(option, layout, place + 1)
        position = position + padding(position, align, option, fixed)
        if option == "s" then
            check.argument_fault(1, "option 's' has no fixed size")
        elseif option == "c" and fixed == 0 then
            check.argument_fault(1, "option 'c0' has no fixed size")
        elseif not find(option, "%w") then
            little, align, place = control(option, layout, place, little, align)
        end
        position = position + fixed
    end
    return position
end

return {pack = pack, unpack = unpack_, size = size}
