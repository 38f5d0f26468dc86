-- Each request with another key of the file: `wrk -s keys.lua URL -- FILE`.
local keys, before, after = {}, "", ""
local at = 0

function init(args)
   for line in io.lines(args[1]) do keys[#keys + 1] = line end
   local request = wrk.format("GET", nil, { ["Authorization"] = "Bearer KEY" })
   before, after = request:match("^(.*)KEY(.*)$")
   math.randomseed(#keys)
   at = math.random(#keys)
end

-- In order, from a place by chance: over many keys each comes as often as any other.
function request()
   at = at % #keys + 1
   return before .. keys[at] .. after
end
