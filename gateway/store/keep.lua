-- Keep what is known of a message and tell the others, unless what is kept is further on.
-- KEYS: the message. ARGV: rank, two digits; milliseconds to keep it; the value; channel; news.
local kept = redis.call('GETRANGE', KEYS[1], 0, 1)
if kept <= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[3], 'PX', ARGV[2])
end
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ARGV[3])
