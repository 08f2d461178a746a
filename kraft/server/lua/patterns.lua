-- Patterns with a bound: string.find, match, gmatch and gsub in which no pattern stalls.
--
-- The matcher of Lua is one instruction that no hook interrupts, and some patterns take it years. The number of
-- steps is at most that of the ways to choose a length for each repeated item. Where that is small, the matcher
-- of Lua does the work. Otherwise the one below does, whose instructions count like those of the script.

local spend, _, check = ...

local results = check.results

local native = {find = string.find, match = string.match, gmatch = string.gmatch, gsub = string.gsub}
local byte, sub, len, error, type, tostring, select, unpack =
    string.byte, string.sub, string.len, error, type, tostring, select, unpack
local rawget, concat, ipairs, pcall = rawget, table.concat, ipairs, pcall

local STEPS = 4000000  -- of Lua's matcher in one call: some milliseconds
local CHARGED = 100000  -- so many steps count as instructions
local PATTERN_BYTES = 500  -- longer patterns also take much of the stack
local KNOWN = 256

local known, count = {}, 0

-- How many items of a pattern can be repeated, and how many can be left out.
local function shape(pattern)
    local found = known[pattern]
    if not found then
        local repeated, optional, i, n = 0, 0, 1, len(pattern)
        while i <= n do
            local c = byte(pattern, i)
            if c == 37 then  -- %
                local following = byte(pattern, i + 1)
                if following == 98 then repeated = repeated + 1 end  -- %b looks for the end
                i = i + 1
            elseif c == 42 or c == 43 or c == 45 then  -- * + -
                repeated = repeated + 1
            elseif c == 63 then  -- ?
                optional = optional + 1
            end
            i = i + 1
        end
        if count >= KNOWN then known, count = {}, 0 end
        found = {repeated, optional}
        known[pattern], count = found, count + 1
    end
    return found[1], found[2]
end

local function short(subject, pattern)
    local n = len(pattern)
    if n > PATTERN_BYTES then return false end
    local repeated, optional = shape(pattern)
    local starts = byte(pattern, 1) == 94 and 1 or len(subject) + 1
    local steps = starts * (n + 1) * (len(subject) + 1) ^ repeated * 2 ^ optional
    if steps > STEPS then return false end
    if steps > CHARGED then spend(steps / 10) end
    return true
end

-- The matcher ----------------------------------------------------------------------------------------------

local class_tests = {}
for _, letter in ipairs({"a", "c", "d", "l", "p", "s", "u", "w", "x", "z"}) do
    local inside, outside = {}, {}
    for code = 0, 255 do
        local is = native.find(string.char(code), "%" .. letter) ~= nil
        inside[code], outside[code] = is, not is
    end
    class_tests[byte(letter)] = inside
    class_tests[byte(letter:upper())] = outside
end

local function class_end(p, i)
    local c = byte(p, i)
    i = i + 1
    if c == 37 then
        if not byte(p, i) then error("malformed pattern (ends with '%')", 0) end
        return i + 1
    end
    if c == 91 then  -- [
        if byte(p, i) == 94 then i = i + 1 end
        repeat
            local d = byte(p, i)
            if not d then error("malformed pattern (missing ']')", 0) end
            i = i + 1
            if d == 37 and byte(p, i) then i = i + 1 end
        until byte(p, i) == 93
        return i + 1
    end
    return i
end

local function in_class(code, letter)
    local test = class_tests[letter]
    if test then return test[code] end
    return code == letter
end

local function in_set(code, p, i, last)  -- p[i] is "[", p[last] is "]"
    local wanted = true
    i = i + 1
    if byte(p, i) == 94 then wanted, i = false, i + 1 end
    while i < last do
        local c = byte(p, i)
        if c == 37 then
            i = i + 1
            if in_class(code, byte(p, i)) then return wanted end
            i = i + 1
        elseif byte(p, i + 1) == 45 and i + 2 < last then
            if c <= code and code <= byte(p, i + 2) then return wanted end
            i = i + 3
        else
            if c == code then return wanted end
            i = i + 1
        end
    end
    return not wanted
end

local function matches_one(state, s, p, ep)
    local code = byte(state.subject, s)
    if not code then return false end
    local c = byte(state.pattern, p)
    if c == 46 then return true end
    if c == 37 then return in_class(code, byte(state.pattern, p + 1)) end
    if c == 91 then return in_set(code, state.pattern, p, ep - 1) end
    return c == code
end

local match

local function capture_closed(state, s, p)
    for level = state.level, 1, -1 do
        if state.lengths[level] == -1 then
            state.lengths[level] = s - state.starts[level]
            local found = match(state, s, p)
            if not found then state.lengths[level] = -1 end
            return found
        end
    end
    error("invalid pattern capture", 0)
end

local function capture_opened(state, s, p, length)
    if state.level >= 32 then error("too many captures", 0) end
    state.level = state.level + 1
    state.starts[state.level], state.lengths[state.level] = s, length
    local found = match(state, s, p)
    if not found then state.level = state.level - 1 end
    return found
end

local function balanced(state, s, p)
    local open, close = byte(state.pattern, p), byte(state.pattern, p + 1)
    if not close then error("unbalanced pattern", 0) end
    if byte(state.subject, s) ~= open then return nil end
    local depth = 1
    while true do
        s = s + 1
        local c = byte(state.subject, s)
        if not c then return nil end
        if c == close then
            depth = depth - 1
            if depth == 0 then return s + 1 end
        elseif c == open then
            depth = depth + 1
        end
    end
end

local function frontier(state, s, p)
    if byte(state.pattern, p) ~= 91 then error("missing '[' after '%f' in pattern", 0) end
    local ep = class_end(state.pattern, p)
    local before = s > 1 and byte(state.subject, s - 1) or 0
    local here = byte(state.subject, s) or 0
    if in_set(before, state.pattern, p, ep - 1) or not in_set(here, state.pattern, p, ep - 1) then
        return nil
    end
    return ep
end

local function back_reference(state, s, digit)
    local level = digit - 48
    if level < 1 or level > state.level or state.lengths[level] == -1 then
        error("invalid capture index", 0)
    end
    local text = sub(state.subject, state.starts[level], state.starts[level] + state.lengths[level] - 1)
    if sub(state.subject, s, s + #text - 1) == text then return s + #text end
    return nil
end

-- The place after a match of the pattern from `p` on at `s`, or nil.
function match(state, s, p)
    local pattern = state.pattern
    while true do
        local c = byte(pattern, p)
        if not c then return s end
        if c == 40 then  -- (
            if byte(pattern, p + 1) == 41 then return capture_opened(state, s, p + 2, -2) end
            return capture_opened(state, s, p + 1, -1)
        elseif c == 41 then
            return capture_closed(state, s, p + 1)
        elseif c == 36 and p == #pattern then
            return s == #state.subject + 1 and s or nil
        end
        local following = c == 37 and byte(pattern, p + 1)
        if following == 98 then
            s = balanced(state, s, p + 2)
            if not s then return nil end
            p = p + 4
        elseif following == 102 then
            p = frontier(state, s, p + 2)
            if not p then return nil end
        elseif following and following >= 48 and following <= 57 then
            s = back_reference(state, s, following)
            if not s then return nil end
            p = p + 2
        else
            local ep = class_end(pattern, p)
            local suffix = byte(pattern, ep)
            if suffix == 63 then
                if matches_one(state, s, p, ep) then
                    local found = match(state, s + 1, ep + 1)
                    if found then return found end
                end
                p = ep + 1
            elseif suffix == 42 or suffix == 43 then
                local most = 0
                while matches_one(state, s + most, p, ep) do most = most + 1 end
                for repeats = most, suffix == 43 and 1 or 0, -1 do
                    local found = match(state, s + repeats, ep + 1)
                    if found then return found end
                end
                return nil
            elseif suffix == 45 then
                while true do
                    local found = match(state, s, ep + 1)
                    if found then return found end
                    if not matches_one(state, s, p, ep) then return nil end
                    s = s + 1
                end
            else
                if not matches_one(state, s, p, ep) then return nil end
                s, p = s + 1, ep
            end
        end
    end
end

local function capture(state, level)
    local length = state.lengths[level]
    if length == -1 then error("unfinished capture", 0) end
    if length == -2 then return state.starts[level] end
    return sub(state.subject, state.starts[level], state.starts[level] + length - 1)
end

-- The captures, or the whole match from `s` up to `e` where the pattern has none and `whole` is set.
local function captures(state, s, e, whole)
    if state.level == 0 then
        if whole then return sub(state.subject, s, e - 1) end
        return
    end
    local found = {}
    for level = 1, state.level do found[level] = capture(state, level) end
    return unpack(found, 1, state.level)
end

local function begin(subject, pattern)
    return {subject = subject, pattern = pattern, level = 0, starts = {}, lengths = {}}
end

-- The first match from `init` on: its first and its next place.
local function search(state, init)
    local anchored = byte(state.pattern, 1) == 94
    local p = anchored and 2 or 1
    for s = init, anchored and init or #state.subject + 1 do
        state.level = 0
        local e = match(state, s, p)
        if e then return s, e end
    end
    return nil
end

local function start_of(subject, init)
    init = init or 1
    if init < 0 then init = #subject + init + 1 end
    return init < 1 and 1 or init
end

-- The first match at `init` or later: the state of the matcher, and as `search`. Errors name the caller's caller.
local function first_match(subject, pattern, init)
    local state = begin(subject, pattern)
    local first = start_of(subject, init)
    if first > #subject + 1 then return nil end
    local ok, s, e = pcall(search, state, first)
    if not ok then error(s, 3) end
    return state, s, e
end

local function text(value)
    return type(value) == "number" and tostring(value) or value
end

string.find = function(...)
    local subject, pattern, init, plain = ...
    subject, pattern = text(subject), text(pattern)
    if type(subject) ~= "string" or type(pattern) ~= "string" or plain
        or not native.find(pattern, "[%^%$%*%+%?%.%(%[%%%-]") or short(subject, pattern) then
        return results("find", pcall(native.find, ...))
    end
    local state, s, e = first_match(subject, pattern, init)
    if not s then return nil end
    return s, e - 1, captures(state, s, e, false)
end

string.match = function(...)
    local subject, pattern, init = ...
    subject, pattern = text(subject), text(pattern)
    if type(subject) ~= "string" or type(pattern) ~= "string" or short(subject, pattern) then
        return results("match", pcall(native.match, ...))
    end
    local state, s, e = first_match(subject, pattern, init)
    if not s then return nil end
    return captures(state, s, e, true)
end

string.gmatch = function(...)
    local subject, pattern = ...
    subject, pattern = text(subject), text(pattern)
    if type(subject) ~= "string" or type(pattern) ~= "string" or short(subject, pattern) then
        return results("gmatch", pcall(native.gmatch, ...))
    end
    local place = 1
    local state = begin(subject, pattern)
    return function()
        for s = place, #subject + 1 do
            state.level = 0
            local e = match(state, s, 1)  -- an anchor is a character here, as in Lua 5.1
            if e then
                place = e == s and e + 1 or e
                return captures(state, s, e, true)
            end
        end
        place = #subject + 2
        return nil
    end
end
string.gfind = string.gmatch

local function replaced(state, s, e, replacement, kind)
    local whole = sub(state.subject, s, e - 1)
    local value
    if kind == "function" then
        value = replacement(captures(state, s, e, true))
    elseif kind == "table" then
        value = replacement[(captures(state, s, e, true))]
    else
        local first = state.level == 0 and whole or nil
        return (native.gsub(replacement, "%%(.)", function(digit)
            if digit == "0" then return whole end
            if not native.find(digit, "%d") then return digit end
            local level = byte(digit) - 48
            if level == 1 and first then return first end
            if level > state.level then error("invalid capture index", 0) end
            return tostring(capture(state, level))
        end))
    end
    if not value then return whole end
    if type(value) ~= "string" and type(value) ~= "number" then
        error("invalid replacement value (a " .. type(value) .. ")", 0)
    end
    return tostring(value)
end

string.gsub = function(...)
    local subject, pattern, replacement, most = ...
    subject, pattern = text(subject), text(pattern)
    local kind = type(replacement)
    if type(subject) ~= "string" or type(pattern) ~= "string" or short(subject, pattern)
        or (kind ~= "string" and kind ~= "number" and kind ~= "table" and kind ~= "function") then
        return results("gsub", pcall(native.gsub, ...))
    end
    replacement = text(replacement)
    local state = begin(subject, pattern)
    local anchored = byte(pattern, 1) == 94
    local out, s, number = {}, 1, 0
    most = most or #subject + 1
    while number < most do
        state.level = 0
        local e = match(state, s, anchored and 2 or 1)
        if e then
            number = number + 1
            out[#out + 1] = replaced(state, s, e, replacement, kind)
        end
        if e and e > s then
            s = e
        elseif s <= #subject then
            out[#out + 1] = sub(subject, s, s)
            s = s + 1
        else
            break
        end
        if anchored then break end
    end
    out[#out + 1] = sub(subject, s)
    return concat(out), number
end
