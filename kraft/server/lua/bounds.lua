-- Functions of Lua with a bound: those that take long in a single instruction, which no hook interrupts, and one
-- that would end the process.

local spend, memory, check, replace = ...

local results = check.results

local native = {rep = string.rep, insert = table.insert, sort = table.sort}
local native_unpack = unpack
local error, pcall, select, type, tonumber = error, pcall, select, type, tonumber

local SORTED = 1000  -- elements that are sorted without a look at the limits

string.rep = function(...)
    local text, times = ...
    if type(text) == "string" and type(times) == "number" then
        if text == "" then return "" end
        local size = #text * times
        if size > memory then error("not enough memory", 0) end
        if size > 10000 then spend(size / 100) end
    end
    return results("rep", pcall(native.rep, ...))
end

-- A place far below the first one would be filled one by one.
table.insert = function(...)
    if select("#", ...) == 3 then
        local _, place = ...
        if type(place) == "number" and place < 1 then
            error("bad argument #2 to 'insert' (position out of bounds)", 2)
        end
    end
    return results("insert", pcall(native.insert, ...))
end

table.sort = function(...)
    local t, before = ...
    if before == nil and type(t) == "table" and #t > SORTED then
        before = function(a, b) return a < b end
    end
    if type(t) == "table" and (before == nil or type(before) == "function") then
        return native.sort(t, before)
    end
    return results("sort", pcall(native.sort, ...))
end

-- The number of results is an int, and so are the places: each must fit, or memory is overwritten (CVE-2025-46817).
local UNPACKED = 8000  -- results, as many as Lua's stack takes
local PLACE = 2 ^ 31 - 1

local function fits(first, last)
    if not first or not last then return true end  -- refused below
    local within = first >= -PLACE - 1 and first <= PLACE and last >= -PLACE - 1 and last <= PLACE
    return within and last - first < UNPACKED
end

replace("unpack", function(...)
    local t, first, last = ...
    if type(t) == "table" then
        if first == nil then first = 1 else first = tonumber(first) end
        if last == nil then last = #t else last = tonumber(last) end
        if not fits(first, last) then error("too many results to unpack", 2) end
    end
    return results("unpack", pcall(native_unpack, ...))
end)
