-- The queues and records around a payment: events in, effects out, what happened, and what a person must look at.
--
-- V2 payments → **V3 inbox and outbox** → V4 ledger.
--
-- Invariant (DESIGN.md, 7): a queue row is pending with a next attempt, or it ended as done or as dead with a reason
-- and a time; the checks below tie the state to its timestamps. A lease is a token and an end, or neither.
-- Not here: backoff and caps (`origin::work`), what an event means (`origin::apply`).

create table tollgate.inbox_events (
    id uuid not null,
    source text not null,
    notice text not null,
    event_key text not null,
    order_number text,
    headers jsonb not null,
    raw bytea not null,
    delivery_id uuid not null,
    received_at timestamptz not null,
    accepted_at timestamptz not null,
    status text not null default 'pending',
    outcome text,
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    last_error text,
    lease_token uuid,
    lease_expires_at timestamptz,
    applied_at timestamptz,
    dead_at timestamptz,

    constraint inbox_events_pkey primary key (id),
    constraint inbox_events_key unique (event_key),
    constraint inbox_events_key_of_source check (starts_with(event_key, source || ':')),
    constraint inbox_events_headers_array check (jsonb_typeof(headers) = 'array'),
    constraint inbox_events_raw_bounded check (octet_length(raw) <= 65536),
    constraint inbox_events_status_known check (status in ('pending', 'applied', 'dead')),
    constraint inbox_events_pending_scheduled check ((status = 'pending') = (next_attempt_at is not null)),
    constraint inbox_events_applied_dated check ((status = 'applied') = (applied_at is not null)),
    constraint inbox_events_applied_outcome check (status = 'applied' or outcome is null),
    constraint inbox_events_dead_dated check ((status = 'dead') = (dead_at is not null)),
    constraint inbox_events_dead_reason check (status <> 'dead' or last_error is not null),
    constraint inbox_events_attempts_counted check (attempts >= 0),
    constraint inbox_events_lease_whole check ((lease_token is null) = (lease_expires_at is null)),
    constraint inbox_events_lease_of_pending check (lease_token is null or status = 'pending')
);

create index inbox_events_due on tollgate.inbox_events (next_attempt_at) where status = 'pending';
create index inbox_events_pending_of_order on tollgate.inbox_events (source, order_number, accepted_at)
    where status = 'pending';
create index inbox_events_by_accepted on tollgate.inbox_events (accepted_at);
create index inbox_events_dead on tollgate.inbox_events (dead_at) where status = 'dead';

comment on column tollgate.inbox_events.event_key is 'Names the fact, never the bytes; begins with the source.';
comment on column tollgate.inbox_events.headers is 'Pairs [name, value] that the source signs over, in order of arrival.';
comment on column tollgate.inbox_events.raw is 'Byte for byte what the signature was checked over, so that a mended mapping can be replayed.';
comment on column tollgate.inbox_events.received_at is 'By the edge; signature tolerances count from here.';
comment on column tollgate.inbox_events.outcome is 'What applying it did, in a word for the event log.';

create table tollgate.disputes (
    id uuid not null,
    kind text not null,
    provider text not null,
    merchant_id text,
    order_number text,
    payment_id uuid,
    inbox_event_id uuid not null,
    expected jsonb not null default '{}'::jsonb,
    received jsonb not null default '{}'::jsonb,
    detail text not null,
    created_at timestamptz not null,
    resolved_at timestamptz,
    resolved_by text,
    resolution text,

    constraint disputes_pkey primary key (id),
    constraint disputes_event_key unique (inbox_event_id, kind),
    constraint disputes_payment_fkey foreign key (payment_id) references tollgate.payments (id),
    constraint disputes_kind_shape check (kind ~ '^[a-z_]{1,64}$'),
    constraint disputes_resolution_whole check (
        (resolved_at is null) = (resolved_by is null) and (resolved_at is null) = (resolution is null)
    )
);

create index disputes_open on tollgate.disputes (created_at) where resolved_at is null;
create index disputes_by_payment on tollgate.disputes (payment_id) where payment_id is not null;

comment on table tollgate.disputes is 'Genuine notices that do not match what we ordered: acknowledged, no money moved, a person decides.';
comment on column tollgate.disputes.expected is 'What we ordered, in the fields that differ.';
comment on column tollgate.disputes.received is 'What the notice says, in the same fields.';

create table tollgate.event_log (
    id uuid not null,
    operation_key text not null,
    event_type text not null,
    user_id text,
    plan_id text,
    amount bigint,
    currency text,
    payment_id uuid,
    provider text,
    provider_payment_id text,
    reason text,
    details jsonb not null default '{}'::jsonb,
    delivery_id uuid,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,

    constraint event_log_pkey primary key (id),
    constraint event_log_operation_key unique (operation_key),
    constraint event_log_type_shape check (event_type ~ '^[a-z_]{1,64}$'),
    constraint event_log_amount_with_currency check ((amount is null) = (currency is null))
);

create index event_log_by_payment on tollgate.event_log (payment_id, recorded_at) where payment_id is not null;
create index event_log_by_user on tollgate.event_log (user_id, recorded_at) where user_id is not null;
create index event_log_by_recorded on tollgate.event_log (recorded_at);

comment on table tollgate.event_log is 'PM-6. Append-only for the service.';
comment on column tollgate.event_log.operation_key is 'One line per fact: applying an event twice writes nothing the second time.';
comment on column tollgate.event_log.delivery_id is 'The delivery that caused it, followed from the edge.';

create table tollgate.outbox (
    id uuid not null,
    operation_key text not null,
    kind text not null,
    ordering_key text,
    payload jsonb not null,
    delivery_id uuid,
    status text not null default 'pending',
    attempts integer not null default 0,
    attempts_max integer not null,
    next_attempt_at timestamptz,
    last_error text,
    lease_token uuid,
    lease_expires_at timestamptz,
    created_at timestamptz not null,
    done_at timestamptz,
    dead_at timestamptz,

    constraint outbox_pkey primary key (id),
    constraint outbox_operation_key unique (operation_key),
    constraint outbox_kind_shape check (kind ~ '^[a-z_]{1,64}$'),
    constraint outbox_status_known check (status in ('pending', 'done', 'dead')),
    constraint outbox_pending_scheduled check ((status = 'pending') = (next_attempt_at is not null)),
    constraint outbox_done_dated check ((status = 'done') = (done_at is not null)),
    constraint outbox_dead_dated check ((status = 'dead') = (dead_at is not null)),
    constraint outbox_dead_reason check (status <> 'dead' or last_error is not null),
    constraint outbox_attempts_capped check (attempts between 0 and attempts_max and attempts_max > 0),
    constraint outbox_lease_whole check ((lease_token is null) = (lease_expires_at is null)),
    constraint outbox_lease_of_pending check (lease_token is null or status = 'pending')
);

create index outbox_due on tollgate.outbox (next_attempt_at) where status = 'pending';
create index outbox_dead on tollgate.outbox (dead_at) where status = 'dead';

comment on table tollgate.outbox is 'Effects outside the database, written in the transaction that decides them.';
comment on column tollgate.outbox.ordering_key is 'Rows of one key (a user) are meant to be sent in order of creation; null: any order.';
