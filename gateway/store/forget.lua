-- Forget what is known of messages, and have the others forget it.
-- KEYS: the messages. ARGV: channel; news.
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, 0)
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
