-- What others have sent, told by one that heard of it, to a server that has lost what it held.
-- Whoever sent it knows better when it ended: what it has told, or tells later, stays.
-- KEYS from 6: messages' windows. ARGV from 4: milliseconds it may last, milliseconds of a window;
-- then for each of these keys the request's id, and milliseconds until it ends.
local lasts, window = tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 6, #KEYS do
  local id, ends = ARGV[2 * i - 6], tonumber(ARGV[2 * i - 5])
  redis.call('ZADD', KEYS[i], 'NX', now + ends + window, id)
  redis.call('PEXPIRE', KEYS[i], lasts + window)
  if ends > 0 then redis.call('ZADD', places, 'NX', now + ends, id .. ' lingers') end
end
tell()
