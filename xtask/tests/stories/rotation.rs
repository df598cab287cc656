//! A provider's key is exchanged while notices signed with the old one are still on their way.
//!
//! Proves ED-1 over the built worker and the real origin: both keys of a rotation are genuine, a third is not.

use std::collections::BTreeMap;

use anyhow::Result;
use xtask::stack::settings::{ECPAY_HASH_IV, ECPAY_HASH_KEY};
use xtask::stack::{Stack, StackOptions};

use crate::books::{Books, orders};
use crate::notices::{ACKNOWLEDGED, Notice, acknowledged, post};

const NEW_KEY: &str = "ANewHashKey00001";
const NEW_IV: &str = "ANewHashIV000001";

fn rotated() -> BTreeMap<String, String> {
    let pairs = [
        ("ECPAY_HASH_KEY", NEW_KEY),
        ("ECPAY_HASH_IV", NEW_IV),
        ("ECPAY_HASH_KEY_PREVIOUS", ECPAY_HASH_KEY),
        ("ECPAY_HASH_IV_PREVIOUS", ECPAY_HASH_IV),
    ];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed_1_both_keys_of_a_rotation_are_genuine_and_a_third_is_not() -> Result<()> {
    let stack = Stack::start(StackOptions {
        edge_settings: rotated(),
        origin_settings: rotated(),
        ..StackOptions::default()
    })
    .await?;
    let orders = orders(&stack, 2).await?;
    let path = "/api/webhooks/ecpay/payment";

    acknowledged(&stack, &Notice::paid(&orders[0], "2611201744000001")).await?;
    let current = Notice::paid(&orders[1], "2611201744000002").body_signed_with(NEW_KEY, NEW_IV);
    assert_eq!(post(&stack, path, current).await?, (200, ACKNOWLEDGED.to_owned()));
    let third = Notice::paid(&orders[1], "2611201744000003").body_signed_with("NobodysHashKey01", NEW_IV);
    let (status, body) = post(&stack, path, third).await?;
    assert_eq!(status, 403, "{body}");

    let books = Books::of(&stack).await?;
    books.wait_applied(2).await?;
    books.settled(2).await?;
    drop(books);
    stack.stop().await
}
