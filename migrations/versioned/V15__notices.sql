-- What customers are told about their subscriptions, in which language, and where to (EC-8, PU-6).
--
-- V14 subscriptions, V3 outbox → **V15 notices** → `origin::notices`, the only writer.
--
-- Invariants: an e-mail address stands in notice_preferences.email and nowhere else: not in notices, not in the outbox, so
-- erasing that one column forgets it. One row of notices is one step that somebody decided to tell of, whoever decides it
-- how often; whether it left stands in the outbox, and the view below shows both.
-- Not here: the wording (origin/templates/notices), sending (`origin::work::outbox`).

create table tollgate.notice_preferences (
    user_id text collate "C" not null,
    email text,
    locale text collate "C" not null,
    muted text[] not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint notice_preferences_pkey primary key (user_id),
    constraint notice_preferences_email_shape
        check (email !~ '[[:space:][:cntrl:]]' and email like '%_@_%' and octet_length(email) <= 254),
    constraint notice_preferences_locale_known check (locale in ('zh-TW', 'en')),
    constraint notice_preferences_muted_bounded check (cardinality(muted) <= 64)
);

comment on table tollgate.notice_preferences is 'A user without a row has no address and the locale zh-TW.';
comment on column tollgate.notice_preferences.user_id is 'The session''s sub. No foreign key: an address may be told before the first purchase.';
comment on column tollgate.notice_preferences.email is 'Personal data, and the only place of it. Null: there is none, or it was erased.';
comment on column tollgate.notice_preferences.muted is 'Kinds that the user does not want by mail; events are sent all the same.';

create table tollgate.notices (
    id uuid not null,
    operation_key text collate "C" not null,
    user_id text collate "C" not null,
    subscription_id uuid,
    kind text collate "C" not null,
    urgency text collate "C" not null,
    locale text collate "C" not null,
    subject text not null,
    mail text collate "C" not null,
    mail_outbox_id uuid,
    event_outbox_id uuid,
    occurred_at timestamptz not null,
    created_at timestamptz not null,

    constraint notices_pkey primary key (id),
    constraint notices_operation_key unique (operation_key),
    constraint notices_kind_shape check (kind ~ '^[a-z_]{1,64}$'),
    constraint notices_urgency_known check (urgency in ('low', 'medium', 'high', 'urgent')),
    constraint notices_mail_known check (mail in ('queued', 'no_address', 'muted', 'not_configured')),
    constraint notices_queued_in_outbox check ((mail = 'queued') = (mail_outbox_id is not null))
);

create index notices_of_user on tollgate.notices (user_id, created_at, id);
create index notices_of_subscription on tollgate.notices (subscription_id, created_at, id)
    where subscription_id is not null;

comment on column tollgate.notices.operation_key is 'Names the step: deciding it twice tells of it once.';
comment on column tollgate.notices.mail is 'What was decided about the mail. Only queued ones have a row in the outbox.';
comment on column tollgate.notices.mail_outbox_id is 'No foreign key: the outbox may be emptied of what is done, the notice stays.';
comment on column tollgate.notices.event_outbox_id is 'Of the event subscription.<kind>; null where no receiver is configured.';

-- What became of each notice: pending, done or dead as its outbox row says; otherwise why there is none.
create view tollgate.notice_outcomes as
select
    notice.id,
    notice.operation_key,
    notice.user_id,
    notice.subscription_id,
    notice.kind,
    notice.urgency,
    notice.locale,
    notice.subject,
    case when notice.mail = 'queued' then coalesce(mail.status, 'removed') else notice.mail end as mail,
    mail.attempts as mail_attempts,
    mail.last_error as mail_error,
    mail.done_at as mailed_at,
    case when notice.event_outbox_id is null then 'not_configured' else coalesce(event.status, 'removed') end as event,
    event.attempts as event_attempts,
    event.last_error as event_error,
    notice.occurred_at,
    notice.created_at
from tollgate.notices as notice
left join tollgate.outbox as mail on mail.id = notice.mail_outbox_id
left join tollgate.outbox as event on event.id = notice.event_outbox_id;

-- Each claim asks for rows of the same key before it; without this, it would read the whole queue to find none.
create index outbox_pending_of_order on tollgate.outbox (ordering_key, created_at, id)
    where status = 'pending' and ordering_key is not null;
