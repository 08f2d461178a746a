-- The library `bit`: operations on 32 bits, with results from -2^31 to 2^31 - 1, as in Lua BitOp.

local check = (...).arguments

local select, tonumber, floor, frexp, abs = select, tonumber, math.floor, math.frexp, math.abs
local format, sub = string.format, string.sub

local WORD = 2 ^ 32
local ROUNDING = 2 ^ 52 + 2 ^ 51  -- the sum with it has the bits of an integer in its last 32

-- The 32 bits of an argument, as a number from 0 to 2^32 - 1.
local function bits(index, value, count)
    local number = tonumber(value)
    if not number then check.type_fault(index, value, count, "number") end
    local sum = number + ROUNDING
    if sum >= 2 ^ 52 and sum < 2 ^ 53 then return sum % WORD end
    if sum ~= sum or sum - sum ~= 0 then return 0 end
    return frexp(abs(sum)) * 2 ^ 53 % WORD
end

local function signed(word) return word >= 2 ^ 31 and word - WORD or word end

local common = {}  -- of two half bytes, at 16 * x + y
for x = 0, 15 do
    for y = 0, 15 do
        local both, a, b = 0, x, y
        for place = 0, 3 do
            if a % 2 == 1 and b % 2 == 1 then both = both + 2 ^ place end
            a, b = floor(a / 2), floor(b / 2)
        end
        common[16 * x + y] = both
    end
end

local function intersection(a, b)
    local result, unit = 0, 1
    while a > 0 and b > 0 do
        local x, y = a % 16, b % 16
        result = result + common[16 * x + y] * unit
        a, b, unit = (a - x) / 16, (b - y) / 16, unit * 16
    end
    return result
end

local function reduction(combine)
    return function(...)
        local count = select("#", ...)
        local word = bits(1, (...), count)
        for index = count, 2, -1 do
            word = combine(word, bits(index, (select(index, ...)), count))
        end
        return signed(word)
    end
end

local function shift(move)
    return function(...)
        local count, word, distance = select("#", ...), ...
        word = bits(1, word, count)
        return signed(move(word, bits(2, distance, count) % 32))
    end
end

local function rotated(word, distance)
    if distance == 0 then return word end
    return word * 2 ^ distance % WORD + floor(word / 2 ^ (32 - distance))
end

local function tohex(...)
    local count, value, digits = select("#", ...), ...
    local word = bits(1, value, count)
    digits = count < 2 and 8 or signed(bits(2, digits, count))
    local text = format(digits < 0 and "%08X" or "%08x", word)
    digits = abs(digits)
    return digits == 0 and "" or sub(text, -(digits > 8 and 8 or digits))
end

return {
    tobit = function(...) return signed(bits(1, (...), select("#", ...))) end,
    bnot = function(...) return signed(WORD - 1 - bits(1, (...), select("#", ...))) end,
    band = reduction(intersection),
    bor = reduction(function(a, b) return a + b - intersection(a, b) end),
    bxor = reduction(function(a, b) return a + b - 2 * intersection(a, b) end),
    lshift = shift(function(word, distance) return word * 2 ^ distance % WORD end),
    rshift = shift(function(word, distance) return floor(word / 2 ^ distance) end),
    arshift = shift(function(word, distance) return floor(signed(word) / 2 ^ distance) % WORD end),
    rol = shift(rotated),
    ror = shift(function(word, distance) return rotated(word, (32 - distance) % 32) end),
    bswap = function(...)
        local word = bits(1, (...), select("#", ...))
        local a, b, c = word % 256, floor(word / 2 ^ 8) % 256, floor(word / 2 ^ 16) % 256
        return signed(a * 2 ^ 24 + b * 2 ^ 16 + c * 2 ^ 8 + floor(word / 2 ^ 24))
    end,
    tohex = tohex,
}
