-- deduct_tokens_batch: many deductions in one transaction, a result per request, as if they came one after another.
--
-- Arguments
--   p_idempotency_keys   1 to 160 visible ASCII each; unique over all companies
--   p_company_ids, p_article_ids, p_amounts, p_metadata, p_record_ids
--                        one a position; article ids of 1 to 128 visible ASCII, amounts in tokens above zero and at most
--                        10^15, metadata null or an object, record ids UUIDv7 made by the caller
--   p_now                when it is recorded; the function reads no clock. What is due by then is applied first
-- Returns a row per request, in order. A refusal is a result, not an exception, so that one request cannot undo
--   another; error_code, in order of precedence:
--   InvalidRequest        out of the ranges above; error_field names it. Nothing is recorded
--   CompanyNotFound       nothing was ever granted to it. Nothing is recorded
--   IdempotencyKeyReused  the key was used with another company, article or amount; error_field names the first.
--                         Metadata is not compared: it moves no tokens, and a retry may well count its attempts in it
--   DeductionInProgress   the key belongs to a reservation that is not settled yet
--   InsufficientBalance   recorded: final for its key, a repeat gets it again however much is granted later
--   Released              the key belongs to a reservation that was released: final too
--   A repeat, in this batch or of an earlier call, changes nothing and returns the first result with idempotent = true.
-- Raises
--   TK001 the arrays do not fit together, lack a record id, or hold more than 5,000 requests
--   40001 a key was used by another company at the same moment: run the batch again
-- Locks the companies in ascending order (a twin of the same company waits there, then replays), then their
--   accounts and buckets, which nobody touches without the company's lock. Nothing is locked per request.
-- Every request costs insertions only; buckets, accounts and balances are written once a batch. Spending is
--   interval arithmetic: request i wants the tokens (sum before it, sum with it], bucket b holds (sum before it, sum
--   with it] in spending order, and the overlap is what i takes from b. Only where a company runs short does a loop
--   decide who is refused, because a refused request leaves its share to the next.
-- Conditions that seem to say a thing twice (`company_id = any (v_companies)`) keep a plan on its index that was made
--   while there were few companies; without them such a plan reads the index from end to end.
-- Plans: generic (an array says nothing that could make another plan better) and without sequential scans (a
--   plan made while a table was empty would scan it when it is large, until somebody analyses it).
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.deduct_tokens_batch(
    p_idempotency_keys text[],
    p_company_ids text[],
    p_article_ids text[],
    p_amounts bigint[],
    p_metadata jsonb[],
    p_record_ids uuid[],
    p_now timestamptz
)
returns table (
    request integer,
    record_id uuid,
    success boolean,
    idempotent boolean,
    status text,
    balance_before bigint,
    balance_after bigint,
    taken_monthly bigint,
    taken_promotional bigint,
    taken_purchased bigint,
    error_code text,
    error_field text
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    c_requests_max constant integer := 5000;
    c_amount_max constant bigint := 1000000000000000;
    v_count integer := cardinality(p_idempotency_keys);
    -- By position: decided by this call; taken (else refused); balance that a refused one met.
    v_new boolean[];
    v_faults text[];
    v_taken boolean[];
    v_balances bigint[];
    v_short boolean;
    v_any boolean;
    -- Distinct and ascending; owners as the ledger writes them.
    v_companies text[] := '{}';
    v_owners text[] := '{}';
    v_company text;
    v_left bigint;
    v_written bigint;
    v_row record;
begin
    if num_nulls(p_idempotency_keys, p_company_ids, p_article_ids, p_amounts, p_metadata, p_record_ids, p_now) > 0
        or v_count > c_requests_max or cardinality(p_company_ids) <> v_count or cardinality(p_article_ids) <> v_count
        or cardinality(p_amounts) <> v_count or cardinality(p_metadata) <> v_count or cardinality(p_record_ids) <> v_count
        or array_position(p_record_ids, null) is not null
    then
        raise exception using errcode = 'TK001', message = 'tokens: malformed batch',
            detail = format('Arrays of one length, at most %s, and no record id null.', c_requests_max);
    end if;

    for v_row in
        select company.company_id, company.next_due_at
        from tollgate.company_subscriptions as company
        where company.company_id = any (p_company_ids)
        order by company.company_id
        for update
    loop
        v_companies := v_companies || v_row.company_id;
        v_owners := v_owners || ('company:' || v_row.company_id);
        if v_row.next_due_at <= p_now then
            perform tollgate.token_apply_due(v_row.company_id, p_now);
        end if;
    end loop;

    -- From here on nobody else decides about these companies; a committed twin is visible to every statement below.
    select array_agg(candidate.is_new order by candidate.n), array_agg(candidate.fault order by candidate.n),
        coalesce(bool_or(candidate.is_new), false)
    into v_new, v_faults, v_any
    from (
        select asked.n, asked.fault,
            asked.is_candidate
                and row_number() over (partition by asked.key, asked.is_candidate order by asked.n) = 1 as is_new
        from (
            select request.n, request.key collate "C" as key,
                -- The empty fault: nothing is malformed, the company is unknown.
                coalesce(checked.fault, case when company.company_id is null then '' end) as fault,
                checked.fault is null and company.company_id is not null and first.id is null as is_candidate
            from unnest(p_idempotency_keys, p_company_ids, p_article_ids, p_amounts, p_metadata)
                with ordinality as request (key, company, article, amount, metadata, n)
            cross join lateral (
                select case
                    when octet_length(request.key) between 1 and 160 and request.key !~ '[^!-~]' then
                        case
                            when request.company is null then 'company_id'
                            when octet_length(request.article) between 1 and 128 and request.article !~ '[^!-~]' then
                                case
                                    when request.amount between 1 and c_amount_max then
                                        case when jsonb_typeof(request.metadata) <> 'object' then 'metadata' end
                                    else 'amount'
                                end
                            else 'article_id'
                        end
                    else 'idempotency_key'
                end as fault
            ) as checked
            left join tollgate.company_subscriptions as company on company.company_id = request.company
            left join tollgate.token_deduction_records as first on first.idempotency_key = request.key
        ) as asked
    ) as candidate;

    if v_any then
        v_taken := v_new;
        select coalesce(bool_or(wish.amount > wish.available), false) into v_short
        from (
            select sum(request.amount) as amount,
                min(company.monthly_balance + company.promotional_balance + company.purchased_balance
                    - company.reserved_balance) as available
            from unnest(p_company_ids, p_amounts, v_new) as request (company, amount, is_new)
            join tollgate.company_subscriptions as company on company.company_id = request.company
            where request.is_new
            group by company.company_id
        ) as wish;

        if v_short then
            v_balances := array_fill(0::bigint, array[v_count]);
            for v_row in
                select request.n::integer as n, company.company_id, request.amount,
                    company.monthly_balance + company.promotional_balance + company.purchased_balance
                        - company.reserved_balance as available
                from unnest(p_company_ids, p_amounts, v_new) with ordinality as request (company, amount, is_new, n)
                join tollgate.company_subscriptions as company on company.company_id = request.company
                where request.is_new
                order by company.company_id, request.n
            loop
                if v_company is distinct from v_row.company_id then
                    v_company := v_row.company_id;
                    v_left := v_row.available;
                end if;
                if v_row.amount <= v_left then
                    v_left := v_left - v_row.amount;
                else
                    v_taken[v_row.n] := false;
                    v_balances[v_row.n] := v_left;
                end if;
            end loop;

            insert into tollgate.token_deduction_records
                (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before,
                 balance_after, error_message, created_at, completed_at, metadata)
            select request.record_id, request.key, request.company, request.article, request.amount, request.amount,
                'failed', request.balance, request.balance, 'InsufficientBalance', p_now, p_now, request.metadata
            from unnest(p_record_ids, p_idempotency_keys, p_company_ids, p_article_ids, p_amounts, p_metadata, v_new, v_taken,
                        v_balances)
                as request (record_id, key, company, article, amount, metadata, is_new, is_taken, balance)
            where request.is_new and not request.is_taken
            on conflict (idempotency_key) do nothing;
            get diagnostics v_written = row_count;
            if v_written <> (select count(*) from unnest(v_new, v_taken) as request (is_new, is_taken)
                             where request.is_new and not request.is_taken) then
                raise exception using errcode = '40001', message = 'tokens: a key was used elsewhere at the same moment';
            end if;
        end if;

        with company as materialized (
            select company.company_id, ('company:' || company.company_id) collate "default" as owner,
                company.monthly_balance + company.promotional_balance + company.purchased_balance
                    - company.reserved_balance as available
            from tollgate.company_subscriptions as company
            where company.company_id = any (v_companies)
        ),
        wanted as materialized (
            select request.n, request.record_id, request.key, request.company, request.article, request.amount,
                request.metadata,
                (sum(request.amount) over requests)::bigint as upto,
                row_number() over requests as nth
            from unnest(p_record_ids, p_idempotency_keys, p_company_ids, p_article_ids, p_amounts, p_metadata, v_taken)
                with ordinality as request (record_id, key, company, article, amount, metadata, is_taken, n)
            where request.is_taken
            window requests as (partition by request.company collate "C" order by request.n rows unbounded preceding)
        ),
        bucket as materialized (
            select bucket.company_id, bucket.id, bucket.kind,
                (sum(bucket.remaining - bucket.reserved) over spending)::bigint as upto,
                (sum(bucket.remaining - bucket.reserved) over spending)::bigint - (bucket.remaining - bucket.reserved) as below,
                row_number() over spending as nth
            from tollgate.token_buckets as bucket
            where bucket.company_id = any (v_companies) and bucket.state = 'open' and bucket.remaining > bucket.reserved
            window spending as (
                partition by bucket.company_id
                order by bucket.kind = 'purchased', bucket.priority, bucket.expires_at, bucket.created_at, bucket.id
                rows unbounded preceding
            )
        ),
        share as materialized (
            select wanted.n, wanted.company, bucket.id, bucket.kind, bucket.nth,
                least(wanted.upto, bucket.upto) - greatest(wanted.upto - wanted.amount, bucket.below) as amount
            from wanted
            join bucket on bucket.company_id = wanted.company
                and bucket.below < wanted.upto and bucket.upto > wanted.upto - wanted.amount
        ),
        split as (
            select share.n,
                coalesce(sum(share.amount) filter (where share.kind = 'monthly'), 0)::bigint as monthly,
                coalesce(sum(share.amount) filter (where share.kind = 'promotional'), 0)::bigint as promotional,
                coalesce(sum(share.amount) filter (where share.kind = 'purchased'), 0)::bigint as purchased,
                array_agg(share.id order by share.nth) as bucket_ids,
                array_agg(share.amount order by share.nth) as bucket_amounts
            from share
            group by share.n
        ),
        moved as materialized (
            select wanted.n, wanted.record_id, wanted.key, wanted.company, company.owner, wanted.article, wanted.amount,
                wanted.metadata, wanted.upto, wanted.nth, company.available - wanted.upto as balance_after,
                split.monthly, split.promotional, split.purchased, split.bucket_ids, split.bucket_amounts,
                (sum(split.monthly) over requests)::bigint as monthly_upto,
                count(*) filter (where split.monthly > 0) over requests as monthly_nth,
                (sum(split.promotional) over requests)::bigint as promotional_upto,
                count(*) filter (where split.promotional > 0) over requests as promotional_nth,
                (sum(split.purchased) over requests)::bigint as purchased_upto,
                count(*) filter (where split.purchased > 0) over requests as purchased_nth
            from wanted
            join company on company.company_id = wanted.company
            join split on split.n = wanted.n
            window requests as (partition by wanted.company order by wanted.n rows unbounded preceding)
        ),
        total as materialized (
            select moved.company, moved.owner,
                max(moved.upto) as amount, max(moved.nth) as entries,
                max(moved.monthly_upto) as monthly, max(moved.monthly_nth) as monthly_entries,
                max(moved.promotional_upto) as promotional, max(moved.promotional_nth) as promotional_entries,
                max(moved.purchased_upto) as purchased, max(moved.purchased_nth) as purchased_entries
            from moved
            group by moved.company, moved.owner
        ),
        -- The update takes the account's lock and returns what it found, so versions cannot be given twice even if
        -- somebody posts to these accounts without the company's lock.
        account as (
            update tollgate.ledger_account as account
            set balance = account.balance + leg.amount, version = account.version + leg.entries, updated_at = p_now
            from total
            cross join lateral (values
                ('token_used', total.amount, total.entries),
                ('token_monthly', -total.monthly, total.monthly_entries),
                ('token_promotional', -total.promotional, total.promotional_entries),
                ('token_purchased', -total.purchased, total.purchased_entries)
            ) as leg (kind, amount, entries)
            where account.owner = any (v_owners) and account.owner = total.owner and account.kind = leg.kind
                and account.unit = 'TOKEN' and leg.entries > 0
            returning account.owner, account.kind, account.balance - leg.amount as balance, account.version - leg.entries as version
        ),
        company_after as (
            update tollgate.company_subscriptions as company
            set monthly_balance = company.monthly_balance - total.monthly,
                promotional_balance = company.promotional_balance - total.promotional,
                purchased_balance = company.purchased_balance - total.purchased,
                updated_at = p_now
            from total
            where company.company_id = any (v_companies) and company.company_id = total.company
        ),
        bucket_after as (
            update tollgate.token_buckets as bucket
            set remaining = bucket.remaining - spent.amount,
                state = case when bucket.remaining = spent.amount then 'empty' else bucket.state end,
                updated_at = p_now
            from (
                select share.company, share.id, sum(share.amount)::bigint as amount
                from share
                group by share.company, share.id
            ) as spent
            where bucket.company_id = any (v_companies) and bucket.company_id = spent.company and bucket.id = spent.id
        ),
        transaction_written as (
            insert into tollgate.ledger_transaction (id, owner, operation_key, kind, fingerprint, occurred_at, recorded_at)
            select moved.record_id, moved.owner, 'token:' || moved.company || ':' || moved.key, 'token_deduct',
                -- The parts hold no line break.
                sha256(convert_to(concat_ws(E'\n', 'token 1', moved.company, moved.key, moved.article, moved.amount), 'UTF8')),
                p_now, p_now
            from moved
        ),
        -- One row an owner: joining the legs of every request to the accounts one by one costs as much as inserting them.
        base as materialized (
            select account.owner,
                max(account.balance) filter (where account.kind = 'token_used') as used,
                max(account.version) filter (where account.kind = 'token_used') as used_version,
                max(account.balance) filter (where account.kind = 'token_monthly') as monthly,
                max(account.version) filter (where account.kind = 'token_monthly') as monthly_version,
                max(account.balance) filter (where account.kind = 'token_promotional') as promotional,
                max(account.version) filter (where account.kind = 'token_promotional') as promotional_version,
                max(account.balance) filter (where account.kind = 'token_purchased') as purchased,
                max(account.version) filter (where account.kind = 'token_purchased') as purchased_version
            from account
            group by account.owner
        ),
        entry_written as (
            insert into tollgate.ledger_entry (owner, account_kind, unit, account_version, transaction_id, amount, balance_after)
            select moved.owner, 'token_used', 'TOKEN', base.used_version + moved.nth, moved.record_id, moved.amount,
                base.used + moved.upto
            from moved join base on base.owner = moved.owner
            union all
            select moved.owner, 'token_monthly', 'TOKEN', base.monthly_version + moved.monthly_nth, moved.record_id,
                -moved.monthly, base.monthly - moved.monthly_upto
            from moved join base on base.owner = moved.owner
            where moved.monthly > 0
            union all
            select moved.owner, 'token_promotional', 'TOKEN', base.promotional_version + moved.promotional_nth, moved.record_id,
                -moved.promotional, base.promotional - moved.promotional_upto
            from moved join base on base.owner = moved.owner
            where moved.promotional > 0
            union all
            select moved.owner, 'token_purchased', 'TOKEN', base.purchased_version + moved.purchased_nth, moved.record_id,
                -moved.purchased, base.purchased - moved.purchased_upto
            from moved join base on base.owner = moved.owner
            where moved.purchased > 0
        ),
        usage_written as (
            insert into tollgate.token_usage_logs
                (deduction_record_id, usage_type, company_id, article_id, token_amount, metadata, created_at)
            select moved.record_id, 'deduction', moved.company, moved.article, moved.amount, moved.metadata, p_now
            from moved
        ),
        record_written as (
            insert into tollgate.token_deduction_records
                (id, idempotency_key, company_id, article_id, amount, requested_amount, status, balance_before, balance_after,
                 taken_monthly, taken_promotional, taken_purchased, bucket_ids, bucket_amounts, created_at, completed_at,
                 metadata)
            select moved.record_id, moved.key, moved.company, moved.article, moved.amount, moved.amount, 'completed',
                moved.balance_after + moved.amount, moved.balance_after, moved.monthly, moved.promotional, moved.purchased,
                moved.bucket_ids, moved.bucket_amounts, p_now, p_now, moved.metadata
            from moved
            on conflict (idempotency_key) do nothing
            returning 1
        )
        select count(*) into v_written from record_written;

        if v_written <> (select count(*) from unnest(v_taken) as request (is_taken) where request.is_taken) then
            raise exception using errcode = '40001', message = 'tokens: a key was used elsewhere at the same moment';
        end if;
    end if;

    return query
    select told.n::integer,
        case when told.is_shown then told.id end,
        told.error_code is null,
        told.is_shown and not told.is_new and told.status <> 'pending',
        case when told.is_shown then told.status end,
        case when told.is_shown then told.balance_before end,
        case when told.is_shown then told.balance_after end,
        case when told.is_shown then told.taken_monthly else 0 end,
        case when told.is_shown then told.taken_promotional else 0 end,
        case when told.is_shown then told.taken_purchased else 0 end,
        told.error_code,
        coalesce(nullif(told.fault, ''), told.differing)
    from (
        select answer.*,
            coalesce(answer.error_code not in ('InvalidRequest', 'IdempotencyKeyReused', 'CompanyNotFound'), true) as is_shown
        from (
            select request.n, request.is_new, request.fault, compared.differing,
                first.id, first.status, first.balance_before, first.balance_after,
                first.taken_monthly, first.taken_promotional, first.taken_purchased,
                case
                    when request.fault = '' then 'CompanyNotFound'
                    when request.fault is not null then 'InvalidRequest'
                    when compared.differing is not null then 'IdempotencyKeyReused'
                    when first.status = 'pending' then 'DeductionInProgress'
                    when first.status = 'failed' then split_part(first.error_message, ':', 1)
                end as error_code
            from unnest(p_idempotency_keys, p_company_ids, p_article_ids, p_amounts, v_new, v_faults)
                with ordinality as request (key, company, article, amount, is_new, fault, n)
            left join tollgate.token_deduction_records as first
                on first.idempotency_key = request.key and request.fault is null
            cross join lateral (
                select case
                    when first.company_id <> request.company then 'company_id'
                    when first.article_id <> request.article then 'article_id'
                    when first.requested_amount <> request.amount then 'amount'
                end as differing
            ) as compared
        ) as answer
    ) as told
    order by told.n;
end
$$;
