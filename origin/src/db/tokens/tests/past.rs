//! Balances at past instants: equal to the sum of all entries by then, and found without reading them all (TB-6).
//!
//! The sum is what a balance at an instant means; `token_books_at` takes a shorter way, so both are asked about the same
//! histories, and mutants of the shorter way must be told from it.

use tokio_postgres::Client;

use super::Book;

/// A history of some weeks: calls whose clocks differ by up to four minutes, months that begin late, holds and buckets that end
/// unseen, anchors that move. Seeded; a refusal (class TK) is a step that did nothing.
const HISTORY: &str = "
    do $$
    declare
        v_time timestamptz := '2026-01-31T00:00:00Z';
        v_now timestamptz;
        v_dice double precision;
    begin
        perform setseed(0.4);
        perform tollgate.token_grant('g', 'acme', 'purchased', 1000000, 100::smallint, null, gen_random_uuid(), v_time);
        for step in 1..1200 loop
            v_dice := random();
            v_time := v_time + random() * (case when v_dice < 0.6 then interval '20 seconds' when v_dice < 0.95 then interval '10 minutes'
                else interval '1 day' end);
            v_now := v_time - random() * interval '4 minutes';
            v_dice := random();
            begin
                case
                    when v_dice < 0.5 then
                        perform tollgate.deduct_tokens_atomic('k' || step, 'acme', 'a', 1 + step % 9, null, gen_random_uuid(), v_now);
                    when v_dice < 0.65 then
                        perform tollgate.token_grant('p' || step, 'acme', 'promotional', 40 + step, 100::smallint,
                            v_now + random() * interval '3 days', gen_random_uuid(), v_now);
                    when v_dice < 0.7 then
                        perform tollgate.token_grant('b' || step, 'acme', 'purchased', 30, 100::smallint, null, gen_random_uuid(), v_now);
                    when v_dice < 0.9 then
                        perform tollgate.token_reserve('r' || step, 'acme', 'a', 25, null, v_now + random() * interval '6 days',
                            gen_random_uuid(), v_now);
                    when v_dice < 0.94 then
                        perform tollgate.token_settle('r' || (step - 7), 'acme', 11, v_now);
                    when v_dice < 0.97 then
                        perform tollgate.token_compensate('k' || (step - 5), 'acme', gen_random_uuid(), v_now);
                    when v_dice < 0.99 then
                        perform tollgate.token_revoke_grant('b' || (step - 9), gen_random_uuid(), v_now);
                    else
                        perform tollgate.token_plan_set('acme', null, 500, 50, step % 2, v_now - random() * interval '20 days', v_now);
                end case;
            exception when others then
                if sqlstate not like 'TK%' then
                    raise;
                end if;
            end;
        end loop;
        perform tollgate.token_balance('acme', v_time + interval '30 days');
    end $$";

/// At instants spread over the history, and on, just before and just after the instants of its entries: how many differ.
const DIFFERING: &str = "
    with span as (
        select min(occurred_at) as first, max(recorded_at) as last from tollgate.ledger_transaction where owner = 'company:acme'
    ),
    instant as (
        select span.first - interval '1 hour' + (span.last - span.first) * n / 150 as at from span, generate_series(0, 150) as n
        union all
        select seen.occurred_at + shift.by
        from (select occurred_at, row_number() over (order by occurred_at, id) as nth
              from tollgate.ledger_transaction where owner = 'company:acme') as seen,
            unnest(array[interval '-1 microsecond', interval '0', interval '1 microsecond']) as shift (by)
        where seen.nth % 20 = 0
    ),
    summed as (
        select instant.at, array[
            coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_monthly'), 0)::bigint,
            coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_promotional'), 0)::bigint,
            coalesce(sum(entry.amount) filter (where entry.account_kind = 'token_purchased'), 0)::bigint] as balances
        from instant
        left join (tollgate.ledger_transaction as transaction
                   join tollgate.ledger_entry as entry on entry.transaction_id = transaction.id)
            on transaction.owner = 'company:acme' and transaction.occurred_at <= instant.at
        group by instant.at
    )
    select count(*) from summed where tollgate.token_books_at('acme', summed.at) <> summed.balances";

async fn number(admin: &Client, sql: &str) -> i64 {
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn tb_6_a_past_balance_is_the_sum_of_the_entries_by_then_however_they_were_recorded() {
    let book = Book::new().await;
    let admin = book.test.admin().await;
    admin.batch_execute(HISTORY).await.unwrap();
    assert_eq!(book.faults().await, Vec::<String>::new());
    let dated_back = "select count(*) from tollgate.ledger_transaction where occurred_at < recorded_at - interval '1 hour'";
    assert!(number(&admin, dated_back).await > 50);
    let disordered = "select count(*) from (
        select recorded_at < lag(recorded_at) over (partition by account_kind order by account_version) as is_back
        from tollgate.ledger_entry as entry join tollgate.ledger_transaction as transaction on transaction.id = transaction_id
    ) as pair where is_back";
    assert!(number(&admin, disordered).await > 100);
    assert_eq!(number(&admin, DIFFERING).await, 0);

    let definition = "select pg_get_functiondef('tollgate.token_books_at'::regproc)";
    let text: String = admin.query_one(definition, &[]).await.unwrap().get(0);
    for (part, mutant) in [
        ("interval := '5 minutes'", "interval := '0 minutes'"),
        ("transaction.occurred_at <= p_at", "false"),
        ("and transaction.recorded_at > p_at", ""),
        ("and transaction.recorded_at <= p_at", ""),
        ("'token_expired')\n", "'none')\n"),
        ("'token_issued', ", ""),
    ] {
        assert!(text.contains(part), "{part}");
        admin
            .batch_execute(&text.replacen(part, mutant, 1))
            .await
            .unwrap();
        assert_ne!(number(&admin, DIFFERING).await, 0, "{part} → {mutant:?}");
    }
}

/// So many deductions of one token, five minutes apart, as single calls would leave them in the books.
fn filled(deductions: u32) -> String {
    format!(
        "select tollgate.token_grant('g', 'acme', 'purchased', 1000000, 100::smallint, null, gen_random_uuid(), '2026-01-31T00:00:00Z');
        create temporary table made as
            select gen_random_uuid() as id, n, '2026-01-31T00:00:00Z'::timestamptz + n * interval '5 minutes' as at
            from generate_series(1, {deductions}) as n;
        insert into tollgate.ledger_transaction (id, owner, operation_key, kind, fingerprint, occurred_at, recorded_at)
            select id, 'company:acme', 'k' || n, 'token_deduct', sha256(''), at, at from made;
        insert into tollgate.ledger_entry (owner, account_kind, unit, account_version, transaction_id, amount, balance_after)
            select 'company:acme', 'token_purchased', 'TOKEN', n + 1, id, -1, 1000000 - n from made
            union all select 'company:acme', 'token_used', 'TOKEN', n, id, 1, n from made;
        update tollgate.ledger_account set version = {deductions} + 1, balance = 1000000 - {deductions} where kind = 'token_purchased'"
    )
}

/// Rows of the ledger that one call reads.
async fn rows_read(admin: &Client, call: &str) -> i64 {
    let read = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables \
        where schemaname = 'tollgate' and relname in ('ledger_entry', 'ledger_transaction', 'ledger_account')";
    admin.batch_execute("begin").await.unwrap();
    let before = number(admin, read).await;
    admin.batch_execute(call).await.unwrap();
    let after = number(admin, read).await;
    admin.batch_execute("rollback").await.unwrap();
    after - before
}

#[tokio::test]
async fn tb_6_a_past_balance_of_an_old_company_is_found_without_reading_its_books() {
    let mut most = Vec::new();
    for deductions in [1_000, 30_000] {
        let book = Book::new().await;
        let admin = book.test.admin().await;
        admin.batch_execute(&filled(deductions)).await.unwrap();
        let mut read = Vec::new();
        for analysed in [false, true] {
            if analysed {
                admin.batch_execute("analyze").await.unwrap();
            }
            for days in [0, 2, 100] {
                let call = format!(
                    "select tollgate.token_balance_at('acme', '2026-01-31T00:07:00Z'::timestamptz + interval '{days} days', '2027-01-01T00:00:00Z')"
                );
                read.push(rows_read(&admin, &call).await);
            }
            let left = number(
                &admin,
                "select (tollgate.token_books_at('acme', '2026-02-02T00:07:00Z'))[3]",
            )
            .await;
            assert_eq!(left, 1_000_000 - 2 * 288 - 1);
        }
        assert!(
            read.iter().all(|rows| (1..150).contains(rows)),
            "{deductions} deductions: {read:?}"
        );
        most.push(read.into_iter().max().unwrap());
    }
    assert!(most[1] - most[0] < 40, "thirty times the books: {most:?}");
}
