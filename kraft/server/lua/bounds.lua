-- Functions of Lua that take long in a single instruction, which no hook interrupts, with a bound.

local spend, memory, check = ...

local results = check.results

local native = {rep = string.rep, insert = table.insert, sort = table.sort}
local error, pcall, select, type = error, pcall, select, type

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
