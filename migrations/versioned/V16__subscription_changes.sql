-- Changes of plan: which subscription another one takes the place of, and what a charge of ours is for.
--
-- V14 subscriptions → **V16 subscription changes** → `origin::subscriptions`.
--
-- Invariants: one subscription is replaced by one other at most. A charge of a proration is no period's money.
-- Not here: the amount of a proration (`origin::domain::subscription::proration`).

alter table tollgate.saas_subscriptions add column replaces_id uuid;
alter table tollgate.saas_subscriptions
    add constraint saas_subscriptions_replaces_fkey foreign key (replaces_id) references tollgate.saas_subscriptions (id),
    add constraint saas_subscriptions_replaces_another check (replaces_id <> id);
create index saas_subscriptions_replaces on tollgate.saas_subscriptions (replaces_id) where replaces_id is not null;

comment on column tollgate.saas_subscriptions.replaces_id is 'An upgrade: when the first charge settles here, that one ends and its unused days are paid back.';

alter table tollgate.subscription_facts drop constraint subscription_facts_kind_known;
alter table tollgate.subscription_facts add constraint subscription_facts_kind_known check (kind in (
    'charge_asked', 'retry_asked', 'card_changed', 'cancel_now_asked', 'cancel_at_end_asked', 'paused', 'resumed',
    'provider_ended', 'replaced', 'plan_changed'));

alter table tollgate.subscription_charges add column purpose text collate "C" not null default 'period';
alter table tollgate.subscription_charges add column plan_id text collate "C";
alter table tollgate.subscription_charges
    add constraint subscription_charges_purpose_known check (purpose in ('period', 'proration')),
    add constraint subscription_charges_proration_has_plan check (purpose <> 'proration' or plan_id is not null),
    add constraint subscription_charges_plan_fkey foreign key (plan_id) references tollgate.plans (id);

comment on column tollgate.subscription_charges.plan_id is 'The plan that this charge is for, where it is another than the subscription''s: it becomes that once paid.';

comment on column tollgate.saas_subscriptions.anchor_on is 'The day of the first charge in Asia/Taipei where it was agreed beforehand (PU-7); null: the first charge says.';
