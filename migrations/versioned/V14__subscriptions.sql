-- Subscriptions that renew: who is charged on which schedule, what is known of every attempt, and what we decided (EC-6, PU-4).
--
-- V2 payments, V3 outbox → **V14 subscriptions** → `origin::subscriptions`, the only writer.
--
-- Invariants: what is known (subscription_payments, subscription_facts) is only ever added to; saas_subscriptions is
-- recomputed from it and from the clock, so the order in which notices came leaves no trace. One attempt of a provider is
-- one row, whoever tells of it how often. next_due_at is when the row must be looked at again; null: never by itself.
-- Not here: money (V4; charges in V2), notices (V15), the rules (`origin::domain::subscription`).

alter table tollgate.plans drop constraint plans_amount_positive;
alter table tollgate.plans drop constraint plans_kind_known;
alter table tollgate.plans add column limits jsonb not null default '{}';
alter table tollgate.plans
    add constraint plans_kind_known check (kind in ('one_time', 'subscription', 'free')),
    add constraint plans_amount_of_kind check ((kind = 'free' and amount = 0) or (kind <> 'free' and amount > 0)),
    add constraint plans_free_has_type check (kind <> 'free' or subscription_type is not null),
    add constraint plans_limits_object check (jsonb_typeof(limits) = 'object');

comment on column tollgate.plans.limits is 'What the plan allows, by name: {"articles": 3}. Carried, never interpreted.';

-- EC-3: the plan of those whose payments failed. Its limits are the operator's to set.
insert into tollgate.plans (id, name, amount, currency, kind, subscription_type, available, created_at, updated_at)
values ('free', 'FREE', 0, 'TWD', 'free', 'free', true, 'epoch', 'epoch')
on conflict (id) do nothing;

create table tollgate.saas_subscriptions (
    id uuid not null,
    user_id text collate "C" not null,
    plan_id text collate "C" not null,
    payment_id uuid not null,
    mode text collate "C" not null,
    provider text collate "C" not null,
    merchant_id text collate "C" not null,
    order_number text collate "C" not null,
    contract_number text collate "C",
    amount bigint not null,
    currency text collate "C" not null default 'TWD',
    period_type text collate "C" not null,
    period_frequency integer not null,
    period_times integer not null,
    anchor_on date,
    next_plan_id text collate "C",

    status text collate "C" not null default 'pending',
    periods_paid integer not null default 0,
    failure_count integer not null default 0,
    paid_until timestamptz,
    access_until timestamptz,
    next_charge_at timestamptz,
    next_retry_at timestamptz,
    grace_period_ends_at timestamptz,
    cancel_at timestamptz,
    downgraded_at timestamptz,
    downgrade_reason text,
    ended_at timestamptz,
    end_reason text,

    next_poll_at timestamptz,
    poll_count integer not null default 0,
    next_due_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint saas_subscriptions_pkey primary key (id),
    constraint saas_subscriptions_payment_key unique (payment_id),
    constraint saas_subscriptions_order_key unique (provider, order_number),
    constraint saas_subscriptions_payment_fkey foreign key (payment_id) references tollgate.payments (id),
    constraint saas_subscriptions_user_fkey foreign key (user_id) references tollgate.users (id),
    constraint saas_subscriptions_plan_fkey foreign key (plan_id) references tollgate.plans (id),
    constraint saas_subscriptions_next_plan_fkey foreign key (next_plan_id) references tollgate.plans (id),
    constraint saas_subscriptions_mode_known check (mode in ('provider_run', 'merchant_run')),
    constraint saas_subscriptions_amount_positive check (amount > 0),
    constraint saas_subscriptions_currency_known check (currency in ('TWD')),
    constraint saas_subscriptions_period_known
        check (period_type in ('day', 'week', 'month', 'year') and period_frequency > 0 and period_times > 0),
    constraint saas_subscriptions_status_known
        check (status in ('pending', 'active', 'past_due', 'paused', 'canceled', 'ended')),
    constraint saas_subscriptions_counts check (periods_paid >= 0 and failure_count >= 0 and poll_count >= 0),
    constraint saas_subscriptions_downgrade_whole check ((downgraded_at is null) = (downgrade_reason is null)),
    constraint saas_subscriptions_end_whole check ((ended_at is null) = (end_reason is null)),
    constraint saas_subscriptions_end_of_status check ((status in ('canceled', 'ended')) = (ended_at is not null))
);

-- The sweep walks this index and nothing else, so that a row that is not due costs nothing.
create index saas_subscriptions_due on tollgate.saas_subscriptions (next_due_at, id) where next_due_at is not null;
create index saas_subscriptions_of_user on tollgate.saas_subscriptions (user_id, created_at desc);
create index saas_subscriptions_contract on tollgate.saas_subscriptions (provider, contract_number)
    where contract_number is not null;
create index saas_subscriptions_grace on tollgate.saas_subscriptions (grace_period_ends_at)
    where grace_period_ends_at is not null;
create index saas_subscriptions_downgraded on tollgate.saas_subscriptions (downgraded_at) where downgraded_at is not null;

comment on column tollgate.saas_subscriptions.mode is 'provider_run: a contract at the provider charges. merchant_run: we charge a stored token.';
comment on column tollgate.saas_subscriptions.contract_number is 'PAYUNi PeriodTradeNo; ECPay''s contracts go by our order number.';
comment on column tollgate.saas_subscriptions.anchor_on is 'The day of the first charge in Asia/Taipei; every due day is counted from it. Null until it is known.';
comment on column tollgate.saas_subscriptions.next_plan_id is 'The plan from the next period on (a downgrade that was asked for).';
comment on column tollgate.saas_subscriptions.status is 'Downgraded is active with downgraded_at set (EC-3).';
comment on column tollgate.saas_subscriptions.next_due_at is 'When the sweep looks again: the earliest of everything that time alone brings about.';

create table tollgate.subscription_payments (
    id uuid not null,
    subscription_id uuid not null,
    attempt_key text collate "C" not null,
    period_number integer,
    period_order_no text collate "C",
    provider_payment_id text collate "C",
    amount bigint,
    status text collate "C" not null,
    error_code text collate "C",
    error_message text,
    hard_decline boolean not null default false,
    found_by text collate "C" not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    next_retry_at timestamptz,
    last_retry_at timestamptz,
    retry_count integer not null default 0,
    max_retries integer not null default 3,

    constraint subscription_payments_pkey primary key (id),
    constraint subscription_payments_attempt_key unique (subscription_id, attempt_key),
    constraint subscription_payments_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id),
    constraint subscription_payments_status_known check (status in ('paid', 'failed', 'refunded')),
    constraint subscription_payments_paid_numbered check (status = 'failed' or provider_payment_id is not null),
    constraint subscription_payments_found_by_known check (found_by in ('notice', 'poll', 'charge')),
    constraint subscription_payments_retries_counted check (retry_count >= 0 and max_retries >= 0)
);

create index subscription_payments_of on tollgate.subscription_payments (subscription_id, occurred_at);
create index subscription_payments_retry on tollgate.subscription_payments (next_retry_at) where next_retry_at is not null;

comment on column tollgate.subscription_payments.attempt_key is 'Names the attempt: paid:<provider number>, or failed:<event key>. A charge that is paid back keeps its key.';
comment on column tollgate.subscription_payments.next_retry_at is 'EC-6. Of the newest failed attempt while its subscription is past due; null elsewhere.';

create table tollgate.period_transactions (
    id uuid not null,
    user_id text collate "C" not null,
    subscription_id uuid not null,
    period_trade_no text collate "C",
    period_order_no text collate "C" not null,
    this_period integer,
    total_times integer,
    auth_amt bigint,
    status text collate "C" not null,
    auth_time timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint period_transactions_pkey primary key (id),
    constraint period_transactions_order_key unique (subscription_id, period_order_no),
    constraint period_transactions_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id),
    constraint period_transactions_status_known check (status in ('paid', 'failed', 'refunded'))
);

create index period_transactions_of_user on tollgate.period_transactions (user_id, auth_time desc);

comment on table tollgate.period_transactions is 'PU-4. A later successful attempt of the same period updates its row, never the reverse.';

create table tollgate.subscription_facts (
    subscription_id uuid not null,
    fact_key text collate "C" not null,
    kind text collate "C" not null,
    period_number integer,
    retry_slot smallint,
    reason text,
    actor text collate "C" not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,

    constraint subscription_facts_pkey primary key (subscription_id, fact_key),
    constraint subscription_facts_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id),
    constraint subscription_facts_kind_known check (kind in (
        'charge_asked', 'retry_asked', 'card_changed', 'cancel_now_asked', 'cancel_at_end_asked', 'paused', 'resumed',
        'provider_ended', 'replaced'))
);

comment on table tollgate.subscription_facts is 'What is known beside attempts: what was asked, and what the provider said of the contract.';
comment on column tollgate.subscription_facts.actor is 'user, admin:<caller>, service:<caller>, schedule, provider.';

create table tollgate.subscription_history (
    subscription_id uuid not null,
    step_key text collate "C" not null,
    kind text collate "C" not null,
    details jsonb not null default '{}',
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,

    constraint subscription_history_pkey primary key (subscription_id, step_key),
    constraint subscription_history_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id),
    constraint subscription_history_kind_shape check (kind ~ '^[a-z_]{1,64}$')
);

create index subscription_history_order on tollgate.subscription_history (subscription_id, occurred_at, step_key);

comment on table tollgate.subscription_history is 'What a customer sees: every step, once, when it was taken. Append-only.';

create table tollgate.payment_credentials (
    subscription_id uuid not null,
    credit_hash text collate "C" not null,
    expires text collate "C",
    card_last4 text collate "C",
    created_at timestamptz not null,
    replaced_at timestamptz,

    constraint payment_credentials_pkey primary key (subscription_id, created_at),
    constraint payment_credentials_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id)
);

create unique index payment_credentials_current on tollgate.payment_credentials (subscription_id) where replaced_at is null;

comment on table tollgate.payment_credentials is 'PAYUNi CreditHash of a merchant-run subscription: a reference to a card, usable by this shop only. No card data.';

create table tollgate.subscription_charges (
    id uuid not null,
    subscription_id uuid not null,
    operation_key text collate "C" not null,
    period_number integer not null,
    order_number text collate "C" not null,
    amount bigint not null,
    status text collate "C" not null default 'unsent',
    sent_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz not null,

    constraint subscription_charges_pkey primary key (id),
    constraint subscription_charges_operation_key unique (operation_key),
    constraint subscription_charges_order_key unique (order_number),
    constraint subscription_charges_subscription_fkey
        foreign key (subscription_id) references tollgate.saas_subscriptions (id),
    constraint subscription_charges_amount_positive check (amount > 0),
    constraint subscription_charges_status_known check (status in ('unsent', 'unknown', 'paid', 'failed'))
);

create index subscription_charges_unknown on tollgate.subscription_charges (sent_at) where status = 'unknown';

comment on table tollgate.subscription_charges is 'A charge that we make (merchant-run). unknown: sent, no answer read; it is asked for by its order number, never sent again.';

alter table tollgate.payment_charges add column refunded_amount bigint not null default 0;
alter table tollgate.payment_charges
    add constraint payment_charges_refunded_range check (refunded_amount >= 0 and refunded_amount <= amount);
update tollgate.payment_charges set refunded_amount = amount where status = 'refunded';

create table tollgate.refunds (
    id uuid not null,
    charge_id uuid not null,
    payment_id uuid not null,
    operation_key text collate "C" not null,
    amount bigint not null,
    reason text not null,
    requested_by text collate "C" not null,
    status text collate "C" not null default 'requested',
    last_error text,
    created_at timestamptz not null,
    finished_at timestamptz,

    constraint refunds_pkey primary key (id),
    constraint refunds_operation_key unique (operation_key),
    constraint refunds_charge_fkey foreign key (charge_id) references tollgate.payment_charges (id),
    constraint refunds_payment_fkey foreign key (payment_id) references tollgate.payments (id),
    constraint refunds_amount_positive check (amount > 0),
    constraint refunds_status_known check (status in ('requested', 'unknown', 'done', 'refused', 'manual')),
    constraint refunds_finished check ((status in ('done', 'refused')) = (finished_at is not null))
);

create index refunds_of_charge on tollgate.refunds (charge_id);
create index refunds_open on tollgate.refunds (created_at) where status in ('requested', 'unknown', 'manual');

comment on column tollgate.refunds.status is 'manual: the method has no refund API; an operator pays it back and says so.';

create table tollgate.provider_limits (
    provider text collate "C" not null,
    merchant_id text collate "C" not null,
    next_call_at timestamptz not null,
    silent_until timestamptz,

    constraint provider_limits_pkey primary key (provider, merchant_id)
);

comment on table tollgate.provider_limits is 'When a shop may be asked about next, over all instances; silent_until: after HTTP 403.';

create table tollgate.scheduled_jobs (
    name text collate "C" not null,
    next_run_at timestamptz not null,
    lease_token uuid,
    lease_expires_at timestamptz,
    last_started_at timestamptz,
    last_finished_at timestamptz,
    last_result jsonb,

    constraint scheduled_jobs_pkey primary key (name),
    constraint scheduled_jobs_name_shape check (name ~ '^[a-z_]{1,64}$'),
    constraint scheduled_jobs_lease_whole check ((lease_token is null) = (lease_expires_at is null)),
    constraint scheduled_jobs_result_object check (last_result is null or jsonb_typeof(last_result) = 'object')
);

comment on table tollgate.scheduled_jobs is 'EC-4. One row a job; whoever holds the lease runs it.';

create table tollgate.admin_actions (
    id uuid not null,
    actor text collate "C" not null,
    action text collate "C" not null,
    target text collate "C" not null,
    details jsonb not null default '{}',
    recorded_at timestamptz not null,

    constraint admin_actions_pkey primary key (id),
    constraint admin_actions_action_shape check (action ~ '^[a-z_]{1,64}$')
);

create index admin_actions_by_time on tollgate.admin_actions (recorded_at);

comment on table tollgate.admin_actions is 'OP-4. Who did what by hand; append-only.';
