"""PURE: every step on a record, as the one Lua script that the store runs whole or not at all.

What a record is, and why, stands in ``lease_policy``. All steps are by the store's clock. A record
has one key, so the script runs on a cluster too; it reads before it writes, so a step that only
looks runs on a replica. Nothing that a poisoned record might hold gets anybody stuck: another type
than a hash counts as no record, a number that is none as 0, a lease longer than a minute as over.

    read    id…
    lease   milliseconds, id…                      who wants to ask the bank
    renew   number, milliseconds
    write   number, id, entry, milliseconds        the entry's, and with it the record's, life
    release number, pause, refusal, milliseconds   a refusal may be empty
    reject  digest, milliseconds

``read`` and ``lease`` answer with the store's time, the number of the lease that was given (0 for
none), what is left of another's, the rejected digests, the refusal, how many entries there are,
and an entry for each id; times in milliseconds. The other steps answer whether they were done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DIGEST = 32
"""Characters of a token's digest."""

REMEMBERED = 8
"""Rejected tokens that a record remembers."""

MAX_ENTRY = 65_536
"""Bytes; an entry that is longer is none of ours, and not worth opening."""

MAX_LEASE = 60_000
"""Milliseconds; what is left of a lease is never more, whatever stands in the record."""

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
  local seen = {{
    text(now), text(given), text(leased), get('rejected'), get('refusal'), text(count())
  }}
  for at = first, #ARGV do seen[#seen + 1] = get('entry:' .. ARGV[at]) end
  return seen
end

if operation == 'read' then return view(0, left(), 2) end

if operation == 'lease' then
  local leased = left()
  if leased > 0 then return view(0, leased, 3) end
  local last = number('fence')
  -- In microseconds: an emptied store must not give a number twice.
  local fresh = time[1] * 1000000 + time[2]
  if last > fresh + 86400000000 then last = 0 end
  local given = math.max(last + 1, fresh)
  local seen = view(given, 0, 3)
  set('fence', text(given), 'until', text(now + tonumber(ARGV[2])))
  live({MAX_LEASE})
  return seen
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
  set('until', text(now + tonumber(ARGV[3])))
  if ARGV[4] ~= '' then
    set('refusal', ARGV[4])
    live(ARGV[5])
  end
else
  return redis.error_reply('ERR no such operation')
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A record, as it was at ``now`` (the store's Unix seconds).

    ``number`` is that of the lease that was given, 0 for none; ``leased`` what is left of
    another's, in seconds; ``entries`` are sealed, by the id of the key that sealed them, and
    ``has_unknown_entries`` says whether there are others, sealed with keys that were not asked for.
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
        """Read what ``read`` and ``lease`` answer when asked for the entries of these keys."""
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
