-- token_plan_set: what a company's plan gives it: the monthly quota and what becomes of unused tokens.
--
-- Arguments
--   p_company_id          opened if it is not there
--   p_plan_id             for people; nothing is looked up
--   p_monthly_quota       tokens a period; 0 ends the grants, and what was granted stays until its period ends
--   p_rollover_max        unused monthly tokens carried over at most; 0: none
--   p_expired_share_days  see company_subscriptions
--   p_period_anchor       start of the first period; null only beside a quota of 0
--   p_now                 when it is recorded
-- Returns nothing. Setting the same again changes nothing.
-- Raises TK001 where an argument is missing or out of range, 23514 with the constraint's name where an id breaks its shape.
-- Quota and rules of an unchanged anchor take effect with the next period. The period that p_now lies in is granted at
--   once when grants begin or begin again, unless it was granted before; periods wholly past are not made up for.
-- Locks the company. Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_plan_set(
    p_company_id text,
    p_plan_id text,
    p_monthly_quota bigint,
    p_rollover_max bigint,
    p_expired_share_days integer,
    p_period_anchor timestamptz,
    p_now timestamptz
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_count integer;
begin
    if num_nulls(p_company_id, p_monthly_quota, p_rollover_max, p_expired_share_days, p_now) > 0
        or (p_monthly_quota > 0 and p_period_anchor is null)
    then
        raise exception using errcode = 'TK001', message = 'tokens: malformed plan',
            detail = 'Only p_plan_id may be null, and p_period_anchor beside a quota of 0.';
    end if;
    perform tollgate.token_company_open(p_company_id, p_now);

    select case when company.period_anchor = p_period_anchor then company.period_count else 0 end into v_count
    from tollgate.company_subscriptions as company
    where company.company_id = p_company_id;
    while tollgate.token_period_start(p_period_anchor, v_count + 1) <= p_now loop
        v_count := v_count + 1;
    end loop;

    update tollgate.company_subscriptions as company
    set plan_id = p_plan_id, monthly_quota = p_monthly_quota, rollover_max = p_rollover_max,
        expired_share_days = p_expired_share_days,
        period_anchor = coalesce(p_period_anchor, company.period_anchor),
        period_count = case when p_period_anchor is null then company.period_count else v_count end,
        next_period_at = case when p_monthly_quota > 0 then tollgate.token_period_start(p_period_anchor, v_count) end,
        updated_at = p_now
    where company.company_id = p_company_id;
    perform tollgate.token_next_due(p_company_id);
    perform tollgate.token_company_lock(p_company_id, p_now);
end
$$;
