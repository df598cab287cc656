//! The cashier in a real browser: a form is posted, a button is clicked, a page is read (PM-8).
//!
//! chromedriver → chromium → **sandbox** → a tiny shop that acknowledges.
//!
//! Invariant: the browser finds the pages as a customer does; no script and no foreign file is needed for it.
//! Chromium and chromedriver are taken from PATH or from `CHROMIUM` and `CHROMEDRIVER`; without them the test fails
//! and says `cargo xtask test`, which installs both. `TOLLGATE_SCREENSHOTS` names a folder for pictures of each page.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "functions of tests, not of the product"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test's own environment: where the browser is"
)]

use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::Uri;
use axum::response::Html;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tollgate_sandbox::{Config, ECPAY_HASH_IV, ECPAY_HASH_KEY, Sandbox};
use tollgate_shared::provider::ecpay::mac::{Algorithm, check_mac_value};

const DEADLINE: Duration = Duration::from_mins(1);

/// The shop: any GET is its front page, any POST a notice.
struct Shop {
    base_url: String,
    notices: mpsc::UnboundedReceiver<(String, String)>,
}

impl Shop {
    async fn start() -> Self {
        let (sender, notices) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let receive = move |uri: Uri, body: Bytes| async move {
            sender
                .send((uri.path().to_owned(), String::from_utf8(body.to_vec()).unwrap()))
                .unwrap();
            "1|OK"
        };
        let front = || async { Html("<!doctype html><title>Shop</title><h1 id=shop>Welcome back</h1>") };
        let router = Router::new().fallback(axum::routing::get(front).post(receive));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base_url, notices }
    }

    /// The next notice: its path and its `RtnCode`.
    async fn notice(&mut self) -> (String, String) {
        let (path, body) = tokio::time::timeout(DEADLINE, self.notices.recv())
            .await
            .unwrap()
            .unwrap();
        let code = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "RtnCode");
        (path, code.unwrap().1.into_owned())
    }
}

/// A browser with a profile of its own, gone when dropped.
struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

/// chromedriver and chromium share a process group, which ends with the test, also with one that fails: a killed
/// driver alone would leave its browser behind.
impl Drop for Browser {
    fn drop(&mut self) {
        let group = self
            .driver
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).unwrap()));
        if let Some(group) = group {
            // A group that is gone already is what is wanted.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

fn program(setting: &str, name: &str) -> String {
    std::env::var(setting).unwrap_or_else(|_| name.to_owned())
}

impl Browser {
    async fn start() -> Self {
        let mut driver = Command::new(program("CHROMEDRIVER", "chromedriver"))
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; `cargo xtask test` installs it"));
        let address = format!("http://127.0.0.1:{}", port(&mut driver).await);
        let profile = tempfile::tempdir().unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(&profile));
        let client = builder
            .connect(&address)
            .await
            .unwrap_or_else(|error| panic!("chromium: {error}; `cargo xtask test` installs it"));
        client.set_window_size(900, 1100).await.unwrap();
        Self {
            client,
            driver,
            _profile: profile,
        }
    }

    /// Shows a page that holds a form, as the shop's checkout would, and submits it.
    async fn submit(&self, shop: &Shop, action: &str, fields: &[(&str, String)]) {
        self.client.goto(&shop.base_url).await.unwrap();
        let script =
            "const form = document.createElement('form'); form.method = 'POST'; form.action = arguments[0];
            for (const [name, value] of arguments[1]) {
                const input = document.createElement('input');
                input.type = 'hidden'; input.name = name; input.value = value; form.append(input);
            }
            document.body.append(form); form.submit();";
        let arguments = vec![serde_json::json!(action), serde_json::json!(fields)];
        self.client.execute(script, arguments).await.unwrap();
        self.see("#trade-no").await;
    }

    /// Waits for an element and answers its text.
    async fn see(&self, css: &str) -> String {
        let element = self
            .client
            .wait()
            .at_most(DEADLINE)
            .for_element(Locator::Css(css))
            .await;
        element
            .unwrap_or_else(|error| panic!("{css}: {error}"))
            .text()
            .await
            .unwrap()
    }

    async fn click(&self, css: &str) {
        let element = self
            .client
            .wait()
            .at_most(DEADLINE)
            .for_element(Locator::Css(css))
            .await;
        element
            .unwrap_or_else(|error| panic!("{css}: {error}"))
            .click()
            .await
            .unwrap();
    }

    async fn picture(&self, name: &str) {
        let Ok(folder) = std::env::var("TOLLGATE_SCREENSHOTS") else {
            return;
        };
        let bytes = self.client.screenshot().await.unwrap();
        std::fs::write(format!("{folder}/{name}.png"), bytes).unwrap();
    }

    async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

/// `chromedriver --port=0` prints the port that it took.
async fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let port = line
                .rsplit_once("port ")
                .map(|(_, rest)| rest.trim_end_matches('.').parse());
            if let (true, Some(Ok(port))) = (line.contains("started successfully"), port) {
                return port;
            }
        }
        panic!("chromedriver ended without naming its port");
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap()
}

fn capabilities(profile: &TempDir) -> Capabilities {
    let folder = format!("--user-data-dir={}", profile.path().display());
    let options = serde_json::json!({
        "binary": which(&program("CHROMIUM", "chromium")),
        "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", folder,
        ],
    });
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)])
}

/// chromedriver wants a path, not a name.
fn which(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found
        .unwrap_or_else(|| panic!("{name} is not on PATH; `cargo xtask test` installs it"))
        .display()
        .to_string()
}

fn order(shop: &Shop, number: &str, method: &str) -> Vec<(&'static str, String)> {
    let url = |path: &str| format!("{}/{path}", shop.base_url);
    let mut fields = vec![
        ("MerchantID", "3002607".to_owned()),
        ("MerchantTradeNo", number.to_owned()),
        ("MerchantTradeDate", "2026/11/21 10:00:00".to_owned()),
        ("PaymentType", "aio".to_owned()),
        ("TotalAmount", "300".to_owned()),
        ("TradeDesc", "Tollgate".to_owned()),
        ("ItemName", "專業版 (月繳) x1#加購字元包 x2".to_owned()),
        ("ReturnURL", url("notice")),
        ("ClientBackURL", url("back")),
        ("PaymentInfoURL", url("code")),
        ("ChoosePayment", method.to_owned()),
        ("EncryptType", "1".to_owned()),
    ];
    let pairs = fields.iter().map(|(name, value)| (*name, value.as_str()));
    let mac = check_mac_value(pairs, ECPAY_HASH_KEY, ECPAY_HASH_IV, Algorithm::Sha256);
    fields.push(("CheckMacValue", mac));
    fields
}

async fn start() -> (Sandbox, Shop, Browser, String) {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let checkout = format!("{}/Cashier/AioCheckOut/V5", sandbox.ecpay_url());
    (sandbox, Shop::start().await, Browser::start().await, checkout)
}

#[tokio::test]
async fn pm_8_a_customer_pays_sees_the_result_and_goes_back_to_the_shop() {
    let (_sandbox, mut shop, browser, checkout) = start().await;
    browser
        .submit(&shop, &checkout, &order(&shop, "WEB1", "ALL"))
        .await;
    browser.picture("checkout").await;
    assert!(browser.see(".amount").await.contains("NT$300"));
    browser.click("[data-action=fail][data-method=Credit]").await;
    assert!(browser.see("[data-status=failed]").await.contains("付款失敗"));
    assert_eq!(shop.notice().await, ("/notice".into(), "10100058".into()));
    browser.picture("failed").await;
    browser.click("[data-action=pay][data-method=Credit]").await;
    assert!(browser.see("[data-status=paid]").await.contains("付款成功"));
    assert_eq!(shop.notice().await, ("/notice".into(), "1".into()));
    browser.client.refresh().await.unwrap();
    browser.picture("paid").await;
    browser.click("#back").await;
    assert_eq!(browser.see("#shop").await, "Welcome back");
    browser.close().await;
}

#[tokio::test]
async fn pm_8_a_customer_closes_the_window_and_nobody_is_told() {
    let (_sandbox, mut shop, browser, checkout) = start().await;
    browser
        .submit(&shop, &checkout, &order(&shop, "WEB2", "Credit"))
        .await;
    browser.click("[data-action=close]").await;
    assert!(
        browser
            .see("[data-status=waiting]")
            .await
            .contains("已離開付款頁")
    );
    browser.picture("closed").await;
    assert!(shop.notices.try_recv().is_err(), "no notice of a closed window");
    browser.close().await;
}

#[tokio::test]
async fn pm_8_a_customer_takes_a_code_and_pays_it_later() {
    let (_sandbox, mut shop, browser, checkout) = start().await;
    browser
        .submit(&shop, &checkout, &order(&shop, "WEB3", "ATM"))
        .await;
    browser.click("[data-action=issue-code]").await;
    assert!(!browser.see("[data-field=vAccount]").await.is_empty());
    browser.picture("code").await;
    assert_eq!(shop.notice().await, ("/code".into(), "2".into()));
    browser.click("[data-action=pay-code]").await;
    browser.see("[data-status=paid]").await;
    assert_eq!(shop.notice().await, ("/notice".into(), "1".into()));
    browser.close().await;
}

#[tokio::test]
async fn a_refused_form_shows_the_code() {
    let (_sandbox, shop, browser, checkout) = start().await;
    let mut fields = order(&shop, "WEB4", "Credit");
    fields.retain(|(name, _)| *name != "CheckMacValue");
    fields.push(("CheckMacValue", "0".repeat(64)));
    browser.client.goto(&shop.base_url).await.unwrap();
    let script =
        "const form = document.createElement('form'); form.method = 'POST'; form.action = arguments[0];
        form.innerHTML = arguments[1]; document.body.append(form); form.submit();";
    let inputs = fields
        .iter()
        .map(|(name, value)| format!("<input name='{name}' value='{value}'>"))
        .collect::<Vec<_>>()
        .concat();
    browser
        .client
        .execute(script, vec![checkout.into(), inputs.into()])
        .await
        .unwrap();
    assert_eq!(browser.see("#error-code").await, "10200073");
    browser.picture("refused").await;
    browser.close().await;
}
