//! Every move from every state, as a text table; the last column is what the last move answers.

use super::{Action, Method, Provider, Refused, Status, Trade};
use crate::contract::schedule::{Cadence, CountedIn};
use crate::contract::{Contract, Terms};
use crate::numbers::Numbers;
use tollgate_shared::money::Minor;
use tollgate_shared::time::Timestamp;

/// `order | moves | answer of the last move, status after it`.
///
/// Orders: `card`, `atm`, `all` (both), `plan` (periodic, 3 charges), `mock`. A move may name a method.
const TABLE: &str = "
card | pay                                  | Paid paid
card | fail                                 | Failed failed
card | fail pay                             | Paid paid
card | fail fail                            | Failed failed
card | close                                | Closed closed
card | close pay                            | Paid paid
card | fail close                           | Closed closed
card | pay close                            | Closed paid
card | simulate                             | Simulated open
card | simulate pay                         | Paid paid
card | pay simulate                         | Simulated paid
card | pay pay                              | AlreadyPaid paid
card | pay fail                             | AlreadyPaid paid
card | pay issue-code                       | AlreadyPaid paid
card | pay pay-code                         | AlreadyPaid paid
card | pay:ATM                              | NotOffered open
card | simulate:ATM                         | NotOffered open
card | issue-code                           | NotACodeMethod open
card | issue-code:Credit                    | NotACodeMethod open
card | issue-code:ATM                       | NotOffered open
card | pay-code                             | NoCode open
card | fail pay-code                        | NoCode failed
card | period                               | NoPlan open
atm  | issue-code                           | CodeIssued code_issued
atm  | issue-code pay-code                  | Paid paid
atm  | issue-code close                     | Closed code_issued
atm  | issue-code issue-code                | CodeOutstanding code_issued
atm  | issue-code pay                       | CodeOutstanding code_issued
atm  | issue-code fail                      | CodeOutstanding code_issued
atm  | close issue-code pay-code            | Paid paid
atm  | pay                                  | CodeFirst open
atm  | pay:ATM                              | CodeFirst open
all  | pay                                  | Paid paid
all  | pay:ATM                              | CodeFirst open
all  | fail issue-code pay-code             | Paid paid
plan | period                               | PlanNotStarted open
plan | fail period                          | PlanNotStarted failed
plan | pay period                           | Charged paid
plan | pay period period                    | Charged paid
plan | pay period period period             | PlanEnded paid
mock | pay                                  | Paid paid
mock | simulate                             | NoSimulation open
";

#[test]
fn every_move_answers_as_the_table_says() {
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let mut trade = trade(columns[0]);
        let mut numbers = Numbers::default();
        let now = Timestamp::from_unix_seconds(1_788_000_000);
        let mut answer = String::new();
        for step in columns[1].split_whitespace() {
            let (action, method) = parse(step);
            answer = match trade.act(action, method, &mut numbers, now) {
                Ok(outcome) => format!("{outcome:?}")
                    .split(['(', ' '])
                    .next()
                    .unwrap()
                    .to_owned(),
                Err(refused) => format!("{refused:?}"),
            };
        }
        assert_eq!(
            format!("{answer} {}", trade.status.as_str()),
            columns[2],
            "{line}"
        );
        rows += 1;
    }
    assert_eq!(rows, 42);
}

/// A new refusal must be given a row.
#[test]
fn every_refusal_has_a_row() {
    for refused in [
        Refused::AlreadyPaid,
        Refused::CodeOutstanding,
        Refused::NoCode,
        Refused::CodeFirst,
        Refused::NotACodeMethod,
        Refused::NotOffered,
        Refused::NoPlan,
        Refused::PlanNotStarted,
        Refused::PlanEnded,
        Refused::NoSimulation,
    ] {
        assert!(TABLE.contains(&format!("| {refused:?} ")), "{refused:?}");
    }
}

fn parse(step: &str) -> (Action, Option<Method>) {
    let (name, method) = step
        .split_once(':')
        .map_or((step, None), |(name, method)| (name, Method::from_wire(method)));
    let action = match name {
        "pay" => Action::Pay,
        "fail" => Action::Fail,
        "close" => Action::Close,
        "issue-code" => Action::IssueCode,
        "pay-code" => Action::PayCode,
        "simulate" => Action::Simulate,
        "period" => Action::Period { failed: false },
        other => panic!("no move {other}"),
    };
    (action, method)
}

fn trade(order: &str) -> Trade {
    let amount = Minor::new(300);
    let created_at = Timestamp::from_unix_seconds(1_788_000_000);
    let terms = Terms {
        provider: Provider::Ecpay,
        times_total: 3,
        amount,
        first_amount: amount,
        cadence: Cadence::FromPurchase(CountedIn::Months, 1),
        charge_minute_of_day: 360,
        period_trade_no: String::new(),
    };
    Trade {
        provider: if order == "mock" {
            Provider::Mock
        } else {
            Provider::Ecpay
        },
        merchant_id: "3002607".into(),
        order_number: "T1".into(),
        trade_no: "2608301200000001".into(),
        gwsr: String::new(),
        amount,
        description: String::new(),
        request: std::collections::BTreeMap::new(),
        methods: match order {
            "atm" => vec![Method::Atm],
            "all" => vec![Method::Credit, Method::Atm],
            _ => vec![Method::Credit],
        },
        method: None,
        status: Status::Open,
        created_at,
        settled_at: None,
        settlements: std::collections::BTreeMap::new(),
        credit_hash: None,
        decline_code: None,
        unknown_until: None,
        contract: Contract::agreed(terms, created_at).filter(|_| order == "plan"),
    }
}
