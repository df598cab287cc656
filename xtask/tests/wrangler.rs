//! ED-7: `wrangler dev` serves the worker with the repository's own wrangler.toml, build command included.
//!
//! npm's wrangler, offline → **this test** → the health route and a webhook route answer.

use serde_json::Value;
use xtask::build_edge::{self, Variant};
use xtask::config::Config;
use xtask::ports;
use xtask::progress::Progress;
use xtask::run::wrangler::Wrangler;
use xtask::setup;
use xtask::stack::http_client;
use xtask::stack::settings::{Addresses, Keys, edge};

#[tokio::test]
async fn ed_7_wrangler_dev_serves_the_worker_of_the_repository() {
    let config = Config::from_env().unwrap();
    let tools = setup::prepare(&config, &Progress::new(setup::STEPS))
        .await
        .unwrap();
    build_edge::build(&config, &tools, Variant::Deployed)
        .await
        .unwrap();
    let port = || ports::free().unwrap();
    let addresses = Addresses {
        edge: port(),
        origin: port(),
        sandbox: port(),
    };
    let logs = tempfile::tempdir().unwrap();
    let settings = edge(addresses, &Keys::random().unwrap());
    let log = logs.path().join("wrangler.log");
    let wrangler = Wrangler::start(&config, &tools.edge, addresses.edge, &settings, log)
        .await
        .unwrap();
    let http = http_client().unwrap();
    let url = |path: &str| format!("{}{path}", wrangler.base_url());
    let health = http
        .get(url("/api/webhooks/health"))
        .send()
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    assert_eq!(health["service"], "tollgate-edge", "{health}");
    assert_eq!(
        health["sources"]["ecpay"]["state"], "ready",
        "the settings reach the worker: {health}"
    );
    let forged = http
        .post(url("/api/webhooks/ecpay/payment"))
        .form(&[("MerchantID", "3002607")])
        .send()
        .await
        .unwrap();
    assert!(
        forged.status().is_client_error(),
        "a notice without a signature is refused: {}",
        forged.status()
    );
    wrangler.stop().await.unwrap();
}
