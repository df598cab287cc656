-- Whose tokens a person spends: the company of a user.
--
-- V9 service keys → **V10 company members** → the billing and article routes of `origin::http`.
--
-- Invariant: a user is in one company at a time. A user without a row here is a company of their own, whose id is the
-- user's id (`origin::domain::jobs`), so a shop that sells to persons needs no rows at all.
-- Not here: roles within a company, and what the company has (V6). No foreign keys: a member may be named before the
-- first login and before the first grant.

create table tollgate.company_members (
    user_id text not null,
    company_id text collate "C" not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint company_members_pkey primary key (user_id),
    constraint company_members_company_shape
        check (company_id !~ '[^A-Za-z0-9._-]' and octet_length(company_id) between 1 and 64)
);

create index company_members_of_company on tollgate.company_members (company_id);

comment on column tollgate.company_members.user_id is 'The session''s sub.';
