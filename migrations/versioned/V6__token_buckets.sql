-- What a company may spend: its balances and quota, and the buckets (grants) that the balances are made of.
--
-- V5 ledger shapes → **V6 token buckets** → V7 token records → functions/token_*.sql, the only writers.
--
-- Invariants: a company's row is the lock of all its token movements and is always taken first. Each balance is the
-- sum of `remaining` over the company's buckets of that kind, and equals the ledger account company:<id>, token_<kind>,
-- TOKEN. No bucket falls below zero by itself, and never below what is reserved in it.
-- Nothing here waits for a scheduler: `next_due_at` says when a quota, an expiry or the end of a reservation falls due,
-- and every function that locks the row first applies what is due (functions/token_apply_due.sql).
-- Not here: what was spent (V7). No foreign keys, for the reason given in V4; `token_faults` counts what disagrees.

create table tollgate.company_subscriptions (
    company_id text collate "C" not null,
    plan_id text,
    monthly_quota bigint not null default 0,
    rollover_max bigint not null default 0,
    expired_share_days integer not null default 0,
    period_anchor timestamptz,
    period_count integer not null default 0,
    next_period_at timestamptz,
    monthly_balance bigint not null default 0,
    promotional_balance bigint not null default 0,
    purchased_balance bigint not null default 0,
    reserved_balance bigint not null default 0,
    next_due_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint company_subscriptions_pkey primary key (company_id),
    constraint company_subscriptions_company_shape
        check (company_id !~ '[^A-Za-z0-9._-]' and octet_length(company_id) between 1 and 64),
    constraint company_subscriptions_quota_range check (monthly_quota between 0 and 1000000000000000),
    constraint company_subscriptions_rollover_range check (rollover_max between 0 and 1000000000000000),
    constraint company_subscriptions_expired_share_range check (expired_share_days between 0 and 366),
    constraint company_subscriptions_period_whole check (next_period_at is null or period_anchor is not null),
    constraint company_subscriptions_not_negative check (
        monthly_balance >= 0 and promotional_balance >= 0 and purchased_balance >= 0 and reserved_balance >= 0
    ),
    constraint company_subscriptions_reserved_is_there check (
        reserved_balance <= monthly_balance + promotional_balance + purchased_balance
    )
)
-- Balances change in place: room on the page keeps the updates off the indexes.
with (fillfactor = 50);

create index company_subscriptions_due on tollgate.company_subscriptions (next_due_at) where next_due_at is not null;

comment on column tollgate.company_subscriptions.company_id is 'Without a colon, so that company:<id> and an operation key that begins with it can be read one way only.';
comment on column tollgate.company_subscriptions.monthly_quota is 'Tokens granted at the start of each period; 0: none.';
comment on column tollgate.company_subscriptions.rollover_max is 'Unused monthly tokens that go over into the next period, at most; 0: none does.';
comment on column tollgate.company_subscriptions.expired_share_days is 'What becomes of a compensated share whose bucket has expired: 0, it expires too; n, it returns as a promotional bucket for n days.';
comment on column tollgate.company_subscriptions.period_anchor is 'Start of the first period; period k starts k months later in Taipei (month-ends pinned to the anchor).';
comment on column tollgate.company_subscriptions.period_count is 'Periods begun since the anchor.';
comment on column tollgate.company_subscriptions.reserved_balance is 'Part of the three balances that reservations hold; what can be spent is the rest.';
comment on column tollgate.company_subscriptions.next_due_at is 'Earliest instant at which something falls due; null: nothing will.';

create table tollgate.token_buckets (
    company_id text collate "C" not null,
    id uuid not null,
    kind text not null,
    priority smallint not null default 100,
    granted bigint not null,
    remaining bigint not null,
    reserved bigint not null default 0,
    expires_at timestamptz,
    state text not null default 'open',
    grant_key text collate "C" not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint token_buckets_pkey primary key (company_id, id),
    constraint token_buckets_grant_key unique (grant_key),
    constraint token_buckets_kind_known check (kind in ('monthly', 'promotional', 'purchased')),
    constraint token_buckets_state_known check (state in ('open', 'empty', 'expired')),
    constraint token_buckets_purchased_never_expires check ((kind = 'purchased') = (expires_at is null)),
    constraint token_buckets_granted_positive check (granted > 0),
    constraint token_buckets_clamped check (remaining >= 0 and reserved >= 0 and reserved <= remaining),
    constraint token_buckets_empty_is_empty check (state <> 'empty' or remaining = 0),
    constraint token_buckets_expired_holds_only_reserved check (state <> 'expired' or remaining = reserved)
)
with (fillfactor = 50);

-- On `state`, not on `remaining`: a column in an index, even in its predicate, would make every deduction touch the index.
create index token_buckets_open on tollgate.token_buckets (company_id) where state = 'open';

comment on column tollgate.token_buckets.id is 'Also the id of the ledger transaction that granted it; a carried-over bucket has none.';
comment on column tollgate.token_buckets.priority is 'Lower is spent first among buckets that expire; purchased ones come last whatever theirs is.';
comment on column tollgate.token_buckets.remaining is 'Not yet spent or expired; what reservations hold is part of it.';
comment on column tollgate.token_buckets.state is 'open: can be spent. empty: spent. expired: past expires_at; only what was reserved is left in it.';
comment on column tollgate.token_buckets.grant_key is 'The operation key that granted it.';
