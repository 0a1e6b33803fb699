-- What is spent now. ARGV from 4: the epoch to begin if there is none of this process, does whoever
-- asks know an earlier one, how many places there are, milliseconds to wait.
local name, is_known, at_once, pause = ARGV[4], ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])

local held = redis.call('GET', epoch)
if not is_of_this_process(held) then
  redis.call('SET', epoch, name .. ' ' .. this_process())
  if held or is_known then
    -- It may lack what the others have sent: nobody has a place until they could tell it.
    for i = 1, at_once do redis.call('ZADD', places, now + pause, 'settling ' .. i) end
  end
end
return cjson.encode(state())
