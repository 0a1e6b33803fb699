-- A request has ended: it counts for a window more. KEYS from 6: each message's window.
-- ARGV from 4: the request's id, milliseconds it could last, milliseconds of a window, milliseconds
-- until it ends (negative: since), is it a mass request, did it never reach the provider.
local id, lasts, window, ends = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local is_mass, refunded = ARGV[8] == '1', ARGV[9] == '1'

local function settle(key)
  if refunded then
    redis.call('ZREM', key, id)
  else
    redis.call('ZADD', key, now + ends + window, id)
  end
end

-- After a time-out the provider may be busy with it for a while.
local lingering = id .. ' lingers'
redis.call('ZREM', places, id, lingering)
if ends > 0 and not refunded then redis.call('ZADD', places, now + ends, lingering) end
if is_mass then settle(mass) end
for i = 6, #KEYS do
  settle(KEYS[i])
  redis.call('PEXPIRE', KEYS[i], lasts + window)
end
tell()
