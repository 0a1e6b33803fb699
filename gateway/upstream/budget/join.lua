-- What is spent now. ARGV 4: the epoch to begin if there is none: who knew another one knows that
-- the server has lost what it held.
redis.call('SET', epoch, ARGV[4], 'NX')
return cjson.encode(state())
