-- token_faults: everything in the token tables that contradicts them or the ledger; an empty answer means they agree.
--
-- Arguments: none.
-- Returns a row a fault: what is wrong, whose, about which bucket, account or record, and the figures.
--   balance     a company's balance is not the sum of its buckets, or not that of its ledger account
--   reserved    what a company or a bucket holds is not what its held reservations say
--   record      a completed record whose ledger transaction is missing or moves another amount, or the reverse
-- Raises nothing. Takes no locks; reads everything, so it is for tests and reconciliation. ledger_faults is its twin.
-- Callers: tollgate_app. Runs with the caller's rights: reading is all it does.

create or replace function tollgate.token_faults()
returns table (fault text, owner text, subject text, detail text)
language sql
stable
set search_path = pg_catalog, tollgate, pg_temp
as $$
    select 'balance', company.company_id, held.kind,
        format('balance %s, buckets %s, account %s', held.balance, coalesce(bucket.remaining, 0), account.balance)
    from tollgate.company_subscriptions as company
    cross join lateral (values
        ('monthly', company.monthly_balance),
        ('promotional', company.promotional_balance),
        ('purchased', company.purchased_balance)
    ) as held (kind, balance)
    left join lateral (
        select sum(bucket.remaining) as remaining
        from tollgate.token_buckets as bucket
        where bucket.company_id = company.company_id and bucket.kind = held.kind
    ) as bucket on true
    left join tollgate.ledger_account as account
        on account.owner = 'company:' || company.company_id and account.kind = 'token_' || held.kind and account.unit = 'TOKEN'
    where held.balance <> coalesce(bucket.remaining, 0) or held.balance is distinct from account.balance

    union all
    select 'reserved', company.company_id, 'company',
        format('reserved %s, reservations %s', company.reserved_balance, coalesce(sum(reservation.amount), 0))
    from tollgate.company_subscriptions as company
    left join tollgate.token_reservations as reservation
        on reservation.company_id = company.company_id and reservation.state = 'held'
    group by company.company_id, company.reserved_balance
    having company.reserved_balance <> coalesce(sum(reservation.amount), 0)

    union all
    select 'reserved', bucket.company_id, bucket.id::text,
        format('reserved %s, reservations %s', bucket.reserved, coalesce(held.amount, 0))
    from tollgate.token_buckets as bucket
    left join (
        select share.id, sum(share.amount) as amount
        from tollgate.token_reservations as reservation
        cross join lateral unnest(reservation.bucket_ids, reservation.bucket_amounts) as share (id, amount)
        where reservation.state = 'held'
        group by share.id
    ) as held on held.id = bucket.id
    where bucket.reserved <> coalesce(held.amount, 0)

    union all
    select 'record', coalesce(record.company_id, posted.owner), coalesce(record.id, posted.id)::text,
        format('record %s %s, ledger %s', record.status, record.amount, posted.amount)
    from (
        select record.id, record.company_id, record.amount, record.status
        from tollgate.token_deduction_records as record
        where record.status in ('completed', 'compensated')
    ) as record
    full join (
        select transaction.id, transaction.owner, sum(entry.amount) as amount
        from tollgate.ledger_transaction as transaction
        join tollgate.ledger_entry as entry on entry.transaction_id = transaction.id and entry.account_kind = 'token_used'
        where transaction.kind in ('token_deduct', 'token_settle')
        group by transaction.id, transaction.owner
    ) as posted on posted.id = record.id and posted.owner = 'company:' || record.company_id
    where posted.amount is distinct from record.amount
$$;
