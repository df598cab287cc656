-- token_expire_due: the sweep: applies what is due to companies that nobody has asked about.
--
-- Arguments: p_now; p_companies_max, how many companies in this transaction.
-- Returns the number of companies brought up to date; none: done.
-- Raises nothing: a company whose books refuse what is due stays as it was, with a warning in the server's log, so that it
--   does not keep the others waiting; its own calls fail loudly.
-- Balances are right without it (every call applies what is due first); it keeps reports and metrics, which read without
--   asking, from showing tokens that have expired.
-- Locks the companies it finds, skipping those that somebody works on: those are brought up to date by that call.
-- Callers: tollgate_app, through `origin::db::tokens`.

create or replace function tollgate.token_expire_due(p_now timestamptz, p_companies_max integer)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, tollgate, pg_temp
as $$
declare
    v_company_id text;
    v_count integer := 0;
begin
    for v_company_id in
        select company.company_id
        from tollgate.company_subscriptions as company
        where company.next_due_at <= p_now
        order by company.next_due_at, company.company_id
        limit p_companies_max
        for update skip locked
    loop
        begin
            perform tollgate.token_apply_due(v_company_id, p_now);
            v_count := v_count + 1;
        exception
            when others then
                raise warning 'tokens: company % was not brought up to date: % %', v_company_id, sqlstate, sqlerrm;
        end;
    end loop;
    return v_count;
end
$$;
