-- The bytes of numbers: IEEE 754 of 32 and 64 bits, and words of 32 bits. The most significant byte is first.

local byte, char, tostring, tonumber = string.byte, string.char, tostring, tonumber
local floor, frexp, ldexp, abs, huge = math.floor, math.frexp, math.ldexp, math.abs, math.huge

local WORD = 2 ^ 32
local NAN = tonumber("nan")

local function bytes_of_word(word)
    return char(floor(word / 2 ^ 24), floor(word / 2 ^ 16) % 256, floor(word / 2 ^ 8) % 256, word % 256)
end

local function word_of_bytes(text, place)
    local a, b, c, d = byte(text, place, place + 3)
    return ((a * 256 + b) * 256 + c) * 256 + d
end

local function negative(number)
    if number ~= number then return byte(tostring(number)) == 45 end  -- "-nan"
    return number < 0 or 1 / number < 0
end

local function rounded(number)  -- to the nearest integer, from the middle to the even one
    local whole = floor(number)
    local rest = number - whole
    if rest > 0.5 or (rest == 0.5 and whole % 2 == 1) then return whole + 1 end
    return whole
end

-- The 4 bytes of the float that is nearest to `number`.
local function bytes_of_float(number)
    local word = 0
    if number ~= number then
        word = 0x7FC00000
    elseif number ~= 0 then
        local fraction, exponent = frexp(abs(number))
        if abs(number) == huge or exponent > 128 then
            word = 0x7F800000
        elseif exponent < -125 then
            word = rounded(ldexp(fraction, exponent + 149))
        else
            word = (exponent + 125) * 2 ^ 23 + rounded(fraction * 2 ^ 24)
        end
    end
    return bytes_of_word(negative(number) and word + 2 ^ 31 or word)
end

local function bytes_of_double(number)
    local high, low = 0, 0
    if number ~= number then
        high = 0x7FF80000
    elseif abs(number) == huge then
        high = 0x7FF00000
    elseif number ~= 0 then
        local fraction, exponent = frexp(abs(number))
        local mantissa
        if exponent < -1021 then
            mantissa = ldexp(fraction, exponent + 1074)
        else
            mantissa = fraction * 2 ^ 53 - 2 ^ 52
            high = (exponent + 1022) * 2 ^ 20
        end
        low = mantissa % WORD
        high = high + (mantissa - low) / WORD
    end
    return bytes_of_word(negative(number) and high + 2 ^ 31 or high) .. bytes_of_word(low)
end

local function with_sign(number, word) return word >= 2 ^ 31 and -number or number end

local function float_of_bytes(text, place)
    local word = word_of_bytes(text, place)
    local exponent, mantissa = floor(word / 2 ^ 23) % 256, word % 2 ^ 23
    if exponent == 255 then return with_sign(mantissa == 0 and huge or NAN, word) end
    if exponent == 0 then return with_sign(ldexp(mantissa, -149), word) end
    return with_sign(ldexp(mantissa + 2 ^ 23, exponent - 150), word)
end

local function double_of_bytes(text, place)
    local high = word_of_bytes(text, place)
    local exponent = floor(high / 2 ^ 20) % 2048
    local mantissa = high % 2 ^ 20 * WORD + word_of_bytes(text, place + 4)
    if exponent == 2047 then return with_sign(mantissa == 0 and huge or NAN, high) end
    if exponent == 0 then return with_sign(ldexp(mantissa, -1074), high) end
    return with_sign(ldexp(mantissa + 2 ^ 52, exponent - 1075), high)
end

return {
    bytes_of_word = bytes_of_word, word_of_bytes = word_of_bytes,
    bytes_of_float = bytes_of_float, bytes_of_double = bytes_of_double,
    float_of_bytes = float_of_bytes, double_of_bytes = double_of_bytes,
}
