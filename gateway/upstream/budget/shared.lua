-- What all scripts of the budget begin with.
-- KEYS 1-5: epoch, sequence, places, waiting, mass; ARGV 1-3: now, channel, replica.
--
-- A request is a member of the sorted sets of everything that it spends. Its score is the moment,
-- in the server's milliseconds, from which on it no longer counts.
local epoch, sequence, places, waiting, mass = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, channel, replica = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An epoch is that of one process of the server: one that was restarted or has taken over may lack
-- the last of what the other one was told, and knows its epoch all the same.
local function this_process()
  return redis.call('INFO', 'server'):match('run_id:(%x*)') or ''
end

local function is_of_this_process(name)
  return name and name:match('%S*$') == this_process()
end

-- The milliseconds for which each member still counts, and how many there are.
local function spent(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local found, left = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), {}
  for i = 1, #found, 2 do left[found[i]] = found[i + 1] - now end
  return left, #found / 2
end

local function state()
  return {
    epoch = redis.call('GET', epoch) or '',
    sequence = tonumber(redis.call('GET', sequence) or 0),
    places = spent(places),
    mass = spent(mass),
  }
end

local function tell(begun)
  redis.call('INCR', sequence)
  local news = state()
  news.begun = begun
  redis.call('PUBLISH', channel, 'b' .. replica .. cjson.encode(news))
end
