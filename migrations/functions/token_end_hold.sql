-- token_end_hold: ends what a reservation holds: part of it is spent, the rest goes back to its buckets.
--
-- Arguments
--   p_company_id, p_record_id   whose reservation
--   p_state                     settled | released; those that end by themselves: token_end_holds
--   p_spent                     tokens to spend, from 0 to the reserved amount, taken in the order they were reserved
--   p_at                        when it ended
--   p_now                       when it is recorded
-- Returns the tokens spent out of each of the reservation's buckets, in its order.
-- Compare-and-set: a reservation that is not held any more raises TK008, and nothing changes.
-- The ledger entry of what is spent is the caller's; what goes back into a bucket that has expired meanwhile expires, what
--   goes back into one that was revoked (token_revoke_grant) is taken back too.
-- Locks: the company is locked by the caller. Callers: functions/token_*.sql only.

create or replace function tollgate.token_end_hold(
    p_company_id text,
    p_record_id uuid,
    p_state text,
    p_spent bigint,
    p_at timestamptz,
    p_now timestamptz
)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_bucket_ids uuid[];
    v_held bigint[];
    v_spent bigint[] := '{}';
    v_left bigint := p_spent;
    v_part bigint;
    v_state text;
    v_kind text;
    v_id uuid;
begin
    update tollgate.token_reservations as reservation
    set state = p_state, ended_at = p_at
    where reservation.record_id = p_record_id and reservation.state = 'held'
    returning reservation.bucket_ids, reservation.bucket_amounts into v_bucket_ids, v_held;
    if not found then
        raise exception using errcode = 'TK008', message = 'tokens: the reservation is not held any more';
    end if;

    update tollgate.company_subscriptions as company
    set reserved_balance = company.reserved_balance - (select sum(part) from unnest(v_held) as part), updated_at = p_now
    where company.company_id = p_company_id;

    for i in 1..cardinality(v_bucket_ids) loop
        v_part := least(v_left, v_held[i]);
        v_left := v_left - v_part;
        v_spent[i] := v_part;
        update tollgate.token_buckets as bucket
        set reserved = bucket.reserved - v_held[i],
            remaining = bucket.remaining
                - case when bucket.state in ('expired', 'revoked') then v_held[i] else v_part end,
            state = case when bucket.state = 'open' and bucket.remaining = v_part then 'empty' else bucket.state end,
            updated_at = p_now
        where bucket.company_id = p_company_id and bucket.id = v_bucket_ids[i]
        returning bucket.state, bucket.kind into v_state, v_kind;
        if v_state = 'expired' and v_held[i] > v_part then
            v_id := tollgate.token_new_id(p_now);
            perform tollgate.token_book(
                p_company_id, v_id, 'token_expire:' || p_company_id || ':' || v_id, 'token_expire', 'token_expired',
                case when v_kind = 'monthly' then v_part - v_held[i] else 0 end,
                case when v_kind = 'promotional' then v_part - v_held[i] else 0 end,
                0, p_at, p_now);
        elsif v_state = 'revoked' and v_held[i] > v_part then
            v_id := tollgate.token_new_id(p_now);
            perform tollgate.token_book(
                p_company_id, v_id, 'token_revoke:' || p_company_id || ':' || v_id, 'token_revoke', 'token_issued',
                0, 0, v_part - v_held[i], p_at, p_now);
        end if;
    end loop;
    return v_spent;
end
$$;
