-- token_balance: what a company has and can spend.
--
-- Arguments: p_company_id, p_now.
-- Returns a JSON object: company_id, monthly, promotional, purchased, total, reserved (part of the total that reservations
--   hold), available (total less reserved); all zero for a company that never had tokens.
-- Raises nothing. Takes the company's lock only when something is due by p_now, to apply it; otherwise it just reads.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_balance(p_company_id text, p_now timestamptz)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_company record;
begin
    for attempt in 1..2 loop
        select company.monthly_balance as monthly, company.promotional_balance as promotional,
            company.purchased_balance as purchased, company.reserved_balance as reserved, company.next_due_at
        into v_company
        from tollgate.company_subscriptions as company
        where company.company_id = p_company_id;
        exit when v_company.next_due_at is null or v_company.next_due_at > p_now;
        perform tollgate.token_company_lock(p_company_id, p_now);
    end loop;
    return jsonb_build_object(
        'company_id', p_company_id,
        'monthly', coalesce(v_company.monthly, 0),
        'promotional', coalesce(v_company.promotional, 0),
        'purchased', coalesce(v_company.purchased, 0),
        'total', coalesce(v_company.monthly + v_company.promotional + v_company.purchased, 0),
        'reserved', coalesce(v_company.reserved, 0),
        'available', coalesce(v_company.monthly + v_company.promotional + v_company.purchased - v_company.reserved, 0));
end
$$;
