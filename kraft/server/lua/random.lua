-- math.random and math.randomseed: the numbers of lrand48, as in Redis 7, one sequence for all scripts.
--
-- A seed counts only for the script that sets it: the next one goes on with the common sequence.

local parts = ...
local check, lasting = parts.arguments, parts.sandbox.lasting

local floor, select = math.floor, select

local low, middle, high = 0x330E, 0xABCD, 0x1234

local function random31()
    local a = low * 0xE66D + 0xB
    local b = middle * 0xE66D + low * 0xDEEC + floor(a / 65536)
    local c = high * 0xE66D + middle * 0xDEEC + low * 0x5 + floor(b / 65536)
    low, middle, high = a % 65536, b % 65536, c % 65536
    return high * 32768 + floor(middle / 2)
end

math.randomseed = function(...)
    local seed = check.int(1, (...), select("#", ...)) % 2 ^ 32
    local a, b, c = low, middle, high
    lasting(function() low, middle, high = a, b, c end)
    low, middle, high = 0x330E, seed % 65536, floor(seed / 65536)
end

math.random = function(...)
    local count, first, last = select("#", ...), ...
    local r = random31() % 2147483647 / 2147483647
    if count == 0 then return r end
    if count > 2 then check.fault("wrong number of arguments") end
    first = check.int(1, first, count)
    if count == 1 then
        first, last = 1, first
    else
        last = check.int(2, last, count)
    end
    if first > last then check.argument_fault(count, "interval is empty") end
    local size = (last - first + 1 + 2 ^ 31) % 2 ^ 32 - 2 ^ 31  -- 32 bits, as in C
    return floor(r * size) + first
end
