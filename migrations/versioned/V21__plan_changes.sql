-- Changes of plan within a running subscription: what was asked, what was agreed, and what was paid for it.
--
-- V16 subscription changes → **V21 plan changes** → `origin::subscriptions`.
--
-- Invariants: a fact about a change names both plans, so that the history tells them whatever the row says later. The price
-- that was shown is the price that is charged: it is kept with the wish, not looked up when the charge comes.
-- Not here: the amount of a proration (`origin::domain::subscription::proration`).

alter table tollgate.subscription_facts
    add column from_plan_id text collate "C",
    add column plan_id text collate "C";
alter table tollgate.subscription_facts
    add constraint subscription_facts_from_plan_fkey foreign key (from_plan_id) references tollgate.plans (id),
    add constraint subscription_facts_plan_fkey foreign key (plan_id) references tollgate.plans (id);
alter table tollgate.subscription_facts drop constraint subscription_facts_kind_known;
alter table tollgate.subscription_facts add constraint subscription_facts_kind_known check (kind in (
    'charge_asked', 'retry_asked', 'card_bound', 'card_changed', 'cancel_now_asked', 'cancel_at_end_asked', 'paused',
    'resumed', 'provider_ended', 'replaced', 'plan_change_asked', 'plan_change_scheduled', 'plan_change_revoked',
    'plan_changed', 'plan_change_failed'));

comment on column tollgate.subscription_facts.plan_id is 'Of a change of plan, and of a replacement: the plan that it leads to.';

alter table tollgate.saas_subscriptions add column next_amount bigint;
alter table tollgate.saas_subscriptions
    add constraint saas_subscriptions_next_amount check (
        next_amount is null or (next_amount > 0 and next_plan_id is not null));

comment on column tollgate.saas_subscriptions.next_plan_id is 'The plan from the next charge on (merchant-run), or the one that the customer wants to buy when this one ends (next_amount null).';
comment on column tollgate.saas_subscriptions.next_amount is 'The price of a period in the plan from the next charge on, as it was agreed.';

alter table tollgate.subscription_charges
    add column plan_amount bigint,
    add column provider_payment_id text collate "C";
update tollgate.subscription_charges set plan_amount = amount where plan_id is not null;
alter table tollgate.subscription_charges
    add constraint subscription_charges_plan_has_amount check ((plan_id is null) = (plan_amount is null)),
    add constraint subscription_charges_plan_amount_positive check (plan_amount > 0);
create index subscription_charges_of on tollgate.subscription_charges (subscription_id, period_number);

comment on column tollgate.subscription_charges.plan_amount is 'The price of a period in plan_id; of a period''s charge it is the amount.';
comment on column tollgate.subscription_charges.provider_payment_id is 'The provider''s number of the charge, once it is paid.';
