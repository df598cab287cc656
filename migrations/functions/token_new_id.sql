-- token_new_id: a UUIDv7 for what the database begins by itself (a period's quota, an expiry).
--
-- Arguments: p_now, the instant in its first 48 bits; the rest is random.
-- Returns the id. Raises nothing. Takes no locks.
-- Everything that a caller begins has an id made in Rust; this is for movements that fall due while nobody asked.
-- Callers: functions/token_*.sql only.

create or replace function tollgate.token_new_id(p_now timestamptz)
returns uuid
language sql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select encode(
        set_byte(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from p_now) * 1000)::bigint) from 3)
                from 1 for 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
        'hex')::uuid
$$;
