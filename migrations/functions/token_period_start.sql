-- token_period_start: when period p_count of an anchor begins.
--
-- Arguments: p_anchor (start of period 0), p_count (periods since then).
-- Returns the anchor p_count months later by Taipei's calendar. Months are always added to the anchor, so an anchor on
--   the 31st gives the last day of short months and the 31st again afterwards. Taiwan is UTC+8 without daylight saving.
-- Raises nothing. Takes no locks. Callers: functions/token_*.sql only.

create or replace function tollgate.token_period_start(p_anchor timestamptz, p_count integer)
returns timestamptz
language sql
immutable
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select ((p_anchor at time zone interval '08:00') + make_interval(months => p_count)) at time zone interval '08:00'
$$;
