"""The Lua script of all operations on a record; the store runs it atomically.

``lease_policy`` describes the record. All times are by the store's clock. A record is one key, so
the script runs on a cluster; it reads before it writes, so ``read`` runs on a replica. An invalid
record cannot block the proxies: another type than a hash counts as no record, an invalid number as
0, a lease longer than a minute as expired.

    read    id…
    lease   owner, milliseconds, id…
    renew   number, milliseconds
    write   number, id, entry, milliseconds        the life of the entry and of the record
    release number, refusal, milliseconds          the refusal may be empty
    reject  digest, milliseconds

An owner that requests its own lease gets it again with a new number: the reply to its first request
may have been lost, and then it did not learn the number.

``read`` and ``lease`` return the store's time, the number of the granted lease (0 for none), the
rest of another's lease, the rejected digests, the refusal, the number of entries, and the entry for
each id; times are in milliseconds. The other operations return 1 if they were done, else 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DIGEST = 32
"""Characters of a token's digest."""

REMEMBERED = 8
"""Number of rejected digests that a record keeps."""

MAX_ENTRY = 65_536
"""Bytes; the proxy writes no longer entries, so a longer one is ignored."""

MAX_LEASE = 60_000
"""Milliseconds; a lease in the record that is longer counts as expired."""

SCRIPT = f"""
local record, operation = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = redis.call('TYPE', record).ok
local is_record = kind == 'hash'

local function get(field)
  return is_record and redis.call('HGET', record, field) or ''
end

local function number(field)
  local found = tonumber(get(field)) or 0
  if found ~= found or found < 0 or found > 9007199254740991 then return 0 end
  return math.floor(found)
end

local function left()
  local ms = number('until') - now
  if ms <= 0 or ms > {MAX_LEASE} then return 0 end
  return ms
end

local function set(...)
  if not is_record and kind ~= 'none' then redis.call('DEL', record) end
  redis.call('HSET', record, ...)
end

local function live(ms)
  if redis.call('PTTL', record) < tonumber(ms) then redis.call('PEXPIRE', record, ms) end
end

local function text(n)
  return string.format('%.0f', n)
end

local function count()
  local found = 0
  for _, field in ipairs(is_record and redis.call('HKEYS', record) or {{}}) do
    if string.sub(field, 1, 6) == 'entry:' then found = found + 1 end
  end
  return found
end

local function view(given, leased, first)
  local result = {{
    text(now), text(given), text(leased), get('rejected'), get('refusal'), text(count())
  }}
  for at = first, #ARGV do result[#result + 1] = get('entry:' .. ARGV[at]) end
  return result
end

if operation == 'read' then return view(0, left(), 2) end

if operation == 'lease' then
  local leased = get('owner') == ARGV[2] and 0 or left()
  if leased > 0 then return view(0, leased, 4) end
  local last = number('fence')
  -- In microseconds: an emptied store must not give a number twice.
  local fresh = time[1] * 1000000 + time[2]
  if last > fresh + 86400000000 then last = 0 end
  local given = math.max(last + 1, fresh)
  local result = view(given, 0, 4)
  set('fence', text(given), 'until', text(now + tonumber(ARGV[3])), 'owner', ARGV[2])
  live({MAX_LEASE})
  return result
end

if operation == 'reject' then
  local digest = ARGV[2]
  local others = string.gsub(get('rejected'), digest, '')
  set('rejected', string.sub(digest .. others, 1, {DIGEST * REMEMBERED}))
  live(ARGV[3])
  return 1
end

if not is_record or get('fence') ~= ARGV[2] then return 0 end

if operation == 'renew' then
  set('until', text(now + tonumber(ARGV[3])))
elseif operation == 'write' then
  set('entry:' .. ARGV[3], ARGV[4], 'until', '0')
  redis.call('HDEL', record, 'refusal')
  live(ARGV[5])
elseif operation == 'release' then
  set('until', '0')
  if ARGV[3] ~= '' then
    set('refusal', ARGV[3])
    live(ARGV[4])
  end
else
  return redis.error_reply('ERR no such operation')
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A record at ``now`` (the store's Unix seconds).

    ``number`` is that of the granted lease, 0 for none; ``lease_left`` the rest of another's in
    seconds; ``entries`` are encrypted, by the id of their key; ``has_unknown_entries`` says
    whether there are others, with keys that were not requested.
    """

    now: float
    number: int
    lease_left: float
    rejected_digests: frozenset[str]
    refusal: bytes = field(repr=False)
    entries: dict[str, bytes] = field(repr=False)
    has_unknown_entries: bool = False

    @classmethod
    def read(cls, reply: Any, key_ids: Sequence[str]) -> "Record":
        """Parse the reply to ``read`` or ``lease`` for these key ids."""
        now, number, leased, rejected, refusal, count, *entries = reply
        digests = rejected.decode("latin-1")
        return cls(
            int(now) / 1000,
            int(number),
            int(leased) / 1000,
            frozenset(digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST)),
            refusal[:MAX_ENTRY],
            {
                key_id: entry
                for key_id, entry in zip(key_ids, entries, strict=True)
                if entry and len(entry) <= MAX_ENTRY
            },
            int(count) > sum(map(bool, entries)),
        )
