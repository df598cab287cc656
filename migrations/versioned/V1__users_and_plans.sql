-- Who pays, and for what: users as PM-1 names them, plans as the operator sells them.
--
-- bootstrap → **V1 users and plans** → V2 payments.
--
-- Invariant: money is a bigint in whole minor units with its currency; a plan of a kind has the columns of its
-- kind and no others. Not here: how far a subscription reaches (`origin::domain`), prices of the past
-- (`payments.amount` keeps what was agreed). A row that breaks a rule fails with the constraint's name.

create type tollgate.payment_status as enum ('none', 'pending', 'active', 'failed', 'canceled', 'refunded');

comment on type tollgate.payment_status is
    'PM-1. Of a payment: active = paid for. Of a user: the state of the last payment that changed it.';

create table tollgate.users (
    id text not null,
    payment_status tollgate.payment_status not null default 'none',
    last_payment_provider text,
    last_payment_reference text,
    auto_renew boolean not null default false,
    subscription_type text,
    subscription_expires_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint users_pkey primary key (id),
    constraint users_id_shape check (id ~ '^[A-Za-z0-9._:@|-]{1,128}$'),
    constraint users_last_payment_whole check ((last_payment_provider is null) = (last_payment_reference is null)),
    constraint users_expiry_needs_type check (subscription_expires_at is null or subscription_type is not null)
);

comment on column tollgate.users.id is 'The `sub` of the session: the identity provider owns people, we own what they paid.';
comment on column tollgate.users.last_payment_reference is 'provider_payment_id of the last settled charge.';
comment on column tollgate.users.subscription_expires_at is 'Null beside a subscription_type: it does not expire by itself.';

create table tollgate.plans (
    id text not null,
    name text not null,
    amount bigint not null,
    currency text not null default 'TWD',
    kind text not null,
    subscription_type text,
    duration_days integer,
    period_type text,
    period_frequency integer,
    period_times integer,
    period_date text,
    first_charge text,
    first_amount bigint,
    available boolean not null default true,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint plans_pkey primary key (id),
    constraint plans_id_shape check (id ~ '^[a-z0-9-]{1,64}$'),
    constraint plans_name_length check (char_length(name) between 1 and 200),
    constraint plans_amount_positive check (amount > 0),
    constraint plans_currency_known check (currency in ('TWD')),
    constraint plans_kind_known check (kind in ('one_time', 'subscription')),
    constraint plans_subscription_has_type check (kind <> 'subscription' or subscription_type is not null),
    constraint plans_duration_of_one_time check (duration_days is null or (kind = 'one_time' and duration_days > 0)),
    constraint plans_period_of_subscription check (
        (kind = 'subscription') = (period_type is not null)
        and (kind = 'subscription') = (period_frequency is not null)
        and (kind = 'subscription') = (period_times is not null)
        and (kind = 'subscription') = (first_charge is not null)
        and (kind = 'subscription' or (period_date is null and first_amount is null))
    ),
    constraint plans_period_type_known check (period_type in ('day', 'week', 'month', 'year')),
    constraint plans_period_frequency_positive check (period_frequency > 0),
    constraint plans_period_times_positive check (period_times > 0),
    constraint plans_first_charge_known check (first_charge in ('build', 'date')),
    constraint plans_first_amount_positive check (first_amount > 0)
);

comment on column tollgate.plans.subscription_type is 'What users.subscription_type becomes when it is paid; null: the plan opens no subscription.';
comment on column tollgate.plans.duration_days is 'How far one payment of a one_time plan reaches; null: for ever.';
comment on column tollgate.plans.period_date is 'PAYUNi PeriodDate, where the first charge is on a date: day of month, weekday, or MM-DD.';
comment on column tollgate.plans.first_charge is 'PU-1: build charges on the day of the order, date on period_date.';
comment on column tollgate.plans.available is 'False: no longer sold. Plans are never deleted, payments refer to them.';
