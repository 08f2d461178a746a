-- A text that is made of many pieces, which are joined some at a time: no single instruction joins very many.

local concat = table.concat

local PIECES = 1000  -- that are joined in one go

-- Returns a function that adds a piece, and one that returns the text.
return function()
    local chunks, pieces, n = {}, {}, 0
    local function add(text)
        if n == PIECES then
            chunks[#chunks + 1] = concat(pieces)
            n = 0
        end
        n = n + 1
        pieces[n] = text
    end
    local function finish()
        chunks[#chunks + 1] = concat(pieces, "", 1, n)
        return concat(chunks)
    end
    return add, finish
end
