//! The fuzz entries on seeded input: always run, no nightly needed.
//!
//! Input is a genuine message with a few bytes changed, or noise made of the characters that parsers split at.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fixtures::{
    WEBHOOK_SECRET, as_strs, ecpay_atm_code, ecpay_body, ecpay_paid, ecpay_period, payuni_body, payuni_paid,
    payuni_period, stripe_headers,
};

#[path = "../../fuzz/src/entries.rs"]
#[expect(
    unreachable_pub,
    reason = "the same file is a public module of the fuzz crate"
)]
mod entries;

fn genuine() -> Vec<Vec<u8>> {
    let json = br#"{"type":"x","id":"evt_1"}"#;
    let stripe = stripe_headers(WEBHOOK_SECRET, "1793500000", json).remove(0).1;
    vec![
        ecpay_body(&ecpay_paid()),
        ecpay_body(&ecpay_atm_code()),
        ecpay_body(&ecpay_period()),
        payuni_body(&payuni_paid()),
        tollgate_shared::form::encode(as_strs(&payuni_paid())).into_bytes(),
        tollgate_shared::form::encode(as_strs(&payuni_period())).into_bytes(),
        b"Status=SUCCESS&Result[0][Period]=1&Result%5B1%5D%5BPeriod%5D=2".to_vec(),
        [stripe.as_bytes(), b"\n", json].concat(),
        include_bytes!("../golden/envelope-v1.json").to_vec(),
        br#"{"ExecStatus":"1","ExecLog":[{"RtnCode":1,"gwsr":"1","TradeNo":null}]}"#.to_vec(),
        br#"{"ExecLog":[{"RtnCode":1,"amount":300,"gwsr":2,"process_date":"2026/12/01 03:00:11"}]}"#.to_vec(),
        b"Status=SUCCESS&MerTradeNo=A1&PeriodTradeNo=P1&Result[0][Period]=2&Result[0][Amt]=9&Result[0][TradeNo]=17\
          &Result[0][AuthCode]=1"
            .to_vec(),
        b"Status=SUCCESS&Result[0][MerTradeNo]=A1&Result[0][TradeNo]=17&Result[0][TradeAmt]=9&Result[0][TradeStatus]=1"
            .to_vec(),
        b"=\"T1\",=\"2611010930001234\",=\"1,300\",=\"2026/11/01 09:31:02\",=\"8.25\"\r\nT2,18,300,,\n".to_vec(),
        br#"{"TransCode":1,"Data":"AAAA"}"#.to_vec(),
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAA".to_vec(),
    ]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(
        prop_oneof![
            prop::sample::select(b"&=%+[]:;,.{}\"\\ 0aA~\xff\xe4".to_vec()),
            any::<u8>()
        ],
        0..200,
    );
    let changed = (
        prop::sample::select(genuine()),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    )
        .prop_map(|(mut message, changes)| {
            for (index, byte) in changes {
                let at = index.index(message.len());
                message[at] = byte;
            }
            message
        });
    prop_oneof![noise, changed, Just(Vec::new())]
}

#[test]
fn ed_1_no_input_panics_a_parser() {
    for (name, entry) in entries::ENTRIES {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let config = Config {
            cases: 1500,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new_with_rng(config, rng)
            .run(&input(), |data| {
                entry(&data);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn ed_1_every_entry_has_a_fuzz_target() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for (name, _) in entries::ENTRIES {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), entries::ENTRIES.len());
}
