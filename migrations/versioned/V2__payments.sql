-- Payments, the charges that settle them, and the keys that keep checkout from making two of one.
--
-- V1 users and plans → **V2 payments** → V3 inbox and outbox.
--
-- Invariant: one charge of a provider is one row of payment_charges, whatever is delivered how often (the unique key
-- sits on the effect); what a payment has received is the sum over its settled charges, never a counter.
-- Not here: the entries of a charge (V4), the notices it came from (V3). Rows are never deleted by the service.

create table tollgate.payments (
    id uuid not null,
    user_id text not null,
    plan_id text not null,
    amount bigint not null,
    currency text not null default 'TWD',
    provider text not null,
    merchant_id text not null,
    order_number text not null,
    method text,
    provider_payment_id text,
    status tollgate.payment_status not null default 'pending',
    raw_payload jsonb,
    error_message text,
    instructions jsonb,
    metadata jsonb not null default '{}'::jsonb,
    pending_until timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint payments_pkey primary key (id),
    constraint payments_user_fkey foreign key (user_id) references tollgate.users (id),
    constraint payments_plan_fkey foreign key (plan_id) references tollgate.plans (id),
    constraint payments_order_key unique (provider, order_number),
    constraint payments_order_number_shape check (order_number ~ '^[0-9A-Z_-]{1,30}$'),
    constraint payments_amount_positive check (amount > 0),
    constraint payments_currency_known check (currency in ('TWD')),
    constraint payments_status_not_none check (status <> 'none')
);

create index payments_by_user on tollgate.payments (user_id, created_at desc);
create index payments_by_provider_payment on tollgate.payments (provider, provider_payment_id);
create index payments_pending on tollgate.payments (pending_until) where status = 'pending';

comment on column tollgate.payments.merchant_id is 'The shop the order was made at; empty for a provider that knows no shops (mock).';
comment on column tollgate.payments.order_number is 'Capitals only: ECPay compares order numbers without case, so two spellings would be one order there.';
comment on column tollgate.payments.provider_payment_id is 'Of the last notice about this payment; the charges have their own.';
comment on column tollgate.payments.raw_payload is 'Fields of the last applied notice, less what is secret or personal.';
comment on column tollgate.payments.instructions is 'How to pay later: bank account, store code or barcodes, as issued by the provider.';
comment on column tollgate.payments.pending_until is 'A payment still pending then is canceled with reason timeout; a paid notice after that still wins.';

create table tollgate.payment_charges (
    id uuid not null,
    payment_id uuid not null,
    provider text not null,
    merchant_id text not null,
    provider_payment_id text not null,
    amount bigint not null,
    currency text not null,
    method text,
    status text not null default 'settled',
    period_order_number text,
    period_number integer,
    period_total integer,
    inbox_event_id uuid,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    refunded_at timestamptz,

    constraint payment_charges_pkey primary key (id),
    constraint payment_charges_payment_fkey foreign key (payment_id) references tollgate.payments (id),
    constraint payment_charges_provider_key unique (provider, merchant_id, provider_payment_id),
    constraint payment_charges_amount_positive check (amount > 0),
    constraint payment_charges_currency_known check (currency in ('TWD')),
    constraint payment_charges_status_known check (status in ('settled', 'refunded')),
    constraint payment_charges_refund_dated check ((status = 'refunded') = (refunded_at is not null)),
    constraint payment_charges_period_positive check (period_number > 0 and period_total > 0)
);

create index payment_charges_by_payment on tollgate.payment_charges (payment_id, occurred_at);

comment on column tollgate.payment_charges.merchant_id is 'Empty for a provider that knows no shops (mock).';
comment on column tollgate.payment_charges.provider_payment_id is 'Text: ECPay period charges have 20 digits.';
comment on column tollgate.payment_charges.inbox_event_id is 'The event that settled it, kept after the inbox row has been cleaned up, so without a foreign key.';
comment on column tollgate.payment_charges.occurred_at is 'When the provider says it was paid.';

create table tollgate.checkout_requests (
    user_id text not null,
    idempotency_key text not null,
    fingerprint bytea not null,
    request jsonb not null,
    payment_id uuid not null,
    response jsonb,
    created_at timestamptz not null,

    constraint checkout_requests_pkey primary key (user_id, idempotency_key),
    constraint checkout_requests_user_fkey foreign key (user_id) references tollgate.users (id),
    -- Deferred: the key is claimed first, so that a concurrent twin waits before it has made a payment.
    constraint checkout_requests_payment_fkey foreign key (payment_id) references tollgate.payments (id)
        deferrable initially deferred,
    constraint checkout_requests_payment_key unique (payment_id),
    constraint checkout_requests_key_shape check (idempotency_key ~ '^[!-~]{1,255}$'),
    constraint checkout_requests_fingerprint_length check (octet_length(fingerprint) = 32)
);

comment on column tollgate.checkout_requests.fingerprint is 'SHA-256 over the canonical request: a repeat with another one is refused.';
comment on column tollgate.checkout_requests.request is 'The canonical fields, to name the one that differs.';
comment on column tollgate.checkout_requests.response is 'What was answered; a repeat gets it again.';
