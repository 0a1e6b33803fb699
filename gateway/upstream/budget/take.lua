-- Take room for one request, all of it or nothing.
-- KEYS from 6: each message's window, then each message's flight.
-- ARGV from 4: the epoch, the request's id, milliseconds it may last, milliseconds of a window,
-- limits at once, of mass requests and of a message, is it a mass request, its level of detail
-- (-1: it asks for nothing), its messages, milliseconds that a turn is kept.
local id, lasts, window = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local at_once, of_mass, of_message = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local is_mass, level, messages, turn = ARGV[11] == '1', tonumber(ARGV[12]), ARGV[13], tonumber(ARGV[14])
local count = (#KEYS - 5) / 2

local _, held = spent(places)

local function refuse(why, more)
  local answer = more or {}
  answer.refused, answer.state = why, state()
  return cjson.encode(answer)
end

if redis.call('GET', epoch) ~= ARGV[4] or not is_of_this_process(ARGV[4]) then
  return refuse('EPOCH')
end
if redis.call('ZSCORE', places, id) then return cjson.encode({state = state()}) end -- sent twice

-- A flight whose request has its place no longer is over.
if level >= 0 and not is_mass then
  local flight = redis.call('GET', KEYS[6 + count])
  if flight then
    local other, detail = flight:match('^(%S+) (%d+)$')
    if redis.call('ZSCORE', places, other) and tonumber(detail) >= level then
      return refuse('FLIGHT', {flight = other, detail = tonumber(detail)})
    end
  end
end

-- Replicas take turns: a free place is for who has waited longest, not for who has just had one.
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', now - turn)
local ahead = redis.call('ZRANK', waiting, replica) or redis.call('ZCARD', waiting)
if at_once - held <= ahead then
  redis.call('ZADD', waiting, 'NX', now, replica)
  return refuse('CONCURRENCY')
end
redis.call('ZREM', waiting, replica) -- its turn is now, whatever comes of it

if is_mass then
  local _, sent = spent(mass)
  if sent >= of_mass then return refuse('MASS') end
end
for i = 1, count do
  local left, sent = spent(KEYS[5 + i])
  if sent >= of_message then return refuse('PER_MESSAGE', {message = i - 1, spent = left}) end
end

redis.call('ZADD', places, now + lasts, id)
if is_mass then redis.call('ZADD', mass, now + lasts + window, id) end
for i = 1, count do
  redis.call('ZADD', KEYS[5 + i], now + lasts + window, id)
  redis.call('PEXPIRE', KEYS[5 + i], lasts + window)
  if level >= 0 then
    redis.call('SET', KEYS[5 + count + i], id .. ' ' .. level, 'PX', lasts)
  end
end
tell({id = id, detail = level, messages = messages})
return cjson.encode({state = state()})
