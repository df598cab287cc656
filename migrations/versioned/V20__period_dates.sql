-- The day and the first amount of a subscription's charges, and the fact that a card was bound (PU-1, PU-7).
--
-- V1 plans, V14 subscriptions → **V20 period dates** → `origin::checkout`, `origin::subscriptions`.
--
-- Invariants: a period date is one of its period, and its period is one unit long (PAYUNi has no multiples). What was
-- agreed is frozen with the subscription: a plan that changes changes none that runs.
-- Not here: which days follow from it (`origin::domain::subscription::schedule`).

alter table tollgate.plans add constraint plans_period_date_of_type check (period_date is null or (period_frequency = 1 and case period_type
    when 'week' then period_date ~ '^[1-7]$'
    when 'month' then period_date ~ '^([1-9]|[12][0-9]|3[01])$'
    when 'year' then period_date ~ '^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' and period_date <> '02-29'
    else false
end));

comment on column tollgate.plans.period_date is 'PAYUNi PeriodDate, of every charge after the first: weekday 1 (Monday) to 7, day of month, or MM-DD. Null: the day of the first charge.';
comment on column tollgate.plans.first_charge is 'PU-1: build charges on the day of the order, date on a day that is chosen at checkout.';
comment on column tollgate.plans.first_amount is 'PAYUNi FAmt: what the first charge takes. Null: the amount.';

alter table tollgate.saas_subscriptions add column period_date text collate "C";
alter table tollgate.saas_subscriptions add column first_amount bigint;
alter table tollgate.saas_subscriptions
    add constraint saas_subscriptions_period_date_whole check (period_date is null or period_frequency = 1),
    add constraint saas_subscriptions_first_amount_positive check (first_amount > 0);

comment on column tollgate.saas_subscriptions.period_date is 'As plans.period_date when it was agreed.';
comment on column tollgate.saas_subscriptions.first_amount is 'What period 1 takes, where that is not amount.';

alter table tollgate.subscription_facts drop constraint subscription_facts_kind_known;
alter table tollgate.subscription_facts add constraint subscription_facts_kind_known check (kind in (
    'charge_asked', 'retry_asked', 'card_bound', 'card_changed', 'cancel_now_asked', 'cancel_at_end_asked', 'paused',
    'resumed', 'provider_ended', 'replaced', 'plan_changed'));
