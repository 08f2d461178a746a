-- JSON texts as values of Lua: what is read, what is refused, and the errors are those of lua-cjson 2.1.0.
--
-- Every loop over a text runs in Lua, so that the limits of the script hold, or is a plain search for a byte.

local parts = ...
local run, raise, text_buffer = parts.arguments.run, parts.arguments.raise, parts.text_buffer

local byte, char, sub, find, lower, format = string.byte, string.char, string.sub, string.find, string.lower, string.format
local select, tonumber, floor = select, tonumber, math.floor

local STACK = 8000  -- values that one function of Lua may have: deeper structures are refused

local null = newproxy(true)  -- a light userdata in Redis, which looks the same
do
    local shown = getmetatable(null)
    shown.__tostring = function() return "userdata: (nil)" end
    shown.__metatable = false
end

-- Tokens ----------------------------------------------------------------------------------------------------

local text, place  -- what is read, and the place of the next character
local quote, backslash, zero  -- the next ones, as far as they are known; beyond the text if there is none
local strict  -- whether numbers of other forms than those of JSON are refused
local kind, value, at  -- of the token: "T_ERROR" has a text

local function next_of(character, from)
    return find(text, character, from, true) or #text + 1
end

local marks = {
    [123] = "T_OBJ_BEGIN", [125] = "T_OBJ_END", [91] = "T_ARR_BEGIN", [93] = "T_ARR_END", [44] = "T_COMMA",
    [58] = "T_COLON", [0] = "T_END",
}
local escaped = {
    [34] = '"', [92] = "\\", [47] = "/", [98] = "\b", [116] = "\t", [110] = "\n", [102] = "\f", [114] = "\r",
}

local function wrong(reason)
    kind, value, at = "T_ERROR", reason, place
end

local function hexadecimal(from)
    local digits = sub(text, from, from + 3)
    return find(digits, "^%x%x%x%x$") and tonumber(digits, 16)
end

local function utf8(code)
    if code < 0x80 then return char(code) end
    if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
        return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    local rest = floor(code / 64)
    return char(0xF0 + floor(code / 262144), 0x80 + floor(rest / 64) % 64, 0x80 + rest % 64, 0x80 + code % 64)
end

-- The character of an escape \uXXXX at `place`, and the place after it; nothing if it is none.
local function unicode()
    local code = hexadecimal(place + 2)
    if not code then return nil end
    if code < 0xD800 or code > 0xDFFF then return utf8(code), place + 6 end
    if code >= 0xDC00 or sub(text, place + 6, place + 7) ~= "\\u" then return nil end
    local second = hexadecimal(place + 8)
    if not second or second < 0xDC00 or second > 0xDFFF then return nil end
    return utf8((code - 0xD800) * 1024 + second - 0xDC00 + 0x10000), place + 12
end

local function string_with_escapes()
    local add, finish = text_buffer()
    while true do
        if quote < place then quote = next_of('"', place) end
        if backslash < place then backslash = next_of("\\", place) end
        local stop = quote < backslash and quote or backslash
        if zero < stop or stop > #text then
            place = zero < stop and zero or stop
            wrong("unexpected end of string")
            return
        end
        add(sub(text, place, stop - 1))
        place = stop
        if stop == quote then break end
        local code = byte(text, place + 1)
        local found, after = escaped[code], place + 2
        if code == 117 then found, after = unicode() end
        if not found then
            wrong(code == 117 and "invalid unicode escape code" or "invalid escape code")
            return
        end
        add(found)
        place = after
    end
    place = place + 1
    kind, value = "T_STRING", finish()
end

local function string_token()
    place = place + 1
    if quote < place then quote = next_of('"', place) end
    if backslash < place then backslash = next_of("\\", place) end
    if quote < backslash and quote < zero then
        kind, value = "T_STRING", sub(text, place, quote - 1)
        place = quote + 1
    else
        string_with_escapes()
    end
end

local function digits_from(from)
    local code = byte(text, from)
    while code and code >= 48 and code <= 57 do
        from = from + 1
        code = byte(text, from)
    end
    return from
end

local function hexadecimal_from(from)
    local code = byte(text, from)
    while code and (code >= 48 and code <= 57 or code >= 65 and code <= 70 or code >= 97 and code <= 102) do
        from = from + 1
        code = byte(text, from)
    end
    return from
end

-- The place after the digits and a point from `from` on; `from` if there is no digit.
local function fraction_from(from, digits)
    local after = digits(from)
    if byte(text, after) ~= 46 then return after end
    local last = digits(after + 1)
    return (after > from or last > after + 1) and last or from
end

-- The place after an exponent with the letter `e`, or `from`.
local function exponent_from(from, e)
    local code = byte(text, from)
    if code ~= e and code ~= e - 32 then return from end
    local sign = byte(text, from + 1)
    local first = (sign == 43 or sign == 45) and from + 2 or from + 1
    local after = digits_from(first)
    return after > first and after or from
end

-- The place after "inf", "infinity", "nan" or "nan(...)" from `from` on, or `from`.
local function name_from(from)
    local word = lower(sub(text, from, from + 7))
    if word == "infinity" then return from + 8 end
    word = sub(word, 1, 3)
    if word == "inf" then return from + 3 end
    if word ~= "nan" then return from end
    local last = select(2, find(sub(text, from + 3, from + 66), "^%([%w_]*%)"))
    return from + 3 + (last or 0)
end

-- The place after the longest number from `from` on that strtod of C reads, or `from`.
local function number_end(from)
    local code = byte(text, from)
    local first = (code == 43 or code == 45) and from + 1 or from
    code = byte(text, first + 1)
    if byte(text, first) == 48 and (code == 120 or code == 88) then
        local after = fraction_from(first + 2, hexadecimal_from)
        return after > first + 2 and exponent_from(after, 112) or first + 1
    end
    local after = fraction_from(first, digits_from)
    if after > first then return exponent_from(after, 101) end
    after = name_from(first)
    return after > first and after or from
end

-- Whether a number has a form that JSON does not have, as far as lua-cjson looks.
local function invalid(from)
    local code = byte(text, from)
    if code == 43 then return true end
    if code == 45 then
        from = from + 1
        code = byte(text, from)
    end
    if code == 48 then
        code = byte(text, from + 1)
        return code ~= nil and (code == 120 or code == 88 or code >= 48 and code <= 57)
    end
    return name_from(from) > from
end

local function number_token(code)
    if strict and invalid(place) then
        wrong("invalid number")
        return
    end
    local first = code == 45 and place + 1 or place
    local after = digits_from(first)
    local following = byte(text, after)
    if after == first or after - first > 15 or following == 46 or following == 101 or following == 69
        or following == 120 or following == 88 then
        after = number_end(place)
        if after == place then
            wrong("invalid number")
            return
        end
    end
    kind, value = "T_NUMBER", tonumber(sub(text, place, after - 1))
    place = after
end

local words = {
    [116] = {"true", "T_BOOLEAN", true}, [102] = {"false", "T_BOOLEAN", false}, [110] = {"null", "T_NULL"},
}

local function next_token()
    local code = byte(text, place)
    while code == 32 or code == 10 or code == 13 or code == 9 do
        place = place + 1
        code = byte(text, place)
    end
    at = place
    if not code then
        kind = "T_END"
        return
    end
    kind = marks[code]
    if kind then
        if code ~= 0 then place = place + 1 end
    elseif code == 34 then
        string_token()
    elseif code == 45 or code >= 48 and code <= 57 then
        number_token(code)
    else
        local word = words[code]
        if word and sub(text, place, place + #word[1] - 1) == word[1] then
            kind, value, place = word[2], word[3], place + #word[1]
        elseif not strict and (code == 43 or name_from(place) > place) then
            number_token(code)
        else
            wrong("invalid token")
        end
    end
end

-- Decoding --------------------------------------------------------------------------------------------------

local max_depth

local function expected(what)
    raise(format("Expected %s but found %s at character %d", what, kind == "T_ERROR" and value or kind, at))
end

local function descend(depth, slots)
    if depth > max_depth or slots > STACK then
        local reason = "Found too many nested data structures (%d) at character %d"
        raise(format(reason, depth, place - 1))
    end
end

local element

local function object(depth, slots)
    descend(depth, slots + 3)
    local t = {}
    next_token()
    while kind ~= "T_OBJ_END" do
        if kind ~= "T_STRING" then expected("object key string") end
        local key = value
        next_token()
        if kind ~= "T_COLON" then expected("colon") end
        next_token()
        t[key] = element(depth, slots + 2)
        next_token()
        if kind == "T_OBJ_END" then break end
        if kind ~= "T_COMMA" then expected("comma or object end") end
        next_token()
        if kind == "T_OBJ_END" then expected("object key string") end
    end
    return t
end

local function array(depth, slots)
    descend(depth, slots + 2)
    local t, index = {}, 0
    next_token()
    if kind == "T_ARR_END" then return t end
    while true do
        index = index + 1
        t[index] = element(depth, slots + 1)
        next_token()
        if kind == "T_ARR_END" then return t end
        if kind ~= "T_COMMA" then expected("comma or array end") end
        next_token()
    end
end

-- The value that begins with the token.
function element(depth, slots)
    if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" then return value end
    if kind == "T_OBJ_BEGIN" then return (object(depth + 1, slots)) end
    if kind == "T_ARR_BEGIN" then return (array(depth + 1, slots)) end
    if kind ~= "T_NULL" then expected("value") end
    return null
end

local function document()
    if #text >= 2 and zero <= 2 then raise("JSON parser does not support UTF-16 or UTF-32") end
    next_token()
    local found = element(0, 1)
    next_token()
    if kind ~= "T_END" then expected("the end") end
    return found
end

-- The value of a JSON text. With `only_json`, numbers of other forms are refused.
local function decode(source, depth_max, only_json)
    text, place, quote, backslash = source, 1, 0, 0
    zero = next_of("\0", 1)
    max_depth, strict = depth_max, only_json
    local found = run(document)
    text = nil
    return found
end

return {decode = decode, null = null}
