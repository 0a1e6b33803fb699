-- Stand in line for a place. ARGV 4: milliseconds that a turn is kept.
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', now - tonumber(ARGV[4]))
redis.call('ZADD', waiting, 'NX', now, replica)
