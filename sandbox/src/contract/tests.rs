//! A contract's life as text tables: what falls due, in which order, and what ends it.

use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

use super::schedule::{Cadence, CountedIn, Cycle, First, day_at};
use super::{Contract, State, Terms, Unable};
use crate::numbers::Numbers;
use crate::trade::Provider;

fn at(text: &str) -> Timestamp {
    Timestamp::from_taipei("%Y-%m-%d %H:%M", text).unwrap()
}

fn contract(provider: Provider, times_total: u32, today: &str) -> (Contract, Numbers) {
    let cadence = match provider {
        Provider::Payuni => Cadence::Cyclic {
            cycle: Cycle::Month { day: 31 },
            first: First::OrderDay,
        },
        Provider::Ecpay | Provider::Mock => Cadence::FromPurchase(CountedIn::Months, 1),
    };
    let terms = Terms {
        provider,
        times_total,
        amount: Minor::new(300),
        first_amount: Minor::new(300),
        cadence,
        charge_minute_of_day: 360,
        period_trade_no: String::new(),
    };
    let now = at(&format!("{today} 15:00"));
    let mut contract = Contract::agreed(terms, now).unwrap();
    let mut numbers = Numbers::default();
    contract
        .begin(&numbers.trade_no(provider, now), &numbers.gwsr(), now)
        .unwrap();
    (contract, numbers)
}

/// Plays all that is due until a day, in order.
fn play(contract: &mut Contract, numbers: &mut Numbers, until: &str) {
    let until = at(&format!("{until} 23:59"));
    while let Some(due) = contract.next_due().filter(|due| *due <= until) {
        contract.play(due, numbers);
    }
}

fn told(contract: &Contract) -> String {
    let charges = contract.charges.iter().map(|charge| {
        let sign = if charge.succeeded { "+" } else { "-" };
        format!("{}{sign}{}", charge.number, day_at(charge.at).unwrap())
    });
    charges.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_jump_over_three_months_charges_each_on_its_day_at_its_time() {
    let (mut contract, mut numbers) = contract(Provider::Ecpay, 12, "2027-01-31");
    play(&mut contract, &mut numbers, "2027-04-30");
    assert_eq!(
        told(&contract),
        "1+2027-01-31 2+2027-02-28 3+2027-03-31 4+2027-04-30"
    );
    assert_eq!(contract.charges[2].at, at("2027-03-31 06:00"));
    assert_eq!(contract.next_period_at(), Some(at("2027-05-31 06:00")));
}

#[test]
fn every_period_paid_completes_and_a_failed_one_does_not_lengthen() {
    let (mut whole, mut numbers) = contract(Provider::Ecpay, 3, "2027-01-15");
    play(&mut whole, &mut numbers, "2028-01-15");
    assert_eq!((whole.state, whole.charges.len()), (State::Completed, 3));
    let (mut short, mut numbers) = contract(Provider::Ecpay, 3, "2027-01-15");
    short.bank.next = 1;
    play(&mut short, &mut numbers, "2028-01-15");
    assert_eq!((short.state, short.charges.len()), (State::Running, 3));
    assert_eq!(short.next_due(), None);
}

#[test]
fn ec_1_six_failed_periods_in_a_row_end_an_ecpay_contract_and_no_payuni_contract() {
    for (provider, state, attempts) in [
        (Provider::Ecpay, State::Stopped, 7),
        (Provider::Payuni, State::Running, 12),
    ] {
        let (mut contract, mut numbers) = contract(provider, 12, "2027-01-15");
        contract.bank.bad = true;
        play(&mut contract, &mut numbers, "2029-01-15");
        assert_eq!((contract.state, contract.charges.len()), (state, attempts));
    }
}

#[test]
fn ec_2_only_the_latest_failed_charge_of_a_running_contract_is_tried_again() {
    let (mut contract, mut numbers) = contract(Provider::Ecpay, 12, "2027-01-15");
    let retry_at = at("2027-02-16 09:00");
    assert_eq!(
        contract.queue_retry_of_latest(retry_at),
        Err(Unable::NothingFailed)
    );
    contract.bank.dates.insert("2027-02-15".parse().unwrap());
    play(&mut contract, &mut numbers, "2027-02-15");
    assert_eq!(contract.queue_retry_of_latest(retry_at), Ok(()));
    assert_eq!(
        contract.queue_retry_of_latest(retry_at),
        Err(Unable::NothingFailed),
        "one at a time"
    );
    assert_eq!(contract.next_due(), Some(retry_at));
    play(&mut contract, &mut numbers, "2027-02-16");
    contract.bank = super::bank::Bank::default();
    contract.queue_retry_of_latest(at("2027-02-18 09:00")).unwrap();
    play(&mut contract, &mut numbers, "2027-03-20");
    assert_eq!(
        told(&contract),
        "1+2027-01-15 2-2027-02-15 2-2027-02-16 2+2027-02-18 3+2027-03-15"
    );
    contract.cancel().unwrap();
    assert_eq!(contract.queue_retry_of_latest(retry_at), Err(Unable::Ended));
    assert_eq!(
        (contract.cancel(), contract.next_due()),
        (Err(Unable::Ended), None)
    );
}

#[test]
fn pu_6_periods_that_fall_due_while_suspended_are_passed_over() {
    let (mut contract, mut numbers) = contract(Provider::Payuni, 12, "2027-01-15");
    contract.suspend_period(3, true).unwrap();
    assert_eq!(contract.suspend_period(1, true), Err(Unable::NoSuchPeriod));
    assert_eq!(contract.suspend_period(13, true), Err(Unable::NoSuchPeriod));
    play(&mut contract, &mut numbers, "2027-03-31");
    contract.suspend().unwrap();
    assert_eq!(contract.suspend(), Err(Unable::NotRunning));
    play(&mut contract, &mut numbers, "2027-04-10");
    contract.resume().unwrap();
    assert_eq!(contract.resume(), Err(Unable::NotSuspended));
    play(&mut contract, &mut numbers, "2027-04-30");
    assert_eq!(
        told(&contract),
        "1+2027-01-15 2+2027-01-31 4+2027-03-31 5+2027-04-30"
    );
}

#[test]
fn a_period_is_tried_again_only_after_it_failed() {
    let (mut contract, mut numbers) = contract(Provider::Payuni, 12, "2027-01-15");
    contract.bank.next = 1;
    play(&mut contract, &mut numbers, "2027-03-01");
    let now = at("2027-03-02 10:00");
    for period in [1, 3, 4, 0] {
        let refused = contract.retry(period, &mut numbers, now).err();
        assert_eq!(refused, Some(Unable::NothingFailed), "{period}");
    }
    assert!(contract.retry(2, &mut numbers, now).unwrap().succeeded);
    assert!(contract.retry(2, &mut numbers, now).is_err(), "paid once");
}

#[test]
fn a_retry_keeps_the_day_its_period_was_due_also_after_a_change_of_schedule() {
    let (mut contract, mut numbers) = contract(Provider::Payuni, 12, "2027-01-15");
    contract.bank.dates.insert("2027-01-31".parse().unwrap());
    play(&mut contract, &mut numbers, "2027-02-01");
    let cycle = Cycle::Month { day: 19 };
    let today = "2027-02-01".parse().unwrap();
    let schedule = super::schedule::Schedule::cyclic(today, contract.next_period(), cycle);
    contract.reschedule(schedule.unwrap());
    let retried = contract.retry(2, &mut numbers, at("2027-02-02 10:00")).unwrap();
    assert_eq!(
        (retried.due_on.to_string().as_str(), retried.succeeded),
        ("2027-01-31", false)
    );
    assert_eq!(contract.next_period_at(), Some(at("2027-02-19 06:00")));
}
